// The part of an attempt that copies single tables while the task streams, so that they come back
// to the stream, or come to it, exactly by I4:
//
//   the table is out of the stream (joining) ─▶ its range is noted ─▶ stream restarted with the
//   table: what changes it is passed over ─▶ marker (hazards A1) ─▶ snapshot ─▶ emptied ─▶ rows,
//   mark: as a large table of the first copy (snapshot/piece_copier.h) ─▶ its changes are applied
//   ─▶ when the position has passed the snapshot it is as any other
//
// A crash before the mark leaves it joining, and it is copied anew; after it the range says what
// its rows hold. docs/decisions/012.
//
// Where schema changes are followed, the table's are brought by the stream meanwhile, and its name
// with them: it is known by its OID. What it is copied as is decided under the snapshot's lock,
// when the stream has come there. What ends the stream before that is for a stream alone to deal
// with: the table waits until that has got on. docs/decisions/019.
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
#include "run/attempt.h"
#include "schema/catalog_reader.h"
#include "schema/table_rules.h"
#include "snapshot/copy_plan.h"
#include "snapshot/copy_start.h"
#include "snapshot/existing_tables.h"
#include "snapshot/live_source.h"
#include "snapshot/piece_copier.h"
#include "snapshot/table_copier.h"
#include "snapshot/value_types.h"
#include "state/column_types.h"
#include "state/joining_piece.h"
#include "state/origin.h"
#include "state/parked_piece.h"
#include "state/task_name.h"
#include "state/task_row.h"

namespace towline {
namespace {

// Of a table that streams, which the stream waits for meanwhile; within the time that `towline
// table` waits for the answer.
constexpr char kAskedLockTimeoutSql[] = "SET LOCAL lock_timeout = '5s'";

// At the source, behind a lock of our own that others may wait for.
constexpr char kLookLockTimeoutSql[] = "SET lock_timeout = '500ms'";

constexpr absl::Duration kCatchUpPause = absl::Milliseconds(50);

std::string Quoted(const TableName& table) { return QuoteQualified(table.schema, table.name); }

// As StartJoining() notes it.
RangedCopy WholeOf(const JoinPlan& plan) {
  RangeRow range;
  range.table = plan.table.name;
  range.ordinal = 1;
  return {plan.table, plan.target, std::nullopt, plan.source_form, {range}};
}

// Whether that session's transaction has locked it, by whatever name.
absl::StatusOr<bool> IsLockedBy(Connection& session, Oid table) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result found,
      session.Query("SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.relation = "
                    "$1::bigint::oid AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d "
                    "WHERE d.datname = pg_catalog.current_database()) "
                    "AND l.pid = pg_catalog.pg_backend_pid() AND l.granted)",
                    {{absl::StrCat(table)}}));
  return found.GetBool(0, 0);
}

// Of one that was found empty under a lock when it was added: what came then is not the task's.
absl::Status CheckStillEmpty(Connection& session, const CopierOptions& options,
                             const Table& there) {
  auto stop = [](const Table&) { return std::string("stop"); };
  absl::Status empty = CheckExistingRows(session, {there}, {there}, {stop, {}, options.own_rows});
  if (!absl::IsFailedPrecondition(empty)) return empty;
  return WithHint(absl::FailedPreconditionError(
                      absl::StrCat("somebody has written table ", Quoted(there.name),
                                   " of the destination since it was added, when it was empty")),
                  "Keep them from that, and take these rows away if they are needed: towline table "
                  "rejoin empties the table.");
}

}  // namespace

absl::StatusOr<Connection> Attempt::OpenJoinSource() {
  TOWLINE_ASSIGN_OR_RETURN(Connection source, OpenSource());
  TOWLINE_RETURN_IF_ERROR(source.Exec(kRuleSearchPathSql).status());
  return source;
}

absl::Status Attempt::CheckMayJoinNow() {
  TOWLINE_ASSIGN_OR_RETURN(Connection * server, StreamServer());
  TOWLINE_ASSIGN_OR_RETURN(std::optional<SlotInfo> slot, ReadSlot(*server, row_.slot));
  return CheckMayJoin(context_.config, slot.has_value() && slot->is_two_phase);
}

JoinLook Attempt::FirstLook() const {
  return context_.config.ddl.is_on ? JoinLook::kAhead : JoinLook::kWhole;
}

JoinedTable Attempt::JoinedTableOf(const PieceRow& piece) const {
  return {piece.table, context_.config.ddl.is_on ? piece.source_oid : 0, piece.existing};
}

// Before it is taken up: what is refused then leaves the table as it is.
absl::StatusOr<JoinPlan> Attempt::CheckJoin(const TableRequest& request,
                                            const JoinedTable& joined) {
  TOWLINE_RETURN_IF_ERROR(CheckMayJoinNow());
  TOWLINE_ASSIGN_OR_RETURN(Connection source, OpenJoinSource());
  if (request.action == "add") TOWLINE_RETURN_IF_ERROR(RefuseExcluded(source, request.table));
  const CopierOptions options = CopyOptions();
  TOWLINE_ASSIGN_OR_RETURN(Connection destination,
                           OpenDestination(options, "schema", kSchemaOrigin, *store_, shutdown_));
  TOWLINE_ASSIGN_OR_RETURN(JoinPlan plan,
                           PlanJoin(source, destination, options, joined, FirstLook()));
  if (request.action != "add") {
    TOWLINE_ASSIGN_OR_RETURN(std::vector<ListedTable> tables,
                             ListTables(source, SelectionOf(context_.config)));
    TOWLINE_RETURN_IF_ERROR(CheckSelected(tables, plan.table));
  }
  // Nobody has looked at its rule while the table was not in the stream.
  if (!context_.config.rules.empty()) {
    TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> tables,
                             ReadTablesByName(source, {plan.table.name}));
    TOWLINE_RETURN_IF_ERROR(CheckRulesOf(tables));
  }
  return plan;
}

// In the session's transaction, which locks the table: what would be in the way when it is emptied
// must not take it out of the stream first. Of a table of the task its rows are the task's; else
// whether it was found empty, so that rows in it are not.
absl::StatusOr<bool> Attempt::LockToJoin(Connection& session, const TableRequest& request,
                                         const JoinPlan& plan) {
  const CopierOptions options = CopyOptions();
  TOWLINE_RETURN_IF_ERROR(session.Exec(kAskedLockTimeoutSql).status());
  TOWLINE_RETURN_IF_ERROR(LockToEmpty(session, plan.there, options.own_rows));
  if (request.action != "add" || options.existing(plan.table) != "stop") return false;
  TOWLINE_RETURN_IF_ERROR(CheckExistingRows(session, {plan.table}, {plan.there},
                                            {options.existing, {}, options.own_rows}));
  return true;
}

// Another try would meet the same, and the other tables would wait for it.
absl::Status Attempt::BlameLock(const absl::Status& failed, const Table& there) {
  const std::string sqlstate = GetSqlState(failed);
  if (sqlstate != "55P03" && sqlstate != "40P01") return failed;
  TOWLINE_ASSIGN_OR_RETURN(std::string holders, DescribeHolders(store_->connection(), there));
  return WithHint(absl::FailedPreconditionError(absl::StrCat(
                      "table ", Quoted(there.name),
                      " cannot be emptied: at the destination it is locked by ", holders)),
                  "Let that transaction end, and ask for the table once more.");
}

absl::Status Attempt::RefuseExcluded(Connection& source, const TableName& table) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> there, ReadTablesByName(source, {table}));
  if (there.front().oid == 0 || context_.exclude.empty()) return absl::OkStatus();
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> selected,
                           ReadTables(source, {{Quoted(table)}, context_.exclude}));
  if (!selected.empty()) return absl::OkStatus();
  return WithHint(absl::FailedPreconditionError(
                      absl::StrCat("tables.exclude leaves table ", Quoted(table), " out")),
                  "Take it out of there and start the task again.");
}

absl::Status Attempt::ParkJoining(const TableName& table, const absl::Status& why) {
  TOWLINE_RETURN_IF_ERROR(EmptyBegun(table));
  Connection& session = store_->connection();
  const std::string text = Describe(WithRejoinHint(why, table));
  absl::Status parked = InTransaction(session, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(CheckEpoch(session, store_->claim()));
    return SetPieceState(session, store_->claim(), table, "parked", text);
  });
  TOWLINE_RETURN_IF_ERROR(parked);
  LogWarning("a table cannot be copied anew and stays out of the stream",
             {{"table", Quoted(table)}, {"because", text}});
  return absl::OkStatus();
}

// The stream stands still and has no such table, and none is between snapshot and stream.
absl::Status Attempt::JoinTables() {
  const CopierOptions options = CopyOptions();
  Refusals refused;
  TOWLINE_ASSIGN_OR_RETURN(std::vector<JoinPlan> plans, BeginJoining(options, &refused));
  for (const auto& [table, why] : refused) TOWLINE_RETURN_IF_ERROR(ParkJoining(table, why));
  return plans.empty() ? absl::OkStatus() : CopyJoining(options, plans);
}

// Those that may be copied have their ranges when it returns, the others are to be parked.
absl::StatusOr<std::vector<JoinPlan>> Attempt::BeginJoining(const CopierOptions& options,
                                                            Refusals* refused) {
  std::vector<JoinPlan> plans;
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_->ReadPieces());
  std::erase_if(pieces, [](const PieceRow& piece) { return piece.state != "joining"; });
  if (pieces.empty()) return plans;
  const absl::Status may_join = CheckMayJoinNow();
  if (!may_join.ok() && !IsTableFault(may_join)) return may_join;
  TOWLINE_ASSIGN_OR_RETURN(Connection source, OpenJoinSource());
  TOWLINE_ASSIGN_OR_RETURN(Connection destination,
                           OpenDestination(options, "schema", kSchemaOrigin, *store_, shutdown_));
  // With those that were added. Where the source may be ahead, its name of this moment says nothing
  // of that: PlanFollowed() asks.
  std::optional<std::vector<ListedTable>> tables;
  if (FirstLook() == JoinLook::kWhole) {
    TOWLINE_ASSIGN_OR_RETURN(tables, ListTables(source, SelectionOf(context_.config)));
  }
  FaultPoint("join:begun");
  for (const PieceRow& piece : pieces) {
    absl::StatusOr<JoinPlan> plan =
        may_join.ok() ? PlanJoin(source, destination, options, JoinedTableOf(piece), FirstLook())
                      : absl::StatusOr<JoinPlan>(may_join);
    if (plan.ok() && tables.has_value()) {
      if (absl::Status selected = CheckSelected(*tables, plan->table); !selected.ok()) {
        plan = selected;
      }
    }
    if (plan.ok()) {
      plan->was_empty = piece.was_empty;
      plans.push_back(*std::move(plan));
      continue;
    }
    if (!IsTableFault(plan.status())) return plan.status();
    refused->emplace_back(piece.table, plan.status());
  }
  if (plans.empty()) return plans;
  TOWLINE_RETURN_IF_ERROR(NoteJoining(destination, plans));
  return plans;
}

absl::Status Attempt::NoteJoining(Connection& session, const std::vector<JoinPlan>& plans) {
  std::vector<Table> here;
  std::vector<Table> there;
  std::vector<JoiningPiece> pieces;
  for (const JoinPlan& plan : plans) {
    here.push_back(plan.table);
    there.push_back(plan.there);
    pieces.push_back(
        {plan.there.name, plan.table.oid, plan.rule, plan.source_form, plan.table.total_bytes});
  }
  if (FirstLook() == JoinLook::kWhole) {
    TOWLINE_RETURN_IF_ERROR(
        StoreColumnTypes(session, store_->claim(), here, there, /*keeps_others=*/true));
  }
  return InTransaction(session, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(session.Exec("SET LOCAL synchronous_commit = on").status());
    TOWLINE_RETURN_IF_ERROR(CheckEpoch(session, store_->claim()));
    TOWLINE_RETURN_IF_ERROR(StartJoining(session, store_->claim(), pieces));
    return CheckEpoch(session, store_->claim());
  });
}

// Not before there is a snapshot to replace its rows: without one they stay. The stream passes its
// changes over, or waits, so nobody of ours writes the table. Durable when it returns: what is
// copied behind it relies on nothing being there.
// So are the commands then that the stream has run before: at the position, which a crash of the
// destination may have taken back.
absl::Status Attempt::EmptyJoining(const CopierOptions& options, const Table& there, bool was_empty,
                                   Lsn position) {
  TOWLINE_ASSIGN_OR_RETURN(Connection session,
                           OpenDestination(options, "schema", kSchemaOrigin, *store_, shutdown_));
  absl::Status emptied = InTransaction(session, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(session.Exec("SET LOCAL synchronous_commit = on").status());
    TOWLINE_RETURN_IF_ERROR(CheckEpoch(session, store_->claim()));
    TOWLINE_RETURN_IF_ERROR(CheckPosition(session, store_->claim(), position));
    TOWLINE_RETURN_IF_ERROR(LockToEmpty(session, there, options.own_rows));
    TOWLINE_RETURN_IF_ERROR(was_empty ? CheckStillEmpty(session, options, there)
                                      : EmptyTables(session, {there}, options.own_rows));
    return CheckEpoch(session, store_->claim());
  });
  TOWLINE_RETURN_IF_ERROR(BlameLock(emptied, there));
  FaultPoint("join:emptied");
  return absl::OkStatus();
}

// Of a table that is taken out of the stream: a part of a copy that has not come to its end may be
// committed, and is nobody's.
absl::Status Attempt::EmptyBegun(const TableName& table) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<RangeRow> ranges, store_->ReadRanges());
  const bool is_begun = std::any_of(ranges.begin(), ranges.end(), [&table](const RangeRow& range) {
    return range.table == table && range.state == "copying";
  });
  if (!is_begun) return absl::OkStatus();
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> there,
                           ReadTablesByName(store_->connection(), {table}));
  if (there.front().oid == 0) return absl::OkStatus();
  absl::Status emptied = EmptyJoining(CopyOptions(), there.front(), /*was_empty=*/false, Lsn{});
  if (emptied.ok() || !IsTableFault(emptied)) return emptied;
  LogWarning("a table keeps what was copied of it, and is not complete",
             {{"table", Quoted(table)}, {"because", Describe(emptied)}});
  return absl::OkStatus();
}

absl::Status Attempt::CopyJoining(const CopierOptions& options,
                                  const std::vector<JoinPlan>& plans) {
  std::vector<TableProgress::Planned> planned;
  int64_t bytes = 0;
  for (const JoinPlan& plan : plans) {
    planned.push_back({plan.there.name, plan.table.total_bytes, plan.table.estimated_rows, "ctid",
                       "it is copied by itself"});
    bytes += plan.table.total_bytes;
  }
  copy_progress_.tables.Plan(std::move(planned));
  copy_progress_.tables_total = static_cast<int64_t>(plans.size());
  copy_progress_.bytes_total = bytes;
  copy_progress_.tables_done = copy_progress_.bytes_done = copy_progress_.rows_done = 0;
  LogInfo("tables are copied by themselves, with the stream beside them",
          {{"tables", absl::StrCat(plans.size())}});
  TOWLINE_RETURN_IF_ERROR(SetState(TaskState::kCatchingUp));
  is_joining_ = true;
  context_.control.set_is_copying(true);
  monitor_->Watch(&copy_progress_);
  StreamBeside beside({.start = [this](LiveCopy& live) { return StartBeside(live); },
                       .watch = [this](const StreamSession* s) { monitor_->WatchBeside(s); },
                       .watched_status = [this] { return monitor_->stream_status(); }});
  JoinTry join{.options = options, .beside = beside};
  absl::Status copied = CopyEach(plans, join);
  beside.End();
  monitor_->Watch(static_cast<CopyProgress*>(nullptr));
  context_.control.set_is_copying(false);
  is_joining_ = false;
  context_.ShowState(row_.state);
  if (join.is_called_off) return absl::OkStatus();
  TOWLINE_RETURN_IF_ERROR(EndCopy(copied, join, plans));
  if (!copied.ok()) return absl::OkStatus();
  FaultPoint("join:copied");
  has_progressed_ = true;
  DropCopyOrigins(store_->connection(), context_.task);
  return absl::OkStatus();
}

// What becomes of tables whose copy has failed, with the stream beside it at its end.
absl::Status Attempt::EndCopy(const absl::Status& copied, JoinTry& join,
                              const std::vector<JoinPlan>& plans) {
  if (copied.ok()) return copied;
  if (TableToCopyAgain(copied).has_value()) {
    // The next attempt looks at it as it is then.
    return absl::AbortedError(copied.message());
  }
  const bool is_followed = FirstLook() == JoinLook::kAhead;
  if (!join.current.has_value()) {
    if (!absl::IsDeadlineExceeded(copied)) return copied;
    // None of them can have its snapshot.
    for (const JoinPlan& plan : plans) {
      TOWLINE_ASSIGN_OR_RETURN(const auto piece, FindJoining(plan.table.oid));
      if (piece.has_value()) TOWLINE_RETURN_IF_ERROR(ParkJoining(piece->table, copied));
    }
    return absl::OkStatus();
  }
  if (is_followed && !join.has_begun && absl::IsAborted(copied)) return JoinLater(copied);
  if (!IsTableFault(copied)) return copied;
  // Under the name that it has by now.
  TOWLINE_ASSIGN_OR_RETURN(const auto piece, FindJoining(join.current->table.oid));
  return piece.has_value() ? ParkJoining(piece->table, copied) : absl::OkStatus();
}

// It stays as it is. A stream alone, which the table's rows do not come with, meets what was in the
// way, and says so or passes it.
absl::Status Attempt::JoinLater(const absl::Status& why) {
  TOWLINE_ASSIGN_OR_RETURN(Connection * source, Source());
  TOWLINE_ASSIGN_OR_RETURN(std::string lsn,
                           source->QueryValue("SELECT pg_catalog.pg_current_wal_flush_lsn()"));
  TOWLINE_ASSIGN_OR_RETURN(join_after_, Lsn::Parse(lsn));
  LogInfo("tables wait to be copied anew until the stream has got on",
          {{"until", join_after_.ToString()},
           {"because", std::string(why.message().data(), why.message().size())}});
  return absl::OkStatus();
}

absl::StatusOr<std::optional<PieceRow>> Attempt::FindJoining(Oid source_oid) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_->ReadPieces());
  for (PieceRow& piece : pieces) {
    if (piece.source_oid == source_oid && piece.state == "joining") return std::move(piece);
  }
  return std::optional<PieceRow>();
}

absl::Status Attempt::CopyEach(const std::vector<JoinPlan>& plans, JoinTry& join) {
  LiveCopy live({.piece_count = plans.size()});
  joining_places_.clear();
  for (size_t place = 0; place < plans.size(); ++place) {
    joining_places_[plans[place].table.oid] = {place, plans[place].there.name};
  }
  struct Ender {  // the stream asks `live`
    StreamBeside& beside;
    ~Ender() { beside.End(); }
  } ender{join.beside};
  TOWLINE_ASSIGN_OR_RETURN(Connection watcher, OpenSource());
  TOWLINE_ASSIGN_OR_RETURN(Connection asker, OpenSource());
  LiveSource source(std::move(asker), live);
  SequenceKeeper keeper(SequenceOptions(), *store_, shutdown_);
  join.beside.Begin(live);
  join.watcher = &watcher;
  join.on_tick = [&]() -> absl::Status {
    if (outer_.is_requested()) return absl::CancelledError("shutting down");
    TOWLINE_RETURN_IF_ERROR(monitor_->status());
    TOWLINE_RETURN_IF_ERROR(join.beside.Look());
    keeper.LookIfDue(/*applied=*/Lsn());
    TOWLINE_ASSIGN_OR_RETURN(join.is_called_off, IsJoinCalledOff());
    if (join.is_called_off) return absl::CancelledError("a table that is copied is to leave");
    return source.ForgetIfDue();
  };
  absl::Status ticked;
  LinkedShutdown wait_stop(shutdown_);
  absl::Status marked = WaitForMarker(watcher, join.options.snapshot_wait_max, wait_stop.shutdown(),
                                      [&](const std::string& waits_for) {
                                        NoteWait(waits_for);
                                        ticked.Update(join.on_tick());
                                        if (!ticked.ok()) wait_stop.Request();
                                      });
  TOWLINE_RETURN_IF_ERROR(ticked);
  TOWLINE_RETURN_IF_ERROR(marked);
  context_.ShowState(row_.state);
  const PieceCopy copy{.options = join.options,
                       .store = *store_,
                       .progress = copy_progress_,
                       .live = live,
                       .source = source,
                       .has_ctid_ranges = watcher.server_version() >= kCtidRangesVersionMin,
                       .on_tick = join.on_tick,
                       .on_snapshot = [&] {
                         join.has_begun = true;
                         return EmptyJoining(join.options, join.current->there,
                                             join.current->was_empty, join.position);
                       }};
  for (size_t place = 0; place < plans.size(); ++place) {
    join.current = plans[place];
    join.has_begun = join.has_left = false;
    join.types = {};
    TOWLINE_RETURN_IF_ERROR(FirstLook() == JoinLook::kAhead
                                ? CopyFollowed(copy, join, place, place)
                                : CopyWhatIsPlanned(copy, join, place, place));
    if (join.has_left) {
      live.Withdraw({place});
      join.current.reset();
      continue;
    }
    const TableName name = join.current->table.name;
    join.current.reset();
    live.Finish(place);
    LogInfo("a table joins the stream", {{"table", Quoted(name)}});
    TOWLINE_RETURN_IF_ERROR(AnalyzeJoined(name));
  }
  return absl::OkStatus();
}

absl::Status Attempt::CopyWhatIsPlanned(const PieceCopy& copy, JoinTry& join, size_t place,
                                        size_t number) {
  const JoinPlan& plan = *join.current;
  const OwnPiece piece{WholeOf(plan), place};
  return CopyPieces(copy, {piece}, number, shutdown_);
}

absl::Status Attempt::CopyFollowed(PieceCopy copy, JoinTry& join, size_t place, size_t number) {
  const Oid oid = join.current->table.oid;
  const FollowedPiece followed{
      .catch_up = [&](Lsn until) { return CatchUp(join, until); },
      .is_reached = [&](Lsn lsn) { return IsReached(join, lsn); },
      .plan = [&](Connection& locked) { return PlanFollowed(join, locked); },
      .check_read = [&]() -> absl::Status {
        TOWLINE_ASSIGN_OR_RETURN(const ValueTypes now, copy.source.TypesOf(oid));
        if (MeanTheSame(join.types, now)) return absl::OkStatus();
        return absl::AbortedError(absl::StrCat("a type that table ",
                                               Quoted(join.current->table.name),
                                               " uses was altered while its rows were copied"));
      }};
  copy.followed = &followed;
  absl::Status copied = CopyWhatIsPlanned(copy, join, place, number);
  if (join.has_left) return absl::OkStatus();
  if (join.types.empty() || !IsTableFault(copied)) return copied;
  // By a schema's or a type's new name, or with an enum's new label, the destination or we may have
  // failed: the source is looked at as it is now, and the destination stands at the snapshot.
  TOWLINE_ASSIGN_OR_RETURN(const ValueTypes now, copy.source.TypesOf(oid));
  return MeanTheSame(join.types, now) ? copied : absl::AbortedError(copied.message());
}

// By the stream: the source has dropped it, or a command could not be run.
absl::Status Attempt::HasLeft(JoinTry& join) {
  join.has_left = true;
  return absl::AbortedError("the table is not joining any more");
}

// Nothing is held at the source meanwhile, so it may take as long as it takes.
absl::Status Attempt::CatchUp(JoinTry& join, Lsn until) {
  if (!until.is_valid()) {
    TOWLINE_ASSIGN_OR_RETURN(
        std::string lsn, join.watcher->QueryValue("SELECT pg_catalog.pg_current_wal_flush_lsn()"));
    TOWLINE_ASSIGN_OR_RETURN(until, Lsn::Parse(lsn));
    TOWLINE_RETURN_IF_ERROR(FlushSourceLog(*join.watcher));
  }
  while (true) {
    TOWLINE_RETURN_IF_ERROR(join.on_tick());
    TOWLINE_ASSIGN_OR_RETURN(const bool is_reached, IsReached(join, until));
    if (is_reached) break;
    if (!shutdown_.SleepFor(kCatchUpPause)) return absl::CancelledError("shutting down");
  }
  FaultPoint("join:caught-up");
  TOWLINE_ASSIGN_OR_RETURN(const auto piece, FindJoining(join.current->table.oid));
  return piece.has_value() ? absl::OkStatus() : HasLeft(join);
}

absl::StatusOr<bool> Attempt::IsReached(JoinTry& join, Lsn lsn) {
  const std::optional<Lsn> reached = join.beside.Reached();
  if (!reached.has_value()) return absl::AbortedError("the stream beside the copy has ended");
  join.position = join.beside.Position();
  return *reached >= lsn;
}

// All commands that the snapshot sees have been run, so the destination's table is what the rows
// fit, or never will be.
absl::StatusOr<RangedCopy> Attempt::PlanFollowed(JoinTry& join, Connection& locked) {
  const Oid oid = join.current->table.oid;
  TOWLINE_ASSIGN_OR_RETURN(const std::optional<PieceRow> piece, FindJoining(oid));
  if (!piece.has_value()) {
    return HasLeft(join);
  }
  TOWLINE_ASSIGN_OR_RETURN(const bool is_locked, IsLockedBy(locked, oid));
  if (!is_locked) {
    return absl::AbortedError(absl::StrCat("table ", Quoted(join.current->table.name),
                                           " was renamed before its rows were copied"));
  }
  TOWLINE_ASSIGN_OR_RETURN(join.types, ReadValueTypes(locked, oid));
  // Whoever waits for the table's lock behind ours must not keep us from going on.
  TOWLINE_ASSIGN_OR_RETURN(Connection source, OpenJoinSource());
  TOWLINE_RETURN_IF_ERROR(source.Exec(kLookLockTimeoutSql).status());
  TOWLINE_ASSIGN_OR_RETURN(
      Connection destination,
      OpenDestination(join.options, "schema", kSchemaOrigin, *store_, shutdown_));
  TOWLINE_ASSIGN_OR_RETURN(JoinPlan plan, PlanJoin(source, destination, join.options,
                                                   JoinedTableOf(*piece), JoinLook::kWhole));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<ListedTable> tables,
                           ListTables(source, SelectionOf(context_.config)));
  TOWLINE_RETURN_IF_ERROR(CheckSelected(tables, plan.table));
  plan.was_empty = piece->was_empty;
  TOWLINE_RETURN_IF_ERROR(StoreColumnTypes(destination, store_->claim(), {plan.table}, {plan.there},
                                           /*keeps_others=*/true));
  TOWLINE_RETURN_IF_ERROR(PlanJoining(
      destination, store_->claim(),
      {plan.table.name, plan.table.oid, plan.rule, plan.source_form, plan.table.total_bytes}));
  join.current = plan;
  FaultPoint("join:planned");
  return WholeOf(plan);
}

// Without statistics its next changes would be planned as for an empty table; no more than that.
absl::Status Attempt::AnalyzeJoined(const TableName& table) {
  Connection& session = store_->connection();
  absl::Status analyzed = session.Exec(absl::StrCat("ANALYZE ", Quoted(table))).status();
  if (analyzed.ok() || !session.is_alive()) return analyzed;
  LogWarning("a table is not analyzed",
             {{"table", Quoted(table)}, {"reason", std::string(analyzed.message())}});
  return absl::OkStatus();
}

// Whether a table that is being copied is to leave. What else is asked of it waits for its copy.
absl::StatusOr<bool> Attempt::IsJoinCalledOff() {
  if (SteadyNow() - tables_looked_at_ < kTablesLookInterval) return false;
  tables_looked_at_ = SteadyNow();
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_->ReadPieces());
  TOWLINE_RETURN_IF_ERROR(ShowTables(pieces));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<TableRequest> requests,
                           ReadTableRequests(store_->connection(), context_.task));
  for (const TableRequest& request : requests) {
    if (!request.refusal.empty() || !request.is_to_leave()) continue;
    for (const PieceRow& piece : pieces) {
      if (piece.table == request.table && piece.state == "joining") return true;
    }
  }
  return false;
}

}  // namespace towline
