// Batches that are sent while the answers to the one before are missing, against a real server: as
// applier_server_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "apply/mirror.h"
#include "base/error.h"
#include "model/failed_table.h"

namespace towline {
namespace {

using ::testing::HasSubstr;

std::vector<std::string> Destinations() {
  const char* uri = std::getenv("TOWLINE_TEST_DESTINATION");
  return uri != nullptr ? std::vector<std::string>{uri} : std::vector<std::string>{};
}

class ApplierSendTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    mirror_.Create("t", "(id int PRIMARY KEY, a text)");
    mirror_.Record("t");
  }
  absl::Status Send() { return mirror_.applier().Send(mirror_.TakeBatch()); }
  void SendAll(const std::string& sql) {
    mirror_.Source(sql);
    absl::Status sent = Send();
    ASSERT_TRUE(sent.ok()) << Describe(sent);
  }
  std::string Position() { return mirror_.Value("SELECT position FROM towline_state.task"); }

  Mirror mirror_{GetParam()};
};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ApplierSendTest);
INSTANTIATE_TEST_SUITE_P(Server, ApplierSendTest, testing::ValuesIn(Destinations()));

TEST_P(ApplierSendTest, OneBatchIsCommittedWhenTheNextIsSent) {
  mirror_.Create("bare", "(n int, a text)");
  mirror_.Sql("ALTER TABLE src.bare REPLICA IDENTITY FULL");
  mirror_.Record("bare");
  // COPY, sets, statements, and nothing at all.
  SendAll("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 500) g");
  EXPECT_EQ(Position(), Lsn{1000}.ToString());
  EXPECT_FALSE(mirror_.applier().is_settled());
  SendAll("UPDATE t SET a = 'b' WHERE id < 300; INSERT INTO bare VALUES (1, 'x'), (1, 'x')");
  SendAll("DELETE FROM t WHERE id % 3 = 0; UPDATE bare SET a = 'y' WHERE ctid = '(0,1)'");
  SendAll("DELETE FROM t WHERE id = -1");
  SendAll("INSERT INTO t SELECT g, 'c' FROM generate_series(1000, 1020) g");
  SendAll(
      "UPDATE t SET id = id + 5000; INSERT INTO bare SELECT g, 'z' FROM generate_series(1, 99) g");
  ASSERT_TRUE(mirror_.applier().Settle().ok());
  EXPECT_TRUE(mirror_.applier().is_settled());
  EXPECT_EQ(Position(), mirror_.applier().position().ToString());
  EXPECT_EQ(mirror_.applier().counts().batches, 6);
  for (const char* table : {"t", "bare"}) {
    EXPECT_EQ(mirror_.Rows("dst", table), mirror_.Rows("src", table)) << table;
  }
}

// A COPY, statements, a COPY that waits for statements, a batch that is refused and written again.
TEST_P(ApplierSendTest, AnswersAreTakenWithoutCommitting) {
  EXPECT_TRUE(*mirror_.applier().AwaitAnswers(absl::ZeroDuration()));
  for (const char* sql :
       {"INSERT INTO t SELECT g, 'a' FROM generate_series(1, 500) g",
        "UPDATE t SET a = 'b' WHERE id < 300",
        "UPDATE t SET a = 'c' WHERE id < 300; INSERT INTO t SELECT g, 'd' FROM "
        "generate_series(1000, 1600) g",
        "UPDATE t SET id = id + 20000 WHERE id <= 500; UPDATE t SET id = 20501 - id WHERE id > "
        "20000"}) {
    SendAll(sql);
    for (int i = 0; i < 10'000; ++i) {
      absl::StatusOr<bool> is_done = mirror_.applier().AwaitAnswers(absl::Milliseconds(1));
      ASSERT_TRUE(is_done.ok()) << Describe(is_done.status());
      if (*is_done) break;
      ASSERT_LT(i, 9'999);
    }
    EXPECT_FALSE(mirror_.applier().is_settled());
  }
  ASSERT_TRUE(mirror_.applier().Settle().ok());
  EXPECT_EQ(mirror_.Rows("dst", "t"), mirror_.Rows("src", "t"));
  // What fails is told by what comes next.
  mirror_.Sql("DELETE FROM dst.t WHERE id = 7");
  mirror_.Source("UPDATE t SET a = 'e' WHERE id = 7");
  ASSERT_TRUE(Send().ok());
  for (int i = 0; i < 10'000; ++i) {
    absl::StatusOr<bool> is_done = mirror_.applier().AwaitAnswers(absl::Milliseconds(1));
    if (!is_done.ok() || *is_done) break;
    ASSERT_LT(i, 9'999);
  }
  EXPECT_FALSE(mirror_.applier().Settle().ok());
}

TEST_P(ApplierSendTest, NothingBehindACommitThatFailsHasAnEffect) {
  mirror_.Create("u", "(id int PRIMARY KEY)");
  mirror_.Record("u");
  SendAll("INSERT INTO t VALUES (1, 'a'); INSERT INTO u VALUES (1)");
  ASSERT_TRUE(mirror_.applier().Settle().ok());
  mirror_.Sql(
      "CREATE FUNCTION dst.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this'; "
      "END $$; CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON dst.u DEFERRABLE INITIALLY "
      "DEFERRED "
      "FOR EACH ROW EXECUTE FUNCTION dst.refuse(); ALTER TABLE dst.u ENABLE ALWAYS TRIGGER refuse");
  mirror_.Restart();  // the table was altered behind it
  for (const char* next : {"INSERT INTO t VALUES (3, 'a')",
                           "INSERT INTO t SELECT g, 'a' FROM generate_series(3, 900) g"}) {
    const std::string position = Position();
    mirror_.Source("INSERT INTO u SELECT 1 + count(*) FROM u");
    ASSERT_TRUE(Send().ok());
    mirror_.Source(next);
    absl::Status status = Send();
    if (status.ok()) status = mirror_.applier().Settle();
    EXPECT_THAT(std::string(status.message()), HasSubstr("not this"));
    mirror_.Restart();
    EXPECT_EQ(Position(), position);
    EXPECT_EQ(mirror_.Value("SELECT count(*) FROM dst.t"), "1");
    EXPECT_EQ(mirror_.Value("SELECT count(*) FROM dst.u"), "1");
    mirror_.Sql("DELETE FROM src.t WHERE id > 1; DELETE FROM src.u WHERE id > 1");
    mirror_.Sql("TRUNCATE src.record_t, src.record_u");
  }
}

TEST_P(ApplierSendTest, ACommitThatIsRefusedNamesTheTableThatHasTheTrigger) {
  mirror_.Create("u", "(id int PRIMARY KEY)");
  mirror_.Record("u");
  mirror_.Sql(
      "CREATE FUNCTION dst.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this' "
      "USING ERRCODE = 'check_violation', DETAIL = 'secret'; END $$; CREATE CONSTRAINT TRIGGER "
      "refuse AFTER INSERT ON dst.u DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION "
      "dst.refuse(); ALTER TABLE dst.u ENABLE ALWAYS TRIGGER refuse");
  for (const char* next : {"INSERT INTO t VALUES (3, 'a')",
                           "INSERT INTO t SELECT g, 'a' FROM generate_series(3, 900) g"}) {
    const std::string position = Position();
    SendAll("INSERT INTO t VALUES (2, 'a'); INSERT INTO u VALUES (1)");
    mirror_.Source(next);
    absl::Status status = Send();
    if (status.ok()) status = mirror_.applier().Settle();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status.message();
    EXPECT_THAT(std::string(status.message()), HasSubstr("not this"));
    EXPECT_THAT(GetHint(status), HasSubstr("ALTER TABLE dst.u ENABLE TRIGGER refuse;"));
    ASSERT_TRUE(FailedTableOf(status).has_value());
    EXPECT_EQ(FailedTableOf(status)->name.name, "u");
    mirror_.Restart();
    EXPECT_EQ(Position(), position);
    EXPECT_EQ(mirror_.Value("SELECT type || ' ' || table_name || ' ' || resolution || ' ' || "
                            "sqlstate || ' ' || (message LIKE '%secret') FROM "
                            "towline_state.conflict ORDER BY number DESC LIMIT 1"),
              "constraint_violation u stop 23514 true");
    EXPECT_EQ(mirror_.Value("SELECT count(*) FROM dst.t"), "0");
    mirror_.Sql("TRUNCATE src.t, src.u, src.record_t, src.record_u");
  }
}

TEST_P(ApplierSendTest, ATableThatWasAlteredIsNoticedBeforeTheCommit) {
  for (const char* next : {"INSERT INTO t VALUES (2, 'a')",
                           "INSERT INTO t SELECT g, 'a' FROM generate_series(2, 900) g"}) {
    SendAll("INSERT INTO t VALUES (1, 'a')");
    ASSERT_TRUE(mirror_.applier().Settle().ok());
    const std::string position = Position();
    mirror_.Sql("ALTER TABLE dst.t ADD COLUMN own int");
    mirror_.Source(next);
    absl::Status status = Send();
    if (status.ok()) status = mirror_.applier().Settle();
    EXPECT_EQ(status.code(), absl::StatusCode::kAborted) << status;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("table dst.t of the destination was altered"));
    mirror_.Restart();
    EXPECT_EQ(Position(), position);
    EXPECT_EQ(mirror_.Value("SELECT count(*) FROM dst.t"), "1");
    mirror_.Sql("ALTER TABLE dst.t DROP COLUMN own; TRUNCATE src.t, dst.t, src.record_t");
  }
}

TEST_P(ApplierSendTest, AnotherWriterIsNoticed) {
  for (const char* next : {"INSERT INTO t VALUES (2, 'a')",
                           "INSERT INTO t SELECT g, 'a' FROM generate_series(2, 900) g"}) {
    SendAll("INSERT INTO t VALUES (1, 'a')");
    ASSERT_TRUE(mirror_.applier().Settle().ok());
    mirror_.Sql("UPDATE towline_state.task SET epoch = 4");
    mirror_.Source(next);
    absl::Status status = Send();
    if (status.ok()) status = mirror_.applier().Settle();
    EXPECT_EQ(status.code(), absl::StatusCode::kAborted) << status;
    mirror_.Restart();
    EXPECT_EQ(mirror_.Value("SELECT count(*) FROM dst.t"), "1");
    mirror_.Sql("UPDATE towline_state.task SET epoch = 3; TRUNCATE src.t, dst.t, src.record_t");
  }
}

TEST_P(ApplierSendTest, ARefusedBatchIsDealtWithBeforeTheNext) {
  mirror_.options.policies.conflicts.task.actions.fill(ConflictAction::kSkip);
  SendAll("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 200) g");
  ASSERT_TRUE(mirror_.applier().Settle().ok());
  mirror_.Sql("DELETE FROM dst.t WHERE id = 77");
  SendAll("UPDATE t SET a = 'b'");
  SendAll("UPDATE t SET a = a || 'c' WHERE id > 100");
  SendAll("DELETE FROM t WHERE id = 77");
  SendAll("INSERT INTO t VALUES (77, 'again')");
  ASSERT_TRUE(mirror_.applier().Settle().ok());
  EXPECT_EQ(mirror_.applier().counts().conflicts, 2);
  EXPECT_EQ(mirror_.Rows("dst", "t"), mirror_.Rows("src", "t"));
}

// What was planned for the next batch has gone with it: the table that the refused one was the
// first to bring, and that updates go as updates.
TEST_P(ApplierSendTest, WhatARefusedBatchTeachesHoldsForTheNext) {
  mirror_.options.policies.conflicts.task.actions.fill(ConflictAction::kSkip);
  mirror_.Create("first", "(id int PRIMARY KEY, u int UNIQUE)");
  mirror_.Sql(
      "INSERT INTO src.first SELECT g, g FROM generate_series(1, 20) g; INSERT INTO dst.first "
      "SELECT * FROM src.first");
  mirror_.Record("first");
  for (int i = 0; i < 3; ++i) {
    SendAll("UPDATE first SET u = -u WHERE id < 9; UPDATE first SET u = u + 9 WHERE id < 9");
  }
  ASSERT_TRUE(mirror_.applier().Settle().ok());
  EXPECT_EQ(mirror_.applier().counts().clashes, 1);
  EXPECT_EQ(mirror_.applier().counts().fallbacks, 0);
  EXPECT_EQ(mirror_.Rows("dst", "first"), mirror_.Rows("src", "first"));
}

// A COPY behind statements is left until the next batch is sent.
TEST_P(ApplierSendTest, WhatIsLeftOfABatchIsWrittenOnce) {
  mirror_.options.policies.conflicts.task.actions.fill(ConflictAction::kSkip);
  mirror_.Create("u", "(id int PRIMARY KEY)");
  mirror_.Record("u");
  SendAll("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 200) g");
  const std::string both =
      "UPDATE t SET a = a || 'b'; INSERT INTO u SELECT g FROM generate_series($0, $0 + 99) g; "
      "INSERT INTO t SELECT g, 'c' FROM generate_series(1000 + $0, 1099 + $0) g; UPDATE u SET id = "
      "-id WHERE id = $0";
  for (const char* first : {"100", "200"}) {
    SendAll(absl::StrReplaceAll(both, {{"$0", first}}));
    ASSERT_TRUE(mirror_.applier().Settle().ok());
  }
  mirror_.Sql("DELETE FROM dst.t WHERE id = 77");
  for (const char* first : {"300", "400"}) SendAll(absl::StrReplaceAll(both, {{"$0", first}}));
  SendAll("DELETE FROM t WHERE id = 77");
  ASSERT_TRUE(mirror_.applier().Settle().ok());
  EXPECT_EQ(mirror_.applier().counts().conflicts, 3);
  for (const char* table : {"t", "u"}) {
    EXPECT_EQ(mirror_.Rows("dst", table), mirror_.Rows("src", table)) << table;
  }
}

TEST_P(ApplierSendTest, PartsAreSentOneBehindTheOther) {
  mirror_.options.policies.conflicts.task.actions.fill(ConflictAction::kSkip);
  SendAll("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 200) g");
  ASSERT_TRUE(mirror_.applier().Settle().ok());
  const std::string position = Position();
  mirror_.Sql("DELETE FROM dst.t WHERE id IN (7, 77)");
  Lsn end_lsn;
  auto send = [&](BatchPart part, const std::string& sql) {
    mirror_.Source(sql);
    Batch batch = mirror_.TakeBatch();
    batch.part = part;
    if (part == BatchPart::kFirst) end_lsn = batch.end_lsn;
    batch.end_lsn = end_lsn;
    const absl::Status sent = mirror_.applier().Send(std::move(batch));
    ASSERT_TRUE(sent.ok()) << Describe(sent);
  };
  send(BatchPart::kFirst, "UPDATE t SET a = a || 'b' WHERE id < 50");
  send(BatchPart::kMiddle, "INSERT INTO t SELECT g, 'c' FROM generate_series(1000, 1200) g");
  ASSERT_TRUE(mirror_.applier().Settle().ok());
  EXPECT_TRUE(mirror_.applier().is_settled());
  EXPECT_EQ(Position(), position);
  send(BatchPart::kMiddle, "UPDATE t SET a = a || 'd' WHERE id > 50");
  send(BatchPart::kLast, "DELETE FROM t WHERE id IN (7, 8)");
  EXPECT_EQ(Position(), position);
  SendAll("DELETE FROM t WHERE id IN (77, 78)");
  ASSERT_TRUE(mirror_.applier().Settle().ok());
  EXPECT_EQ(mirror_.applier().counts().conflicts, 4);
  EXPECT_EQ(mirror_.applier().counts().batches, 3);
  EXPECT_EQ(mirror_.Rows("dst", "t"), mirror_.Rows("src", "t"));
}

TEST_P(ApplierSendTest, ABatchThatCannotBeTakenLeavesTheOneBefore) {
  SendAll("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 200) g");
  mirror_.Source("UPDATE t SET a = 'b'");
  Batch batch = mirror_.TakeBatch();
  Relation rewritten = *batch.changes.front().relation;
  rewritten.rewrite_of = 4711;
  for (Change& change : batch.changes) change.relation = &rewritten;
  const absl::Status status = mirror_.applier().Send(std::move(batch));
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  mirror_.Restart();
  EXPECT_EQ(Position(), Lsn{2100}.ToString());
  EXPECT_EQ(mirror_.Value("SELECT count(*) || ' ' || max(a) FROM dst.t"), "200 a");
}

TEST_P(ApplierSendTest, DurableIsNoMoreThanWhatWasAnswered) {
  mirror_.options.durable_interval_max = absl::ZeroDuration();
  SendAll("INSERT INTO t VALUES (1, 'a')");
  EXPECT_EQ(mirror_.applier().durable_lsn().value, 1000u);
  SendAll("INSERT INTO t VALUES (2, 'a')");
  EXPECT_LE(mirror_.applier().durable_lsn(), Lsn::Parse(Position()).value());
  ASSERT_TRUE(mirror_.applier().MakeDurable().ok());
  ASSERT_TRUE(mirror_.applier().Settle().ok());
  EXPECT_EQ(mirror_.applier().durable_lsn().ToString(), Position());
}

}  // namespace
}  // namespace towline
