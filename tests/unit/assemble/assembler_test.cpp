// Assembler: whole transactions, parts of huge ones, what is dropped, what moves the position, and
// against a naive model that everything comes out once and in order.
#include "assemble/assembler.h"

#include <gtest/gtest.h>

#include <random>

#include "absl/strings/str_cat.h"

namespace towline {
namespace {

Frame MakeFrame(size_t bytes) {
  Frame frame;
  frame.buffer.reset(static_cast<char*>(std::malloc(bytes)));
  frame.bytes = {frame.buffer.get(), bytes};
  return frame;
}

TransactionHeader Header(uint64_t xid, uint64_t end_lsn) {
  TransactionHeader header;
  header.xid = xid;
  header.commit_lsn = {end_lsn - 5};
  header.end_lsn = {end_lsn};
  header.commit_time_us = static_cast<int64_t>(end_lsn) * 10;
  return header;
}

Assembler::Options Limits(int64_t bytes, int64_t rows) {
  Assembler::Options options;
  options.batch_bytes_max = bytes;
  options.batch_rows_max = rows;
  options.position = {100};
  return options;
}

// Sends a transaction whose changes carry their number as the bytes of the row; a frame per
// `changes_per_frame`. Returns the batches that were due meanwhile.
class Feeder {
 public:
  explicit Feeder(Assembler* assembler) : assembler_(assembler) {}

  void Send(const TransactionHeader& header, int changes, int changes_per_frame = 1,
            size_t frame_bytes = 10) {
    ASSERT_TRUE(assembler_->OnBegin(header).ok());
    int sent = 0;
    while (sent < changes) {
      for (int i = 0; i < changes_per_frame && sent < changes; ++i, ++sent) {
        rows_.push_back(absl::StrCat(header.xid, ".", sent));
        Change change;
        change.new_row = rows_.back();
        ASSERT_TRUE(assembler_->OnChange(std::move(change)).ok());
      }
      if (sent == changes) break;
      assembler_->AddFrame(MakeFrame(frame_bytes));
      TakeAll(false);
    }
    ASSERT_TRUE(assembler_->OnCommit(header).ok());
    assembler_->AddFrame(MakeFrame(frame_bytes));
    TakeAll(false);
  }

  void TakeAll(bool is_idle) {
    while (auto batch = assembler_->Take(is_idle)) batches.push_back(*std::move(batch));
  }

  std::vector<std::string> Rows() const {
    std::vector<std::string> rows;
    for (const Batch& batch : batches) {
      for (const Change& change : batch.changes) rows.emplace_back(change.new_row);
    }
    return rows;
  }

  std::vector<Batch> batches;

 private:
  Assembler* assembler_;
  std::deque<std::string> rows_;
};

TEST(AssemblerTest, WhatCameBeforeANewDescriptionIsABatchOfItsOwn) {
  Assembler assembler(Limits(1000, 1000));
  Relation before;
  Relation after;
  Relation other;
  before.name = after.name = {"s", "t"};
  other.name = {"s", "o"};
  uint64_t end_lsn = 200;
  auto send = [&](std::vector<const Relation*> relations) {
    TransactionHeader header = Header(end_lsn, end_lsn);
    end_lsn += 100;
    ASSERT_TRUE(assembler.OnBegin(header).ok());
    for (const Relation* relation : relations) {
      Change change;
      change.relation = relation;
      ASSERT_TRUE(assembler.OnChange(std::move(change)).ok());
    }
    ASSERT_TRUE(assembler.OnCommit(header).ok());
    assembler.AddFrame(MakeFrame(10));
  };
  send({&before});
  send({&other, &before});
  EXPECT_FALSE(assembler.Take(false).has_value());
  send({&other, &after, &after});
  std::optional<Batch> batch = assembler.Take(false);
  ASSERT_TRUE(batch.has_value());
  EXPECT_EQ(batch->changes.size(), 3u);
  EXPECT_EQ(batch->frames.size(), 2u);
  EXPECT_EQ(batch->end_lsn.value, 300u);
  send({&after, &other});
  EXPECT_FALSE(assembler.Take(false).has_value());
  batch = assembler.Take(true);
  ASSERT_TRUE(batch.has_value());
  EXPECT_EQ(batch->changes.size(), 5u);
  EXPECT_EQ(batch->end_lsn.value, 500u);
}

TEST(AssemblerTest, WholeTransactionsWaitUntilIdle) {
  Assembler assembler(Limits(1000, 1000));
  Feeder feeder(&assembler);
  feeder.Send(Header(7, 200), 2);
  feeder.Send(Header(8, 300), 1);
  EXPECT_TRUE(feeder.batches.empty());
  EXPECT_EQ(assembler.oldest_commit_time_us(), 2000);
  feeder.TakeAll(true);
  ASSERT_EQ(feeder.batches.size(), 1u);
  const Batch& batch = feeder.batches[0];
  EXPECT_EQ(batch.part, BatchPart::kWhole);
  EXPECT_EQ(feeder.Rows(), (std::vector<std::string>{"7.0", "7.1", "8.0"}));
  EXPECT_EQ(batch.end_lsn.value, 300u);
  EXPECT_EQ(batch.transaction_count, 2);
  EXPECT_EQ(batch.frames.size(), 3u);
  EXPECT_EQ(batch.bytes, 30u);
  EXPECT_EQ(batch.oldest_commit_time_us, 2000);
  EXPECT_EQ(batch.newest_commit_time_us, 3000);
  ASSERT_EQ(batch.transactions.size(), 2u);
  EXPECT_EQ(batch.transactions[1].first_change, 2u);
  EXPECT_EQ(batch.transactions[1].xid, 8u);
  EXPECT_EQ(assembler.oldest_commit_time_us(), 0);
}

TEST(AssemblerTest, OpenTransactionStaysBehind) {
  Assembler assembler(Limits(1000, 1000));
  Feeder feeder(&assembler);
  feeder.Send(Header(7, 200), 1);
  ASSERT_TRUE(assembler.OnBegin(Header(8, 300)).ok());
  ASSERT_TRUE(assembler.OnChange({}).ok());
  assembler.AddFrame(MakeFrame(10));
  feeder.TakeAll(true);
  ASSERT_EQ(feeder.batches.size(), 1u);
  EXPECT_EQ(feeder.batches[0].changes.size(), 1u);
  EXPECT_EQ(feeder.batches[0].end_lsn.value, 200u);
  EXPECT_TRUE(assembler.is_inside_transaction());
  EXPECT_EQ(assembler.oldest_commit_time_us(), 3000);
  ASSERT_TRUE(assembler.OnCommit(Header(8, 300)).ok());
  assembler.AddFrame(MakeFrame(10));
  feeder.TakeAll(true);
  ASSERT_EQ(feeder.batches.size(), 2u);
  EXPECT_EQ(feeder.batches[1].changes.size(), 1u);
  EXPECT_EQ(feeder.batches[1].transactions.size(), 1u);
  EXPECT_EQ(feeder.batches[1].transactions[0].first_change, 0u);
}

TEST(AssemblerTest, FullBatchesDoNotWait) {
  Assembler assembler(Limits(1000, 3));
  Feeder feeder(&assembler);
  feeder.Send(Header(7, 200), 2, 2);
  EXPECT_TRUE(feeder.batches.empty());
  feeder.Send(Header(8, 300), 2, 2);
  ASSERT_EQ(feeder.batches.size(), 1u);
  EXPECT_EQ(feeder.batches[0].part, BatchPart::kWhole);
  EXPECT_EQ(feeder.batches[0].changes.size(), 4u);
}

TEST(AssemblerTest, HugeTransactionPassesInParts) {
  Assembler assembler(Limits(1000, 3));
  Feeder feeder(&assembler);
  feeder.Send(Header(7, 200), 1);
  feeder.Send(Header(8, 300), 8);
  feeder.Send(Header(9, 400), 1);
  feeder.TakeAll(true);
  std::vector<BatchPart> parts;
  for (const Batch& batch : feeder.batches) parts.push_back(batch.part);
  EXPECT_EQ(parts, (std::vector<BatchPart>{BatchPart::kWhole, BatchPart::kFirst, BatchPart::kMiddle,
                                           BatchPart::kLast, BatchPart::kWhole}));
  EXPECT_EQ(feeder.batches[1].end_lsn.value, 300u);  // known from the first part on
  EXPECT_EQ(feeder.batches[1].transaction_count, 0);
  EXPECT_EQ(feeder.batches[3].transaction_count, 1);
  EXPECT_EQ(feeder.Rows().size(), 10u);
  for (const Batch& batch : feeder.batches) {
    EXPECT_LE(batch.changes.size(), 3u);
    ASSERT_EQ(batch.transactions.size(), 1u);
    EXPECT_EQ(batch.transactions[0].first_change, 0u);
  }
}

TEST(AssemblerTest, LastPartMayBeEmpty) {
  Assembler assembler(Limits(1000, 2));
  Feeder feeder(&assembler);
  ASSERT_TRUE(assembler.OnBegin(Header(8, 300)).ok());
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(assembler.OnChange({}).ok());
  assembler.AddFrame(MakeFrame(10));
  ASSERT_TRUE(assembler.OnCommit(Header(8, 300)).ok());
  assembler.AddFrame(MakeFrame(10));
  feeder.TakeAll(false);
  ASSERT_EQ(feeder.batches.size(), 2u);
  EXPECT_EQ(feeder.batches[1].part, BatchPart::kLast);
  EXPECT_TRUE(feeder.batches[1].changes.empty());
  EXPECT_EQ(feeder.batches[1].transaction_count, 1);
}

TEST(AssemblerTest, NothingIsTakenWithinATransactionInParts) {
  Assembler assembler(Limits(1000, 2));
  Feeder feeder(&assembler);
  ASSERT_TRUE(assembler.OnBegin(Header(8, 300)).ok());
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(assembler.OnChange({}).ok());
  assembler.AddFrame(MakeFrame(10));
  ASSERT_TRUE(assembler.OnChange({}).ok());
  assembler.AddFrame(MakeFrame(10));
  assembler.OnProgress({290});
  feeder.TakeAll(true);
  ASSERT_EQ(feeder.batches.size(), 1u);
  EXPECT_EQ(feeder.batches[0].part, BatchPart::kFirst);
  EXPECT_EQ(assembler.oldest_commit_time_us(), 3000);
}

TEST(AssemblerTest, BytesLimitToo) {
  Assembler assembler(Limits(25, 1000));
  Feeder feeder(&assembler);
  feeder.Send(Header(7, 200), 2);
  feeder.Send(Header(8, 300), 2);
  ASSERT_EQ(feeder.batches.size(), 1u);
  EXPECT_EQ(feeder.batches[0].end_lsn.value, 200u);
}

TEST(AssemblerTest, TransactionsBeforeThePositionAreDropped) {
  Assembler assembler(Limits(1000, 1000));
  Feeder feeder(&assembler);
  feeder.Send(Header(5, 90), 1);
  feeder.Send(Header(6, 100), 1);
  feeder.TakeAll(true);
  EXPECT_TRUE(feeder.batches.empty());
  feeder.Send(Header(7, 101), 1);
  feeder.TakeAll(true);
  EXPECT_EQ(feeder.Rows(), (std::vector<std::string>{"7.0"}));
}

TEST(AssemblerTest, TransactionsOfTheCopyAreDroppedWholeAndMoveThePosition) {
  Assembler::Options options = Limits(1000, 1000);
  options.boundary = CopyBoundary{{{Snapshot::Parse("10:20:12,15").value(), {500}}}, {}};
  Assembler assembler(options);
  Feeder feeder(&assembler);
  feeder.Send(Header(9, 200), 3);   // below xmin: copied
  feeder.Send(Header(14, 210), 1);  // finished for the snapshot: copied
  feeder.TakeAll(true);
  ASSERT_EQ(feeder.batches.size(), 1u);
  EXPECT_TRUE(feeder.batches[0].changes.empty());
  EXPECT_TRUE(feeder.batches[0].frames.empty());
  EXPECT_EQ(feeder.batches[0].end_lsn.value, 210u);
  feeder.Send(Header(12, 220), 1);  // was running
  feeder.Send(Header(20, 230), 1);  // began later
  feeder.Send(Header(19, 600), 1);  // visible, but beyond lsn_after nothing can be
  feeder.TakeAll(true);
  EXPECT_EQ(feeder.Rows(), (std::vector<std::string>{"12.0", "20.0", "19.0"}));
}

TEST(AssemblerTest, ProgressMovesThePositionBetweenTransactions) {
  Assembler assembler(Limits(1000, 1000));
  Feeder feeder(&assembler);
  assembler.OnProgress({90});
  feeder.TakeAll(true);
  EXPECT_TRUE(feeder.batches.empty());  // nothing new
  assembler.OnProgress({150});
  feeder.TakeAll(true);
  ASSERT_EQ(feeder.batches.size(), 1u);
  EXPECT_EQ(feeder.batches[0].end_lsn.value, 150u);
  feeder.TakeAll(true);
  EXPECT_EQ(feeder.batches.size(), 1u);
  feeder.Send(Header(7, 200), 1);
  assembler.OnProgress({250});
  feeder.TakeAll(true);
  ASSERT_EQ(feeder.batches.size(), 2u);
  EXPECT_EQ(feeder.batches[1].end_lsn.value, 250u);
}

TEST(AssemblerTest, TransactionBehindThePromisedProgressIsAnError) {
  Assembler assembler(Limits(1000, 1000));
  assembler.OnProgress({300});
  EXPECT_EQ(assembler.OnBegin(Header(7, 250)).code(), absl::StatusCode::kDataLoss);
}

TEST(AssemblerTest, SplicedRowsKeepTheirAddress) {
  Assembler assembler(Limits(1000, 1000));
  Feeder feeder(&assembler);
  feeder.Send(Header(7, 200), 1);
  ASSERT_TRUE(assembler.OnBegin(Header(8, 300)).ok());
  Change change;
  change.new_row = assembler.KeepSplicedRow("short");
  const char* address = change.new_row.data();
  ASSERT_TRUE(assembler.OnChange(std::move(change)).ok());
  assembler.AddFrame(MakeFrame(10));
  feeder.TakeAll(true);  // moves the open transaction to another batch
  ASSERT_TRUE(assembler.OnCommit(Header(8, 300)).ok());
  assembler.AddFrame(MakeFrame(10));
  feeder.TakeAll(true);
  ASSERT_EQ(feeder.batches.size(), 2u);
  EXPECT_EQ(feeder.batches[1].spliced_rows.front(), "short");
  EXPECT_EQ(feeder.batches[1].changes[0].new_row.data(), address);
  EXPECT_EQ(feeder.batches[1].spliced_rows.front().data(), address);
}

TEST(AssemblerTest, FramesWithoutChangesAreNotKept) {
  Assembler assembler(Limits(1000, 1000));
  ASSERT_TRUE(assembler.OnBegin(Header(8, 300)).ok());
  for (int i = 0; i < 50; ++i) assembler.AddFrame(MakeFrame(100));  // pieces of one value
  EXPECT_FALSE(assembler.Take(true).has_value());
}

TransactionHeader Prepared(uint64_t xid, uint64_t end_lsn) {
  TransactionHeader header = Header(xid, end_lsn);
  header.gid = absl::StrCat("it's ", xid);
  return header;
}

TEST(AssemblerTest, PreparedTransactionIsABatchOfItsOwn) {
  Assembler assembler(Limits(1000, 1000));
  Feeder feeder(&assembler);
  feeder.Send(Header(7, 200), 1);
  feeder.Send(Prepared(8, 300), 2);
  feeder.Send(Header(9, 400), 1);
  feeder.TakeAll(true);
  ASSERT_EQ(feeder.batches.size(), 3u);
  EXPECT_EQ(feeder.batches[0].two_phase, TwoPhase::kNone);
  EXPECT_EQ(feeder.batches[0].end_lsn.value, 200u);
  const Batch& batch = feeder.batches[1];
  EXPECT_EQ(batch.two_phase, TwoPhase::kPrepare);
  EXPECT_EQ(batch.part, BatchPart::kWhole);
  EXPECT_EQ(batch.changes.size(), 2u);
  EXPECT_EQ(batch.frames.size(), 2u);
  EXPECT_EQ(batch.end_lsn.value, 300u);
  EXPECT_EQ(batch.prepared_xid, 8u);
  EXPECT_EQ(batch.prepared_gid, "it's 8");
  EXPECT_EQ(batch.transaction_count, 0);
  EXPECT_EQ(batch.oldest_commit_time_us, 0);
  EXPECT_EQ(feeder.batches[2].two_phase, TwoPhase::kNone);
  EXPECT_EQ(feeder.batches[2].end_lsn.value, 400u);
}

TEST(AssemblerTest, LargePreparedTransactionPassesInParts) {
  Assembler assembler(Limits(1000, 3));
  Feeder feeder(&assembler);
  feeder.Send(Header(7, 200), 1);
  feeder.Send(Prepared(8, 300), 8);
  ASSERT_EQ(feeder.batches.size(), 4u);
  EXPECT_EQ(feeder.batches[0].changes.size(), 1u);
  EXPECT_EQ(feeder.batches[0].two_phase, TwoPhase::kNone);
  const BatchPart parts[] = {BatchPart::kFirst, BatchPart::kMiddle, BatchPart::kLast};
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(feeder.batches[i + 1].part, parts[i]);
    EXPECT_EQ(feeder.batches[i + 1].two_phase, TwoPhase::kPrepare);
    EXPECT_EQ(feeder.batches[i + 1].prepared_xid, 8u);
    EXPECT_EQ(feeder.batches[i + 1].end_lsn.value, 300u);
  }
}

TEST(AssemblerTest, PreparedTransactionWithoutChangesIsToldToo) {
  Assembler assembler(Limits(1000, 1000));
  Feeder feeder(&assembler);
  feeder.Send(Prepared(8, 300), 0);
  feeder.TakeAll(true);
  ASSERT_EQ(feeder.batches.size(), 1u);
  EXPECT_EQ(feeder.batches[0].two_phase, TwoPhase::kPrepare);
  EXPECT_TRUE(feeder.batches[0].changes.empty());
  EXPECT_EQ(feeder.batches[0].end_lsn.value, 300u);
}

TEST(AssemblerTest, EndsOfPreparedTransactionsKeepTheirPlace) {
  Assembler assembler(Limits(1000, 1000));
  Feeder feeder(&assembler);
  feeder.Send(Header(7, 200), 1);
  ASSERT_TRUE(assembler.OnPreparedEnd(Prepared(5, 300), PreparedFate::kCommitted).ok());
  assembler.AddFrame(MakeFrame(10));
  feeder.Send(Header(9, 400), 1);
  ASSERT_TRUE(assembler.OnPreparedEnd(Prepared(6, 500), PreparedFate::kRolledBack).ok());
  assembler.AddFrame(MakeFrame(10));
  feeder.TakeAll(true);
  ASSERT_EQ(feeder.batches.size(), 4u);
  EXPECT_EQ(feeder.batches[0].end_lsn.value, 200u);
  const Batch& committed = feeder.batches[1];
  EXPECT_EQ(committed.two_phase, TwoPhase::kCommitPrepared);
  EXPECT_EQ(committed.prepared_xid, 5u);
  EXPECT_EQ(committed.end_lsn.value, 300u);
  EXPECT_EQ(committed.transaction_count, 1);
  EXPECT_EQ(committed.oldest_commit_time_us, 3000);
  EXPECT_TRUE(committed.changes.empty());
  EXPECT_EQ(feeder.batches[2].changes.size(), 1u);
  EXPECT_EQ(feeder.batches[3].two_phase, TwoPhase::kRollbackPrepared);
  EXPECT_EQ(feeder.batches[3].prepared_xid, 6u);
  EXPECT_EQ(feeder.batches[3].end_lsn.value, 500u);
  EXPECT_EQ(feeder.batches[3].transaction_count, 0);
  EXPECT_EQ(assembler.OnPreparedEnd(Prepared(6, 450), PreparedFate::kCommitted).code(),
            absl::StatusCode::kDataLoss);
}

TEST(AssemblerTest, EndsBeforeThePositionAreDropped) {
  Assembler assembler(Limits(1000, 1000));
  Feeder feeder(&assembler);
  ASSERT_TRUE(assembler.OnPreparedEnd(Prepared(5, 100), PreparedFate::kCommitted).ok());
  assembler.AddFrame(MakeFrame(10));
  feeder.TakeAll(true);
  EXPECT_TRUE(feeder.batches.empty());
}

// Prepared before two-phase decoding was switched on: it comes with LSNs that were passed long ago,
// directly before its COMMIT PREPARED, and must not be taken for one that was applied.
TEST(AssemblerTest, PreparedTransactionThatComesLateIsNotDropped) {
  Assembler assembler(Limits(1000, 1000));
  Feeder feeder(&assembler);
  feeder.Send(Header(7, 200), 1);
  feeder.Send(Prepared(5, 50), 2);
  EXPECT_EQ(assembler.OnBegin(Header(9, 400)).code(), absl::StatusCode::kDataLoss);

  Assembler again(Limits(1000, 1000));
  Feeder second(&again);
  second.Send(Header(7, 200), 1);
  second.Send(Prepared(5, 50), 2);
  ASSERT_TRUE(again.OnPreparedEnd(Prepared(5, 300), PreparedFate::kCommitted).ok());
  again.AddFrame(MakeFrame(10));
  second.Send(Header(9, 400), 1);
  second.TakeAll(true);
  ASSERT_EQ(second.batches.size(), 4u);
  EXPECT_EQ(second.batches[1].two_phase, TwoPhase::kPrepare);
  EXPECT_EQ(second.batches[1].changes.size(), 2u);
  EXPECT_EQ(second.batches[1].end_lsn.value, 200u);  // where the position stands
  EXPECT_EQ(second.batches[2].two_phase, TwoPhase::kCommitPrepared);
  EXPECT_EQ(second.batches[2].end_lsn.value, 300u);
  EXPECT_EQ(second.batches[3].end_lsn.value, 400u);
}

TEST(AssemblerTest, PreparedTransactionBeforeTheCopyWasPassedIsAnError) {
  Assembler::Options options = Limits(1000, 1000);
  options.boundary = CopyBoundary{{{Snapshot::Parse("20:40:25,30,31").value(), {900}}}, {}};
  Assembler assembler(options);
  EXPECT_EQ(assembler.OnBegin(Prepared(25, 200)).code(), absl::StatusCode::kDataLoss);
}

// Random streams, limits and moments of taking; the model is a list.
TEST(AssemblerTest, EverythingComesOnceAndInOrder) {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937 random(seed);
    auto below = [&random](int limit) { return static_cast<int>(random() % limit); };
    Assembler::Options options = Limits(20 + below(300), 1 + below(30));
    const bool has_prepared = below(2) == 0;
    const Snapshot snapshot = Snapshot::Parse("20:40:25,30,31").value();
    if (!has_prepared) options.boundary = CopyBoundary{{{snapshot, {900}}}, {}};
    Assembler assembler(options);
    Feeder feeder(&assembler);
    std::vector<std::string> expected;
    uint64_t lsn = 60;
    for (int i = 0; i < 60; ++i) {
      lsn += 10 + static_cast<uint64_t>(below(30));
      uint64_t xid = 10 + static_cast<uint64_t>(below(50));
      int changes = below(5) == 0 ? below(100) : below(6);
      bool is_prepared = has_prepared && lsn > 100 && below(3) == 0;
      bool is_visible = !has_prepared && snapshot.IsVisible(xid) && lsn - 5 < 900;
      if (lsn > 100 && !is_visible) {
        for (int change = 0; change < changes; ++change) {
          expected.push_back(absl::StrCat(xid, ".", change));
        }
      }
      feeder.Send(is_prepared ? Prepared(xid, lsn) : Header(xid, lsn), changes, 1 + below(10),
                  static_cast<size_t>(1 + below(40)));
      if (below(3) == 0) assembler.OnProgress({lsn + static_cast<uint64_t>(below(5))});
      if (below(4) == 0) feeder.TakeAll(true);
    }
    feeder.TakeAll(true);
    EXPECT_EQ(feeder.Rows(), expected);
    // Positions rise from batch to batch; parts come in order and alone.
    uint64_t position = 100;
    bool is_in_parts = false;
    int64_t transactions = 0;
    for (const Batch& batch : feeder.batches) {
      bool opens = batch.part == BatchPart::kWhole || batch.part == BatchPart::kFirst;
      EXPECT_EQ(opens, !is_in_parts);
      if (opens) {
        EXPECT_GT(batch.end_lsn.value, position);
      } else {
        EXPECT_EQ(batch.end_lsn.value, position);
      }
      position = batch.end_lsn.value;
      is_in_parts = batch.part == BatchPart::kFirst || batch.part == BatchPart::kMiddle;
      if (batch.two_phase != TwoPhase::kNone) {
        EXPECT_EQ(batch.transactions.size(), batch.changes.empty() ? 0u : 1u);
      }
      transactions += batch.transaction_count;
      for (const TransactionMark& mark : batch.transactions) {
        ASSERT_LT(mark.first_change, batch.changes.size());
        EXPECT_EQ(batch.changes[mark.first_change].new_row.substr(0, 2), absl::StrCat(mark.xid));
      }
    }
    EXPECT_FALSE(is_in_parts);
    EXPECT_GE(position, lsn);
    EXPECT_GT(transactions, 0);
  }
}

// Tables 1 and 2 were copied under snapshots of their own, table 3 has none: it follows the last.
class MixedTest : public testing::Test {
 protected:
  MixedTest() : relations_(4) {
    for (size_t i = 1; i < relations_.size(); ++i) {
      relations_[i].oid = static_cast<Oid>(i);
      relations_[i].name = {"s", absl::StrCat("t", i)};
    }
  }

  static CopyBoundary Boundary() {
    CopyBoundary boundary;
    boundary.snapshots = {{Snapshot::Parse("10:20:12,15").value(), {500}},
                          {Snapshot::Parse("22:30:25").value(), {900}}};
    boundary.of_table = {{1, 0}, {2, 1}};
    return boundary;
  }

  static Assembler::Options With(int64_t bytes, int64_t rows) {
    Assembler::Options options = Limits(bytes, rows);
    options.boundary = Boundary();
    return options;
  }

  Change ChangeOf(ChangeKind kind, size_t table) const {
    Change change;
    change.kind = kind;
    change.relation = &relations_[table];
    return change;
  }

  Change TruncateOf(const std::vector<size_t>& tables) const {
    auto truncated = std::make_shared<std::vector<const Relation*>>();
    for (size_t table : tables) truncated->push_back(&relations_[table]);
    Change change = ChangeOf(ChangeKind::kTruncate, tables[0]);
    change.truncated = std::move(truncated);
    return change;
  }

  // In words, so that a difference can be read: "insert 1", "truncate 1 3".
  static std::string Describe(const Change& change) {
    if (change.kind == ChangeKind::kTruncate) {
      std::string text = "truncate";
      for (const Relation* relation : *change.truncated) absl::StrAppend(&text, " ", relation->oid);
      return text;
    }
    const char* kinds[] = {"insert", "update", "delete"};
    return absl::StrCat(kinds[static_cast<int>(change.kind)], " ", change.relation->oid);
  }

  static std::vector<std::string> Describe(const std::vector<Batch>& batches) {
    std::vector<std::string> texts;
    for (const Batch& batch : batches) {
      for (const Change& change : batch.changes) texts.push_back(Describe(change));
    }
    return texts;
  }

  // One of each kind for each table, and TRUNCATEs of one and of several; what passes.
  std::vector<std::string> Send(uint64_t xid, uint64_t end_lsn = 400) {
    Assembler assembler(With(1000, 1000));
    EXPECT_TRUE(assembler.OnBegin(Header(xid, end_lsn)).ok());
    for (size_t table : {1, 2, 3}) {
      for (ChangeKind kind : {ChangeKind::kInsert, ChangeKind::kUpdate, ChangeKind::kDelete}) {
        EXPECT_TRUE(assembler.OnChange(ChangeOf(kind, table)).ok());
      }
      EXPECT_TRUE(assembler.OnChange(TruncateOf({table})).ok());
    }
    EXPECT_TRUE(assembler.OnChange(TruncateOf({1, 2})).ok());
    EXPECT_TRUE(assembler.OnChange(TruncateOf({3, 1})).ok());
    EXPECT_TRUE(assembler.OnCommit(Header(xid, end_lsn)).ok());
    assembler.AddFrame(MakeFrame(10));
    std::optional<Batch> batch = assembler.Take(true);
    EXPECT_TRUE(batch.has_value());
    EXPECT_EQ(batch->end_lsn.value, end_lsn);
    EXPECT_FALSE(assembler.Take(true).has_value());
    for (const Change& change : batch->changes) {
      if (change.kind != ChangeKind::kTruncate) continue;
      EXPECT_EQ(change.relation, change.truncated->front());
    }
    std::vector<Batch> batches;
    batches.push_back(*std::move(batch));
    return Describe(batches);
  }

  const std::vector<std::string> all_ = {"insert 1",     "update 1",    "delete 1", "truncate 1",
                                         "insert 2",     "update 2",    "delete 2", "truncate 2",
                                         "insert 3",     "update 3",    "delete 3", "truncate 3",
                                         "truncate 1 2", "truncate 3 1"};
  const std::vector<std::string> of_table_1_ = {"insert 1",   "update 1",   "delete 1",
                                                "truncate 1", "truncate 1", "truncate 1"};
  std::vector<Relation> relations_;
};

TEST_F(MixedTest, EachTableIsJudgedByItsOwnSnapshot) {
  EXPECT_TRUE(Send(9).empty());          // both hold it
  EXPECT_EQ(Send(12), of_table_1_);      // running at the first, done at the second
  EXPECT_EQ(Send(21), of_table_1_);      // began between the two
  EXPECT_EQ(Send(25), all_);             // running at both
  EXPECT_EQ(Send(30), all_);             // began behind both
  EXPECT_EQ(Send(9, 600), of_table_1_);  // behind the first's lsn_after nothing is visible in it
  EXPECT_EQ(Send(9, 1000), all_);
}

TEST_F(MixedTest, OfWhichNothingPassesMovesThePositionAndCountsAsATransaction) {
  Assembler assembler(With(1000, 1000));
  ASSERT_TRUE(assembler.OnBegin(Header(21, 400)).ok());
  ASSERT_TRUE(assembler.OnChange(ChangeOf(ChangeKind::kInsert, 2)).ok());
  ASSERT_TRUE(assembler.OnChange(TruncateOf({3, 2})).ok());
  ASSERT_TRUE(assembler.OnCommit(Header(21, 400)).ok());
  assembler.AddFrame(MakeFrame(10));
  std::optional<Batch> batch = assembler.Take(true);
  ASSERT_TRUE(batch.has_value());
  EXPECT_TRUE(batch->changes.empty());
  EXPECT_TRUE(batch->transactions.empty());
  EXPECT_TRUE(batch->frames.empty());
  EXPECT_EQ(batch->transaction_count, 1);
  EXPECT_EQ(batch->end_lsn.value, 400u);
}

TEST_F(MixedTest, RowsPutTogetherForADroppedChangeGoAtOnce) {
  Assembler assembler(With(10'000, 1000));
  ASSERT_TRUE(assembler.OnBegin(Header(21, 400)).ok());
  for (size_t table : {2, 1, 2}) {
    Change change = ChangeOf(ChangeKind::kUpdate, table);
    change.old_row = assembler.KeepSplicedRow(absl::StrCat("old ", table, std::string(1000, 'o')));
    change.new_row = assembler.KeepSplicedRow(absl::StrCat("new ", table, std::string(1000, 'n')));
    ASSERT_TRUE(assembler.OnChange(std::move(change)).ok());
  }
  ASSERT_TRUE(assembler.OnCommit(Header(21, 400)).ok());
  assembler.AddFrame(MakeFrame(10));
  std::optional<Batch> batch = assembler.Take(true);
  ASSERT_TRUE(batch.has_value());
  ASSERT_EQ(batch->changes.size(), 1u);
  EXPECT_EQ(batch->changes[0].old_row.substr(0, 6), "old 1o");
  EXPECT_EQ(batch->changes[0].new_row.substr(0, 6), "new 1n");
  EXPECT_EQ(batch->spliced_rows.size(), 2u);
  EXPECT_EQ(batch->bytes, 2 * 1005u + 10u);
}

// Random transactions of every kind of change, in parts and not; the model asks each change alone.
TEST_F(MixedTest, WhatPassesIsWhatTheTablesSnapshotsDoNotHold) {
  const CopyBoundary boundary = Boundary();
  for (unsigned seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937 random(seed);
    auto below = [&random](int limit) { return static_cast<int>(random() % limit); };
    Assembler assembler(With(20 + below(3000), 1 + below(30)));
    std::vector<Batch> batches;
    std::vector<std::string> expected;
    std::vector<std::string> expected_rows;
    uint64_t lsn = 100;
    for (int i = 0; i < 60; ++i) {
      lsn += 6 + static_cast<uint64_t>(below(25));
      const TransactionHeader header = Header(8 + static_cast<uint64_t>(below(25)), lsn);
      auto passes = [&](size_t table) {
        const CopySnapshot& of = boundary.snapshots[table == 1 ? 0 : 1];
        return header.commit_lsn >= of.lsn_after || !of.snapshot.IsVisible(header.xid);
      };
      ASSERT_TRUE(assembler.OnBegin(header).ok());
      for (int left = below(5) == 0 ? below(80) : below(6); left > 0; --left) {
        const size_t table = 1 + static_cast<size_t>(below(3));
        Change change = ChangeOf(static_cast<ChangeKind>(below(3)), table);
        if (below(6) == 0) {
          change = TruncateOf(below(2) == 0 ? std::vector<size_t>{table}
                                            : std::vector<size_t>{table, 1 + table % 3});
          std::string kept;
          for (const Relation* relation : *change.truncated) {
            if (passes(relation->oid)) absl::StrAppend(&kept, " ", relation->oid);
          }
          if (!kept.empty()) expected.push_back("truncate" + kept);
        } else {
          const std::string row = absl::StrCat(header.xid, "/", lsn, "/", left);
          if (below(3) == 0) change.new_row = assembler.KeepSplicedRow(row);
          if (passes(table)) expected.push_back(Describe(change));
          if (passes(table) && !change.new_row.empty()) expected_rows.push_back(row);
        }
        ASSERT_TRUE(assembler.OnChange(std::move(change)).ok());
        if (below(4) != 0) continue;
        assembler.AddFrame(MakeFrame(static_cast<size_t>(1 + below(40))));
        while (auto batch = assembler.Take(false)) batches.push_back(*std::move(batch));
      }
      ASSERT_TRUE(assembler.OnCommit(header).ok());
      assembler.AddFrame(MakeFrame(10));
      while (auto batch = assembler.Take(below(4) == 0)) batches.push_back(*std::move(batch));
    }
    while (auto batch = assembler.Take(true)) batches.push_back(*std::move(batch));
    EXPECT_EQ(Describe(batches), expected);
    std::vector<std::string> rows;
    size_t spliced = 0;
    for (const Batch& batch : batches) {
      spliced += batch.spliced_rows.size();
      for (const Change& change : batch.changes) {
        if (!change.new_row.empty()) rows.emplace_back(change.new_row);
      }
    }
    EXPECT_EQ(rows, expected_rows);
    EXPECT_EQ(spliced, expected_rows.size());
    ASSERT_FALSE(batches.empty());
    EXPECT_EQ(batches.back().end_lsn.value, lsn);
  }
}

TEST_F(MixedTest, ARewriteIsToldOfTablesThatItIsNewsFor) {
  Assembler::Options options = With(1000, 1000);
  std::vector<std::string> told;
  options.on_rewrite = [&told](const TableName& table) { told.push_back(table.name); };
  Assembler assembler(std::move(options));
  auto rewrite = [&](uint64_t xid, uint64_t end_lsn) {
    ASSERT_TRUE(assembler.OnBegin(Header(xid, end_lsn)).ok());
    ASSERT_TRUE(assembler.OnRewrite({"s", "t1"}, 1).ok());
    ASSERT_TRUE(assembler.OnRewrite({"s", "t2"}, 2).ok());
    ASSERT_TRUE(assembler.OnCommit(Header(xid, end_lsn)).ok());
    assembler.AddFrame(MakeFrame(10));
  };
  rewrite(40, 50);  // applied before
  EXPECT_TRUE(told.empty());
  rewrite(21, 400);  // the second snapshot holds it
  EXPECT_EQ(told, std::vector<std::string>{"t1"});
  rewrite(41, 950);
  EXPECT_EQ(told, (std::vector<std::string>{"t1", "t1", "t2"}));
  // It writes nothing, and the position passes it.
  std::optional<Batch> batch = assembler.Take(true);
  ASSERT_TRUE(batch.has_value());
  EXPECT_TRUE(batch->changes.empty());
  EXPECT_EQ(batch->end_lsn, (Lsn{950}));
}

TEST(AssemblerTest, ADdlCommandIsAPartOfItsOwn) {
  Assembler assembler(Limits(1000, 1000));
  Change change;
  // A transaction before it, whole; then one with a command between rows of the same frame.
  ASSERT_TRUE(assembler.OnBegin(Header(1, 200)).ok());
  ASSERT_TRUE(assembler.OnChange(change).ok());
  ASSERT_TRUE(assembler.OnCommit(Header(1, 200)).ok());
  assembler.AddFrame(MakeFrame(10));
  ASSERT_TRUE(assembler.OnBegin(Header(2, 300)).ok());
  ASSERT_TRUE(assembler.OnChange(change).ok());
  DdlCommand command;
  command.tag = "ALTER TABLE";
  ASSERT_TRUE(assembler.OnDdl(command).ok());
  ASSERT_TRUE(assembler.OnDdl(command).ok());
  ASSERT_TRUE(assembler.OnChange(change).ok());
  ASSERT_TRUE(assembler.OnCommit(Header(2, 300)).ok());
  assembler.AddFrame(MakeFrame(20));

  std::vector<Batch> batches;
  while (std::optional<Batch> batch = assembler.Take(false)) batches.push_back(std::move(*batch));
  ASSERT_EQ(batches.size(), 5u);
  const BatchPart parts[] = {BatchPart::kWhole, BatchPart::kFirst, BatchPart::kMiddle,
                             BatchPart::kMiddle, BatchPart::kLast};
  for (size_t i = 0; i < batches.size(); ++i) {
    const bool is_ddl = i == 2 || i == 3;
    EXPECT_EQ(batches[i].part, parts[i]) << i;
    EXPECT_EQ(batches[i].ddl != nullptr, is_ddl) << i;
    EXPECT_EQ(batches[i].changes.size(), is_ddl ? 0u : 1u) << i;
    EXPECT_EQ(batches[i].end_lsn, (Lsn{i == 0 ? 200u : 300u})) << i;
    ASSERT_EQ(batches[i].transactions.size(), 1u) << i;
    EXPECT_EQ(batches[i].transactions[0].xid, i == 0 ? 1u : 2u);
  }
  // The frame that all parts point into goes with the last.
  EXPECT_EQ(batches[4].frames.size(), 1u);
}

TEST(AssemblerTest, ATransactionOfOneCommandEndsWithAnEmptyPart) {
  Assembler assembler(Limits(1000, 1000));
  ASSERT_TRUE(assembler.OnBegin(Header(2, 300)).ok());
  ASSERT_TRUE(assembler.OnDdl(DdlCommand()).ok());
  ASSERT_TRUE(assembler.OnCommit(Header(2, 300)).ok());
  assembler.AddFrame(MakeFrame(20));
  std::optional<Batch> first = assembler.Take(false);
  std::optional<Batch> last = assembler.Take(false);
  ASSERT_TRUE(first.has_value() && last.has_value());
  EXPECT_EQ(first->part, BatchPart::kFirst);
  EXPECT_NE(first->ddl, nullptr);
  EXPECT_EQ(last->part, BatchPart::kLast);
  EXPECT_EQ(last->transaction_count, 1);
  EXPECT_FALSE(assembler.Take(true).has_value());
}

}  // namespace
}  // namespace towline
