// Tables with a unique index beside the key: updates stay updates, and rows that are in each
// other's way only while a batch is written pass all the same.
#include "absl/strings/str_cat.h"
#include "apply/applier_server_test.h"
#include "apply/clash_memory.h"

namespace towline {
namespace {

class ClashTest : public ApplierServerTest {
 protected:
  // t (id, u), rows 1 to 10 with u = id, the index on u of some kind.
  void MakeTable(const std::string& unique = "UNIQUE") {
    mirror_.Create("t", absl::StrCat("(id int PRIMARY KEY, u int ", unique, ")"));
    mirror_.Record("t");
    mirror_.Source("INSERT INTO t SELECT g, g FROM generate_series(1, 10) g");
    ApplyAll();
  }
  void Swap() {
    mirror_.Source("UPDATE t SET u = -u WHERE id < 3; UPDATE t SET u = 3 + u WHERE id < 3");
  }
  // What was refused was no conflict.
  void ExpectClashes(int64_t clashes) {
    ExpectEqual("t");
    const Applier::Counts& counts = mirror_.applier().counts();
    EXPECT_EQ(counts.clashes, clashes);
    EXPECT_EQ(counts.fallbacks, 0);
    EXPECT_EQ(counts.conflicts, 0);
    EXPECT_EQ(mirror_.Value("SELECT count(*) FROM towline_state.conflict"), "0");
  }
  std::string ToastBytes() {
    return mirror_.Value(
        "SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE oid = 'dst.t'::regclass");
  }
};

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ClashTest);
INSTANTIATE_TEST_SUITE_P(Server, ClashTest, testing::ValuesIn(Destinations()));

TEST_P(ClashTest, UpdatesLeaveIndexesAndLargeValuesAlone) {
  mirror_.Create("t", "(id int PRIMARY KEY, email text UNIQUE, n int, doc text)");
  mirror_.Sql("ALTER TABLE dst.t ALTER doc SET STORAGE EXTERNAL");
  mirror_.Record("t");
  mirror_.Source(
      "INSERT INTO t SELECT g, 'e' || g, 0, repeat('d', 3000) FROM generate_series(1, 20) g");
  ApplyAll();
  const std::string toast_bytes = ToastBytes();
  EXPECT_NE(toast_bytes, "0");
  mirror_.Source("UPDATE t SET n = n + 1");  // doc is not sent
  ApplyAll();
  ExpectClashes(0);
  EXPECT_EQ(ToastBytes(), toast_bytes);
  mirror_.Restart();  // the session's end tells what it has done, if not at once
  mirror_.Sql(
      "DO $$ BEGIN FOR i IN 1..1200 LOOP PERFORM pg_stat_clear_snapshot(); "
      "EXIT WHEN (SELECT n_tup_upd >= 20 FROM pg_stat_user_tables WHERE relid = "
      "'dst.t'::regclass); PERFORM pg_sleep(0.1); END LOOP; END $$");
  EXPECT_EQ(mirror_.Value("SELECT n_tup_upd || ' ' || n_tup_hot_upd FROM pg_stat_user_tables "
                          "WHERE relid = 'dst.t'::regclass"),
            "20 20");
}

TEST_P(ClashTest, SetsDoNotWriteLargeValuesThatFullSaysAreUnchanged) {
  mirror_.Create("t", "(id int PRIMARY KEY, email text UNIQUE, n int, doc text)");
  mirror_.Sql(
      "ALTER TABLE dst.t ALTER doc SET STORAGE EXTERNAL; ALTER TABLE src.t REPLICA IDENTITY FULL");
  mirror_.Record("t");
  mirror_.Source(
      "INSERT INTO t SELECT g, 'e' || g, 0, repeat('d', 3000) FROM generate_series(1, 100) g");
  ApplyAll();
  const std::string toast_bytes = ToastBytes();
  mirror_.Source("UPDATE t SET n = n + 1; UPDATE t SET email = email || 'x' WHERE id > 50");
  ApplyAll();
  ExpectClashes(0);
  EXPECT_EQ(ToastBytes(), toast_bytes);
  mirror_.Source("UPDATE t SET n = n + 1; UPDATE t SET doc = repeat('e', 3000) WHERE id > 50");
  ApplyAll();
  ExpectClashes(0);
  EXPECT_NE(ToastBytes(), toast_bytes);
}

// A row that was passed over becomes what it should be with its next change.
TEST_P(ClashTest, WherePoliciesSkipLargeValuesAreWritten) {
  mirror_.options.policies.conflicts.task.actions.fill(ConflictAction::kSkip);
  mirror_.Create("t", "(id int PRIMARY KEY, n int, doc text)");
  mirror_.Sql("ALTER TABLE src.t REPLICA IDENTITY FULL");
  mirror_.Record("t");
  mirror_.Source("INSERT INTO t SELECT g, 0, repeat('d', 3000) FROM generate_series(1, 20) g");
  ApplyAll();
  mirror_.Sql("UPDATE dst.t SET doc = 'other' WHERE id > 10");
  mirror_.Source("UPDATE t SET n = n + 1");
  ApplyAll();
  ExpectClashes(0);
}

TEST_P(ClashTest, ValuesThatPassToOtherRowsDoNotClash) {
  MakeTable();
  mirror_.Source(
      "DELETE FROM t WHERE id = 2; UPDATE t SET u = 2 WHERE id = 3; INSERT INTO t VALUES (12, 3); "
      "UPDATE t SET id = 20, u = 0 WHERE id = 4; UPDATE t SET u = 4 WHERE id = 5; "
      "UPDATE t SET u = NULL WHERE id = 6; INSERT INTO t VALUES (16, 6), (15, 5)");
  ApplyAll();
  ExpectClashes(0);
}

TEST_P(ClashTest, RowsThatSwapClashNowAndThen) {
  MakeTable();
  Swap();
  ApplyAll();
  ExpectClashes(1);
  for (int i = 0; i < kClashPauseMin; ++i) {
    Swap();
    ApplyAll();
  }
  ExpectClashes(1);
  EXPECT_EQ(mirror_.Value("SELECT string_agg(u::text, ' ' ORDER BY id) FROM dst.t WHERE id < 3"),
            "2 1");
  // The next try: in two transactions of one batch, and behind it another batch.
  mirror_.Source("UPDATE t SET u = -1 WHERE id = 1; UPDATE t SET u = -2 WHERE id = 2");
  mirror_.Source("UPDATE t SET u = id WHERE u < 0; DELETE FROM t WHERE id = 10");
  ASSERT_TRUE(mirror_.applier().Send(mirror_.TakeBatch()).ok());
  Swap();
  ASSERT_TRUE(mirror_.applier().Send(mirror_.TakeBatch()).ok());
  ASSERT_TRUE(mirror_.applier().Settle().ok());
  ExpectClashes(2);
}

TEST_P(ClashTest, ChainsEndRightInEitherDirection) {
  MakeTable();
  for (const char* loop :
       {"REVERSE 10..1 LOOP UPDATE t SET u = u + 1", "1..10 LOOP UPDATE t SET u = u - 1"}) {
    mirror_.Source(absl::StrCat("DO $$ BEGIN FOR i IN ", loop, " WHERE id = i; END LOOP; END $$"));
    ApplyAll();
    ExpectEqual("t");
    EXPECT_EQ(mirror_.applier().counts().fallbacks, 0);
    mirror_.Restart();  // what clashed is forgotten
  }
}

TEST_P(ClashTest, DeferrableIndexesDoNotClash) {
  MakeTable("UNIQUE DEFERRABLE");
  mirror_.Source("UPDATE t SET u = 11 - u");
  ApplyAll();
  ExpectClashes(0);
}

TEST_P(ClashTest, ExclusionConstraintsClash) {
  mirror_.Sql("CREATE EXTENSION IF NOT EXISTS btree_gist SCHEMA public");
  MakeTable(", EXCLUDE USING gist (u WITH =)");
  Swap();
  ApplyAll();
  ExpectClashes(1);
}

TEST_P(ClashTest, ARowThatIsReferredToIsNotMadeAnew) {
  MakeTable();
  mirror_.Sql(
      "CREATE TABLE dst.child (t int REFERENCES dst.t ON DELETE CASCADE); "
      "INSERT INTO dst.child SELECT id FROM dst.t; "
      "DO $$ DECLARE name text; BEGIN FOR name IN SELECT tgname FROM pg_trigger "
      "WHERE tgrelid = 'dst.t'::regclass LOOP EXECUTE format("
      "'ALTER TABLE dst.t ENABLE ALWAYS TRIGGER %I', name); END LOOP; END $$");
  mirror_.Restart();
  for (int i = 0; i < 2; ++i) {
    Swap();
    ApplyAll();
    ExpectClashes(1);
  }
  mirror_.Source("UPDATE t SET u = 30 WHERE id = 3");
  ApplyAll();
  ExpectClashes(1);
  EXPECT_EQ(mirror_.Value("SELECT count(*) FROM dst.child"), "10");
}

TEST_P(ClashTest, AnIndexThatIsMadeLaterClashes) {
  MakeTable("");
  mirror_.Sql("CREATE UNIQUE INDEX ON dst.t (u)");
  Swap();
  ApplyAll();
  ExpectClashes(1);
}

TEST_P(ClashTest, RowsKeepWhatOnlyTheDestinationHas) {
  MakeTable();
  mirror_.Sql("ALTER TABLE dst.t ADD COLUMN own int; UPDATE dst.t SET own = id");
  mirror_.Restart();
  Swap();
  ApplyAll();
  EXPECT_EQ(mirror_.applier().counts().clashes, 1);
  mirror_.Source("UPDATE t SET u = u + 100");
  ApplyAll();
  EXPECT_EQ(mirror_.Value("SELECT string_agg(id || '=' || u, ' ' ORDER BY id) FROM dst.t"),
            mirror_.Value("SELECT string_agg(id || '=' || u, ' ' ORDER BY id) FROM src.t"));
  EXPECT_EQ(mirror_.Value("SELECT count(*) FROM dst.t WHERE own = id"), "10");
}

TEST_P(ClashTest, APartIsWrittenTwiceAndItsTransactionGoesOn) {
  MakeTable();
  mirror_.Source("INSERT INTO t VALUES (11, 11)");
  Batch first = mirror_.TakeBatch();
  Swap();
  Batch last = mirror_.TakeBatch();
  first.part = BatchPart::kFirst;
  last.part = BatchPart::kLast;
  last.end_lsn = first.end_lsn;
  ASSERT_TRUE(mirror_.Apply(first).ok());
  ASSERT_TRUE(mirror_.Apply(last).ok());
  ExpectClashes(1);
}

TEST_P(ClashTest, AConflictBehindAClashIsFound) {
  mirror_.options.policies.conflicts.task.actions.fill(ConflictAction::kSkip);
  MakeTable();
  mirror_.Sql("DELETE FROM dst.t WHERE id = 9");
  Swap();
  mirror_.Source("UPDATE t SET u = 90 WHERE id = 9");
  ApplyAll();
  const Applier::Counts& counts = mirror_.applier().counts();
  EXPECT_EQ(counts.clashes, 0);
  EXPECT_EQ(counts.fallbacks, 1);
  EXPECT_EQ(counts.conflicts, 1);
  mirror_.Sql("DELETE FROM src.t WHERE id = 9; TRUNCATE src.record_t");
  ExpectEqual("t");
}

// A row of the destination's own is in the way, whatever the order.
TEST_P(ClashTest, AConflictIsNotTakenForAClash) {
  mirror_.options.policies.conflicts.task.actions.fill(ConflictAction::kOverwrite);
  MakeTable();
  mirror_.Sql("INSERT INTO dst.t VALUES (99, 50)");
  mirror_.Source("UPDATE t SET u = 50 WHERE id = 3; UPDATE t SET u = 51 WHERE id = 4");
  ApplyAll();
  const Applier::Counts& counts = mirror_.applier().counts();
  EXPECT_EQ(counts.clashes, 0);
  EXPECT_EQ(counts.fallbacks, 1);
  EXPECT_EQ(counts.conflicts, 1);
  ExpectEqual("t");
  // The table is not tried for a while: it may have had both.
  for (int clashes = 0; clashes < 2; ++clashes) {
    for (int i = 0; i < (clashes == 0 ? kClashPauseMin : 1); ++i) {
      Swap();
      ApplyAll();
    }
    EXPECT_EQ(mirror_.applier().counts().clashes, clashes);
    ExpectEqual("t");
  }
}

}  // namespace
}  // namespace towline
