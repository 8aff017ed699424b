// A model of a table that joins while schema changes are followed (docs/decisions/019): a source
// whose transactions commit, and only later are seen by snapshots, with commands among their rows
// that alter tables, rewrite them, or add to a type without any lock; a copy of the one table that
// waits for the stream; the stream through the assembler; crashes of it all, also while the table
// waits outside of the stream. A row fits the destination only if the table there has the very
// shape that it had at the source, and its type the label. In the end both are equal.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "absl/base/internal/endian.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "assemble/assembler.h"
#include "assemble/keyed_relation.h"
#include "decode/frame_builder.h"
#include "model/live_copy.h"

namespace towline {
namespace {

constexpr Oid kJoining = 77;
constexpr Oid kOther = 78;
constexpr Oid kRewriteOffset = 1000;
constexpr int kKeys = 12;
constexpr size_t kOpenMax = 4;
constexpr int kRewritten = 100'000;  // is added to all values

struct Op {
  enum class Kind { kRow, kAlter, kType } kind = Kind::kRow;
  Oid table = 0;
  std::optional<int> before;
  std::optional<int> after;
  int value = 0;
  int shape = 0;  // of the row; of the table behind a kAlter
  int type = 0;   // likewise
  bool rewrites = false;
  std::map<int, int> rewritten = {};  // the rows of that
};

struct Transaction {
  uint64_t xid = 0;
  std::vector<Op> ops;
  uint64_t commit_lsn = 0;
  bool has_ended = false;  // snapshots see it

  bool Has(Op::Kind kind, Oid table) const {
    return std::any_of(ops.begin(), ops.end(),
                       [&](const Op& op) { return op.kind == kind && op.table == table; });
  }
  bool Touches(Oid table) const {
    return Has(Op::Kind::kRow, table) || Has(Op::Kind::kAlter, table);
  }
};

struct Content {
  std::map<int, int> rows;
  int shape = 0;

  friend bool operator==(const Content&, const Content&) = default;
};

struct Database {
  std::map<Oid, Content> tables = {{kJoining, {}}, {kOther, {}}};
  int type = 0;

  void Write(const Op& op) {
    if (op.kind == Op::Kind::kType) type = op.type;
    if (op.kind == Op::Kind::kType) return;
    Content& table = tables[op.table];
    if (op.kind == Op::Kind::kAlter) {
      table.shape = op.shape;
      if (op.rewrites) table.rows = op.rewritten;
      return;
    }
    if (op.before) table.rows.erase(*op.before);
    if (op.after) table.rows[*op.after] = op.value;
  }
};

std::string Row(int key, int value, int shape, int type) {
  return Image({Value(Int4(key)), Value(Int4(value)), Value(Int4(shape)), Value(Int4(type))});
}

int FieldOf(absl::string_view image, int place) {
  RowReader reader(image);
  Field found;
  for (int i = 0; i <= place; ++i) found = reader.Next();
  return static_cast<int>(absl::big_endian::Load32(found.bytes.data()));
}

class World {
 public:
  explicit World(unsigned seed) : random_(seed) {
    for (Oid table : {kJoining, kOther}) {
      relations_[table] = KeyedRelation(table, absl::StrCat("t", table), {"v", "s", "y"});
      Relation& rewritten = relations_[table + kRewriteOffset];
      rewritten = KeyedRelation(table + kRewriteOffset, absl::StrCat("r", table), {"v", "s", "y"});
      rewritten.rewrite_of = table;
      for (int key = 0; key < kKeys; key += 2) initial_.tables[table].rows[key] = key;
    }
    destination_ = initial_;
    // What is there of it is old.
    destination_.tables[kJoining].rows = {{3, -1}, {4, -1}};
    Restart();
  }

  void Run() {
    for (int steps = 300; steps > 0 && !HasFailed(); --steps) {
      if (Any(60) == 0) {
        Restart();
      } else if (Any(3) == 0) {
        Stream();
      } else {
        Elsewhere();
      }
    }
    is_closing_ = true;
    open_.clear();  // rolled back, with their locks
    while ((!is_copied_ || next_ < log_.size()) && !HasFailed()) {
      for (Transaction& transaction : log_) transaction.has_ended = true;
      if (!is_copied_ && live_ == nullptr) Restart();
      if (!is_copied_) CopyStep();
      Stream();
    }
    if (HasFailed()) return;
    Stream();
    for (const auto& [table, content] : Now().tables) {
      EXPECT_EQ(destination_.tables[table].rows, content.rows) << table;
      EXPECT_EQ(destination_.tables[table].shape, content.shape) << table;
    }
  }

 private:
  static bool HasFailed() { return testing::Test::HasFatalFailure(); }
  int Any(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }

  template <typename IsSeen>
  Database SeenBy(IsSeen is_seen) const {
    Database seen = initial_;
    for (const Transaction& transaction : log_) {
      if (!is_seen(transaction)) continue;
      for (const Op& op : transaction.ops) seen.Write(op);
    }
    return seen;
  }
  Database Now() const {
    return SeenBy([](const Transaction&) { return true; });
  }

  // --- The source.

  void Elsewhere() {
    if (is_closing_) return Any(2) == 0 ? EndSome() : CopyStep();
    switch (Any(5)) {
      case 0:
        return Begin();
      case 1:
        return Commit();
      case 2:
        return EndSome();
      default:
        return CopyStep();
    }
  }

  template <typename Predicate>
  bool IsAnyRunning(Predicate predicate) const {
    return std::any_of(open_.begin(), open_.end(), predicate) ||
           std::any_of(log_.begin(), log_.end(), [&](const Transaction& transaction) {
             return !transaction.has_ended && predicate(transaction);
           });
  }

  void Begin() {
    if (open_.size() >= kOpenMax) return;
    Transaction transaction;
    transaction.xid = next_xid_++;
    Database now = Now();
    for (int i = Any(5); i >= 0; --i) {
      std::optional<Op> op = AnyOp(now);
      if (!op) continue;
      now.Write(*op);
      transaction.ops.push_back(*std::move(op));
    }
    open_.push_back(std::move(transaction));
  }

  std::optional<Op> AnyOp(const Database& now) {
    Op op;
    op.table = Any(3) == 0 ? kOther : kJoining;
    const Content& content = now.tables.at(op.table);
    const int what = Any(10);
    if (what == 0) {
      // No lock of a table, only of the type.
      auto is_of_type = [](const Transaction& other) { return other.Has(Op::Kind::kType, 0); };
      if (IsAnyRunning(is_of_type)) return std::nullopt;
      op.kind = Op::Kind::kType;
      op.table = 0;
      op.type = now.type + 1;
      return op;
    }
    if (what <= 2) {
      const bool is_locked = op.table == kJoining && is_locked_;
      if (is_locked || IsAnyRunning([&](const Transaction& t) { return t.Touches(op.table); })) {
        return std::nullopt;
      }
      op.kind = Op::Kind::kAlter;
      op.shape = content.shape + 1;
      op.type = now.type;
      op.rewrites = what == 2;
      for (const auto& [key, value] : content.rows) op.rewritten[key] = value + kRewritten;
      return op;
    }
    const int key = Any(kKeys);
    const bool may_write = !IsAnyRunning([&](const Transaction& other) {
      return other.Has(Op::Kind::kAlter, op.table) ||
             std::any_of(other.ops.begin(), other.ops.end(), [&](const Op& theirs) {
               return theirs.table == op.table && (theirs.before == key || theirs.after == key);
             });
    });
    if (!may_write) return std::nullopt;
    if (content.rows.contains(key)) op.before = key;
    if (!op.before || Any(3) > 0) op.after = key;
    op.value = ++written_values_;
    op.shape = content.shape;
    op.type = now.type;
    // A label that is not committed is nobody else's.
    if (IsAnyRunning([](const Transaction& other) { return other.Has(Op::Kind::kType, 0); })) {
      op.type = SeenBy([](const Transaction& other) { return other.has_ended; }).type;
    }
    return op;
  }

  void Commit() {
    if (open_.empty()) return;
    auto committed = open_.begin() + Any(static_cast<int>(open_.size()));
    committed->commit_lsn = next_lsn_ += 10;
    log_.push_back(std::move(*committed));
    open_.erase(committed);
  }

  void EndSome() {
    for (Transaction& transaction : log_) {
      if (!transaction.has_ended && Any(2) == 0) transaction.has_ended = true;
    }
  }

  Snapshot TakeSnapshot() const {
    std::set<uint64_t> running;
    for (const Transaction& transaction : open_) running.insert(transaction.xid);
    for (const Transaction& transaction : log_) {
      if (!transaction.has_ended) running.insert(transaction.xid);
    }
    const uint64_t xmin = running.empty() ? next_xid_ : *running.begin();
    return Snapshot::Parse(absl::StrCat(xmin, ":", next_xid_, ":", absl::StrJoin(running, ",")))
        .value();
  }

  // --- The copy.

  enum class Step { kCatchUp, kLock, kTake, kRead, kAccept, kAwait, kRows, kDone };

  uint64_t Reached() const { return std::max(reached_, live_->standing().value); }

  void CopyStep() {
    if (live_ == nullptr || step_ == Step::kDone) return;
    if (Any(8) == 0) live_->Forget(TakeSnapshot());
    switch (step_) {
      case Step::kCatchUp:
        if (Reached() >= until_ || Any(20) == 0) step_ = Step::kLock;
        break;
      case Step::kLock:
        if (IsAnyRunning([](const Transaction& t) { return t.Has(Op::Kind::kAlter, kJoining); })) {
          break;
        }
        is_locked_ = true;
        live_->Announce({0});
        step_ = Step::kTake;
        break;
      case Step::kTake:
        taken_.snapshot = TakeSnapshot();
        step_ = Step::kRead;
        break;
      case Step::kRead:
        taken_.lsn_after = {next_lsn_ + 1};
        step_ = Step::kAccept;
        break;
      case Step::kAccept:
        step_ = live_->Accept({0}, taken_) ? Step::kAwait : Step::kTake;
        if (step_ == Step::kTake) EndSome();
        break;
      case Step::kAwait:
        Await();
        break;
      case Step::kRows:
        CopyRows();
        break;
      case Step::kDone:
        break;
    }
  }

  void Await() {
    if (live_->Retake({0})) {
      EndSome();
      step_ = Step::kTake;
      return;
    }
    if (Reached() < taken_.lsn_after.value) {
      if (Any(20) > 0) return;
      live_->Withdraw({0});
      is_locked_ = false;
      until_ = taken_.lsn_after.value;
      step_ = Step::kCatchUp;
      return;
    }
    const Database seen = SeenBy(
        [&](const Transaction& transaction) { return taken_.snapshot.IsVisible(transaction.xid); });
    ASSERT_EQ(destination_.tables[kJoining].shape, seen.tables.at(kJoining).shape);
    ASSERT_EQ(destination_.type, seen.type);
    left_ = seen.tables.at(kJoining).rows;
    destination_.tables[kJoining].rows.clear();
    step_ = Step::kRows;
  }

  // In two transactions; the second marks it.
  void CopyRows() {
    const bool is_last = left_.size() <= 3;
    while (!left_.empty() && (is_last || left_.size() > 3)) {
      ASSERT_TRUE(destination_.tables[kJoining].rows.insert(*left_.begin()).second);
      left_.erase(left_.begin());
    }
    if (!is_last) return;
    is_copied_ = true;
    stored_ = taken_;
    live_->Finish(0);
    is_locked_ = false;
    step_ = Step::kDone;
  }

  // --- The stream.

  // Also the first start. With the table outside of the stream, being copied, or in it.
  void Restart() {
    assembler_.reset();
    open_at_destination_.reset();
    live_.reset();
    is_locked_ = false;
    step_ = Step::kCatchUp;
    // The marker that is waited for.
    for (Transaction& transaction : log_) transaction.has_ended = true;
    next_ = 0;
    while (next_ < log_.size() && log_[next_].commit_lsn + 5 <= position_) ++next_;
    reached_ = position_;
    until_ = next_lsn_;
    Assembler::Options options;
    options.batch_bytes_max = 1 << 20;
    options.batch_rows_max = 1 + Any(6);
    options.position = {position_};
    if (is_copied_) {
      options.boundary.emplace();
      options.boundary->snapshots.push_back(stored_);
      options.boundary->of_table[kJoining] = 0;
    } else if (is_closing_ || Any(3) > 0) {
      live_ = std::make_unique<LiveCopy>(
          LiveCopy::Options{.piece_count = 1, .remembered_max = static_cast<size_t>(1 + Any(20))});
      options.boundary.emplace();
      options.boundary->is_of_joined = true;
      options.boundary->live = live_.get();
      options.boundary->live_tables[kJoining] = 0;
    }
    if (options.boundary) options.boundary->snapshots.emplace_back();
    options.await_copy = [this](const TableName&) -> absl::Status {
      Apply(false);
      if (HasFailed() || Any(40) == 0) return absl::CancelledError("");
      Elsewhere();
      return absl::OkStatus();
    };
    assembler_.emplace(std::move(options));
  }

  absl::Status Send(const Op& op) {
    if (op.kind == Op::Kind::kRow) {
      Change change;
      change.relation = &relations_.at(op.table);
      change.kind = !op.before  ? ChangeKind::kInsert
                    : !op.after ? ChangeKind::kDelete
                                : ChangeKind::kUpdate;
      if (op.after)
        change.new_row = rows_.emplace_back(Row(*op.after, op.value, op.shape, op.type));
      if (!op.after) {
        change.old_image = OldImage::kKey;
        change.old_row = rows_.emplace_back(Row(*op.before, 0, op.shape, op.type));
      }
      return assembler_->OnChange(std::move(change));
    }
    DdlCommand command;
    command.number = commands_.size();
    command.phase = op.rewrites ? DdlPhase::kRewrite : DdlPhase::kEnd;
    command.tag = "ALTER";
    commands_.push_back(op);
    absl::Status sent = assembler_->OnDdl(std::move(command));
    if (!sent.ok() || !op.rewrites) return sent;
    for (const auto& [key, value] : op.rewritten) {
      Change change;
      change.relation = &relations_.at(op.table + kRewriteOffset);
      change.new_row = rows_.emplace_back(Row(key, value, op.shape, op.type));
      sent = assembler_->OnChange(std::move(change));
      if (!sent.ok()) return sent;
    }
    return sent;
  }

  void Stream() {
    if (next_ == log_.size()) {
      Apply(true);
      reached_ = std::max(reached_, next_lsn_ + 1);
      return;
    }
    const Transaction transaction = log_[next_++];
    TransactionHeader header;
    header.xid = transaction.xid;
    header.commit_lsn = {transaction.commit_lsn};
    header.end_lsn = {transaction.commit_lsn + 5};
    ASSERT_TRUE(assembler_->OnBegin(header).ok());
    for (const Op& op : transaction.ops) {
      absl::Status sent = Send(op);
      if (HasFailed()) return;
      if (absl::IsCancelled(sent)) return Restart();
      ASSERT_TRUE(sent.ok()) << sent;
      assembler_->AddFrame(Frame());
      Apply(false);
      if (HasFailed()) return;
    }
    ASSERT_TRUE(assembler_->OnCommit(header).ok());
    assembler_->AddFrame(Frame());
    // Some batches are only on their way when it crashes.
    if (Any(4) > 0) Apply(Any(2) == 0);
  }

  // A transaction in parts is at the destination when its last part is; the table that joins is the
  // copy's until then.
  void Apply(bool is_idle) {
    while (std::optional<Batch> batch = assembler_->Take(is_idle)) {
      if (batch->part == BatchPart::kWhole || batch->part == BatchPart::kFirst) {
        open_at_destination_ = Changes();
      }
      if (batch->ddl != nullptr) Run(commands_.at(batch->ddl->number));
      for (const Change& change : batch->changes) Write(change);
      if (HasFailed()) return;
      if (batch->part == BatchPart::kFirst || batch->part == BatchPart::kMiddle) continue;
      for (const Op& op : *open_at_destination_) destination_.Write(op);
      open_at_destination_.reset();
      position_ = std::max(position_, batch->end_lsn.value);
      reached_ = std::max(reached_, position_);
    }
  }

  using Changes = std::vector<Op>;

  Database There() const {
    Database there = destination_;
    for (const Op& op : *open_at_destination_) there.Write(op);
    return there;
  }

  void Run(Op command) {
    const Database there = There();
    if (command.kind == Op::Kind::kType) {
      ASSERT_EQ(there.type + 1, command.type);
    } else {
      ASSERT_EQ(there.tables.at(command.table).shape + 1, command.shape);
      // Of one that streams the rows come; of the other there are no exact ones.
      const bool is_out = command.table == kJoining && !is_copied_;
      command.rewritten.clear();
      command.rewrites &= !is_out;
    }
    open_at_destination_->push_back(command);
  }

  void Write(const Change& change) {
    const Oid table =
        change.relation->rewrite_of != 0 ? change.relation->rewrite_of : change.relation->oid;
    if (table == kJoining && !is_copied_) {
      ASSERT_EQ(live_, nullptr) << "a row of a table whose rows are not there";
      return;  // it is left out of the stream
    }
    const Database there = There();
    const Content& content = there.tables.at(table);
    const bool is_delete = change.kind == ChangeKind::kDelete;
    const absl::string_view row = is_delete ? change.old_row : change.new_row;
    Op op;
    op.table = table;
    op.value = FieldOf(row, 1);
    ASSERT_EQ(FieldOf(row, 2), content.shape) << table;
    ASSERT_LE(FieldOf(row, 3), there.type) << table;
    const int key = FieldOf(row, 0);
    ASSERT_EQ(content.rows.contains(key), change.kind != ChangeKind::kInsert)
        << table << "/" << key;
    if (change.kind != ChangeKind::kInsert) op.before = key;
    if (!is_delete) op.after = key;
    open_at_destination_->push_back(op);
  }

  std::mt19937 random_;
  std::map<Oid, Relation> relations_;
  Database initial_;
  bool is_closing_ = false;  // nothing more is written at the source
  // The source.
  std::vector<Transaction> open_;
  std::vector<Transaction> log_;
  uint64_t next_xid_ = 5;
  uint64_t next_lsn_ = 1000;
  int written_values_ = 100;
  bool is_locked_ = false;  // by the copy
  // The destination.
  Database destination_;
  bool is_copied_ = false;
  CopySnapshot stored_;
  uint64_t position_ = 500;
  // The process.
  std::unique_ptr<LiveCopy> live_;  // null: the table is left out, or in the stream
  Step step_ = Step::kCatchUp;
  uint64_t until_ = 0;
  CopySnapshot taken_;
  std::map<int, int> left_;
  std::optional<Assembler> assembler_;
  uint64_t reached_ = 0;
  size_t next_ = 0;  // of log_, to be streamed
  std::optional<Changes> open_at_destination_;
  std::deque<std::string> rows_;
  std::vector<Op> commands_;
};

class JoinDdlModelTest : public testing::TestWithParam<unsigned> {};

TEST_P(JoinDdlModelTest, TheDestinationComesOutEqual) { World(GetParam()).Run(); }

INSTANTIATE_TEST_SUITE_P(Seeds, JoinDdlModelTest, testing::Range(0u, 1000u));

}  // namespace
}  // namespace towline
