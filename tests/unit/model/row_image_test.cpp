// Row images: what CheckRowImage accepts RowReader reads; everything else is refused.
#include "model/row_image.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

std::string Image(const std::vector<Field>& fields) {
  std::string image;
  AppendFieldCount(static_cast<int>(fields.size()), &image);
  for (const Field& field : fields) AppendField(field, &image);
  return image;
}

TEST(RowImageTest, NullUnchangedAndEmptyAreThreeThings) {
  std::string image = Image({{FieldKind::kNull, {}},
                             {FieldKind::kUnchangedToast, {}},
                             {FieldKind::kValue, ""},
                             {FieldKind::kValue, "abc"}});
  RowImageFacts facts;
  ASSERT_TRUE(CheckRowImage(image, 4, &facts).ok());
  EXPECT_TRUE(facts.has_unchanged_toast);
  EXPECT_FALSE(facts.has_value_in_parts);
  RowReader reader(image);
  ASSERT_EQ(reader.field_count(), 4);
  EXPECT_EQ(reader.Next().kind, FieldKind::kNull);
  EXPECT_EQ(reader.Next().kind, FieldKind::kUnchangedToast);
  Field empty = reader.Next();
  EXPECT_EQ(empty.kind, FieldKind::kValue);
  EXPECT_EQ(empty.bytes, "");
  EXPECT_EQ(reader.Next().bytes, "abc");
}

TEST(RowImageTest, EveryCutIsRefused) {
  std::string image = Image({{FieldKind::kValue, "abc"}, {FieldKind::kNull, {}}});
  RowImageFacts facts;
  for (size_t length = 0; length < image.size(); ++length) {
    EXPECT_EQ(CheckRowImage(image.substr(0, length), 2, &facts).code(), absl::StatusCode::kDataLoss)
        << length;
  }
  EXPECT_FALSE(CheckRowImage(image + "x", 2, &facts).ok());
  EXPECT_FALSE(CheckRowImage(image, 1, &facts).ok());
  EXPECT_FALSE(CheckRowImage(image, 3, &facts).ok());
}

TEST(RowImageTest, UnknownMarksAreRefused) {
  std::string image;
  AppendFieldCount(1, &image);
  image += std::string("\xff\xff\xff\xfc", 4);  // -4
  RowImageFacts facts;
  EXPECT_FALSE(CheckRowImage(image, 1, &facts).ok());
  image.back() = '\xfd';  // -3: in parts
  EXPECT_TRUE(CheckRowImage(image, 1, &facts).ok());
  EXPECT_TRUE(facts.has_value_in_parts);
}

TEST(RowImageTest, RowWithoutColumns) {
  RowImageFacts facts;
  EXPECT_TRUE(CheckRowImage(Image({}), 0, &facts).ok());
}

}  // namespace
}  // namespace towline
