#include "snapshot/piece_copier.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "model/copy_again.h"
#include "pg/quoting.h"
#include "snapshot/copy_finish.h"
#include "snapshot/copy_plan.h"
#include "snapshot/exported_snapshot.h"
#include "snapshot/idle_indexer.h"
#include "snapshot/range_plan.h"
#include "snapshot/table_copier.h"
#include "state/position.h"

namespace towline {
namespace {

// How long a lock, or the end of transactions, is waited for before the log says so, and how often.
constexpr absl::Duration kTellAfter = absl::Seconds(1);
constexpr absl::Duration kTellInterval = absl::Seconds(10);
constexpr absl::Duration kLockPause = absl::Milliseconds(100);
// A transaction that has committed ends within microseconds, unless it waits for a standby.
constexpr absl::Duration kRetakePause = absl::Milliseconds(10);
// How long lock and snapshot are held at first for the stream to get there, twice as long each
// time.
constexpr absl::Duration kHeldMin = absl::Seconds(10);
constexpr absl::Duration kReachPause = absl::Milliseconds(20);

std::string Qualified(const Table& table) {
  return QuoteQualified(table.name.schema, table.name.name);
}

// "table a", or "3 tables (a, ...)".
std::string Describe(const std::vector<OwnPiece>& pieces) {
  const std::string first = Qualified(pieces.front().copy.table);
  if (pieces.size() == 1) return absl::StrCat("table ", first);
  return absl::StrCat(pieces.size(), " tables (", first, ", ...)");
}

class PieceCopier {
 public:
  PieceCopier(const PieceCopy& copy, const std::vector<OwnPiece>& pieces, const Shutdown& shutdown);

  // `number`: of the group, for its origins.
  absl::Status Copy(size_t number);

 private:
  enum class Reached { kYes, kNotHeld, kTooLate };

  PlanOptions HowToPlan() const;
  absl::StatusOr<ExportedSnapshot> TakeSnapshot(int readers);
  absl::StatusOr<Reached> AwaitStream(Lsn lsn_after);
  absl::Status LetStreamGetOn(Lsn until);
  absl::Status PlanFollowed(Connection& locked);
  absl::Status CheckColumns(Connection& source);
  absl::Status Wait(const absl::Status& taken);

  const PieceCopy& copy_;
  std::vector<OwnPiece> pieces_;
  std::vector<Table> tables_;
  std::vector<size_t> places_;
  const Shutdown& shutdown_;
  absl::Time deadline_;
  absl::Time tell_at_;
  absl::Duration held_max_;
};

PieceCopier::PieceCopier(const PieceCopy& copy, const std::vector<OwnPiece>& pieces,
                         const Shutdown& shutdown)
    : copy_(copy),
      pieces_(pieces),
      shutdown_(shutdown),
      held_max_(std::min(kHeldMin, copy.options.snapshot_wait_max)) {
  for (const OwnPiece& piece : pieces) {
    tables_.push_back(piece.copy.table);
    places_.push_back(piece.place);
  }
}

absl::Status PieceCopier::CheckColumns(Connection& source) {
  std::vector<TableName> names;
  for (const Table& table : tables_) names.push_back(table.name);
  using Forms = std::map<TableName, std::string>;
  TOWLINE_ASSIGN_OR_RETURN(const Forms forms, ReadSourceForms(source, names));
  for (const OwnPiece& piece : pieces_) {
    const Table& table = piece.copy.table;
    auto form = forms.find(table.name);
    if (form != forms.end() && HaveSameColumns(form->second, piece.copy.source_form)) continue;
    return CopyAgainError(table.oid, absl::StrCat("table ", Qualified(table),
                                                  " was altered before its rows were copied"));
  }
  return absl::OkStatus();
}

// `taken`: what the last try came to; OK: to a snapshot that was refused.
absl::Status PieceCopier::Wait(const absl::Status& taken) {
  TOWLINE_RETURN_IF_ERROR(copy_.on_tick());
  const absl::Time now = SteadyNow();
  if (now >= tell_at_ || now >= deadline_) {
    std::string text = absl::StrCat("the copy of ", Describe(pieces_),
                                    " waits for transactions that are committed and not ended yet");
    std::string hint =
        "They wait for a synchronous standby, as a rule: see synchronous_standby_names of the "
        "source and pg_stat_activity there, then run the same command again.";
    if (!taken.ok()) {
      TOWLINE_ASSIGN_OR_RETURN(std::string holders, copy_.source.LockHolders());
      text = absl::StrCat("the copy waits for a lock on ", Describe(pieces_),
                          ", held or wished for by ", holders.empty() ? "somebody" : holders);
      hint = "Let that transaction end, then run the same command again.";
    }
    if (now >= deadline_) return WithHint(absl::DeadlineExceededError(text), hint);
    LogInfo(text);
    tell_at_ = now + kTellInterval;
  }
  return shutdown_.SleepFor(taken.ok() ? kRetakePause : kLockPause)
             ? absl::OkStatus()
             : absl::CancelledError("shutting down");
}

// Commands that wait for the table wait for us meanwhile, and the table's users for them.
absl::StatusOr<PieceCopier::Reached> PieceCopier::AwaitStream(Lsn lsn_after) {
  TOWLINE_RETURN_IF_ERROR(copy_.source.Flush());
  const absl::Time let_go_at = SteadyNow() + held_max_;
  while (true) {
    if (copy_.live.Retake(places_)) return Reached::kNotHeld;
    TOWLINE_ASSIGN_OR_RETURN(const bool is_reached, copy_.followed->is_reached(lsn_after));
    if (is_reached) return Reached::kYes;
    if (SteadyNow() >= let_go_at) return Reached::kTooLate;
    TOWLINE_RETURN_IF_ERROR(copy_.on_tick());
    if (!shutdown_.SleepFor(kReachPause)) return absl::CancelledError("shutting down");
  }
}

// Lock and snapshot are let go of.
absl::Status PieceCopier::LetStreamGetOn(Lsn until) {
  copy_.live.Withdraw(places_);
  if (held_max_ >= copy_.options.snapshot_wait_max) {
    return WithHint(
        absl::DeadlineExceededError(absl::StrCat("the stream does not come to the snapshot of ",
                                                 Describe(pieces_), " while its lock is held")),
        "See why it is so far behind (towline status), then run the same command "
        "again.");
  }
  LogInfo("the stream is behind the snapshot of a table, which is taken again when it gets there",
          {{"table", Qualified(tables_.front())}});
  held_max_ = std::min(2 * held_max_, copy_.options.snapshot_wait_max);
  TOWLINE_RETURN_IF_ERROR(copy_.followed->catch_up(until));
  deadline_ = SteadyNow() + copy_.options.snapshot_wait_max;
  tell_at_ = SteadyNow() + kTellAfter;
  return absl::OkStatus();
}

// The stream waits at the tables from the first try with a lock on, so that one of the next is
// good.
absl::StatusOr<ExportedSnapshot> PieceCopier::TakeSnapshot(int readers) {
  deadline_ = SteadyNow() + copy_.options.snapshot_wait_max;
  tell_at_ = SteadyNow() + kTellAfter;
  bool is_announced = false;
  ExportedSnapshot::Options take;
  take.source = copy_.options.source;
  take.task = copy_.options.task;
  take.readers = readers;
  take.tables = tables_;
  take.on_locked = [&] {
    if (!std::exchange(is_announced, true)) copy_.live.Announce(places_);
  };
  std::optional<ExportedSnapshot> snapshot;
  while (true) {
    absl::Status taken;
    if (snapshot.has_value()) {
      taken = snapshot->Retake(take);
    } else {
      absl::StatusOr<ExportedSnapshot> first = ExportedSnapshot::Take(take, shutdown_);
      taken = first.status();
      if (first.ok()) snapshot.emplace(*std::move(first));
    }
    if (taken.ok()) {
      const bool is_followed = copy_.followed != nullptr;
      if (!is_followed) TOWLINE_RETURN_IF_ERROR(CheckColumns(snapshot->connection()));
      TOWLINE_ASSIGN_OR_RETURN(Snapshot found, Snapshot::Parse(snapshot->text()));
      const Lsn lsn_after = snapshot->lsn_after();
      if (copy_.live.Accept(places_, {std::move(found), lsn_after})) {
        FaultPoint("copy:snapshot-taken");
        Reached reached = Reached::kYes;
        if (is_followed) {
          TOWLINE_ASSIGN_OR_RETURN(reached, AwaitStream(lsn_after));
        }
        if (reached == Reached::kYes) return *std::move(snapshot);
        if (reached == Reached::kTooLate) {
          snapshot.reset();
          TOWLINE_RETURN_IF_ERROR(LetStreamGetOn(lsn_after));
          is_announced = false;
          continue;
        }
      }
    } else if (IsLockRefused(taken)) {
      snapshot.reset();
      // Whoever has the lock may keep it for long, and where schema changes are followed any
      // command waits for what is announced.
      if (copy_.followed != nullptr && std::exchange(is_announced, false)) {
        copy_.live.Withdraw(places_);
      }
    } else {
      return taken;
    }
    TOWLINE_RETURN_IF_ERROR(Wait(taken));
  }
}

PlanOptions PieceCopier::HowToPlan() const {
  PlanOptions plan;
  plan.part_bytes = copy_.options.part_bytes;
  plan.has_ctid_ranges = copy_.has_ctid_ranges;
  return plan;
}

absl::Status PieceCopier::PlanFollowed(Connection& locked) {
  TOWLINE_ASSIGN_OR_RETURN(pieces_.front().copy, copy_.followed->plan(locked));
  tables_.front() = pieces_.front().copy.table;
  return absl::OkStatus();
}

absl::Status PieceCopier::Copy(size_t number) {
  const int workers = std::max(copy_.options.workers, 1);
  const int readers = std::min(workers, static_cast<int>(PlanParts(tables_, HowToPlan()).size()));
  if (copy_.followed != nullptr) TOWLINE_RETURN_IF_ERROR(copy_.followed->catch_up(Lsn{}));
  TOWLINE_ASSIGN_OR_RETURN(ExportedSnapshot snapshot, TakeSnapshot(readers));
  if (copy_.followed != nullptr) TOWLINE_RETURN_IF_ERROR(PlanFollowed(snapshot.connection()));
  TableCopyJob job;
  job.tables = tables_;
  for (const OwnPiece& piece : pieces_) job.targets.push_back(piece.copy.target);
  job.is_staged.assign(pieces_.size(), false);
  job.parts = PlanParts(job.tables, HowToPlan());
  job.are_own_pieces = true;
  job.origins_behind = OriginsBehind(workers, number);
  job.on_tick = copy_.on_tick;
  if (copy_.followed != nullptr) job.check_read = copy_.followed->check_read;
  TOWLINE_RETURN_IF_ERROR(copy_.on_snapshot());
  TOWLINE_RETURN_IF_ERROR(copy_.source.Flush());
  std::vector<RangeId> ranges;
  for (const OwnPiece& piece : pieces_) {
    ranges.push_back({piece.copy.table.name, piece.copy.ranges.front().ordinal});
  }
  TOWLINE_RETURN_IF_ERROR(StartRanges(copy_.store.connection(), copy_.store.claim(), ranges,
                                      snapshot.text(), snapshot.lsn_after()));
  FaultPoint("copy:piece-begun");
  if (pieces_.size() == 1) {
    return CopyTables(copy_.options, job, snapshot, snapshot.TakeReaders(), copy_.store,
                      copy_.progress, shutdown_);
  }
  // Their keys and indexes are made by the same workers: one session alone, as for a large table,
  // would be behind, and the stream waits for each of them.
  TOWLINE_ASSIGN_OR_RETURN(
      SchemaRun run, PreparePostData(copy_.options, kPostSection, copy_.store, copy_.progress));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<SchemaStatement> statements,
                           copy_.store.ReadSchemaStatements(kPostSection));
  std::map<TableName, int64_t> bytes;  // of no other tables, so that none of theirs are made
  for (const Table& table : tables_) bytes[table.name] = table.total_bytes;
  IdleIndexer indexer({static_cast<size_t>(std::max(copy_.options.index_workers, workers)),
                       copy_.options.index_memory},
                      copy_.store.claim(), std::move(run), std::move(statements), bytes,
                      /*left_out=*/{});
  job.on_idle = [&indexer](Connection& destination, auto is_copied, auto) {
    return indexer.Run(destination, is_copied, [] { return true; });
  };
  return CopyTables(copy_.options, job, snapshot, snapshot.TakeReaders(), copy_.store,
                    copy_.progress, shutdown_);
}

}  // namespace

int OriginsBehind(int workers, size_t number) { return number % 2 == 0 ? workers : 0; }

absl::Status CopyPieces(const PieceCopy& copy, const std::vector<OwnPiece>& pieces, size_t number,
                        const Shutdown& shutdown) {
  return PieceCopier(copy, pieces, shutdown).Copy(number);
}

}  // namespace towline
