// Transactions in progress: kept, cut at aborted subtransactions, replayed at their commit; and
// against a naive model that exactly what was not rolled back comes out, in order, whatever runs,
// savepoints and limits there are.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "decode/decoder.h"
#include "decode/frame_builder.h"

namespace towline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Copies at once: frames do not live on.
class CopyingSink final : public ChangeSink {
 public:
  struct Transaction {
    TransactionHeader header;
    std::vector<std::string> rows;
    bool is_committed = false;
  };
  absl::Status OnBegin(const TransactionHeader& header) override {
    transactions.push_back({header, {}});
    return absl::OkStatus();
  }
  void OnSubtransaction(uint64_t xid) override { writers.push_back(xid); }
  absl::Status OnChange(Change change) override {
    std::string row = change.relation->name.name;
    if (change.kind == ChangeKind::kTruncate) {
      absl::StrAppend(&row, " truncated");
    } else {
      RowReader reader(change.new_row);
      for (int i = 0; i < reader.field_count(); ++i)
        absl::StrAppend(&row, " ", reader.Next().bytes);
    }
    transactions.back().rows.push_back(std::move(row));
    return absl::OkStatus();
  }
  absl::Status OnDdl(DdlCommand command) override {
    transactions.back().rows.push_back(command.statement);
    return absl::OkStatus();
  }
  absl::Status OnRewrite(const TableName& table, Oid) override {
    transactions.back().rows.push_back(absl::StrCat(table.name, " rewritten"));
    return absl::OkStatus();
  }
  absl::string_view KeepSplicedRow(std::string row) override {
    spliced_ = std::move(row);
    return spliced_;
  }
  absl::Status OnCommit(const TransactionHeader& header) override {
    EXPECT_EQ(header.xid, transactions.back().header.xid);
    transactions.back().is_committed = true;
    return absl::OkStatus();
  }
  absl::Status OnPreparedEnd(const TransactionHeader& header, PreparedFate) override {
    prepared_ends.push_back(header.xid);
    return absl::OkStatus();
  }

  std::vector<Transaction> transactions;
  std::vector<uint64_t> prepared_ends;
  std::vector<uint64_t> writers;

 private:
  std::string spliced_;
};

std::unique_ptr<Spool> OpenSpool(int64_t memory_max) {
  return Spool::Open({memory_max, 0, testing::TempDir(), "towline-test"}).value();
}

class StreamingTest : public testing::Test {
 protected:
  absl::Status Decode(const FrameBuilder& builder) { return DecodeBytes(builder.Bytes()); }
  absl::Status DecodeBytes(const std::string& bytes) {
    Frame frame = MakeFrame(bytes);
    absl::Status status = decoder_.Decode(frame, sink_);
    while (status.ok() && decoder_.is_replaying()) status = decoder_.Replay(sink_).status();
    return status;
  }
  // Hello and relation 1 by a transaction of its own.
  void Start() {
    ASSERT_TRUE(Decode(FrameBuilder()
                           .Hello(2)
                           .Describe(TextRelation(1, "t", 1, 1))
                           .Begin(500, 500)
                           .Commit(500, 500, 0))
                    .ok());
    sink_.transactions.clear();
  }
  void ExpectRefused(const FrameBuilder& builder, const std::string& text) {
    absl::Status status = Decode(builder);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(text));
  }
  static std::string Row(const std::string& text) { return TextImage({text}); }

  std::unique_ptr<Spool> spool_ = OpenSpool(1 << 20);
  CopyingSink sink_;
  Decoder decoder_{Decoder::Options{.spool = spool_.get()}};
};

TEST_F(StreamingTest, ComesAtItsCommitAndNotBefore) {
  Start();
  ASSERT_TRUE(Decode(FrameBuilder().StreamStart(700, true).Insert(1, Row("a"))).ok());
  ASSERT_TRUE(Decode(FrameBuilder().Insert(1, Row("b")).StreamStop(700)).ok());
  ASSERT_TRUE(
      Decode(FrameBuilder().Begin(701, 1000).Insert(1, Row("x")).Commit(701, 1000, 1)).ok());
  ASSERT_TRUE(
      Decode(FrameBuilder().StreamStart(700, false).Insert(1, Row("c")).StreamStop(700)).ok());
  EXPECT_EQ(spool_->usage().logs, 1);
  ASSERT_TRUE(Decode(FrameBuilder().StreamCommit(700, 2000, 3)).ok());
  ASSERT_EQ(sink_.transactions.size(), 2u);
  EXPECT_EQ(sink_.transactions[0].header.xid, 701u);
  const CopyingSink::Transaction& streamed = sink_.transactions[1];
  EXPECT_EQ(streamed.header.xid, 700u);
  EXPECT_EQ(streamed.header.commit_lsn.value, 2000u);
  EXPECT_EQ(streamed.header.end_lsn.value, 2050u);
  EXPECT_TRUE(streamed.is_committed);
  EXPECT_THAT(streamed.rows, ElementsAre("t a", "t b", "t c"));
  EXPECT_EQ(spool_->usage().logs, 0);
}

TEST_F(StreamingTest, GreetingMayStandBeforeARun) {
  ASSERT_TRUE(Decode(FrameBuilder()
                         .Hello(2)
                         .StreamStart(700, true)
                         .Describe(TextRelation(1, "t", 1, 1))
                         .Insert(1, Row("a"))
                         .StreamStop(700))
                  .ok());
  ASSERT_TRUE(Decode(FrameBuilder().StreamCommit(700, 2000, 1)).ok());
  EXPECT_THAT(sink_.transactions[0].rows, ElementsAre("t a"));
}

TEST_F(StreamingTest, DescriptionsOutliveTheirTransaction) {
  Start();
  ASSERT_TRUE(Decode(FrameBuilder()
                         .StreamStart(700, true)
                         .Describe(TextRelation(2, "u", 1, 1))
                         .Insert(2, Row("a"))
                         .StreamStop(700))
                  .ok());
  ASSERT_TRUE(Decode(FrameBuilder().StreamAbort(700, 700)).ok());
  EXPECT_EQ(spool_->usage().logs, 0);
  ASSERT_TRUE(
      Decode(FrameBuilder().Begin(701, 1000).Insert(2, Row("b")).Commit(701, 1000, 1)).ok());
  ASSERT_EQ(sink_.transactions.size(), 1u);
  EXPECT_THAT(sink_.transactions[0].rows, ElementsAre("u b"));
}

TEST_F(StreamingTest, AbortedSubtransactionsAreCutOff) {
  Start();
  ASSERT_TRUE(Decode(FrameBuilder()
                         .StreamStart(700, true)
                         .Insert(1, Row("a"))
                         .Subtransaction(702)  // a child, before its parent's first change
                         .Insert(1, Row("b"))
                         .Subtransaction(701)
                         .Insert(1, Row("c"))
                         .StreamStop(700))
                  .ok());
  ASSERT_TRUE(
      Decode(FrameBuilder().StreamStart(700, false).Insert(1, Row("d")).StreamStop(700)).ok());
  ASSERT_TRUE(Decode(FrameBuilder().StreamAbort(700, 799)).ok());  // nothing of it was sent
  ASSERT_TRUE(Decode(FrameBuilder().StreamAbort(700, 702)).ok());
  ASSERT_TRUE(Decode(FrameBuilder().StreamAbort(700, 701)).ok());
  ASSERT_TRUE(Decode(FrameBuilder()
                         .StreamStart(700, false)
                         .Subtransaction(703)
                         .Insert(1, Row("e"))
                         .Subtransaction(700)
                         .Truncate({1})
                         .StreamStop(700))
                  .ok());
  ASSERT_TRUE(Decode(FrameBuilder().StreamCommit(700, 2000, 6)).ok());
  EXPECT_THAT(sink_.transactions[0].rows, ElementsAre("t a", "t e", "t truncated"));
  EXPECT_THAT(sink_.writers, ElementsAre(703, 700));
}

TEST_F(StreamingTest, WholeTransactionsNameTheirSubtransactionsFromProtocol5On) {
  auto whole = [] {
    return FrameBuilder().Begin(700, 1000).Subtransaction(701).Commit(700, 1000, 0).Bytes();
  };
  Decoder older(Decoder::Options{});
  ASSERT_TRUE(older.Decode(MakeFrame(FrameBuilder().Hello(4).Bytes()), sink_).ok());
  EXPECT_FALSE(older.Decode(MakeFrame(whole()), sink_).ok());
  Decoder newer(Decoder::Options{});
  ASSERT_TRUE(newer.Decode(MakeFrame(FrameBuilder().Hello(5).Bytes()), sink_).ok());
  ASSERT_TRUE(newer.Decode(MakeFrame(whole()), sink_).ok());
  EXPECT_THAT(sink_.writers, ElementsAre(701));
  EXPECT_FALSE(newer.Decode(MakeFrame(FrameBuilder().Subtransaction(701).Bytes()), sink_).ok());
}

TEST_F(StreamingTest, AllAbortedLeavesAnEmptyTransaction) {
  Start();
  ASSERT_TRUE(Decode(FrameBuilder()
                         .StreamStart(700, true)
                         .Subtransaction(701)
                         .Insert(1, Row("a"))
                         .StreamStop(700))
                  .ok());
  ASSERT_TRUE(Decode(FrameBuilder().StreamAbort(700, 701)).ok());
  ASSERT_TRUE(Decode(FrameBuilder().StreamCommit(700, 2000, 1)).ok());
  ASSERT_EQ(sink_.transactions.size(), 1u);
  EXPECT_TRUE(sink_.transactions[0].is_committed);
  EXPECT_TRUE(sink_.transactions[0].rows.empty());
}

TEST_F(StreamingTest, LargeTransactionsComeInPieces) {
  Start();
  spool_ = OpenSpool(1000);
  Decoder decoder(Decoder::Options{.spool = spool_.get()});
  auto decode = [&](const FrameBuilder& builder) {
    Frame frame = builder.Build();
    return decoder.Decode(frame, sink_);
  };
  ASSERT_TRUE(
      decode(FrameBuilder().Hello(2).StreamStart(700, true).Describe(TextRelation(1, "t", 1, 1)))
          .ok());
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(decode(FrameBuilder().Insert(1, Row(std::string(100'000, 'x')))).ok());
  }
  ASSERT_TRUE(decode(FrameBuilder().StreamStop(700)).ok());
  ASSERT_TRUE(decode(FrameBuilder().StreamCommit(700, 2000, 20)).ok());
  int pieces = 0;
  for (; decoder.is_replaying(); ++pieces) {
    EXPECT_FALSE(sink_.transactions[0].is_committed);
    auto piece = decoder.Replay(sink_);
    ASSERT_TRUE(piece.ok()) << piece.status();
    EXPECT_LE(piece->size(), 256u << 10);
  }
  EXPECT_GE(pieces, 8);
  EXPECT_TRUE(sink_.transactions[0].is_committed);
  EXPECT_EQ(sink_.transactions[0].rows.size(), 20u);
}

TEST_F(StreamingTest, PreparedOneComesWithItsName) {
  Start();
  FrameBuilder prepare;
  v1::StreamPrepare* message = prepare.Add()->mutable_stream_prepare();
  message->set_xid(700);
  message->set_prepare_lsn(2000);
  message->set_end_lsn(2050);
  message->set_change_count(1);
  message->set_gid("g");
  ASSERT_TRUE(Decode(FrameBuilder()
                         .StreamStart(700, true)
                         .Insert(1, Row("a"))
                         .Part(5, "cut", false)  // rolled back meanwhile, in the middle of a row
                         .StreamStop(700))
                  .ok());
  ASSERT_TRUE(Decode(prepare).ok());
  ASSERT_EQ(sink_.transactions.size(), 1u);
  EXPECT_EQ(sink_.transactions[0].header.gid, "g");
  EXPECT_EQ(sink_.transactions[0].header.end_lsn.value, 2050u);
  EXPECT_THAT(sink_.transactions[0].rows, ElementsAre("t a"));
  // The value that was cut short is in nobody's way.
  ASSERT_TRUE(
      Decode(FrameBuilder().Begin(701, 3000).Insert(1, Row("b")).Commit(701, 3000, 1)).ok());
  message->clear_gid();
  ExpectRefused(prepare, "without its name");
}

// After a restart the source may send again, as in progress, what it knows to be prepared here:
// then comes no other end than that of the prepared transaction.
TEST_F(StreamingTest, EndOfAPreparedOneFreesWhatWasSentOfItAgain) {
  Start();
  for (uint64_t xid : {700, 701, 702}) {
    ASSERT_TRUE(
        Decode(FrameBuilder().StreamStart(xid, true).Insert(1, Row("a")).StreamStop(xid)).ok());
  }
  ASSERT_TRUE(Decode(FrameBuilder().CommitPrepared(700, 2000, "g")).ok());
  ASSERT_TRUE(Decode(FrameBuilder().RollbackPrepared(701, 1000, 2100, "h")).ok());
  EXPECT_THAT(sink_.prepared_ends, ElementsAre(700, 701));
  EXPECT_EQ(spool_->usage().logs, 1);
  ASSERT_TRUE(Decode(FrameBuilder().StreamCommit(702, 2200, 1)).ok());
  ASSERT_EQ(sink_.transactions.size(), 1u);
  EXPECT_EQ(sink_.transactions[0].header.xid, 702u);
}

TEST_F(StreamingTest, WithoutSpoolNothingWasAskedFor) {
  Decoder decoder;
  Frame hello = FrameBuilder().Hello(2).Build();
  ASSERT_TRUE(decoder.Decode(hello, sink_).ok());
  Frame run = FrameBuilder().StreamStart(700, true).Build();
  EXPECT_EQ(decoder.Decode(run, sink_).code(), absl::StatusCode::kDataLoss);
}

TEST_F(StreamingTest, CountIsChecked) {
  Start();
  ASSERT_TRUE(
      Decode(FrameBuilder().StreamStart(700, true).Insert(1, Row("a")).StreamStop(700)).ok());
  ExpectRefused(FrameBuilder().StreamCommit(700, 2000, 2), "has 2 changes, and 1 arrived");
}

TEST_F(StreamingTest, CommitOfNothingIsRefused) {
  Start();
  ExpectRefused(FrameBuilder().StreamCommit(700, 2000, 0),
                "transaction 700, of which nothing came");
}

TEST_F(StreamingTest, AbortOfNothingIsRefused) {
  Start();
  ExpectRefused(FrameBuilder().StreamAbort(700, 700), "transaction 700, of which nothing came");
}

TEST_F(StreamingTest, CommitWithinARunIsRefused) {
  Start();
  ASSERT_TRUE(Decode(FrameBuilder().StreamStart(700, true).Insert(1, Row("a"))).ok());
  ExpectRefused(FrameBuilder().StreamCommit(700, 2000, 1), "within a run");
}

TEST_F(StreamingTest, TransactionWithinARunIsRefused) {
  Start();
  ASSERT_TRUE(Decode(FrameBuilder().StreamStart(700, true).Insert(1, Row("a"))).ok());
  ExpectRefused(FrameBuilder().Begin(701, 1000), "within a run of transaction 700");
}

TEST_F(StreamingTest, RunWithinATransactionIsRefused) {
  Start();
  ASSERT_TRUE(Decode(FrameBuilder().Begin(701, 1000).Insert(1, Row("a"))).ok());
  ExpectRefused(FrameBuilder().StreamStart(700, true), "within another transaction");
}

TEST_F(StreamingTest, StopWithoutStartIsRefused) {
  Start();
  ExpectRefused(FrameBuilder().StreamStop(700), "did not begin");
}

TEST_F(StreamingTest, StopOfAnotherIsRefused) {
  Start();
  ExpectRefused(FrameBuilder().StreamStart(700, true).StreamStop(701),
                "ends as one of transaction 701");
}

TEST_F(StreamingTest, TwoRunsInAFrameAreRefused) {
  Start();
  ExpectRefused(FrameBuilder()
                    .StreamStart(700, true)
                    .Insert(1, Row("a"))
                    .StreamStop(700)
                    .StreamStart(701, true),
                "last of its frame");
}

TEST_F(StreamingTest, RunBehindATransactionInAFrameIsRefused) {
  Start();
  ExpectRefused(FrameBuilder().Begin(701, 1000).Commit(701, 1000, 0).StreamStart(700, true),
                "within a frame of something else");
}

TEST_F(StreamingTest, FirstRunOfAKnownTransactionIsRefused) {
  Start();
  ASSERT_TRUE(Decode(FrameBuilder().StreamStart(700, true).StreamStop(700)).ok());
  ExpectRefused(FrameBuilder().StreamStart(700, true), "a first run of transaction 700");
}

TEST_F(StreamingTest, LaterRunOfAnUnknownTransactionIsRefused) {
  Start();
  ExpectRefused(FrameBuilder().StreamStart(700, false), "a later run of transaction 700");
}

TEST_F(StreamingTest, CommitsKeepTheirOrder) {
  Start();
  ASSERT_TRUE(
      Decode(FrameBuilder().StreamStart(700, true).Insert(1, Row("a")).StreamStop(700)).ok());
  ASSERT_TRUE(Decode(FrameBuilder().Begin(701, 3000).Commit(701, 3000, 0)).ok());
  ExpectRefused(FrameBuilder().StreamCommit(700, 2000, 1), "out of commit order");
}

TEST_F(StreamingTest, DamagedRowIsFoundAtReplay) {
  Start();
  ASSERT_TRUE(
      Decode(FrameBuilder().StreamStart(700, true).Insert(9, Row("a")).StreamStop(700)).ok());
  ExpectRefused(FrameBuilder().StreamCommit(700, 2000, 1), "relation 9 was not described");
}

TEST_F(StreamingTest, ValueWithoutARowIsFoundAtReplay) {
  Start();
  ASSERT_TRUE(
      Decode(FrameBuilder().StreamStart(700, true).Part(1, "a", true).StreamStop(700)).ok());
  ExpectRefused(FrameBuilder().StreamCommit(700, 2000, 0), "belongs to no row");
}

// Whatever bytes come: an error or changes, and nothing that asan would tell of.
TEST_F(StreamingTest, DamagedRunsDoNoHarm) {
  const std::vector<std::string> whole = {
      FrameBuilder().Hello(2).StreamStart(700, true).Describe(TextRelation(1, "t", 1, 1)).Bytes(),
      FrameBuilder()
          .Insert(1, Row("a"))
          .Subtransaction(701)
          .Part(2, "ab", true)
          .Update(1, Row("b"))
          .StreamStop(700)
          .Bytes(),
      FrameBuilder().StreamAbort(700, 701).Bytes(),
      FrameBuilder().StreamCommit(700, 2000, 2).Bytes()};
  google::protobuf::SetLogHandler(nullptr);
  constexpr unsigned kSeed = 20262;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 5'000; ++round) {
    auto spool = OpenSpool(round % 2 == 0 ? 0 : 1 << 20);
    Decoder decoder(Decoder::Options{.spool = spool.get()});
    CopyingSink sink;
    for (std::string bytes : whole) {
      if (random() % 2 == 0) bytes[random() % bytes.size()] = static_cast<char>(random());
      if (random() % 8 == 0) bytes.resize(random() % bytes.size());
      Frame frame = MakeFrame(bytes);
      absl::Status status = decoder.Decode(frame, sink);
      while (status.ok() && decoder.is_replaying()) status = decoder.Replay(sink).status();
      if (!status.ok()) break;
    }
  }
}

// --- against a model

// One session's transaction as its backend sees it: rows with the subtransaction that wrote them.
// The model of what survives is the plain list of rows and its length at each savepoint.
struct Session {
  struct Level {
    uint64_t xid = 0;                 // 0: none assigned yet
    std::vector<uint64_t> committed;  // released within it
    size_t rows = 0;                  // that there were at its beginning
  };
  struct Entry {
    uint64_t xid = 0;
    std::string row;
    int kind =
        0;  // 0 insert, 1 insert in parts, 2 truncate, 3 insert with a description, 4 message
  };

  std::vector<Level> levels;
  std::vector<std::string> rows;  // what survives
  std::vector<Entry> unsent;
  std::set<uint64_t> streamed;  // xids of which something was sent
  uint64_t sent_changes = 0;
  bool has_run = false;

  uint64_t xid() const { return levels[0].xid; }
};

class Model {
 public:
  Model(unsigned seed, int64_t memory_max, size_t subtransactions_max)
      : random_(seed),
        spool_(OpenSpool(memory_max)),
        decoder_(
            Decoder::Options{.spool = spool_.get(), .subtransactions_max = subtransactions_max}) {
    Send(FrameBuilder().Hello(2).Describe(TextRelation(1, "t1", 1, 1)));
  }

  void Run(int steps) {
    for (int step = 0; step < steps && !testing::Test::HasFatalFailure(); ++step) Step();
    while (!sessions_.empty()) Commit(sessions_.begin());
    ASSERT_EQ(sink_.transactions.size(), expected_.size());
    for (size_t i = 0; i < expected_.size(); ++i) {
      const CopyingSink::Transaction& transaction = sink_.transactions[i];
      ASSERT_EQ(transaction.header.xid, expected_[i].first);
      ASSERT_TRUE(transaction.is_committed);
      ASSERT_EQ(transaction.rows, expected_[i].second) << "transaction " << expected_[i].first;
    }
    EXPECT_EQ(spool_->usage().logs, 0);
    EXPECT_EQ(spool_->usage().memory_bytes, 0);
    EXPECT_EQ(spool_->usage().disk_bytes, 0);
  }

 private:
  using Sessions = std::map<uint64_t, Session>;

  bool OneIn(unsigned n) { return random_() % n == 0; }

  void Send(const FrameBuilder& builder) {
    Frame frame = builder.Build();
    absl::Status status = decoder_.Decode(frame, sink_);
    while (status.ok() && decoder_.is_replaying()) status = decoder_.Replay(sink_).status();
    ASSERT_TRUE(status.ok()) << status;
  }

  void Step() {
    if (sessions_.size() < 4 && OneIn(8)) {
      uint64_t xid = next_xid_++;
      sessions_[xid].levels.push_back({xid, {}, 0});
    }
    if (sessions_.empty()) return;
    auto at = std::next(sessions_.begin(), static_cast<ptrdiff_t>(random_() % sessions_.size()));
    Session& session = at->second;
    unsigned choice = random_() % 100;
    if (choice < 50) {
      Write(session);
    } else if (choice < 62) {
      session.levels.push_back({0, {}, session.rows.size()});
    } else if (choice < 70) {
      Release(session);
    } else if (choice < 80) {
      RollBack(session);
    } else if (choice < 96) {
      Stream(session);
    } else if (choice < 98) {
      Commit(at);
    } else if (OneIn(3)) {
      Abort(at);
    }
  }

  // A parent has its xid before its child.
  void AssignXid(Session& session) {
    for (Session::Level& level : session.levels) {
      if (level.xid == 0) level.xid = next_xid_++;
    }
  }

  void Write(Session& session) {
    AssignXid(session);
    uint64_t xid = session.levels.back().xid;
    int kind = OneIn(10) ? 1 + static_cast<int>(random_() % 4) : 0;
    std::string value = absl::StrCat(++value_, std::string(random_() % 200, 'v'));
    session.unsent.push_back({xid, value, kind});
    if (kind == 4) return;
    session.rows.push_back(kind == 2 ? "t1 truncated" : absl::StrCat("t1 ", value));
  }

  void Release(Session& session) {
    if (session.levels.size() < 2) return;
    Session::Level level = session.levels.back();
    session.levels.pop_back();
    if (level.xid == 0) return;
    std::vector<uint64_t>& to = session.levels.back().committed;
    to.insert(to.end(), level.committed.begin(), level.committed.end());
    to.push_back(level.xid);
  }

  // What the server does at an abort record: children first, then the one itself; what was not sent
  // yet is forgotten, and of what was sent an abort is.
  void SendAborts(Session& session, Session::Level level) {
    std::sort(level.committed.begin(), level.committed.end());
    level.committed.push_back(level.xid);
    for (uint64_t xid : level.committed) {
      std::erase_if(session.unsent, [xid](const Session::Entry& e) { return e.xid == xid; });
      if (session.streamed.erase(xid) > 0) Send(FrameBuilder().StreamAbort(session.xid(), xid));
    }
  }

  void RollBack(Session& session) {
    if (session.levels.size() < 2) return;
    size_t to = 1 + random_() % (session.levels.size() - 1);
    size_t rows = session.levels[to].rows;
    while (session.levels.size() > to) {
      if (session.levels.back().xid != 0) SendAborts(session, session.levels.back());
      session.levels.pop_back();
    }
    session.rows.resize(rows);
  }

  void AddEntry(Session::Entry& entry, FrameBuilder& builder, uint64_t* changes) {
    if (entry.kind != 4) ++*changes;
    switch (entry.kind) {
      case 1: {
        std::string row;
        AppendFieldCount(1, &row);
        AppendInPartsMark(&row);
        size_t half = entry.row.size() / 2;
        builder.Part(entry.row.size(), entry.row.substr(0, half), false);
        builder.Part(0, entry.row.substr(half), true).Insert(relation_, row);
        break;
      }
      case 2:
        builder.Truncate({relation_});
        break;
      case 3:
        builder.Describe(TextRelation(++relation_, "t1", 1, 1));
        builder.Insert(relation_, TextImage({entry.row}));
        break;
      case 4:
        builder.Add()->mutable_message()->set_transactional(true);
        break;
      default:
        builder.Insert(relation_, TextImage({entry.row}));
    }
  }

  void Stream(Session& session) {
    if (session.unsent.empty()) return;
    FrameBuilder builder;
    builder.StreamStart(session.xid(), !session.has_run);
    session.has_run = true;
    session.streamed.insert(session.xid());
    uint64_t present = session.xid();
    for (Session::Entry& entry : session.unsent) {
      if (builder.size() > 0 && OneIn(6)) {
        Send(builder);
        builder = FrameBuilder();
      }
      if (entry.xid != present) builder.Subtransaction(entry.xid);
      present = entry.xid;
      session.streamed.insert(entry.xid);
      AddEntry(entry, builder, &session.sent_changes);
    }
    session.unsent.clear();
    Send(builder.StreamStop(session.xid()));
  }

  void Commit(Sessions::iterator at) {
    Session& session = at->second;
    lsn_ += 100;
    if (session.has_run) {
      Stream(session);
      Send(FrameBuilder().StreamCommit(session.xid(), lsn_, session.sent_changes));
    } else {
      FrameBuilder builder;
      builder.Begin(session.xid(), lsn_);
      uint64_t changes = 0;
      for (Session::Entry& entry : session.unsent) AddEntry(entry, builder, &changes);
      Send(builder.Commit(session.xid(), lsn_, changes));
    }
    expected_.emplace_back(session.xid(), session.rows);
    sessions_.erase(at);
  }

  void Abort(Sessions::iterator at) {
    Session& session = at->second;
    while (session.levels.size() > 1) Release(session);
    bool has_run = session.has_run;
    std::vector<uint64_t> children = session.levels[0].committed;
    SendAborts(session, {session.xid(), children, 0});
    ASSERT_EQ(has_run, session.has_run);
    sessions_.erase(at);
  }

  std::mt19937 random_;
  std::unique_ptr<Spool> spool_;
  CopyingSink sink_;
  Decoder decoder_;
  Sessions sessions_;
  std::vector<std::pair<uint64_t, std::vector<std::string>>> expected_;
  uint64_t next_xid_ = 1000;
  uint64_t lsn_ = 10'000;
  uint32_t relation_ = 1;
  int value_ = 0;
};

TEST(StreamingModelTest, WhatWasNotRolledBackComesOutOnceAndInOrder) {
  constexpr std::array<int64_t, 4> kMemory = {0, 500, 20'000, 1 << 20};
  constexpr std::array<size_t, 3> kSubtransactions = {1, 4, 100'000};
  for (unsigned seed = 1; seed <= 600; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Model model(seed, kMemory[seed % 4], kSubtransactions[seed % 3]);
    ASSERT_NO_FATAL_FAILURE(model.Run(400));
  }
}

TEST(SubtransactionIndexTest, ForgetsTheOldHalfAndKnowsIt) {
  SubtransactionIndex index(4);
  for (uint64_t xid : {10, 11, 12, 13, 14}) index.Add(xid, {xid * 100, xid});
  EXPECT_EQ(index.size(), 3u);
  EXPECT_FALSE(index.Find(11).has_value());
  EXPECT_TRUE(index.MayHaveForgotten(11));
  EXPECT_TRUE(index.MayHaveForgotten(5));
  EXPECT_FALSE(index.MayHaveForgotten(12));
  EXPECT_FALSE(index.MayHaveForgotten(99));
  index.Add(11, {2000, 20});  // may have begun before: not to be taken to begin here
  EXPECT_FALSE(index.Find(11).has_value());
  index.Add(13, {3000, 30});
  EXPECT_EQ(index.Find(13)->offset, 1300u);
  index.Cut(1300);
  EXPECT_FALSE(index.Find(13).has_value());
  EXPECT_EQ(index.Find(12)->changes, 12u);
}

}  // namespace
}  // namespace towline
