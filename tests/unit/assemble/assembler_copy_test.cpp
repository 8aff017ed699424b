// What the copy's snapshots hold already, table by table.
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "assemble/assembler.h"
#include "assemble/assembler_feeder.h"
#include "model/live_copy.h"

namespace towline {
namespace {

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

// Table 1 is copied by itself, table 2 streams.
class JoiningTest : public testing::Test {
 protected:
  JoiningTest() : live_({.piece_count = 1}) {
    for (Oid oid : {1u, 2u, 1001u}) {
      relations_[oid].oid = oid;
      relations_[oid].name = {"s", absl::StrCat("t", oid)};
    }
    relations_[1001].rewrite_of = 1;
  }

  Assembler::Options With(LiveCopy* live) {
    Assembler::Options options = Limits(1000, 1000);
    options.boundary.emplace();
    if (live != nullptr) {
      options.boundary->is_of_joined = true;
      options.boundary->live = live;
      options.boundary->live_tables[1] = 0;
      options.boundary->names[1] = {"s", "t1"};
    } else {
      options.boundary->of_table[1] = 0;
      options.boundary->snapshots.push_back({Snapshot::Parse("12:14:12").value(), {500}});
    }
    options.boundary->snapshots.emplace_back();
    options.await_copy = [this](const TableName& table) {
      waited_for_.push_back(table.name);
      return on_wait_();
    };
    return options;
  }

  absl::Status SendRow(Assembler& assembler, Oid table) {
    Change change;
    change.relation = &relations_.at(table);
    return assembler.OnChange(std::move(change));
  }

  static absl::Status SendCommand(Assembler& assembler) {
    DdlCommand command;
    command.tag = "ALTER TABLE";
    return assembler.OnDdl(std::move(command));
  }

  // "row 2", "command".
  static std::vector<std::string> TakeAll(Assembler& assembler) {
    std::vector<std::string> texts;
    while (std::optional<Batch> batch = assembler.Take(true)) {
      if (batch->ddl != nullptr) texts.emplace_back("command");
      for (const Change& change : batch->changes) {
        texts.push_back(absl::StrCat("row ", change.relation->oid));
      }
    }
    return texts;
  }

  std::map<Oid, Relation> relations_;
  LiveCopy live_;
  std::vector<std::string> waited_for_;
  std::function<absl::Status()> on_wait_ = [] { return absl::CancelledError(""); };
};

TEST_F(JoiningTest, ACommandThatTheSnapshotHoldsIsRunAndItsRowsArePassedOver) {
  live_.Announce({0});
  ASSERT_TRUE(live_.Accept({0}, {Snapshot::Parse("12:14:12").value(), {500}}));
  Assembler assembler(With(&live_));
  ASSERT_TRUE(assembler.OnBegin(Header(13, 400)).ok());
  ASSERT_TRUE(SendRow(assembler, 1).ok());
  ASSERT_TRUE(SendRow(assembler, 2).ok());
  ASSERT_TRUE(SendCommand(assembler).ok());
  ASSERT_TRUE(SendRow(assembler, 1001).ok());
  ASSERT_TRUE(SendRow(assembler, 2).ok());
  ASSERT_TRUE(assembler.OnCommit(Header(13, 400)).ok());
  assembler.AddFrame(MakeFrame(10));
  EXPECT_EQ(TakeAll(assembler), (std::vector<std::string>{"row 2", "command", "row 2"}));
  EXPECT_TRUE(waited_for_.empty());
}

TEST_F(JoiningTest, ACommandBeforeTheSnapshotIsRunAndAskedOfIt) {
  Assembler assembler(With(&live_));
  ASSERT_TRUE(assembler.OnBegin(Header(12, 400)).ok());
  ASSERT_TRUE(SendCommand(assembler).ok());
  live_.Announce({0});
  EXPECT_FALSE(live_.Accept({0}, {Snapshot::Parse("12:14:12").value(), {500}}));
}

TEST_F(JoiningTest, ACommandThatTheSnapshotLacksWaitsForTheRows) {
  live_.Announce({0});
  Assembler assembler(With(&live_));
  ASSERT_TRUE(assembler.OnBegin(Header(11, 300)).ok());
  ASSERT_TRUE(SendRow(assembler, 2).ok());
  ASSERT_TRUE(assembler.OnCommit(Header(11, 300)).ok());
  assembler.AddFrame(MakeFrame(10));
  ASSERT_TRUE(assembler.OnBegin(Header(12, 600)).ok());
  ASSERT_TRUE(SendRow(assembler, 2).ok());
  int waits = 0;
  on_wait_ = [&]() -> absl::Status {
    // What is whole before it is applied, and only then it counts as standing there.
    if (++waits == 1) {
      EXPECT_EQ(TakeAll(assembler), std::vector<std::string>{"row 2"});
      EXPECT_FALSE(live_.standing().is_valid());
      EXPECT_TRUE(live_.Accept({0}, {Snapshot::Parse("12:14:12").value(), {500}}));
    } else {
      EXPECT_EQ(live_.standing().value, 595u);
      live_.Finish(0);
    }
    return absl::OkStatus();
  };
  ASSERT_TRUE(SendCommand(assembler).ok());
  EXPECT_EQ(waited_for_, (std::vector<std::string>{"t1", "t1"}));
  ASSERT_TRUE(SendRow(assembler, 1).ok());
  ASSERT_TRUE(assembler.OnCommit(Header(12, 600)).ok());
  assembler.AddFrame(MakeFrame(10));
  EXPECT_EQ(TakeAll(assembler), (std::vector<std::string>{"row 2", "command", "row 1"}));
}

// It would empty the table that it rewrites, whose rows are there by now.
TEST_F(JoiningTest, WhenTheRowsAreThereACommandThatTheSnapshotHoldsComesTooLate) {
  Assembler assembler(With(nullptr));
  ASSERT_TRUE(assembler.OnBegin(Header(13, 400)).ok());
  EXPECT_EQ(SendCommand(assembler).code(), absl::StatusCode::kDataLoss);
  Assembler other(With(nullptr));
  ASSERT_TRUE(other.OnBegin(Header(12, 400)).ok());
  EXPECT_TRUE(SendCommand(other).ok());
}

}  // namespace
}  // namespace towline
