#include "snapshot/range_copier.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "model/copy_again.h"
#include "model/live_copy.h"
#include "pg/quoting.h"
#include "schema/table_rules.h"
#include "snapshot/copy_start.h"
#include "snapshot/copy_worker.h"
#include "snapshot/exported_snapshot.h"
#include "snapshot/key_builder.h"
#include "snapshot/key_plan.h"
#include "snapshot/key_reader.h"
#include "snapshot/live_source.h"
#include "snapshot/piece_copier.h"
#include "snapshot/piece_groups.h"
#include "snapshot/range_plan.h"
#include "snapshot/range_queue.h"
#include "snapshot/table_copier.h"
#include "snapshot/table_joiner.h"
#include "state/position.h"
#include "state/task_name.h"

namespace towline {
namespace {

// How soon a wish to stop reaches the workers.
constexpr absl::Duration kWatchInterval = absl::Milliseconds(100);

// As for the exported snapshot: a deadlock with us never ends the user's transaction.
constexpr char kBeginSql[] =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = '500ms'";
// The table is locked: what is left are locks on its indexes and its TOAST table.
constexpr char kNoLockTimeoutSql[] = "SET LOCAL lock_timeout = 0";
constexpr char kBoundsLockTimeoutSql[] = "SET lock_timeout = '30s'";

// How long a lock is waited for before the log says so, and how often it does.
constexpr absl::Duration kTellAfter = absl::Seconds(1);
constexpr absl::Duration kTellInterval = absl::Seconds(10);
constexpr absl::Duration kPause = absl::Milliseconds(100);
// A transaction that has committed ends within microseconds, unless it waits for a standby.
constexpr absl::Duration kRetakePause = absl::Milliseconds(10);

std::string Qualified(const Table& table) {
  return QuoteQualified(table.name.schema, table.name.name);
}

absl::StatusOr<Connection> OpenSource(const CopierOptions& options, absl::string_view word,
                                      std::vector<std::string> settings, const Shutdown& shutdown) {
  Connection::Purpose purpose;
  purpose.application_name = SourceApplication(options.task, word);
  purpose.settings = std::move(settings);
  return Connection::Open(options.source, purpose, shutdown);
}

class RangeWorker {
 public:
  RangeWorker(const CopierOptions& options, TaskClaim claim, CopyWorker worker,
              const Shutdown& stop)
      : options_(options), claim_(std::move(claim)), worker_(std::move(worker)), stop_(stop) {}

  absl::StatusOr<int64_t> Copy(const RangedCopy& copy, const RangeJob& job, RangeQueue& queue,
                               LiveSource& live);
  CopyWorker& worker() { return worker_; }

 private:
  absl::Status BeginAndLock(const Table& table);
  absl::Status CheckForm(const RangedCopy& copy);
  absl::StatusOr<CopySnapshot> TakeSnapshot(const RangedCopy& copy, size_t place, LiveCopy& live);

  const CopierOptions& options_;
  TaskClaim claim_;
  CopyWorker worker_;
  const Shutdown& stop_;
};

// A statement that waits for this table is let through between two ranges, and between two tries.
absl::Status RangeWorker::BeginAndLock(const Table& table) {
  const absl::Time deadline = SteadyNow() + options_.snapshot_wait_max;
  absl::Time tell_at = SteadyNow() + kTellAfter;
  while (true) {
    TOWLINE_RETURN_IF_ERROR(worker_.source().Exec(kBeginSql).status());
    absl::Status locked =
        worker_.source()
            .Exec(absl::StrCat("LOCK TABLE ONLY ", Qualified(table), " IN ACCESS SHARE MODE"))
            .status();
    if (locked.ok()) return worker_.source().Exec(kNoLockTimeoutSql).status();
    const std::string sqlstate = GetSqlState(locked);
    if (sqlstate == "42P01" || sqlstate == "3F000") {
      return absl::AbortedError(
          absl::StrCat("table ", Qualified(table), " was dropped or renamed during its copy"));
    }
    if (!IsLockRefused(locked)) return WithContext(locked, "cannot lock a table for the copy");
    TOWLINE_RETURN_IF_ERROR(worker_.source().Exec("ROLLBACK").status());
    if (SteadyNow() >= tell_at || SteadyNow() >= deadline) {
      TOWLINE_ASSIGN_OR_RETURN(std::string holders, DescribeLockHolders(worker_.source()));
      std::string text =
          absl::StrCat("the copy waits for a lock on table ", Qualified(table),
                       ", held or wished for by ", holders.empty() ? "somebody" : holders);
      if (SteadyNow() >= deadline) {
        return WithHint(absl::DeadlineExceededError(text),
                        "Let that transaction end, then run the same command again.");
      }
      LogInfo(text);
      tell_at = SteadyNow() + kTellInterval;
    }
    if (!stop_.SleepFor(kPause)) return absl::CancelledError("shutting down");
  }
}

// The transaction's first query, which takes its snapshot.
absl::Status RangeWorker::CheckForm(const RangedCopy& copy) {
  absl::StatusOr<std::string> form = ReadSourceForm(worker_.source(), copy.table.name);
  if (!form.ok() && !absl::IsNotFound(form.status())) return form.status();
  if (form.ok() && *form == copy.source_form) return absl::OkStatus();
  return CopyAgainError(copy.table.oid,
                        absl::StrCat("table ", Qualified(copy.table),
                                     " was emptied, rewritten or altered while its ranges were "
                                     "copied, and is copied again"));
}

// In the transaction under it, which holds the table's lock. The stream waits at the range from the
// first try on, so that one of the next is good.
absl::StatusOr<CopySnapshot> RangeWorker::TakeSnapshot(const RangedCopy& copy, size_t place,
                                                       LiveCopy& live) {
  const absl::Time deadline = SteadyNow() + options_.snapshot_wait_max;
  absl::Time tell_at = SteadyNow() + kTellAfter;
  for (bool is_first = true;; is_first = false) {
    TOWLINE_RETURN_IF_ERROR(BeginAndLock(copy.table));
    if (is_first) live.Announce({place});
    TOWLINE_RETURN_IF_ERROR(CheckForm(copy));
    TOWLINE_ASSIGN_OR_RETURN(Result taken,
                             worker_.source().Query("SELECT pg_catalog.pg_current_snapshot(), "
                                                    "pg_catalog.pg_current_wal_insert_lsn()"));
    TOWLINE_ASSIGN_OR_RETURN(Snapshot snapshot, Snapshot::Parse(taken.Get(0, 0)));
    TOWLINE_ASSIGN_OR_RETURN(Lsn lsn_after, Lsn::Parse(taken.Get(0, 1)));
    CopySnapshot found{std::move(snapshot), lsn_after};
    if (live.Accept({place}, found)) return found;
    TOWLINE_RETURN_IF_ERROR(worker_.source().Exec("ROLLBACK").status());
    const std::string text =
        absl::StrCat("the copy of table ", Qualified(copy.table),
                     " waits for transactions that are committed and not ended yet");
    if (SteadyNow() >= deadline) {
      return WithHint(absl::DeadlineExceededError(text),
                      "They wait for a synchronous standby, as a rule: see "
                      "synchronous_standby_names of the source and pg_stat_activity there, then "
                      "run the same command again.");
    }
    if (SteadyNow() >= tell_at) {
      LogInfo(text);
      tell_at = SteadyNow() + kTellInterval;
    }
    if (!stop_.SleepFor(kRetakePause)) return absl::CancelledError("shutting down");
  }
}

absl::StatusOr<int64_t> RangeWorker::Copy(const RangedCopy& copy, const RangeJob& job,
                                          RangeQueue& queue, LiveSource& live) {
  const RangeRow& range = copy.ranges[job.range];
  TOWLINE_ASSIGN_OR_RETURN(CopySnapshot snapshot,
                           TakeSnapshot(copy, queue.PlaceOf(job), queue.live()));
  TOWLINE_RETURN_IF_ERROR(live.Flush());
  TOWLINE_RETURN_IF_ERROR(StartRanges(worker_.destination(), claim_,
                                      {{copy.table.name, range.ordinal}},
                                      snapshot.snapshot.ToString(), snapshot.lsn_after));
  FaultPoint("copy:range-begun");
  CopyPart part;
  part.is_whole = false;
  part.bytes = copy.table.total_bytes / static_cast<int64_t>(copy.ranges.size());
  part.key_condition = KeyCondition(*copy.key, range.keys);
  auto mark = [&](Connection& destination, int64_t rows) {
    absl::Status marked =
        MarkRangeCopied(destination, claim_, copy.table.name, range.ordinal, rows);
    FaultPoint("copy:range-marked");
    return marked;
  };
  TOWLINE_ASSIGN_OR_RETURN(int64_t rows, worker_.CopyPartOf(copy.table, copy.target, part, mark));
  FaultPoint("copy:range-done");
  TOWLINE_RETURN_IF_ERROR(worker_.EndReading());
  return rows;
}

// Of a table whose rows an earlier try has copied. Without a key it stays out of the stream until
// the copy has ended.
absl::Status Join(const RangedCopy& copy, size_t table, RangeQueue& queue, KeyBuilder& keys) {
  if (queue.has_key(table)) return absl::OkStatus();
  TOWLINE_ASSIGN_OR_RETURN(bool has_key, keys.Build(copy.table.name, {copy.key->column}));
  FaultPoint("copy:key-built");
  if (!has_key) {
    LogInfo("a table joins the stream when the copy is complete, as its key cannot be made before",
            {{"table", Qualified(copy.table)}});
    return absl::OkStatus();
  }
  std::vector<size_t> all(copy.ranges.size());
  std::iota(all.begin(), all.end(), size_t{0});
  queue.SetHasKey(table, all);
  LogInfo("a table joins the stream", {{"table", Qualified(copy.table)}});
  return absl::OkStatus();
}

absl::Status WorkOnRanges(const std::vector<RangedCopy>& tables, RangeWorker& worker,
                          const TaskClaim& claim, RangeQueue& queue, LiveSource& source,
                          TableJoiner& joiner, CopyProgress& progress) {
  const RangeJob* job = nullptr;
  while ((job = queue.Next(job)) != nullptr) {
    const RangedCopy& copy = tables[job->table];
    TOWLINE_ASSIGN_OR_RETURN(int64_t rows, worker.Copy(copy, *job, queue, source));
    if (!queue.Finish(*job, rows)) continue;
    auto mark = [&](Connection& destination, int64_t whole_rows) {
      return MarkPieceCopied(destination, claim, copy.table.name, whole_rows);
    };
    TOWLINE_RETURN_IF_ERROR(worker.worker().MarkTable(queue.rows(job->table), mark));
    if (!queue.has_key(job->table)) {
      joiner.Add(copy.table, {copy.key->column}, queue.PlacesOf(job->table));
    }
    progress.tables_done.fetch_add(1, std::memory_order_relaxed);
    if (auto* counts = progress.tables.Find(copy.table.name); counts != nullptr) counts->Finish();
    FaultPoint("copy:table-done");
  }
  return absl::OkStatus();
}

// Bounds are stored before the first row, so that whoever goes on has the same ranges.
absl::Status Divide(const CopierOptions& options, Connection& source, StateStore& store,
                    const std::vector<RangedCopy>& tables) {
  std::map<TableName, std::vector<KeyRange>> whole;
  for (const RangedCopy& copy : tables) {
    if (copy.ranges.empty() && !copy.key.has_value()) whole[copy.table.name] = RangesBetween({});
  }
  TOWLINE_RETURN_IF_ERROR(store.AddRanges(whole));
  for (const RangedCopy& copy : tables) {
    if (!copy.ranges.empty() || !copy.key.has_value()) continue;
    KeyChoice choice;
    choice.key = copy.key;
    int64_t count =
        PlanKeys(copy.table, choice, {CopyPlanner::kKeys, options.part_bytes}).range_count;
    TOWLINE_ASSIGN_OR_RETURN(std::vector<std::string> bounds,
                             ReadKeyBounds(source, copy.table, *copy.key, count));
    TOWLINE_RETURN_IF_ERROR(store.AddRanges({{copy.table.name, RangesBetween(bounds)}}));
  }
  FaultPoint("copy:ranges-stored");
  return absl::OkStatus();
}

// What is stored of the ranges, and how the stream is to take them.
struct Stored {
  std::vector<std::vector<size_t>> places;  // of each table's ranges, among all that are stored
  std::unique_ptr<LiveCopy> live;
};

absl::StatusOr<Stored> ReadStored(StateStore& store, std::vector<RangedCopy>* tables) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<RangeRow> ranges, store.ReadRanges());
  std::map<TableName, size_t> numbers;
  for (size_t i = 0; i < tables->size(); ++i) {
    (*tables)[i].ranges.clear();
    numbers[(*tables)[i].table.name] = i;
  }
  Stored stored;
  stored.places.resize(tables->size());
  stored.live = std::make_unique<LiveCopy>(LiveCopy::Options{.piece_count = ranges.size()});
  for (size_t place = 0; place < ranges.size(); ++place) {
    RangeRow& range = ranges[place];
    if (range.state == "copied") {
      TOWLINE_ASSIGN_OR_RETURN(Snapshot snapshot, Snapshot::Parse(range.snapshot));
      stored.live->AddTaken(place, {std::move(snapshot), range.lsn_after});
    }
    auto number = numbers.find(range.table);
    if (number == numbers.end()) {
      // Of a table that was done before, and has its indexes.
      stored.live->Finish(place);
      continue;
    }
    stored.places[number->second].push_back(place);
    (*tables)[number->second].ranges.push_back(std::move(range));
  }
  return stored;
}

// Tables that have their keys, or are to have them before their rows.
absl::Status MakeKeysFirst(const std::vector<RangedCopy>& tables, RangeQueue& queue,
                           KeyBuilder& keys) {
  for (size_t i = 0; i < tables.size(); ++i) {
    const RangedCopy& copy = tables[i];
    TOWLINE_ASSIGN_OR_RETURN(bool has_key, keys.HasKey(copy.table.name, {copy.key->column}));
    if (!has_key && copy.ranges.size() > kKeyFirstRanges) {
      TOWLINE_ASSIGN_OR_RETURN(has_key, keys.Build(copy.table.name, {copy.key->column}));
      FaultPoint("copy:key-built");
    }
    if (!has_key) continue;
    std::vector<size_t> done;
    for (size_t range = 0; range < copy.ranges.size(); ++range) {
      if (copy.ranges[range].state == "copied") done.push_back(range);
    }
    queue.SetHasKey(i, done);
  }
  return absl::OkStatus();
}

// What an earlier try has done.
absl::Status CountDone(const std::vector<RangedCopy>& tables, RangeQueue& queue, KeyBuilder& keys,
                       StateStore& store, CopyProgress& progress) {
  int64_t kept = 0;
  for (size_t i = 0; i < tables.size(); ++i) {
    const RangedCopy& copy = tables[i];
    int64_t share = copy.table.total_bytes / static_cast<int64_t>(copy.ranges.size());
    auto* counts = progress.tables.Find(copy.table.name);
    for (const RangeRow& range : copy.ranges) {
      if (range.state != "copied") continue;
      ++kept;
      progress.bytes_done += share;
      progress.rows_done += range.rows_done;
      if (counts != nullptr) counts->Add(share, range.rows_done);
    }
    if (!queue.is_done(i)) continue;
    if (counts != nullptr) counts->Finish();
    // A crash came between the last range and this.
    TOWLINE_RETURN_IF_ERROR(
        MarkPieceCopied(store.connection(), store.claim(), copy.table.name, queue.rows(i)));
    TOWLINE_RETURN_IF_ERROR(Join(copy, i, queue, keys));
    progress.tables_done.fetch_add(1, std::memory_order_relaxed);
  }
  if (tables.empty()) return absl::OkStatus();
  LogInfo("copying rows in ranges of keys", {{"tables", absl::StrCat(tables.size())},
                                             {"ranges", absl::StrCat(queue.job_count())},
                                             {"ranges_kept", absl::StrCat(kept)}});
  return absl::OkStatus();
}

// Those without key; `places` follows `tables`.
std::vector<OwnPiece> TakeOwnPieces(std::vector<RangedCopy>* tables,
                                    std::vector<std::vector<size_t>>* places) {
  std::vector<OwnPiece> pieces;
  std::vector<RangedCopy> in_ranges;
  std::vector<std::vector<size_t>> places_in_ranges;
  for (size_t i = 0; i < tables->size(); ++i) {
    if ((*tables)[i].key.has_value()) {
      in_ranges.push_back(std::move((*tables)[i]));
      places_in_ranges.push_back(std::move((*places)[i]));
    } else {
      pieces.push_back({std::move((*tables)[i]), (*places)[i].front()});
    }
  }
  *tables = std::move(in_ranges);
  *places = std::move(places_in_ranges);
  return pieces;
}

absl::Status CopyQueue(const CopierOptions& options, const std::vector<RangedCopy>& tables,
                       RangeQueue& queue, LiveSource& live, TableJoiner& joiner, StateStore& store,
                       CopyProgress& progress, int origins_behind,
                       const std::function<absl::Status()>& on_tick, const Shutdown& shutdown,
                       Shutdown& stop) {
  LargeRowTurn large_row_turn;
  const size_t count =
      std::min(static_cast<size_t>(std::max(options.workers, 1)), queue.job_count());
  std::vector<RangeWorker> workers;
  for (size_t i = 0; i < count; ++i) {
    if (shutdown.is_requested()) return absl::CancelledError("shutting down");
    TOWLINE_ASSIGN_OR_RETURN(Connection source,
                             OpenSource(options, "copy", {kRuleSearchPathSql}, shutdown));
    const int origin = kSchemaOrigin + 1 + origins_behind + static_cast<int>(i);
    TOWLINE_ASSIGN_OR_RETURN(Connection destination,
                             OpenDestination(options, "copy", origin, store, stop));
    source.set_shutdown(stop);
    workers.emplace_back(
        options, store.claim(),
        CopyWorker(std::move(source), std::move(destination),
                   {store.claim(), /*lock_key=*/0, &large_row_turn, options.source.user(),
                    options.rate_limit, options.pace, &stop},
                   &progress),
        stop);
  }
  std::vector<std::thread> threads;
  for (RangeWorker& worker : workers) {
    queue.WorkerBegins();
    threads.emplace_back([&] {
      absl::Status status =
          WorkOnRanges(tables, worker, store.claim(), queue, live, joiner, progress);
      if (!status.ok()) queue.Fail(status);
      queue.WorkerEnds();
    });
  }
  while (!queue.Await(kWatchInterval)) {
    if (queue.failure().ok()) {
      if (absl::Status ticked = on_tick(); !ticked.ok()) queue.Fail(ticked);
    }
    if (!queue.failure().ok()) stop.Request();
  }
  for (std::thread& thread : threads) thread.join();
  return queue.failure();
}

}  // namespace

absl::Status CopyRanges(const CopierOptions& options, std::vector<RangedCopy> tables,
                        StateStore& store, CopyProgress& progress, CopyCompanion& companion,
                        const Shutdown& shutdown) {
  Shutdown stop;  // the sessions' own, so that one failure stops them all; outlives them
  TOWLINE_ASSIGN_OR_RETURN(Connection session,
                           OpenSource(options, "ranges", {kBoundsLockTimeoutSql}, shutdown));
  TOWLINE_RETURN_IF_ERROR(Divide(options, session, store, tables));
  TOWLINE_ASSIGN_OR_RETURN(Stored stored, ReadStored(store, &tables));
  const std::vector<std::vector<OwnPiece>> groups =
      GroupPieces(TakeOwnPieces(&tables, &stored.places), options.part_bytes);
  TOWLINE_ASSIGN_OR_RETURN(std::unique_ptr<KeyBuilder> keys,
                           KeyBuilder::Open(options, store, progress, shutdown));
  LiveSource source(std::move(session), *stored.live);
  RangeQueue queue(tables, std::move(stored.places), *stored.live);
  TOWLINE_RETURN_IF_ERROR(MakeKeysFirst(tables, queue, *keys));
  TOWLINE_RETURN_IF_ERROR(CountDone(tables, queue, *keys, store, progress));
  if (!groups.empty()) {
    size_t pieces = 0;
    for (const std::vector<OwnPiece>& group : groups) pieces += group.size();
    LogInfo("copying tables under snapshots of their own",
            {{"tables", absl::StrCat(pieces)}, {"snapshots", absl::StrCat(groups.size())}});
  }
  keys->set_shutdown(stop);
  struct Ender {
    CopyCompanion& companion;
    ~Ender() { companion.End(); }
  } ender{companion};
  companion.Begin(*stored.live);
  absl::Status copied;
  {
    TableJoiner joiner(*keys, *stored.live, progress);
    auto on_tick = [&]() -> absl::Status {
      if (shutdown.is_requested()) return absl::CancelledError("shutting down");
      TOWLINE_RETURN_IF_ERROR(joiner.status());
      TOWLINE_RETURN_IF_ERROR(companion.Look());
      return source.ForgetIfDue();
    };
    const PieceCopy copy{.options = options,
                         .store = store,
                         .progress = progress,
                         .live = *stored.live,
                         .source = source,
                         .on_tick = on_tick};
    for (size_t number = 0; number < groups.size() && copied.ok(); ++number) {
      copied = CopyPieces(copy, groups[number], number, shutdown);
      // The last ones join with the end of the copy, unless more is behind them: then their indexes
      // can be made together with all others.
      if (!copied.ok() || (number + 1 == groups.size() && tables.empty())) break;
      if (groups[number].size() > 1) {
        copied = JoinGroup(groups[number], store.connection(), *stored.live);
        continue;
      }
      const OwnPiece& piece = groups[number].front();
      joiner.Add(piece.copy.table, IdentityColumns(piece.copy.table), {piece.place});
    }
    if (copied.ok()) {
      copied = CopyQueue(options, tables, queue, source, joiner, store, progress,
                         OriginsBehind(options.workers, groups.size()), on_tick, shutdown, stop);
    }
    // The last keys may take longer than the last rows.
    while (copied.ok() && !joiner.AwaitIdle(kWatchInterval)) copied = on_tick();
    if (copied.ok()) copied = joiner.status();
    if (!copied.ok()) stop.Request();
  }
  return copied;
}

}  // namespace towline
