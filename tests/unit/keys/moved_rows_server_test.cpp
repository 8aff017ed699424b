// Rows that have moved without their large values against a real server: what is read again must be
// what the plugin would have sent, of the version that the transaction has left and of no other.
// As keys_server_test.cpp: TOWLINE_TEST_SOURCE.
#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "base/shutdown.h"
#include "decode/decoder.h"
#include "decode/frame_builder.h"
#include "keys/server_source.h"
#include "pg/connection.h"
#include "snapshot/moved_rows.h"

namespace towline {
namespace {

// Updates as rows that have moved, and the images of inserts.
class Collector : public ChangeSink {
 public:
  absl::Status OnBegin(const TransactionHeader& header) override {
    xid_ = writer_ = header.xid;
    return absl::OkStatus();
  }
  void OnSubtransaction(uint64_t xid) override { writer_ = xid; }
  absl::Status OnChange(Change change) override {
    if (change.kind == ChangeKind::kInsert) inserted.emplace_back(change.new_row);
    if (change.kind != ChangeKind::kUpdate) return absl::OkStatus();
    moved.push_back({xid_, writer_, change.relation, "k", std::string(change.new_row)});
    EXPECT_TRUE(change.has_unchanged_toast);
    return absl::OkStatus();
  }
  absl::Status OnDdl(DdlCommand) override { return absl::InternalError("no DDL here"); }
  absl::Status OnRewrite(const TableName&, Oid) override { return absl::OkStatus(); }
  absl::string_view KeepSplicedRow(std::string spliced) override {
    return spliced_.emplace_back(std::move(spliced));
  }
  absl::Status OnCommit(const TransactionHeader&) override { return absl::OkStatus(); }
  absl::Status OnPreparedEnd(const TransactionHeader&, PreparedFate) override {
    return absl::InternalError("nothing is prepared here");
  }

  std::vector<MovedRow> moved;
  std::vector<std::string> inserted;

 private:
  uint64_t xid_ = 0;
  uint64_t writer_ = 0;
  std::deque<std::string> spliced_;
};

struct Stream {
  Decoder decoder;
  std::vector<Frame> frames;
  Collector collector;
};

class MovedRowsServerTest : public testing::TestWithParam<std::string> {
 protected:
  using Verdict = MovedRowReader::Verdict;

  MovedRowsServerTest()
      : options_(Need(ConnectOptions::Parse("source", GetParam()), "URI")), connection_(Connect()) {
    Sql("DROP SCHEMA IF EXISTS moved CASCADE; CREATE SCHEMA moved; CREATE EXTENSION citext SCHEMA "
        "moved; CREATE TYPE moved.state AS ENUM ('on', 'off'); CREATE DOMAIN moved.long AS text");
    Sql("SELECT pg_create_logical_replication_slot('moved', 'towline')");
  }
  ~MovedRowsServerTest() override { Sql("SELECT pg_drop_replication_slot('moved')"); }

  Connection Connect() {
    Connection::Purpose purpose;
    purpose.application_name = "towline test";
    return Need(Connection::Open(options_, purpose, shutdown_), "connect");
  }
  void Sql(const std::string& sql) { Need(connection_.Exec(sql), sql); }

  // moved.t (k, v, ...), with a row of large values.
  void Make(const std::string& columns, const std::string& values, const std::string& external,
            const std::string& key = "bigint") {
    Sql(absl::StrCat("CREATE TABLE moved.t (k ", key, " PRIMARY KEY, v int, ", columns, ")"));
    for (absl::string_view column : absl::StrSplit(external, ' ')) {
      Sql(absl::StrCat("ALTER TABLE moved.t ALTER ", column, " SET STORAGE EXTERNAL"));
    }
    Sql(absl::StrCat("INSERT INTO moved.t VALUES (1, 1, ", values, ")"));
  }
  void MakeOfText() { Make("note text", "repeat('n', 3000)", "note"); }

  std::unique_ptr<Stream> Capture(const std::string& binary = "on", int protocol = 5) {
    auto stream = std::make_unique<Stream>();
    Result rows =
        Need(connection_.Query(absl::StrCat(
                 "SELECT data FROM pg_logical_slot_peek_binary_changes('moved', NULL, NULL, "
                 "'min_protocol', '1', 'max_protocol', '",
                 protocol, "', 'include_tables', 'moved.t', 'binary', '", binary, "')")),
             "peek");
    for (int row = 0; row < rows.row_count(); ++row) {
      stream->frames.push_back(MakeFrame(absl::HexStringToBytes(rows.GetString(row, 0).substr(2))));
    }
    for (const Frame& frame : stream->frames) {
      absl::Status status = stream->decoder.Decode(frame, stream->collector);
      EXPECT_TRUE(status.ok()) << status;
    }
    return stream;
  }

  MovedRowReader::Answer Read(const MovedRow& moved, TableRules rules = {}) {
    MovedRows reader({options_, "test", std::move(rules)}, shutdown_);
    return Need(reader.Read(moved), "read");
  }
  // Of the only row that has moved, as the source is by now.
  Verdict ReadNow(TableRules rules = {}) {
    std::unique_ptr<Stream> stream = Capture();
    EXPECT_EQ(stream->collector.moved.size(), 1u);
    return Read(stream->collector.moved.at(0), std::move(rules)).verdict;
  }
  void Move() { Sql("UPDATE moved.t SET k = 2, v = 2 WHERE k = 1"); }

  Shutdown shutdown_;
  ConnectOptions options_;
  Connection connection_;
};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(MovedRowsServerTest);
INSTANTIATE_TEST_SUITE_P(Server, MovedRowsServerTest, testing::ValuesIn(Sources()));

TEST_P(MovedRowsServerTest, ValuesAreAsTheStreamWouldHaveBroughtThem) {
  // citext[] goes as text, whatever is asked for.
  Make(
      "note text, bytes bytea, more int, doc jsonb, words moved.citext[], numbers numeric[], "
      "amount numeric, long moved.long",
      "repeat('é', 2000), decode(repeat('00ff', 2000), 'hex'), 7, "
      "jsonb_build_object('a', repeat('\"', 3000)), ARRAY[repeat('W,', 2000), NULL, '\"'], "
      "(SELECT array_agg(i / 7.0) FROM generate_series(1, 500) i), "
      "repeat('123456789', 1000)::numeric, repeat('l', 3000)",
      "note bytes doc words numbers amount long");
  Move();
  for (const char* binary : {"on", "basic", "off"}) {
    SCOPED_TRACE(binary);
    std::unique_ptr<Stream> stream = Capture(binary);
    ASSERT_EQ(stream->collector.moved.size(), 1u);
    ASSERT_EQ(stream->collector.inserted.size(), 1u);
    const MovedRow& moved = stream->collector.moved[0];
    MovedRowReader::Answer answer = Read(moved);
    ASSERT_EQ(answer.verdict, Verdict::kRead);
    const int count = static_cast<int>(moved.relation->sent.size());
    RowImageFacts facts;
    ASSERT_TRUE(CheckRowImage(answer.row, count, &facts).ok());
    EXPECT_FALSE(facts.has_unchanged_toast);
    RowReader came(moved.row);
    RowReader read(answer.row);
    RowReader inserted(stream->collector.inserted[0]);
    int unsent = 0;
    for (int i = 0; i < count; ++i) {
      const Field field = came.Next();
      const Field now = read.Next();
      const Field then = inserted.Next();
      ASSERT_EQ(now.kind, FieldKind::kValue);
      const bool is_unsent = field.kind == FieldKind::kUnchangedToast;
      unsent += is_unsent ? 1 : 0;
      EXPECT_TRUE(now.bytes == (is_unsent ? then : field).bytes) << "field " << i;
    }
    EXPECT_EQ(unsent, 7);
  }
}

TEST_P(MovedRowsServerTest, AnyKeyFindsItsRow) {
  for (const char* key :
       {"int2", "numeric", "moved.long COLLATE \"C\"", "char(12) COLLATE \"C\""}) {
    SCOPED_TRACE(key);
    Sql("DROP TABLE IF EXISTS moved.t; SELECT pg_drop_replication_slot('moved')");
    Make("note text", "repeat('n', 3000)", "note", key);
    Sql("SELECT pg_create_logical_replication_slot('moved', 'towline')");
    Sql("UPDATE moved.t SET k = '2', v = 2");
    for (const char* binary : {"on", "off"}) {
      std::unique_ptr<Stream> stream = Capture(binary);
      ASSERT_EQ(stream->collector.moved.size(), 1u);
      EXPECT_EQ(Read(stream->collector.moved[0]).verdict, Verdict::kRead) << binary;
    }
  }
}

TEST_P(MovedRowsServerTest, WhatDoesNotMakeAnotherVersion) {
  MakeOfText();
  Move();
  Sql("BEGIN; SELECT 1 FROM moved.t FOR UPDATE; COMMIT");
  EXPECT_EQ(ReadNow(), Verdict::kRead);
  Sql("VACUUM FREEZE moved.t");
  EXPECT_EQ(ReadNow(), Verdict::kRead);
  Sql("VACUUM FULL moved.t");
  EXPECT_EQ(ReadNow(), Verdict::kRead);
  Sql("ALTER TABLE moved.t RENAME TO u");
  EXPECT_EQ(ReadNow(), Verdict::kRead);
}

TEST_P(MovedRowsServerTest, AnotherVersionIsNotTaken) {
  MakeOfText();
  Move();
  Sql("BEGIN; UPDATE moved.t SET v = 3; ROLLBACK");
  EXPECT_EQ(ReadNow(), Verdict::kRead);
  std::unique_ptr<Stream> stream = Capture();
  const MovedRow& moved = stream->collector.moved.at(0);
  Sql("UPDATE moved.t SET v = 3");
  EXPECT_EQ(Read(moved).verdict, Verdict::kGone);
  Sql("DELETE FROM moved.t");
  EXPECT_EQ(Read(moved).verdict, Verdict::kGone);
  Sql("DROP TABLE moved.t");
  EXPECT_EQ(Read(moved).verdict, Verdict::kGone);
}

TEST_P(MovedRowsServerTest, WhatASubtransactionHasWrittenIsItsOwn) {
  MakeOfText();
  Sql("BEGIN; SAVEPOINT a; INSERT INTO moved.t VALUES (7, 7, 'n'); SAVEPOINT b; "
      "UPDATE moved.t SET k = 2, v = 2 WHERE k = 1; RELEASE b; INSERT INTO moved.t VALUES (8, 8, "
      "'n'); "
      "RELEASE a; INSERT INTO moved.t VALUES (9, 9, 'n'); COMMIT");
  // Version 13 does not tell the plugin.
  const bool is_told = connection_.server_version() >= 140000;
  EXPECT_EQ(ReadNow(), is_told ? Verdict::kRead : Verdict::kGone);
  std::unique_ptr<Stream> older = Capture("on", /*protocol=*/4);
  EXPECT_EQ(Read(older->collector.moved.at(0)).verdict, Verdict::kGone);
  Sql("UPDATE moved.t SET v = 3 WHERE k = 2");
  std::unique_ptr<Stream> stream = Capture();
  EXPECT_EQ(Read(stream->collector.moved.at(0)).verdict, Verdict::kGone);
}

TEST_P(MovedRowsServerTest, WhatAnotherSubtransactionHasWrittenAgainIsThatOnes) {
  MakeOfText();
  Sql("BEGIN; SAVEPOINT a; UPDATE moved.t SET k = 2, v = 2 WHERE k = 1; RELEASE a; SAVEPOINT b; "
      "UPDATE moved.t SET v = 3 WHERE k = 2; RELEASE b; COMMIT");
  std::unique_ptr<Stream> stream = Capture();
  ASSERT_EQ(stream->collector.moved.size(), 2u);
  EXPECT_EQ(Read(stream->collector.moved[0]).verdict, Verdict::kGone);
  if (connection_.server_version() >= 140000) {
    EXPECT_EQ(Read(stream->collector.moved[1]).verdict, Verdict::kRead);
  }
}

TEST_P(MovedRowsServerTest, OtherColumnsOfTheSameNameAreNotTaken) {
  Make("note text, other text", "repeat('n', 3000), repeat('o', 3000)", "note other");
  Move();
  EXPECT_EQ(ReadNow(), Verdict::kRead);
  Sql("ALTER TABLE moved.t RENAME note TO n; ALTER TABLE moved.t RENAME other TO note; "
      "ALTER TABLE moved.t RENAME n TO other");
  std::unique_ptr<Stream> stream = Capture();
  EXPECT_EQ(Read(stream->collector.moved.at(0)).verdict, Verdict::kGone);
  Sql("ALTER TABLE moved.t DROP note");
  EXPECT_EQ(Read(stream->collector.moved.at(0)).verdict, Verdict::kGone);
}

TEST_P(MovedRowsServerTest, AnotherTypeIsNotTaken) {
  MakeOfText();
  Move();
  Sql("ALTER TABLE moved.t ALTER note TYPE varchar");  // without a rewrite
  EXPECT_EQ(ReadNow(), Verdict::kGone);
}

TEST_P(MovedRowsServerTest, WhatTheCatalogsHaveToTellIsNotTaken) {
  Make("note moved.state[]", "array_fill('on'::moved.state, ARRAY[1000])", "note");
  Move();
  EXPECT_EQ(ReadNow(), Verdict::kGone);
}

TEST_P(MovedRowsServerTest, WhatARuleComputesIsNotTaken) {
  MakeOfText();
  Move();
  TableRule rule;
  rule.has_columns = true;
  rule.columns = {{"k", std::nullopt}, {"note", "upper(note)"}};
  const TableName name{"moved", "t"};
  EXPECT_EQ(ReadNow(TableRules{{name, rule}}), Verdict::kGone);
  rule.columns[1].expression.reset();
  EXPECT_EQ(ReadNow(TableRules{{name, rule}}), Verdict::kRead);
}

TEST_P(MovedRowsServerTest, WhatIsNotSeenYetIsWaitedFor) {
  MakeOfText();
  Move();
  std::unique_ptr<Stream> stream = Capture();
  const MovedRow& moved = stream->collector.moved.at(0);
  Connection other = Connect();
  Need(other.Exec("BEGIN; UPDATE moved.t SET v = 3"), "update");
  MovedRow by_other = moved;
  const std::string xid = Need(other.QueryValue("SELECT pg_current_xact_id()"), "xid");
  ASSERT_TRUE(absl::SimpleAtoi(xid, &by_other.xid));
  by_other.writer = by_other.xid;
  EXPECT_EQ(Read(by_other).verdict, Verdict::kNotYet);
  EXPECT_EQ(Read(moved).verdict, Verdict::kRead);
  Need(other.Exec("LOCK TABLE moved.t IN ACCESS EXCLUSIVE MODE"), "lock");
  EXPECT_EQ(Read(moved).verdict, Verdict::kNotYet);
  Need(other.Exec("COMMIT"), "commit");
  EXPECT_EQ(Read(by_other).verdict, Verdict::kRead);
  EXPECT_EQ(Read(moved).verdict, Verdict::kGone);
}

}  // namespace
}  // namespace towline
