// Two-phase commit at the destination.
#include "absl/strings/str_cat.h"
#include "apply/applier_server_test.h"

namespace towline {
namespace {

using ::testing::HasSubstr;

// What state/prepared.h says of gid, row and position, as "gid row position".
class PreparedServerTest : public ApplierServerTest {
 protected:
  void SetUp() override {
    mirror_.Create("t", "(id int PRIMARY KEY, a text)");
    mirror_.Record("t");
    mirror_.Source("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 10) g");
    ApplyAll();
  }
  void Apply(const Batch& batch) {
    absl::Status status = mirror_.Apply(batch);
    ASSERT_TRUE(status.ok()) << Describe(status);
  }
  std::string Gids() {
    return mirror_.Value(
        "SELECT COALESCE(string_agg(gid, ' ' ORDER BY gid), '') FROM pg_prepared_xacts");
  }
  std::string Rows() {
    return mirror_.Value(
        "SELECT COALESCE(string_agg(xid::text || ' ' || source_gid, ', ' ORDER BY xid), '') "
        "FROM towline_state.prepared");
  }
  Lsn Position() {
    return Lsn::Parse(mirror_.Value("SELECT position FROM towline_state.task")).value();
  }
  std::string GidOf(uint64_t xid) {
    return absl::StrCat(
        "towline_mirror_",
        mirror_.Value("SELECT oid FROM pg_database WHERE datname = current_database()"), "_", xid);
  }
};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PreparedServerTest);
INSTANTIATE_TEST_SUITE_P(Server, PreparedServerTest, testing::ValuesIn(Destinations()));

TEST_P(PreparedServerTest, IsHeldPreparedUntilItsEnd) {
  std::string before = mirror_.Rows("dst", "t");
  mirror_.Source("INSERT INTO t VALUES (11, 'p'); DELETE FROM t WHERE id = 1");
  Batch prepare = mirror_.PrepareBatch(900);
  Apply(prepare);
  EXPECT_EQ(Gids(), GidOf(900));
  EXPECT_EQ(Rows(), "900 it's 900");
  EXPECT_EQ(Position(), prepare.end_lsn);
  EXPECT_EQ(mirror_.Rows("dst", "t"), before);
  // Others go on meanwhile, by the same session.
  mirror_.Source("UPDATE t SET a = 'b' WHERE id = 5");
  ApplyAll();
  Batch commit = mirror_.EndBatch(900, true);
  Apply(commit);
  EXPECT_EQ(Gids(), "");
  EXPECT_EQ(Rows(), "");
  EXPECT_EQ(Position(), commit.end_lsn);
  ExpectEqual("t");
}

TEST_P(PreparedServerTest, IsRolledBack) {
  std::string before = mirror_.Rows("dst", "t");
  mirror_.Source("INSERT INTO t VALUES (11, 'p')");
  Apply(mirror_.PrepareBatch(900));
  Apply(mirror_.EndBatch(900, false));
  EXPECT_EQ(Gids(), "");
  EXPECT_EQ(Rows(), "");
  EXPECT_EQ(mirror_.Rows("dst", "t"), before);
}

TEST_P(PreparedServerTest, PassesInParts) {
  mirror_.Source("INSERT INTO t SELECT g, 'p' FROM generate_series(100, 299) g");
  Batch whole = mirror_.PrepareBatch(900);
  std::vector<Change> changes = std::move(whole.changes);
  const BatchPart parts[] = {BatchPart::kFirst, BatchPart::kMiddle, BatchPart::kLast};
  for (size_t i = 0; i < 3; ++i) {
    Batch part;
    part.part = parts[i];
    part.two_phase = TwoPhase::kPrepare;
    part.prepared_xid = 900;
    part.prepared_gid = whole.prepared_gid;
    part.end_lsn = whole.end_lsn;
    for (size_t change = i; change < changes.size(); change += 3) {
      part.changes.push_back(changes[change]);
    }
    part.transactions.push_back({0, 900, whole.end_lsn});
    EXPECT_EQ(Gids(), "");
    Apply(part);
  }
  EXPECT_EQ(Gids(), GidOf(900));
  Apply(mirror_.EndBatch(900, true));
  ExpectEqual("t");
}

// Each state that a crash can leave, met by what the stream then brings again.
TEST_P(PreparedServerTest, PrepareThatWasNotNotedIsTakenForDone) {
  mirror_.Source("INSERT INTO t VALUES (11, 'p')");
  Batch prepare = mirror_.PrepareBatch(900);
  Lsn before = Position();
  Apply(prepare);
  // As if the position's transaction had been lost: the gid is there, row and position are not.
  mirror_.Restart();
  mirror_.Sql(
      absl::StrCat("DELETE FROM towline_state.prepared; UPDATE towline_state.task SET "
                   "position = '",
                   before.ToString(), "'"));
  Apply(prepare);
  EXPECT_EQ(Gids(), GidOf(900));
  EXPECT_EQ(Rows(), "900 it's 900");
  EXPECT_EQ(Position(), prepare.end_lsn);
  Apply(mirror_.EndBatch(900, true));
  ExpectEqual("t");
}

TEST_P(PreparedServerTest, EndThatWasNotNotedIsTakenForDone) {
  for (bool is_commit : {true, false}) {
    SCOPED_TRACE(is_commit);
    mirror_.Source(absl::StrCat("INSERT INTO t VALUES (", is_commit ? 11 : 12, ", 'p')"));
    Batch prepare = mirror_.PrepareBatch(900);
    Apply(prepare);
    mirror_.Restart();
    mirror_.Sql(absl::StrCat(is_commit ? "COMMIT" : "ROLLBACK", " PREPARED '", GidOf(900), "'"));
    std::string rows = mirror_.Rows("dst", "t");
    if (is_commit) {
      // One that comes late is sent again with its end; it must not be applied twice.
      Apply(prepare);
      EXPECT_EQ(Gids(), "");
      EXPECT_EQ(Rows(), "900 it's 900");
    }
    Batch end = mirror_.EndBatch(900, is_commit);
    Apply(end);
    EXPECT_EQ(Rows(), "");
    EXPECT_EQ(Position(), end.end_lsn);
    EXPECT_EQ(mirror_.Rows("dst", "t"), rows);
  }
}

TEST_P(PreparedServerTest, EndThatSomebodyElseMadeOtherwiseStops) {
  for (bool is_commit : {true, false}) {
    SCOPED_TRACE(is_commit);
    uint64_t xid = is_commit ? 900 : 901;
    mirror_.Source(absl::StrCat("INSERT INTO t VALUES (", xid, ", 'p')"));
    Batch prepare = mirror_.PrepareBatch(xid);
    Apply(prepare);
    mirror_.Restart();
    mirror_.Sql(absl::StrCat(is_commit ? "ROLLBACK" : "COMMIT", " PREPARED '", GidOf(xid), "'"));
    Lsn position = Position();
    absl::Status status = mirror_.Apply(mirror_.EndBatch(xid, is_commit));
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(GidOf(xid)));
    EXPECT_EQ(Position(), position);
    mirror_.Restart();
    if (is_commit) {
      EXPECT_EQ(mirror_.Apply(prepare).code(), absl::StatusCode::kDataLoss);
      mirror_.Restart();
    }
  }
}

TEST_P(PreparedServerTest, WhatHoldsNothingForUsIsNotedAndEnds) {
  for (bool is_commit : {true, false}) {
    Batch prepare = mirror_.PrepareBatch(900);
    Apply(prepare);
    EXPECT_EQ(Gids(), "");
    EXPECT_EQ(Rows(), "900 it's 900");
    EXPECT_EQ(Position(), prepare.end_lsn);
    mirror_.Restart();
    Apply(prepare);
    Batch end = mirror_.EndBatch(900, is_commit);
    Apply(end);
    EXPECT_EQ(Rows(), "");
    EXPECT_EQ(Position(), end.end_lsn);
  }
  ExpectEqual("t");
}

TEST_P(PreparedServerTest, CommitWithoutItsPrepareStops) {
  Batch rollback = mirror_.EndBatch(777, false);
  Apply(rollback);
  EXPECT_EQ(Position(), rollback.end_lsn);
  EXPECT_EQ(mirror_.Apply(mirror_.EndBatch(777, true)).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Position(), rollback.end_lsn);
  mirror_.Restart();
  mirror_.options.misses_prepares = true;
  Batch commit = mirror_.EndBatch(777, true);
  Apply(commit);
  EXPECT_EQ(Position(), commit.end_lsn);
}

TEST_P(PreparedServerTest, AnotherEpochPreparesAndCommitsNothing) {
  mirror_.Source("INSERT INTO t VALUES (11, 'p')");
  Batch first = mirror_.PrepareBatch(900);
  Apply(first);
  mirror_.Source("INSERT INTO t VALUES (12, 'p')");
  Batch second = mirror_.PrepareBatch(901);
  mirror_.Sql("UPDATE towline_state.task SET epoch = epoch + 1");
  EXPECT_EQ(mirror_.Apply(second).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Gids(), GidOf(900));
  mirror_.Restart();
  mirror_.Sql("UPDATE towline_state.task SET epoch = epoch - 1");
  mirror_.applier();
  mirror_.Sql("UPDATE towline_state.task SET epoch = epoch + 1");
  EXPECT_EQ(mirror_.Apply(mirror_.EndBatch(900, true)).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Gids(), GidOf(900));
}

// A successor has to wait for a writer that has looked at the epoch and not prepared yet.
TEST_P(PreparedServerTest, TakeoverWaitsForAPrepareUnderWay) {
  mirror_.Source("INSERT INTO t VALUES (11, 'p')");
  Batch first = mirror_.PrepareBatch(900);
  first.part = BatchPart::kFirst;
  Apply(first);
  const char* try_lock =
      "SELECT pg_try_advisory_lock(hashtextextended('towline prepare mirror', 0))";
  EXPECT_EQ(mirror_.Value(try_lock), "f");
  Batch last = mirror_.EndBatch(900, true);
  last.two_phase = TwoPhase::kPrepare;
  last.part = BatchPart::kLast;
  Apply(last);
  EXPECT_EQ(Gids(), GidOf(900));
  EXPECT_EQ(mirror_.Value(try_lock), "t");
  mirror_.Sql("SELECT pg_advisory_unlock_all()");
}

// The row that another transaction means by its values may be any of the equal ones, but the
// prepared one has locked the first.
TEST_P(PreparedServerTest, EqualRowsWithoutKeyDoNotMeet) {
  mirror_.Create("k", "(a int)");
  mirror_.Sql("ALTER TABLE src.k REPLICA IDENTITY FULL");
  mirror_.Record("k");
  mirror_.Source("INSERT INTO k SELECT 1 FROM generate_series(1, 4)");
  ApplyAll();
  const char* one_row = "WHERE ctid = (SELECT min(ctid) FROM k WHERE a = 1)";
  mirror_.Source(absl::StrCat("DELETE FROM k ", one_row));
  Apply(mirror_.PrepareBatch(900));
  for (int i = 0; i < 2; ++i) {
    if (i == 1) mirror_.Restart();
    mirror_.Source(absl::StrCat(i == 0 ? "DELETE FROM k " : "UPDATE k SET a = 2 ", one_row));
    ApplyAll();
  }
  Apply(mirror_.EndBatch(900, true));
  ExpectEqual("k");
}

TEST_P(PreparedServerTest, ConflictStopsAsAnywhere) {
  mirror_.Sql("INSERT INTO dst.t VALUES (11, 'in the way')");
  mirror_.Source("INSERT INTO t VALUES (11, 'p')");
  absl::Status status = mirror_.Apply(mirror_.PrepareBatch(900));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("insert_exists"));
  mirror_.Restart();
  EXPECT_EQ(Gids(), "");
  EXPECT_EQ(mirror_.Value("SELECT type FROM towline_state.conflict"), "insert_exists");
}

}  // namespace
}  // namespace towline
