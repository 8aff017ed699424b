// A model of the whole of it: a source with transactions that commit, and only later are seen by
// snapshots; a copy of four ranges and of a whole table under snapshots of their own; the stream
// through the assembler beside it; crashes of it all. Applied strictly (each insert new, each
// delete and update there) the destination must come out equal. Rows have a large value, which an
// update that leaves it as it was does not bring; where a row is inserted that came without, the
// source is asked for it as it is by then, and if that is of no use the table is copied again.
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <ostream>
#include <random>
#include <set>
#include <utility>

#include "absl/base/internal/endian.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "assemble/assembler.h"
#include "assemble/keyed_relation.h"
#include "decode/frame_builder.h"
#include "model/copy_again.h"
#include "model/live_copy.h"

namespace towline {
namespace {

constexpr Oid kTable = 77;
constexpr int kKeys = 40;
constexpr int kRanges = 4;
// A piece without bounds: its keys are those behind the others.
constexpr Oid kWholeTable = 78;
constexpr int kWholeKeys = 20;
constexpr size_t kWholePlace = kRanges;
constexpr size_t kOpenMax = 4;

struct Cells {
  int value = 0;
  int large = 0;

  friend bool operator==(const Cells&, const Cells&) = default;
};

std::ostream& operator<<(std::ostream& out, const Cells& cells) {
  return out << cells.value << "/" << cells.large;
}

// A row at the source.
struct Version {
  Cells cells;
  uint64_t xmin = 0;
};

std::string Row(int key, const Cells& cells, bool is_large_unsent) {
  return Image({Value(Int4(key)), Value(Int4(cells.value)),
                is_large_unsent ? kUnchanged : Value(Int4(cells.large))});
}
std::string Key(int key) { return Image({Value(Int4(key))}); }

// None: it was not sent.
std::optional<int> FieldOf(absl::string_view image, int place) {
  RowReader reader(image);
  Field found;
  for (int i = 0; i <= place; ++i) found = reader.Next();
  if (found.kind == FieldKind::kUnchangedToast) return std::nullopt;
  return static_cast<int>(absl::big_endian::Load32(found.bytes.data()));
}

struct Effect {
  std::optional<int> before;
  std::optional<int> after;
  Cells cells;
  bool is_large_unsent = false;
  bool is_in_savepoint = false;  // so its xmin is another
};

struct Transaction {
  uint64_t xid = 0;
  std::vector<Effect> effects;
  uint64_t commit_lsn = 0;
  bool has_ended = false;  // snapshots see it
};

class World {
 public:
  explicit World(unsigned seed)
      : random_(seed),
        relation_(KeyedRelation(kTable, "t", {"v", "l"})),
        whole_(KeyedRelation(kWholeTable, "w", {"v", "l"})) {
    for (int key = 0; key < kKeys + kWholeKeys; key += 2) initial_[key] = {{0, key}, 0};
    has_key_first_ = Any(2) == 0;
    is_whole_first_ = Any(2) == 0;
    does_whole_join_ = Any(2) == 0;
    stored_.resize(kRanges + 1);
    Restart();
  }

  void Run() {
    int steps = 300;
    while (steps-- > 0 && !testing::Test::HasFatalFailure()) {
      if (Any(60) == 0) {
        Restart();
      } else if (Any(3) == 0) {
        Stream();
      } else {
        Elsewhere();
      }
    }
    is_closing_ = true;
    bool may_restart = Any(2) == 0;
    while ((!IsCopied() || next_ < log_.size()) && !testing::Test::HasFatalFailure()) {
      while (!IsCopied() && !testing::Test::HasFatalFailure()) CopyStep();
      for (Transaction& transaction : log_) transaction.has_ended = true;
      if (std::exchange(may_restart, false)) Restart();
      while (next_ < log_.size() && !testing::Test::HasFatalFailure()) Stream();
    }
    Apply(true);
    EXPECT_EQ(destination_, ContentSeenBy([](const Transaction&) { return true; }));
  }

 private:
  struct Stored {
    std::string state = "pending";
    CopySnapshot snapshot;
    std::map<int, Cells> rows;  // read, and not committed yet
    bool is_announced = false;
    std::optional<CopySnapshot> taken;  // and not accepted yet
  };

  int Any(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }
  // Often one of few at the borders of ranges, so that keys change hands.
  int AnyKeyInRanges() {
    constexpr int kWidth = kKeys / kRanges;
    return Any(2) == 0 ? Any(kKeys) : kWidth * (1 + Any(kRanges - 1)) - 2 + Any(4);
  }
  static bool IsOfWhole(int key) { return key >= kKeys; }
  static size_t PlaceOf(int key) {
    return IsOfWhole(key) ? kWholePlace : static_cast<size_t>(key / (kKeys / kRanges));
  }

  // Not stream, not crash: also what goes on while the stream waits.
  void Elsewhere() {
    if (is_closing_) return Any(2) == 0 ? EndSome() : CopyStep();
    switch (Any(4)) {
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

  static void Write(const Transaction& transaction, std::map<int, Version>* versions) {
    for (const Effect& effect : transaction.effects) {
      if (effect.before) versions->erase(*effect.before);
      if (!effect.after) continue;
      (*versions)[*effect.after] = {effect.cells, effect.is_in_savepoint ? 0 : transaction.xid};
    }
  }

  template <typename IsSeen>
  std::map<int, Version> VersionsSeenBy(IsSeen is_seen) const {
    std::map<int, Version> versions = initial_;
    for (const Transaction& transaction : log_) {
      if (is_seen(transaction)) Write(transaction, &versions);
    }
    return versions;
  }

  template <typename IsSeen>
  std::map<int, Cells> ContentSeenBy(IsSeen is_seen) const {
    std::map<int, Cells> content;
    for (const auto& [key, version] : VersionsSeenBy(is_seen)) content[key] = version.cells;
    return content;
  }

  // Its rows are locked until it has ended, so others keep off them. It may write one again, and
  // give away a key that it has left.
  void Begin() {
    if (open_.size() >= kOpenMax) return;
    std::set<int> locked;
    auto lock = [&locked](const Transaction& transaction) {
      for (const Effect& effect : transaction.effects) {
        if (effect.before) locked.insert(*effect.before);
        if (effect.after) locked.insert(*effect.after);
      }
    };
    for (const Transaction& transaction : open_) lock(transaction);
    for (const Transaction& transaction : log_) {
      if (!transaction.has_ended) lock(transaction);
    }
    std::map<int, Version> now = VersionsSeenBy([](const Transaction&) { return true; });
    Transaction transaction;
    transaction.xid = next_xid_++;
    std::vector<int> own;
    for (int i = Any(6); i >= 0; --i) {
      const bool is_own = !own.empty() && Any(2) == 0;
      int key = is_own ? own[static_cast<size_t>(Any(static_cast<int>(own.size())))]
                       : (Any(4) == 0 ? kKeys + Any(kWholeKeys) : AnyKeyInRanges());
      int other = IsOfWhole(key) ? kKeys + Any(kWholeKeys) : AnyKeyInRanges();
      if (locked.contains(key) || locked.contains(other) || key == other) continue;
      own.insert(own.end(), {key, other});
      Effect effect;
      effect.is_in_savepoint = Any(8) == 0;
      ++written_values_;
      effect.cells = {written_values_, written_values_};
      auto there = now.find(key);
      if (there == now.end()) {
        effect.after = key;
      } else {
        effect.before = key;
        if (Any(4) > 0) effect.after = !now.contains(other) && Any(4) > 0 ? other : key;
        effect.is_large_unsent = effect.after && Any(3) > 0;
        if (effect.is_large_unsent) effect.cells.large = there->second.cells.large;
      }
      Transaction one{.xid = transaction.xid, .effects = {effect}};
      Write(one, &now);
      transaction.effects.push_back(effect);
    }
    open_.push_back(std::move(transaction));
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

  Snapshot TakeSnapshot() {
    std::set<uint64_t> running;
    for (const Transaction& transaction : open_) running.insert(transaction.xid);
    for (const Transaction& transaction : log_) {
      if (!transaction.has_ended) running.insert(transaction.xid);
    }
    const uint64_t xmin = running.empty() ? next_xid_ : *running.begin();
    return Snapshot::Parse(absl::StrCat(xmin, ":", next_xid_, ":", absl::StrJoin(running, ",")))
        .value();
  }

  bool IsCopied() const { return AreRangesCopied() && stored_[kWholePlace].state == "copied"; }
  bool AreRangesCopied() const {
    return std::all_of(stored_.begin(), stored_.begin() + kRanges,
                       [](const Stored& range) { return range.state == "copied"; });
  }

  // Any of the two ranges that are worked on.
  void CopyStep() {
    if (Any(8) == 0) live_->Forget(TakeSnapshot());
    std::vector<size_t> worked_on;
    for (size_t i = 0; i < stored_.size() && worked_on.size() < 2; ++i) {
      const size_t place = is_whole_first_ ? (i + kWholePlace) % stored_.size() : i;
      if (stored_[place].state != "copied") worked_on.push_back(place);
    }
    if (worked_on.empty()) return;
    const size_t place = worked_on[static_cast<size_t>(Any(static_cast<int>(worked_on.size())))];
    Stored& range = stored_[place];
    if (range.state == "pending" && !range.is_announced) {
      live_->Announce({place});
      range.is_announced = true;
    } else if (range.state == "pending" && !range.taken) {
      range.taken = {TakeSnapshot(), {next_lsn_ + 1}};
    } else if (range.state == "pending") {
      const CopySnapshot taken = *std::exchange(range.taken, std::nullopt);
      if (!live_->Accept({place}, taken)) {
        EndSome();
        return;
      }
      range.state = "copying";
      range.snapshot = taken;
      range.rows.clear();
      const auto content = ContentSeenBy([&taken](const Transaction& transaction) {
        return taken.snapshot.IsVisible(transaction.xid);
      });
      for (const auto& [key, cells] : content) {
        if (PlaceOf(key) == place) range.rows[key] = cells;
      }
    } else if (place == kWholePlace && range.rows.size() > 5) {
      // Some of its pages are committed before its mark is.
      for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(destination_.insert(*range.rows.begin()).second);
        range.rows.erase(range.rows.begin());
      }
    } else {
      range.state = "copied";
      for (const auto& [key, cells] : range.rows) {
        ASSERT_TRUE(destination_.emplace(key, cells).second) << "copied twice: " << key;
      }
      Join();
    }
  }

  // With the key made first each range joins by itself, else all when the last is done; the whole
  // table when it is done, or with the copy's end.
  void Join() {
    for (size_t i = 0; i < stored_.size(); ++i) {
      const bool may_join =
          i == kWholePlace ? does_whole_join_ || IsCopied() : has_key_first_ || AreRangesCopied();
      if (stored_[i].state != "copied" || has_joined_[i] || !may_join) continue;
      has_joined_[i] = true;
      live_->Finish(i);
    }
  }

  // Also the first start. What is lost: all that is not stored at the destination.
  void Restart() {
    assembler_.reset();
    written_.clear();
    live_ = std::make_unique<LiveCopy>(LiveCopy::Options{
        .piece_count = stored_.size(), .remembered_max = static_cast<size_t>(1 + Any(20))});
    // The marker that is waited for.
    for (Transaction& transaction : log_) transaction.has_ended = true;
    has_joined_.assign(stored_.size(), false);
    for (size_t i = 0; i < stored_.size(); ++i) {
      if (stored_[i].state == "copied") {
        live_->AddTaken(i, stored_[i].snapshot);
        continue;
      }
      stored_[i] = {};
      if (i != kWholePlace) continue;
      std::erase_if(destination_, [](const auto& row) { return IsOfWhole(row.first); });
    }
    Join();
    next_ = 0;
    while (next_ < log_.size() && log_[next_].commit_lsn + 5 <= position_) ++next_;
    Assembler::Options options;
    options.batch_bytes_max = 1 << 20;
    options.batch_rows_max = 1 + Any(6);
    options.position = {position_};
    options.boundary.emplace();
    std::vector<std::string> bounds;
    for (int i = 1; i < kRanges; ++i) bounds.push_back(absl::StrCat(i * (kKeys / kRanges)));
    RangedTable table{
        {.column = "k", .type_oid = kInt4Oid, .type = KeyType::kInt4, .collation = ""},
        *KeyRanges::Make(KeyType::kInt4, RangesBetween(bounds)),
        {}};
    for (size_t i = 0; i < kRanges; ++i) table.snapshots.push_back(i);
    if (IsCopied() && Any(2) == 0) {
      for (const Stored& range : stored_) options.boundary->snapshots.push_back(range.snapshot);
      options.boundary->of_table[kWholeTable] = kWholePlace;
    } else {
      options.boundary->live = live_.get();
      options.boundary->live_tables[kWholeTable] = kWholePlace;
    }
    options.boundary->ranged.emplace(kTable, std::move(table));
    // As there is always one: that of tables which are copied whole.
    options.boundary->snapshots.push_back({Snapshot::Parse("0:0:").value(), {1000}});
    options.await_copy = [this](const TableName&) -> absl::Status {
      Apply(false);
      // A crash while it waits: the rest of the transaction is not decoded.
      if (Any(40) == 0) return absl::CancelledError("");
      Elsewhere();
      return absl::OkStatus();
    };
    options.read_moved = [this](const MovedRow& moved) { return ReadMoved(moved); };
    assembler_.emplace(std::move(options));
  }

  // Not before the transaction is seen; then as the source is by now.
  absl::StatusOr<std::optional<std::string>> ReadMoved(const MovedRow& moved) {
    auto has_ended = [this, &moved] {
      return std::any_of(log_.begin(), log_.end(), [&moved](const Transaction& transaction) {
        return transaction.xid == moved.xid && transaction.has_ended;
      });
    };
    for (int steps = Any(20); steps > 0 || !has_ended(); --steps) {
      Apply(false);
      if (Any(100) == 0) return absl::CancelledError("");
      Elsewhere();
    }
    const int key = *FieldOf(moved.row, 0);
    const auto versions =
        VersionsSeenBy([](const Transaction& transaction) { return transaction.has_ended; });
    auto found = versions.find(key);
    if (found == versions.end() || found->second.xmin != moved.xid) {
      return std::optional<std::string>();
    }
    return std::optional<std::string>(
        Row(key, {*FieldOf(moved.row, 1), found->second.cells.large}, false));
  }

  void CopyAgain() {
    for (size_t i = 0; i < kRanges; ++i) stored_[i] = {};
    std::erase_if(destination_, [](const auto& row) { return !IsOfWhole(row.first); });
    Restart();
  }

  void Stream() {
    if (next_ == log_.size()) return Apply(true);
    const Transaction transaction = log_[next_++];
    TransactionHeader header;
    header.xid = transaction.xid;
    header.commit_lsn = {transaction.commit_lsn};
    header.end_lsn = {transaction.commit_lsn + 5};
    ASSERT_TRUE(assembler_->OnBegin(header).ok());
    for (const Effect& effect : transaction.effects) {
      Change change;
      change.relation =
          IsOfWhole(effect.before ? *effect.before : *effect.after) ? &whole_ : &relation_;
      if (effect.before && effect.after != effect.before) {
        change.old_image = OldImage::kKey;
        change.old_row = rows_.emplace_back(Key(*effect.before));
      }
      if (effect.after) {
        change.new_row =
            rows_.emplace_back(Row(*effect.after, effect.cells, effect.is_large_unsent));
        change.has_unchanged_toast = effect.is_large_unsent;
      }
      change.kind = !effect.before  ? ChangeKind::kInsert
                    : !effect.after ? ChangeKind::kDelete
                                    : ChangeKind::kUpdate;
      absl::Status taken = assembler_->OnChange(std::move(change));
      if (absl::IsCancelled(taken)) return Restart();
      ASSERT_TRUE(taken.ok()) << taken;
      assembler_->AddFrame(Frame());
      Apply(false);
    }
    absl::Status ended = assembler_->OnCommit(header);
    if (absl::IsCancelled(ended)) return Restart();
    if (TableToCopyAgain(ended) == kTable) return CopyAgain();
    ASSERT_TRUE(ended.ok()) << ended;
    assembler_->AddFrame(Frame());
    // Some batches are only on their way when it crashes.
    if (Any(4) > 0) Apply(Any(2) == 0);
  }

  // A transaction in parts is at the destination when its last part is; what the copy commits
  // meanwhile it sees.
  void Apply(bool is_idle) {
    while (std::optional<Batch> batch = assembler_->Take(is_idle)) {
      for (const Change& change : batch->changes) {
        std::optional<int> large;
        bool has_new = change.kind != ChangeKind::kDelete;
        int after = has_new ? *FieldOf(change.new_row, 0) : 0;
        if (change.kind != ChangeKind::kInsert) {
          int before = change.old_image == OldImage::kNone ? after : *FieldOf(change.old_row, 0);
          std::optional<Cells> old = There(before);
          ASSERT_TRUE(old.has_value()) << "key " << before;
          large = old->large;
          written_[before] = std::nullopt;
        }
        if (has_new) {
          ASSERT_FALSE(There(after).has_value()) << "key " << after;
          if (std::optional<int> sent = FieldOf(change.new_row, 2)) large = sent;
          ASSERT_TRUE(large.has_value()) << "key " << after;
          written_[after] = Cells{*FieldOf(change.new_row, 1), *large};
        }
      }
      if (batch->part == BatchPart::kFirst || batch->part == BatchPart::kMiddle) continue;
      for (const auto& [key, cells] : written_) {
        destination_.erase(key);
        if (cells) destination_[key] = *cells;
      }
      written_.clear();
      position_ = std::max(position_, batch->end_lsn.value);
    }
  }

  std::optional<Cells> There(int key) const {
    if (auto written = written_.find(key); written != written_.end()) return written->second;
    auto row = destination_.find(key);
    return row == destination_.end() ? std::nullopt : std::optional<Cells>(row->second);
  }

  std::mt19937 random_;
  const Relation relation_;
  const Relation whole_;
  bool has_key_first_ = false;
  bool is_whole_first_ = false;
  bool does_whole_join_ = false;  // before the copy has ended
  bool is_closing_ = false;       // nothing more is written at the source
  std::map<int, Version> initial_;
  // The source.
  std::vector<Transaction> open_;
  std::vector<Transaction> log_;
  uint64_t next_xid_ = 5;
  uint64_t next_lsn_ = 1000;
  int written_values_ = 100;
  // The destination.
  std::map<int, Cells> destination_;
  std::vector<Stored> stored_;
  uint64_t position_ = 500;
  // The process.
  std::unique_ptr<LiveCopy> live_;
  std::vector<bool> has_joined_;
  std::optional<Assembler> assembler_;
  size_t next_ = 0;                              // of log_, to be streamed
  std::map<int, std::optional<Cells>> written_;  // by the open transaction at the destination
  std::deque<std::string> rows_;
};

class LiveCopyModelTest : public testing::TestWithParam<unsigned> {};

TEST_P(LiveCopyModelTest, TheDestinationComesOutEqual) { World(GetParam()).Run(); }

INSTANTIATE_TEST_SUITE_P(Seeds, LiveCopyModelTest, testing::Range(0u, 1000u));

}  // namespace
}  // namespace towline
