// Thousands of histories in seconds: a source, the service's pure parts joined as they are in it,
// and a destination, with faults between every two steps. After each commit and each crash:
//
//   I3  every table that is copied is what the source's was after the transactions that its
//       snapshot holds and those that end at or before the position, each once
//   I2  what was told to the source is on the destination's disk
//
// and at the end the two are equal. TOWLINE_SIMULATION_SEEDS=n runs that many seeds,
// TOWLINE_SIMULATION_SEED=n that one alone.
#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <memory>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "sim/destination.h"
#include "sim/service.h"
#include "sim/source.h"
#include "sim/tables.h"

namespace towline::sim {
namespace {

constexpr int kSteps = 150;
constexpr int kStepsMax = 20'000;  // of the end, which takes some hundreds

std::string TextOf(const Content& content) {
  std::string text;
  for (const auto& [key, counted] : content) {
    for (int i = 0; i < counted.count; ++i) {
      for (const auto& value : counted.row) absl::StrAppend(&text, value.value_or("null"), " ");
      absl::StrAppend(&text, "\n");
    }
  }
  return text;
}

// What a table should hold: goes on with the position, and begins anew where that went back.
class Expected {
 public:
  Expected(const Source* source, size_t table) : source_(source), table_(table) {}

  // `ended`: transactions that have taken effect before the position has passed them.
  Content At(const Seen& seen, uint64_t position, const std::set<uint64_t>& ended) {
    const std::vector<Transaction>& committed = source_->committed();
    if (seen.text != text_ || position < position_) {
      text_ = seen.text;
      rows_ = source_->initial()[table_];
      passed_ = 0;
      for (const Transaction& transaction : committed) {
        if (seen.xids.contains(transaction.xid)) Write(transaction, &rows_);
      }
    }
    position_ = position;
    for (; passed_ < committed.size() && committed[passed_].end_lsn <= position; ++passed_) {
      if (!seen.xids.contains(committed[passed_].xid)) Write(committed[passed_], &rows_);
    }
    if (ended.empty()) return ContentOf(rows_);
    std::map<uint64_t, Row> rows = rows_;
    for (size_t i = passed_; i < committed.size(); ++i) {
      const uint64_t xid = committed[i].xid;
      if (ended.contains(xid) && !seen.xids.contains(xid)) Write(committed[i], &rows);
    }
    return ContentOf(rows);
  }

 private:
  void Write(const Transaction& transaction, std::map<uint64_t, Row>* rows) const {
    for (const Change& change : transaction.changes) Apply(change, table_, rows);
  }
  Content ContentOf(const std::map<uint64_t, Row>& rows) const {
    Content content;
    for (const auto& [number, row] : rows) {
      Counted& there = content[KeyOf(kTables[table_], row)];
      there.row = row;
      ++there.count;
    }
    return content;
  }

  const Source* source_;
  const size_t table_;
  std::string text_ = "none yet";
  uint64_t position_ = 0;
  size_t passed_ = 0;
  std::map<uint64_t, Row> rows_;
};

class World {
 public:
  explicit World(uint64_t seed) : dice_(seed), source_(&dice_) {
    for (size_t table = 0; table < kTables.size(); ++table) expected_.emplace_back(&source_, table);
    destination_.Transact(&dice_,
                          [this](Stored* stored) { stored->position = source_.confirmed_flush(); });
    destination_.WriteOut(&dice_);
    options_.source = &source_;
    options_.destination = &destination_;
    options_.dice = &dice_;
    options_.streams = dice_.OneIn(2);
    options_.mirrors_prepared = dice_.OneIn(2);
    options_.meanwhile = [this] { return Meanwhile(); };
    options_.on_commit = [this] { Check(); };
    options_.on_durable = [this](uint64_t lsn) {
      EXPECT_LE(lsn, destination_.durable().position) << "told before it is on disk";
      told_.push_back(lsn);
    };
    fault_rate_ = 20 + dice_.Below(400);
  }

  void Run() {
    for (int i = dice_.OneIn(2) ? 0 : 20; i > 0; --i) source_.Step(false);
    int steps = kSteps;
    while (!HasFailed() && (steps > 0 || !IsDone())) {
      is_closing_ = --steps < 0;
      ASSERT_GT(steps, -kStepsMax) << "does not come to an end";
      Go();
    }
    if (HasFailed()) return;
    source_.EndAll();
    EXPECT_TRUE(destination_.committed().prepared.empty());
    EXPECT_TRUE(destination_.committed().prepared_rows.empty());
    if (!source_.committed().empty()) {
      EXPECT_GE(destination_.committed().position, source_.committed().back().end_lsn);
    }
    Check();
  }

 private:
  static bool HasFailed() { return testing::Test::HasFailure(); }

  bool IsDone() {
    if (!source_.is_quiet() || service_ == nullptr || !service_->is_idle()) return false;
    const std::vector<Transaction>& committed = source_.committed();
    return committed.empty() || destination_.committed().position >= committed.back().end_lsn;
  }

  // A step of the service, or what becomes of it.
  void Go() {
    absl::Status status;
    if (service_ == nullptr) {
      Service::Options options = options_;
      options.batch_rows_max = static_cast<int64_t>(1 + dice_.Below(12));
      options.batch_bytes_max = dice_.OneIn(3) ? 60 : 1 << 20;
      options.spool_memory_max = dice_.OneIn(20) ? 1 : 1 << 20;
      service_ = std::make_unique<Service>(std::move(options));
      status = service_->Start();
    } else {
      Meanwhile().IgnoreError();
      status = service_->Step();
    }
    if (absl::IsCancelled(status)) return End();
    EXPECT_TRUE(status.ok()) << service_->what() << ": " << status;
  }

  // Between any two steps of the service: others go on, and it may be over.
  absl::Status Meanwhile() {
    for (size_t i = dice_.Below(3); i > 0; --i) Elsewhere();
    EXPECT_LE(source_.confirmed_flush(), destination_.durable().position)
        << "confirmed before it is on disk";
    return !is_closing_ && dice_.OneIn(fault_rate_) ? absl::CancelledError("") : absl::OkStatus();
  }

  void Elsewhere() {
    switch (dice_.Below(10)) {
      case 0:
        return source_.EndSome();
      case 1:
        return destination_.WriteOut(&dice_);
      case 2:
        if (told_.empty()) return;
        source_.Confirm(told_.front());
        return told_.pop_front();
      case 3:
        return dice_.OneIn(3) ? source_.PersistSlot() : void();
      default:
        return source_.Step(is_closing_);
    }
  }

  // The service alone, or a server with it.
  void End() {
    service_.reset();
    destination_.RollBack();
    while (!told_.empty() && dice_.OneIn(2)) {
      source_.Confirm(told_.front());
      told_.pop_front();
    }
    told_.clear();
    switch (dice_.Below(4)) {
      case 0:
        destination_.Crash();
        break;
      case 1:
        source_.Crash();
        break;
      default:
        break;
    }
    Check();
  }

  void Check() {
    const Stored& stored = destination_.committed();
    std::set<uint64_t> ended;
    for (const auto& [xid, is_empty] : stored.prepared_rows) {
      auto found = stored.ended.find(xid);
      if (!stored.prepared.contains(xid) && found != stored.ended.end() && found->second)
        ended.insert(xid);
    }
    for (size_t table = 0; table < kTables.size() && !HasFailed(); ++table) {
      if (stored.pieces[table].state != "copied") continue;
      const Content content =
          expected_[table].At(*stored.pieces[table].seen, stored.position, ended);
      EXPECT_TRUE(content == stored.contents[table])
          << kTables[table].name << " at " << stored.position
          << " while it did: " << (service_ == nullptr ? "nothing any more" : service_->what())
          << "\nexpected:\n"
          << TextOf(content) << "found:\n"
          << TextOf(stored.contents[table]);
    }
  }

  Dice dice_;
  Source source_;
  Destination destination_;
  std::deque<Expected> expected_;
  Service::Options options_;
  size_t fault_rate_ = 0;
  bool is_closing_ = false;  // nothing is begun at the source, and nothing fails any more
  std::deque<uint64_t> told_;
  std::unique_ptr<Service> service_;
};

TEST(SimulationTest, WhateverFailsTheDestinationIsTheSourceAfterSomeCommit) {
  const char* only = std::getenv("TOWLINE_SIMULATION_SEED");
  const char* many = std::getenv("TOWLINE_SIMULATION_SEEDS");
  const uint64_t first = only != nullptr ? std::strtoull(only, nullptr, 10) : 1;
  const uint64_t seeds = only != nullptr   ? 1
                         : many != nullptr ? std::strtoull(many, nullptr, 10)
                                           : 2000;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    SCOPED_TRACE(absl::StrCat("again: TOWLINE_SIMULATION_SEED=", seed, " build/bin/unit_sim"));
    World(seed).Run();
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace towline::sim
