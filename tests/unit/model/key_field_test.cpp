#include "model/key_field.h"

#include <gtest/gtest.h>

#include "decode/frame_builder.h"

namespace towline {
namespace {

constexpr Oid kInt4 = 23;
constexpr Oid kText = 25;

Column ColumnOf(const std::string& name, Oid type, bool is_in_key) {
  Column column;
  column.name = name;
  column.type_oid = type;
  column.is_in_key = is_in_key;
  return column;
}

// generated (not sent), v, other key, k: the key stands at place 2 of full and 1 of key images.
Relation TwoKeys() {
  Relation relation;
  relation.name = {"s", "t"};
  relation.columns = {ColumnOf("g", kInt4, false), ColumnOf("v", kText, false),
                      ColumnOf("a", kText, true), ColumnOf("k", kInt4, true)};
  relation.sent = {1, 2, 3};
  relation.key = {2, 3};
  return relation;
}

const ChunkKey kKey{.column = "k", .type_oid = kInt4, .type = KeyType::kInt4, .collation = ""};

KeyField Found(const Relation& relation, const ChunkKey& key = kKey) {
  absl::StatusOr<KeyField> field = KeyField::Find(relation, key);
  EXPECT_TRUE(field.ok()) << field.status();
  return *field;
}

KeyValue Key(int32_t value) { return *KeyFromBinary(KeyType::kInt4, Int4(value)); }

std::string Full(int32_t key) { return Image({Value("v"), Value("a"), Value(Int4(key))}); }
std::string KeyOnly(int32_t key) { return Image({Value("a"), Value(Int4(key))}); }

Change MakeChange(ChangeKind kind, OldImage old_image, const std::string& old_row,
                  const std::string& new_row) {
  Change change;
  change.kind = kind;
  change.old_image = old_image;
  change.old_row = old_row;
  change.new_row = new_row;
  return change;
}

TEST(KeyFieldTest, KeysBeforeAndAfterEveryKindOfChange) {
  Relation relation = TwoKeys();
  KeyField field = Found(relation);
  const std::string old_full = Full(1);
  const std::string new_full = Full(2);
  const std::string old_key = KeyOnly(1);
  auto keys = [&field](ChangeKind kind, OldImage old_image, const std::string& old_row,
                       const std::string& new_row) {
    return *field.KeysOf(MakeChange(kind, old_image, old_row, new_row));
  };
  ChangedKeys inserted = keys(ChangeKind::kInsert, OldImage::kNone, "", new_full);
  EXPECT_FALSE(inserted.before.has_value());
  EXPECT_EQ(inserted.after, Key(2));
  for (const auto& [image, row] :
       {std::pair(OldImage::kKey, old_key), {OldImage::kFull, old_full}}) {
    ChangedKeys moved = keys(ChangeKind::kUpdate, image, row, new_full);
    EXPECT_EQ(moved.before, Key(1));
    EXPECT_EQ(moved.after, Key(2));
    ChangedKeys deleted = keys(ChangeKind::kDelete, image, row, "");
    EXPECT_EQ(deleted.before, Key(1));
    EXPECT_FALSE(deleted.after.has_value());
  }
  ChangedKeys stayed = keys(ChangeKind::kUpdate, OldImage::kNone, "", new_full);
  EXPECT_EQ(stayed.before, Key(2));
  EXPECT_EQ(stayed.after, Key(2));
}

TEST(KeyFieldTest, TextFormIsReadAsText) {
  Relation relation = TwoKeys();
  relation.columns[3].format = ValueFormat::kText;
  const std::string row = Image({Value("v"), Value("a"), Value("-7")});
  ChangedKeys keys =
      *Found(relation).KeysOf(MakeChange(ChangeKind::kInsert, OldImage::kNone, "", row));
  EXPECT_EQ(keys.after, Key(-7));
}

TEST(KeyFieldTest, AKeyThatIsNotSentHasNotChanged) {
  KeyField field = Found(TwoKeys());
  const std::string row = Image({Value("v"), Value("a"), kUnchanged});
  const std::string old_row = KeyOnly(5);
  ChangedKeys keys = *field.KeysOf(MakeChange(ChangeKind::kUpdate, OldImage::kKey, old_row, row));
  EXPECT_EQ(keys.before, Key(5));
  EXPECT_EQ(keys.after, Key(5));
  EXPECT_EQ(field.KeysOf(MakeChange(ChangeKind::kUpdate, OldImage::kNone, "", row)).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST(KeyFieldTest, ARowWithoutAKeyIsAnError) {
  KeyField field = Found(TwoKeys());
  auto code = [&field](ChangeKind kind, OldImage image, const std::string& old_row,
                       const std::string& new_row) {
    return field.KeysOf(MakeChange(kind, image, old_row, new_row)).status().code();
  };
  const std::string null = Image({Value("v"), Value("a"), kNull});
  const std::string malformed = Image({Value("v"), Value("a"), Value("12345")});
  EXPECT_EQ(code(ChangeKind::kInsert, OldImage::kNone, "", null), absl::StatusCode::kDataLoss);
  EXPECT_EQ(code(ChangeKind::kInsert, OldImage::kNone, "", malformed), absl::StatusCode::kDataLoss);
  EXPECT_EQ(code(ChangeKind::kDelete, OldImage::kFull, null, ""), absl::StatusCode::kDataLoss);
  EXPECT_EQ(code(ChangeKind::kDelete, OldImage::kNone, "", ""),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code(ChangeKind::kTruncate, OldImage::kNone, "", ""), absl::StatusCode::kInternal);
}

TEST(KeyFieldTest, AnotherColumnThanTheChosenIsRefused) {
  auto message = [](const Relation& relation) {
    return std::string(KeyField::Find(relation, kKey).status().message());
  };
  Relation relation = TwoKeys();
  relation.columns[3].name = "renamed";
  EXPECT_EQ(message(relation), "the column k of s.t, by which it is copied, is gone");
  relation = TwoKeys();
  relation.columns[3].type_oid = 20;
  EXPECT_EQ(message(relation), "the column k of s.t, by which it is copied, has got another type");
  relation = TwoKeys();
  relation.columns[3].collation = "pg_catalog.C";
  EXPECT_EQ(message(relation),
            "the column k of s.t, by which it is copied, has got another collation");
  relation = TwoKeys();
  relation.sent = {1, 2};
  EXPECT_EQ(message(relation), "the column k of s.t, by which it is copied, is not sent any more");
  relation = TwoKeys();
  relation.key = {2};
  EXPECT_EQ(
      message(relation),
      "the column k of s.t, by which it is copied, is no longer part of the replica identity");
}

}  // namespace
}  // namespace towline
