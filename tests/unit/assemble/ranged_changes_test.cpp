// I4 within a table that was copied in ranges: the table of ranged_changes.h, and against a model
// of three ranges with snapshots of their own that the destination comes out equal to the source.
#include "assemble/ranged_changes.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "assemble/assembler.h"
#include "assemble/keyed_relation.h"
#include "decode/frame_builder.h"
#include "model/copy_again.h"

namespace towline {
namespace {

constexpr Oid kTable = 77;

// k, v; the replica identity is k, or all of it.
Relation MakeRelation(bool is_full) {
  Relation relation = KeyedRelation(kTable, "t", {"v"});
  relation.columns[1].is_in_key = is_full;
  if (is_full) relation.key = {0, 1};
  return relation;
}

RangedTable MakeTable(const std::vector<std::string>& bounds) {
  ChunkKey key{.column = "k", .type_oid = kInt4Oid, .type = KeyType::kInt4, .collation = ""};
  KeyRanges ranges = *KeyRanges::Make(KeyType::kInt4, RangesBetween(bounds));
  std::vector<size_t> snapshots;
  for (size_t i = 0; i < ranges.count(); ++i) snapshots.push_back(i);
  return {key, std::move(ranges), std::move(snapshots)};
}

std::string Row(int key, int value) { return Image({Value(Int4(key)), Value(Int4(value))}); }
std::string Key(int key) { return Image({Value(Int4(key))}); }

class RangedChangesTest : public testing::Test {
 protected:
  // Keys below 100 are held.
  const std::vector<bool> held_ = {true, false};
  const RangedTable table_ = MakeTable({"100"});
  const Relation relation_ = MakeRelation(false);
  const Relation full_ = MakeRelation(true);
  RangedChanges changes_;
  std::deque<std::string> rows_;

  Change Make(ChangeKind kind, OldImage image, std::string old_row, std::string new_row) {
    Change change;
    change.kind = kind;
    change.old_image = image;
    change.relation = image == OldImage::kFull ? &full_ : &relation_;
    change.old_row = rows_.emplace_back(std::move(old_row));
    change.new_row = rows_.emplace_back(std::move(new_row));
    return change;
  }
  // Without its value.
  Change Move(int from, int to) {
    Change change =
        Make(ChangeKind::kUpdate, OldImage::kKey, Key(from), Image({Value(Int4(to)), kUnchanged}));
    change.has_unchanged_toast = true;
    return change;
  }
  absl::StatusOr<bool> TryKeep(Change* change) {
    return changes_.Keep(
        table_, [this](size_t i) -> absl::StatusOr<bool> { return held_[i]; }, change);
  }
  absl::StatusOr<bool> HoldTruncate(const std::vector<bool>& held) {
    return changes_.HoldTruncate(
        table_, [&held](size_t i) -> absl::StatusOr<bool> { return held[i]; }, relation_);
  }
  bool Keep(Change* change) {
    absl::StatusOr<bool> kept = TryKeep(change);
    EXPECT_TRUE(kept.ok()) << kept.status();
    return kept.ok() && *kept;
  }
};

TEST_F(RangedChangesTest, InsertsAndDeletesFollowTheirOnlyRange) {
  Change held = Make(ChangeKind::kInsert, OldImage::kNone, "", Row(99, 1));
  EXPECT_FALSE(Keep(&held));
  Change inserted = Make(ChangeKind::kInsert, OldImage::kNone, "", Row(100, 1));
  EXPECT_TRUE(Keep(&inserted));
  EXPECT_EQ(inserted.kind, ChangeKind::kInsert);
  held = Make(ChangeKind::kDelete, OldImage::kKey, Key(99), "");
  EXPECT_FALSE(Keep(&held));
  held = Make(ChangeKind::kDelete, OldImage::kFull, Row(99, 1), "");
  EXPECT_FALSE(Keep(&held));
  Change deleted = Make(ChangeKind::kDelete, OldImage::kKey, Key(100), "");
  EXPECT_TRUE(Keep(&deleted));
  EXPECT_EQ(deleted.kind, ChangeKind::kDelete);
}

TEST_F(RangedChangesTest, AnUpdateThatStaysInItsRangeIsHeldOrPassesAsItCame) {
  Change held = Make(ChangeKind::kUpdate, OldImage::kNone, "", Row(5, 1));
  EXPECT_FALSE(Keep(&held));
  held = Make(ChangeKind::kUpdate, OldImage::kKey, Key(5), Row(6, 1));
  EXPECT_FALSE(Keep(&held));
  Change moved = Make(ChangeKind::kUpdate, OldImage::kKey, Key(105), Row(106, 1));
  EXPECT_TRUE(Keep(&moved));
  EXPECT_EQ(moved.kind, ChangeKind::kUpdate);
  EXPECT_EQ(moved.old_row, Key(105));
  EXPECT_EQ(moved.new_row, Row(106, 1));
  Change unsent =
      Make(ChangeKind::kUpdate, OldImage::kNone, "", Image({Value(Int4(106)), kUnchanged}));
  unsent.has_unchanged_toast = true;
  EXPECT_TRUE(Keep(&unsent));
  EXPECT_TRUE(unsent.has_unchanged_toast);
}

TEST_F(RangedChangesTest, ARowThatLeftARangeThatHoldsItIsInsertedWhole) {
  for (OldImage image : {OldImage::kKey, OldImage::kFull}) {
    Change change =
        Make(ChangeKind::kUpdate, image, image == OldImage::kKey ? Key(5) : Row(5, 1), Row(105, 2));
    EXPECT_TRUE(Keep(&change));
    EXPECT_EQ(change.kind, ChangeKind::kInsert);
    EXPECT_EQ(change.old_image, OldImage::kNone);
    EXPECT_EQ(change.old_row, "");
    EXPECT_EQ(change.new_row, Row(105, 2));
  }
}

TEST_F(RangedChangesTest, ARowThatCameIntoARangeThatHoldsItIsDeletedWhereItWas) {
  for (OldImage image : {OldImage::kKey, OldImage::kFull}) {
    std::string old_row = image == OldImage::kKey ? Key(105) : Row(105, 1);
    Change change = Make(ChangeKind::kUpdate, image, old_row, Row(5, 2));
    change.has_unchanged_toast = true;
    EXPECT_TRUE(Keep(&change));
    EXPECT_EQ(change.kind, ChangeKind::kDelete);
    EXPECT_EQ(change.old_image, image);
    EXPECT_EQ(change.old_row, old_row);
    EXPECT_EQ(change.new_row, "");
    EXPECT_FALSE(change.has_unchanged_toast);
  }
}

TEST_F(RangedChangesTest, WhatCannotBeInsertedWholeIsLeftOut) {
  Change change = Move(5, 105);
  changes_.set_writer(7);
  EXPECT_FALSE(Keep(&change));
  changes_.set_writer(8);
  ASSERT_TRUE(changes_.has_left_out());
  std::vector<MovedRow> left_out = changes_.TakeLeftOut();
  ASSERT_EQ(left_out.size(), 1u);
  EXPECT_EQ(left_out[0].relation, &relation_);
  EXPECT_EQ(left_out[0].key_column, "k");
  EXPECT_EQ(left_out[0].writer, 7u);
  EXPECT_EQ(left_out[0].row, change.new_row);
  EXPECT_FALSE(changes_.has_left_out());
}

// As long as it is left out it is not at the destination, whatever its range.
TEST_F(RangedChangesTest, WhatIsLeftOutMayComeWhole) {
  Change moved = Move(5, 105);
  EXPECT_FALSE(Keep(&moved));
  Change whole = Make(ChangeKind::kUpdate, OldImage::kNone, "", Row(105, 2));
  EXPECT_TRUE(Keep(&whole));
  EXPECT_EQ(whole.kind, ChangeKind::kInsert);
  EXPECT_FALSE(changes_.has_left_out());
}

TEST_F(RangedChangesTest, WhatIsLeftOutMayGo) {
  Change moved = Move(5, 105);
  EXPECT_FALSE(Keep(&moved));
  Change gone = Make(ChangeKind::kDelete, OldImage::kKey, Key(105), "");
  EXPECT_FALSE(Keep(&gone));
  EXPECT_FALSE(changes_.has_left_out());
  moved = Move(6, 105);
  EXPECT_FALSE(Keep(&moved));
  Change back = Move(105, 7);
  EXPECT_FALSE(Keep(&back));
  EXPECT_FALSE(changes_.has_left_out());
  // From now on the key is nobody's.
  Change other = Make(ChangeKind::kInsert, OldImage::kNone, "", Row(105, 3));
  EXPECT_TRUE(Keep(&other));
  EXPECT_EQ(other.kind, ChangeKind::kInsert);
}

TEST_F(RangedChangesTest, WhatIsLeftOutMayChangeAndMoveOn) {
  Change moved = Move(5, 105);
  EXPECT_FALSE(Keep(&moved));
  Change changed =
      Make(ChangeKind::kUpdate, OldImage::kNone, "", Image({Value(Int4(105)), kUnchanged}));
  changed.has_unchanged_toast = true;
  EXPECT_FALSE(Keep(&changed));
  Change on = Move(105, 106);
  EXPECT_FALSE(Keep(&on));
  Change heir = Move(205, 105);  // it was there, so it needs nothing
  EXPECT_TRUE(Keep(&heir));
  EXPECT_EQ(heir.kind, ChangeKind::kUpdate);
  EXPECT_TRUE(heir.has_unchanged_toast);
  std::vector<MovedRow> left_out = changes_.TakeLeftOut();
  ASSERT_EQ(left_out.size(), 1u);
  EXPECT_EQ(left_out[0].row, on.new_row);
}

TEST_F(RangedChangesTest, TwoRowsOfOneKeyHaveTheTableCopiedAgain) {
  Change moved = Move(5, 105);
  EXPECT_FALSE(Keep(&moved));
  Change other = Make(ChangeKind::kInsert, OldImage::kNone, "", Row(105, 3));
  EXPECT_EQ(TableToCopyAgain(TryKeep(&other).status()), kTable);
}

TEST_F(RangedChangesTest, TooManyRowsLeftOutHaveTheTableCopiedAgain) {
  for (size_t i = 0; i < RangedChanges::kLeftOutRowsMax; ++i) {
    Change moved = Move(5, 105 + static_cast<int>(i));
    ASSERT_FALSE(Keep(&moved));
  }
  Change one_more = Move(5, 100);
  EXPECT_EQ(TableToCopyAgain(TryKeep(&one_more).status()), kTable);
}

TEST_F(RangedChangesTest, OneRowThatIsLeftOutMayBeLarge) {
  // Another value of it was sent.
  Relation relation = relation_;
  relation.columns.push_back(relation.columns[1]);
  relation.sent = {0, 1, 2};
  const std::string large(RangedChanges::kLeftOutBytesMax, 'x');
  auto move_large = [&] {
    Change change = Make(ChangeKind::kUpdate, OldImage::kKey, Key(5),
                         Image({Value(Int4(105)), kUnchanged, Value(large)}));
    change.relation = &relation;
    change.has_unchanged_toast = true;
    return change;
  };
  // What has gone does not count.
  Change moved = move_large();
  EXPECT_FALSE(Keep(&moved));
  Change gone = Make(ChangeKind::kDelete, OldImage::kKey, Key(105), "");
  EXPECT_FALSE(Keep(&gone));
  Change small = Move(6, 106);
  EXPECT_FALSE(Keep(&small));
  small = Move(7, 107);
  EXPECT_FALSE(Keep(&small));
  EXPECT_EQ(changes_.TakeLeftOut().size(), 2u);
  moved = move_large();
  EXPECT_FALSE(Keep(&moved));
  small = Move(6, 106);
  EXPECT_EQ(TableToCopyAgain(TryKeep(&small).status()), kTable);
}

TEST_F(RangedChangesTest, AnotherKeyHasTheTableCopiedAgain) {
  Relation changed = relation_;
  changed.key = {};
  Change change = Make(ChangeKind::kInsert, OldImage::kNone, "", Row(5, 1));
  change.relation = &changed;
  EXPECT_EQ(TableToCopyAgain(TryKeep(&change).status()), kTable);
}

TEST_F(RangedChangesTest, AMalformedKeyIsNoReasonToCopyAgain) {
  Change change = Make(ChangeKind::kInsert, OldImage::kNone, "", Image({Value("x"), Value("y")}));
  absl::Status status = TryKeep(&change).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_FALSE(TableToCopyAgain(status).has_value());
}

TEST_F(RangedChangesTest, ATruncateThatRangesDisagreeAboutHasTheTableCopiedAgain) {
  EXPECT_EQ(TableToCopyAgain(HoldTruncate(held_).status()), kTable);
  EXPECT_TRUE(*HoldTruncate({true, true}));
  EXPECT_FALSE(*HoldTruncate({false, false}));
}

// A source of transactions with one change each; every range is copied after some of them. What
// passes the assembler, applied strictly (each insert new, each delete and update there), must make
// the destination equal.
class ModelTest : public testing::TestWithParam<unsigned> {};

TEST_P(ModelTest, TheDestinationComesOutEqual) {
  std::mt19937 random(GetParam());
  auto any = [&random](int below) {
    return static_cast<int>(random() % static_cast<unsigned>(below));
  };
  constexpr int kTransactions = 60;
  const bool is_full = any(2) == 0;
  const Relation relation = MakeRelation(is_full);
  const std::vector<std::string> bounds = {"10", "20"};
  std::vector<int> copied_after;  // by range: so many transactions are in its snapshot
  for (int i = 0; i < 3; ++i) copied_after.push_back(any(kTransactions + 1));

  CopyBoundary boundary;
  for (int after : copied_after) {
    Snapshot snapshot = Snapshot::Parse(absl::StrCat(after, ":", after, ":")).value();
    boundary.snapshots.push_back({snapshot, {static_cast<uint64_t>(1000 + after * 10)}});
  }
  boundary.ranged.emplace(kTable, MakeTable(bounds));
  // As there is always one: that of tables which are copied whole.
  boundary.snapshots.push_back({Snapshot::Parse("0:0:").value(), {1000}});
  Assembler::Options options;
  options.batch_bytes_max = 1 << 20;
  options.batch_rows_max = 1 << 20;
  options.position = {500};
  options.boundary = std::move(boundary);
  Assembler assembler(options);

  std::map<int, int> source;
  for (int key = 0; key < 30; key += 2) source[key] = 0;
  std::map<int, int> destination;
  auto copy = [&](int done) {
    for (int range = 0; range < 3; ++range) {
      if (copied_after[static_cast<size_t>(range)] != done) continue;
      for (const auto& [key, value] : source) {
        if (key / 10 == range) destination[key] = value;
      }
    }
  };
  std::deque<std::string> rows;
  for (int xid = 0; xid < kTransactions; ++xid) {
    copy(xid);
    Change change;
    change.relation = &relation;
    auto set_old = [&](int key) {
      change.old_image = is_full ? OldImage::kFull : OldImage::kKey;
      change.old_row = rows.emplace_back(is_full ? Row(key, source[key]) : Key(key));
    };
    auto some =
        std::next(source.begin(), source.empty() ? 0 : any(static_cast<int>(source.size())));
    int fresh = any(30);
    int what = source.empty() ? 0 : any(4);
    if (what == 0 || (what == 1 && source.contains(fresh))) {
      if (source.contains(fresh)) continue;
      source[fresh] = xid;
      change.kind = ChangeKind::kInsert;
      change.new_row = rows.emplace_back(Row(fresh, xid));
    } else if (what == 1) {
      int key = some->first;
      set_old(key);
      source.erase(key);
      source[fresh] = xid;
      change.kind = ChangeKind::kUpdate;
      change.new_row = rows.emplace_back(Row(fresh, xid));
    } else if (what == 2) {
      int key = some->first;
      if (is_full) set_old(key);
      source[key] = xid;
      change.kind = ChangeKind::kUpdate;
      change.new_row = rows.emplace_back(Row(key, xid));
    } else {
      int key = some->first;
      set_old(key);
      source.erase(key);
      change.kind = ChangeKind::kDelete;
    }
    TransactionHeader header;
    header.xid = static_cast<uint64_t>(xid);
    header.commit_lsn = {static_cast<uint64_t>(1000 + xid * 10)};
    header.end_lsn = {static_cast<uint64_t>(1000 + xid * 10 + 5)};
    ASSERT_TRUE(assembler.OnBegin(header).ok());
    ASSERT_TRUE(assembler.OnChange(std::move(change)).ok());
    ASSERT_TRUE(assembler.OnCommit(header).ok());
    assembler.AddFrame(Frame());
  }
  copy(kTransactions);

  auto field = [](absl::string_view image, int place) {
    RowReader reader(image);
    Field found;
    for (int i = 0; i <= place; ++i) found = reader.Next();
    return static_cast<int>(absl::big_endian::Load32(found.bytes.data()));
  };
  while (std::optional<Batch> batch = assembler.Take(true)) {
    for (const Change& change : batch->changes) {
      bool has_new = change.kind != ChangeKind::kDelete;
      int after = has_new ? field(change.new_row, 0) : 0;
      if (change.kind != ChangeKind::kInsert) {
        int before = change.old_image == OldImage::kNone ? after : field(change.old_row, 0);
        ASSERT_EQ(destination.erase(before), 1u) << "key " << before;
      }
      if (has_new) {
        ASSERT_TRUE(destination.emplace(after, field(change.new_row, 1)).second) << after;
      }
    }
  }
  EXPECT_EQ(destination, source);
}

INSTANTIATE_TEST_SUITE_P(Seeds, ModelTest, testing::Range(0u, 300u));

}  // namespace
}  // namespace towline
