#include "schema/type_passage.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

constexpr int kHeader = 4;

ColumnType BuiltIn(absl::string_view name, int typmod = -1) {
  return {"pg_catalog", name, 'b', typmod};
}
ColumnType Enum(absl::string_view name) { return {"public", name, 'e', -1}; }
int Numeric(int precision, int scale) { return ((precision << 16) | (scale & 0x7ff)) + kHeader; }

TEST(TypePassageTest, TheSameTypeTakesItsValuesUnlessItIsNarrower) {
  EXPECT_EQ(FindPassage(Enum("mood"), Enum("mood")), Passage::kAsIs);
  EXPECT_EQ(FindPassage(Enum("mood"), Enum("other")), Passage::kNone);
  EXPECT_EQ(FindPassage(BuiltIn("varchar", 24), BuiltIn("varchar", 25)), Passage::kAsIs);
  EXPECT_EQ(FindPassage(BuiltIn("varchar", 24), BuiltIn("varchar", 23)), Passage::kNone);
  EXPECT_EQ(FindPassage(BuiltIn("varchar"), BuiltIn("varchar", 23)), Passage::kNone);
  // Blanks and digits that the source does not have.
  EXPECT_EQ(FindPassage(BuiltIn("bpchar", 9), BuiltIn("bpchar", 10)), Passage::kNone);
  EXPECT_EQ(FindPassage(BuiltIn("numeric", Numeric(7, 2)), BuiltIn("numeric", Numeric(9, 3))),
            Passage::kNone);
  EXPECT_EQ(FindPassage(BuiltIn("numeric", Numeric(7, -2)), BuiltIn("numeric", Numeric(9, -2))),
            Passage::kAsIs);
  EXPECT_EQ(FindPassage(BuiltIn("timestamp", 3), BuiltIn("timestamp")), Passage::kAsIs);
  EXPECT_EQ(FindPassage(BuiltIn("timestamp"), BuiltIn("timestamp", 3)), Passage::kNone);
}

TEST(TypePassageTest, AnIntegerNeedsRoomForAllItsDigits) {
  EXPECT_EQ(FindPassage(BuiltIn("int4"), BuiltIn("int8")), Passage::kCast);
  EXPECT_EQ(FindPassage(BuiltIn("int8"), BuiltIn("int4")), Passage::kNone);
  EXPECT_EQ(FindPassage(BuiltIn("int4"), BuiltIn("numeric", Numeric(10, 0))), Passage::kCast);
  EXPECT_EQ(FindPassage(BuiltIn("int4"), BuiltIn("numeric", Numeric(11, 2))), Passage::kNone);
  EXPECT_EQ(FindPassage(BuiltIn("int2"), BuiltIn("numeric", Numeric(7, -2))), Passage::kNone);
}

TEST(TypePassageTest, ALabelIsText) {
  EXPECT_EQ(FindPassage(Enum("mood"), BuiltIn("text")), Passage::kAsIs);
  EXPECT_EQ(FindPassage(BuiltIn("text"), Enum("mood")), Passage::kAsIs);
  EXPECT_EQ(FindPassage(Enum("mood"), BuiltIn("varchar", 44)), Passage::kNone);
}

TEST(TypePassageTest, OnlyTheServersOwnTypesBecomeText) {
  EXPECT_EQ(FindPassage(BuiltIn("_int4"), BuiltIn("text")), Passage::kCast);
  EXPECT_EQ(FindPassage(BuiltIn("money"), BuiltIn("text")), Passage::kNone);
  ColumnType made = BuiltIn("int4");
  made.schema = "public";
  EXPECT_EQ(FindPassage(made, BuiltIn("text")), Passage::kNone);
}

TEST(TypePassageTest, AnArrayPassesAsItsElementsDo) {
  EXPECT_EQ(FindPassage(BuiltIn("_int4"), BuiltIn("_int8")), Passage::kCast);
  EXPECT_EQ(FindPassage(BuiltIn("_int8"), BuiltIn("_int4")), Passage::kNone);
  EXPECT_EQ(FindPassage(BuiltIn("_int4"), BuiltIn("int8")), Passage::kNone);
  EXPECT_EQ(FindPassage(BuiltIn("int4"), BuiltIn("_int8")), Passage::kNone);
  // The same texts, but a binary array names the type of its elements.
  EXPECT_EQ(FindPassage(BuiltIn("_varchar", 24), BuiltIn("_text")), Passage::kCast);
  EXPECT_EQ(FindPassage(BuiltIn("_varchar", 24), BuiltIn("_varchar", 25)), Passage::kAsIs);
  EXPECT_EQ(FindPassage(BuiltIn("_varchar", 24), BuiltIn("_varchar", 23)), Passage::kNone);
  EXPECT_EQ(FindPassage(BuiltIn("_int4"), BuiltIn("_numeric", Numeric(9, 0))), Passage::kNone);
  EXPECT_EQ(FindPassage(BuiltIn("_int4"), BuiltIn("_text")), Passage::kCast);
  EXPECT_EQ(FindPassage(BuiltIn("_money"), BuiltIn("_text")), Passage::kNone);
}

TEST(TypePassageTest, ADomainPassesAsWhatItIsOver) {
  const DomainBase number{23, "pg_catalog", "int4", "integer", 'b', -1};
  const DomainBase wide{20, "pg_catalog", "int8", "bigint", 'b', -1};
  const DomainBase word{1043, "pg_catalog", "varchar", "character varying(20)", 'b', 24};
  auto domain = [](absl::string_view name, const DomainBase* base) {
    return ColumnType{"public", name, 'd', -1, base};
  };
  EXPECT_EQ(FindPassage(domain("d", &number), BuiltIn("int4")), Passage::kAsIs);
  EXPECT_EQ(FindPassage(domain("d", &number), BuiltIn("int8")), Passage::kCast);
  EXPECT_EQ(FindPassage(domain("d", &wide), BuiltIn("int4")), Passage::kNone);
  EXPECT_EQ(FindPassage(BuiltIn("int4"), domain("d", &wide)), Passage::kCast);
  EXPECT_EQ(FindPassage(domain("d", &word), BuiltIn("varchar", 23)), Passage::kNone);
  EXPECT_EQ(FindPassage(domain("d", &word), BuiltIn("varchar", 25)), Passage::kAsIs);
  EXPECT_EQ(FindPassage(domain("d", &number), domain("e", &number)), Passage::kAsIs);
  EXPECT_EQ(FindPassage(domain("d", &number), domain("d", &wide)), Passage::kCast);
  EXPECT_EQ(FindPassage(domain("d", &wide), domain("d", &number)), Passage::kNone);
  EXPECT_EQ(FindPassage(domain("d", nullptr), domain("d", &number)), Passage::kAsIs);
  EXPECT_EQ(FindPassage(domain("d", nullptr), BuiltIn("int4")), Passage::kNone);
}

}  // namespace
}  // namespace towline
