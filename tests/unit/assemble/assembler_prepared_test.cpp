// Transactions that are sent at their PREPARE, and the ends of such.
#include <gtest/gtest.h>

#include "assemble/assembler.h"
#include "assemble/assembler_feeder.h"

namespace towline {
namespace {

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

}  // namespace
}  // namespace towline
