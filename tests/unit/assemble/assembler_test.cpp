// Assembler: whole transactions, parts of huge ones, what moves the position, and against a naive
// model that everything comes out once and in order. Prepared transactions and what the copy holds
// have files of their own.
#include "assemble/assembler.h"

#include <gtest/gtest.h>

#include <random>

#include "absl/strings/str_cat.h"
#include "assemble/assembler_feeder.h"

namespace towline {
namespace {

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
