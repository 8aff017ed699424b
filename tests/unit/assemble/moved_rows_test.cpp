// What the assembler does at the end of a transaction with rows that have moved between ranges
// without their large values: they are read, and inserted behind all else; nothing is whole before.
#include <gtest/gtest.h>

#include <deque>
#include <map>

#include "absl/strings/str_cat.h"
#include "assemble/assembler.h"
#include "assemble/keyed_relation.h"
#include "decode/frame_builder.h"
#include "model/copy_again.h"

namespace towline {
namespace {

constexpr Oid kTable = 77;
constexpr uint64_t kXid = 50;  // held by the range below 100, new to the other

std::string Row(int key, absl::string_view value) {
  return Image({Value(Int4(key)), Value(value)});
}

class MovedRowsTest : public testing::Test {
 protected:
  Assembler& Make(int64_t batch_bytes_max = 1 << 20) {
    Assembler::Options options;
    options.batch_bytes_max = batch_bytes_max;
    options.batch_rows_max = 1000;
    options.position = {100};
    options.boundary.emplace();
    options.boundary->snapshots = {{Snapshot::Parse("51:51:").value(), {5000}},
                                   {Snapshot::Parse("50:50:").value(), {1000}},
                                   {Snapshot::Parse("50:50:").value(), {1000}}};
    options.boundary->ranged.emplace(
        kTable,
        RangedTable{{.column = "k", .type_oid = kInt4Oid, .type = KeyType::kInt4, .collation = ""},
                    *KeyRanges::Make(KeyType::kInt4, RangesBetween({"100"})),
                    {0, 1}});
    options.read_moved =
        [this](const MovedRow& moved) -> absl::StatusOr<std::optional<std::string>> {
      EXPECT_EQ(moved.xid, kXid);
      TakeAll(false);
      taken_when_read_.push_back(batches_.size());
      auto row = source_.find(moved.row);
      if (row == source_.end()) return std::optional<std::string>();
      return std::optional<std::string>(row->second);
    };
    assembler_.emplace(std::move(options));
    return *assembler_;
  }

  static TransactionHeader Header(uint64_t xid, uint64_t end_lsn) {
    TransactionHeader header;
    header.xid = xid;
    header.commit_lsn = {end_lsn - 5};
    header.end_lsn = {end_lsn};
    return header;
  }

  void Send(ChangeKind kind, std::optional<int> before, const std::string& new_row,
            bool is_unsent = false) {
    Change change;
    change.kind = kind;
    change.relation = &relation_;
    if (before.has_value()) {
      change.old_image = OldImage::kKey;
      change.old_row = rows_.emplace_back(Image({Value(Int4(*before))}));
    }
    change.new_row = rows_.emplace_back(new_row);
    change.has_unchanged_toast = is_unsent;
    absl::Status taken = assembler_->OnChange(std::move(change));
    ASSERT_TRUE(taken.ok()) << taken;
  }
  void Insert(int key) { Send(ChangeKind::kInsert, std::nullopt, Row(key, "new")); }
  // The source has the value.
  void Move(int from, int to, const std::string& value) {
    const std::string unsent = Image({Value(Int4(to)), kUnchanged});
    Send(ChangeKind::kUpdate, from, unsent, true);
    source_[unsent] = Row(to, value);
  }

  void TakeAll(bool is_idle) {
    while (std::optional<Batch> batch = assembler_->Take(is_idle)) {
      batches_.push_back(*std::move(batch));
    }
  }
  std::vector<std::string> Rows(const Batch& batch) {
    std::vector<std::string> rows;
    for (const Change& change : batch.changes) {
      EXPECT_EQ(change.kind, ChangeKind::kInsert);
      EXPECT_FALSE(change.has_unchanged_toast);
      rows.emplace_back(change.new_row);
    }
    return rows;
  }

  Relation relation_ = KeyedRelation(kTable, "t", {"v"});
  std::deque<std::string> rows_;
  std::map<std::string, std::string> source_;  // by the image that came
  std::optional<Assembler> assembler_;
  std::vector<Batch> batches_;
  std::vector<size_t> taken_when_read_;
};

TEST_F(MovedRowsTest, TheyAreInsertedBehindAllElse) {
  Assembler& assembler = Make();
  ASSERT_TRUE(assembler.OnBegin(Header(kXid, 300)).ok());
  Move(5, 105, "five");
  Insert(120);
  ASSERT_TRUE(assembler.OnCommit(Header(kXid, 300)).ok());
  assembler.AddFrame(Frame());
  TakeAll(true);
  ASSERT_EQ(batches_.size(), 1u);
  EXPECT_EQ(Rows(batches_[0]), (std::vector<std::string>{Row(120, "new"), Row(105, "five")}));
  EXPECT_EQ(batches_[0].end_lsn.value, 300u);
  EXPECT_EQ(batches_[0].transaction_count, 1);
  ASSERT_EQ(batches_[0].transactions.size(), 1u);
  EXPECT_EQ(batches_[0].transactions[0].xid, kXid);
}

TEST_F(MovedRowsTest, ATransactionOfNothingElseIsWholeAsWell) {
  Assembler& assembler = Make();
  ASSERT_TRUE(assembler.OnBegin(Header(kXid, 300)).ok());
  Move(5, 105, "five");
  ASSERT_TRUE(assembler.OnCommit(Header(kXid, 300)).ok());
  assembler.AddFrame(Frame());
  TakeAll(true);
  ASSERT_EQ(batches_.size(), 1u);
  EXPECT_EQ(Rows(batches_[0]), (std::vector<std::string>{Row(105, "five")}));
  ASSERT_EQ(batches_[0].transactions.size(), 1u);
}

TEST_F(MovedRowsTest, WhatIsWholeBeforeItCanBeAppliedMeanwhile) {
  Assembler& assembler = Make();
  ASSERT_TRUE(assembler.OnBegin(Header(60, 200)).ok());
  Insert(120);
  ASSERT_TRUE(assembler.OnCommit(Header(60, 200)).ok());
  assembler.AddFrame(Frame());
  ASSERT_TRUE(assembler.OnBegin(Header(kXid, 300)).ok());
  Move(5, 105, "five");
  ASSERT_TRUE(assembler.OnCommit(Header(kXid, 300)).ok());
  assembler.AddFrame(Frame());
  EXPECT_EQ(taken_when_read_, (std::vector<size_t>{1}));
  TakeAll(true);
  ASSERT_EQ(batches_.size(), 2u);
  EXPECT_EQ(batches_[0].end_lsn.value, 200u);
  EXPECT_EQ(Rows(batches_[1]), (std::vector<std::string>{Row(105, "five")}));
}

TEST_F(MovedRowsTest, LargeOnesPassInParts) {
  Assembler& assembler = Make(1000);
  const std::string large(1500, 'x');
  ASSERT_TRUE(assembler.OnBegin(Header(kXid, 300)).ok());
  for (int i = 0; i < 3; ++i) Move(5 + i, 105 + i, large);
  ASSERT_TRUE(assembler.OnCommit(Header(kXid, 300)).ok());
  // Each is let go before the next is read.
  EXPECT_EQ(taken_when_read_, (std::vector<size_t>{0, 1, 2}));
  assembler.AddFrame(Frame());
  TakeAll(true);
  std::vector<BatchPart> parts;
  std::vector<std::string> rows;
  for (const Batch& batch : batches_) {
    parts.push_back(batch.part);
    for (std::string& row : Rows(batch)) rows.push_back(std::move(row));
  }
  EXPECT_EQ(parts, (std::vector<BatchPart>{BatchPart::kFirst, BatchPart::kMiddle,
                                           BatchPart::kMiddle, BatchPart::kLast}));
  EXPECT_EQ(rows, (std::vector<std::string>{Row(105, large), Row(106, large), Row(107, large)}));
  EXPECT_EQ(batches_.back().transaction_count, 1);
}

TEST_F(MovedRowsTest, OneThatTheSourceHasNoMoreHasTheTableCopiedAgain) {
  Assembler& assembler = Make();
  ASSERT_TRUE(assembler.OnBegin(Header(kXid, 300)).ok());
  Move(5, 105, "five");
  source_.clear();
  absl::Status ended = assembler.OnCommit(Header(kXid, 300));
  EXPECT_EQ(TableToCopyAgain(ended), kTable);
  EXPECT_EQ(ended.code(), absl::StatusCode::kAborted);
  // Nothing of it can be committed: it is not whole.
  EXPECT_TRUE(assembler.is_inside_transaction());
  TakeAll(true);
  EXPECT_TRUE(batches_.empty());
}

}  // namespace
}  // namespace towline
