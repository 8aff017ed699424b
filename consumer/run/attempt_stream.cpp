// The part of an attempt that streams, and the pauses between.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "apply/ddl_history.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "model/copy_again.h"
#include "model/failed_table.h"
#include "pg/quoting.h"
#include "pg/replication_connection.h"
#include "run/attempt.h"
#include "run/copy_boundary.h"
#include "run/start_checks.h"
#include "schema/ddl_capture.h"
#include "schema/table_patterns.h"
#include "schema/table_rules.h"
#include "schema/type_catalog.h"
#include "snapshot/constraints.h"
#include "snapshot/moved_rows.h"
#include "snapshot/slot.h"
#include "state/column_types.h"
#include "state/origin.h"
#include "state/prepared.h"
#include "state/task_name.h"

namespace towline {
namespace {

// How often a wish to stop or pause and a failure of a thread are looked for.
constexpr absl::Duration kTick = absl::Milliseconds(100);
constexpr absl::Duration kDecisionPoll = absl::Seconds(1);

// What a batch that is being applied may take when we are told to stop, within the 5 s that a stop
// may last altogether.
constexpr absl::Duration kStopGrace = absl::Seconds(3);

// A session keeps all relations that were described to it, so a source that makes and drops tables
// all day would make it grow without end. What is known of their tables at the destination takes
// some four times as much (an estimate): together a third of the memory that is promised (I6).
// Enough for 8,000 tables of ten columns.
constexpr size_t kDescriptionBytesMax = 16 << 20;
// And seldom: a new session reads the log again from the oldest transaction that was open. So the
// time that took, until the position moved, is to be a small part of a session; and tables that are
// all in use are not forgotten for nothing again and again.
constexpr absl::Duration kForgetIntervalMin = absl::Minutes(10);
constexpr int kForgetIntervalsOfReading = 10;
constexpr int kForgottenCountMax = 3;  // the limit is doubled each time, up to 128 MiB

// /tmp is memory on many machines, and what goes to files is what memory should not hold.
std::string SpoolDirectory(const Config& config) {
  if (!config.spool_directory.empty()) return config.spool_directory;
  const char* directory = std::getenv("TMPDIR");
  return directory != nullptr && *directory != '\0' ? directory : "/var/tmp";
}

absl::StatusOr<DdlRunner::Options> DdlOptionsOf(const Config& config) {
  DdlRunner::Options options;
  options.policy = config.ddl;
  options.roles = config.ddl_roles;
  options.parks_refused = config.on_ddl_error == FailedTables::kPark;
  options.hold_max = config.limits.ddl_hold_max;
  // Where the schema came with rights and owners their changes come as well, unless it is said.
  auto apply = [&options](DdlKind kind) {
    std::optional<DdlAction>& action = options.policy.actions[static_cast<size_t>(kind)];
    if (!action.has_value()) action = DdlAction::kApply;
  };
  if (config.with_privileges) apply(DdlKind::kGrant);
  if (config.with_owners) apply(DdlKind::kOwner);
  for (const std::string& pattern : config.include) {
    TOWLINE_ASSIGN_OR_RETURN(TablePattern parsed, ParseTablePattern(pattern));
    options.include.push_back(std::move(parsed));
  }
  for (const std::string& pattern : config.exclude) {
    TOWLINE_ASSIGN_OR_RETURN(TablePattern parsed, ParseTablePattern(pattern));
    options.exclude.push_back(std::move(parsed));
  }
  return options;
}

// Without capture nothing would come, and nobody would know.
absl::Status CheckDdlCapture(Connection& source) {
  TOWLINE_ASSIGN_OR_RETURN(std::string is_captured, source.QueryValue(kIsDdlCapturedSql));
  if (is_captured == "t") return absl::OkStatus();
  return WithHint(absl::FailedPreconditionError(
                      "ddl is on, and the source does not capture its schema changes"),
                  "At the source, as a superuser: CREATE EXTENSION IF NOT EXISTS towline; ALTER "
                  "EXTENSION towline UPDATE; SELECT towline.enable_ddl(); or set ddl: off.");
}

// Before, a slot can be made so at its creation only, which is before the copy.
constexpr int kTwoPhaseVersionMin = 150000;
constexpr int kTwoPhaseOffVersionMin = 180000;

}  // namespace

absl::Status Attempt::StayPaused() {
  CloseControl();
  TOWLINE_RETURN_IF_ERROR(SetState(TaskState::kPaused));
  LogInfo("paused; the slot keeps the source's log meanwhile",
          {{"resume", absl::StrCat("towline resume --task ", context_.task)}});
  while (context_.control.wants_pause()) {
    TOWLINE_RETURN_IF_ERROR(monitor_->status());
    if (!outer_.SleepFor(kTick)) return absl::CancelledError("shutting down");
  }
  LogInfo("resumed");
  return absl::OkStatus();
}

// The slot waits meanwhile and keeps the source's log.
absl::Status Attempt::Constrain() {
  is_constraints_due_ = false;
  TOWLINE_RETURN_IF_ERROR(SetState(TaskState::kConstraints));
  monitor_->Watch(&copy_progress_);
  absl::Status built = BuildConstraints(CopyOptions(), *store_, copy_progress_, shutdown_);
  monitor_->Watch(static_cast<CopyProgress*>(nullptr));
  TOWLINE_RETURN_IF_ERROR(built);
  DropCopyOrigins(store_->connection(), context_.task);
  has_progressed_ = true;
  return absl::OkStatus();
}

absl::Status Attempt::PrepareStream() {
  TOWLINE_RETURN_IF_ERROR(ReadTask());
  TOWLINE_ASSIGN_OR_RETURN(Connection * source, Source());
  TOWLINE_ASSIGN_OR_RETURN(Connection * server, StreamServer());
  TOWLINE_ASSIGN_OR_RETURN(std::optional<SlotInfo> slot, ReadSlot(*server, row_.slot));
  TOWLINE_RETURN_IF_ERROR(CheckSlot(row_, source_identity_.database, slot));
  TOWLINE_RETURN_IF_ERROR(FreeSlot(*server, row_.slot, SlotName(context_.task),
                                   context_.config.limits.slot_busy_wait_max, shutdown_));
  TOWLINE_RETURN_IF_ERROR(DecideTwoPhase(*server, *slot));
  TOWLINE_RETURN_IF_ERROR(DecideFailover(*server, *slot));
  TOWLINE_ASSIGN_OR_RETURN(std::string flush_lsn,
                           source->QueryValue("SELECT pg_catalog.pg_current_wal_flush_lsn()"));
  TOWLINE_ASSIGN_OR_RETURN(catch_up_to_, Lsn::Parse(flush_lsn));
  TOWLINE_RETURN_IF_ERROR(SetStatusInterval(*server));
  TOWLINE_RETURN_IF_ERROR(SetPluginOptions(*source, *server));
  return ReadDomains(*source);
}

// The task's state stays the copy's. On the thread that runs the copy.
absl::StatusOr<std::unique_ptr<StreamSession>> Attempt::StartBeside(LiveCopy& live) {
  TOWLINE_RETURN_IF_ERROR(PrepareStream());
  TOWLINE_ASSIGN_OR_RETURN(StreamSession::Options options, StreamOptions(&live));
  CloseControl();
  TOWLINE_ASSIGN_OR_RETURN(std::unique_ptr<StreamSession> session,
                           StreamSession::Start(std::move(options), *store_, shutdown_));
  LogInfo("streaming beside the copy",
          {{"slot", row_.slot}, {"position", row_.position.ToString()}});
  return session;
}

absl::Status Attempt::Stream() {
  TOWLINE_RETURN_IF_ERROR(PrepareStream());
  TOWLINE_RETURN_IF_ERROR(SetState(TaskState::kCatchingUp));
  TOWLINE_ASSIGN_OR_RETURN(StreamSession::Options options, StreamOptions(/*live=*/nullptr));
  CloseControl();
  TOWLINE_ASSIGN_OR_RETURN(std::unique_ptr<StreamSession> session,
                           StreamSession::Start(std::move(options), *store_, shutdown_));
  LogInfo("streaming from the source",
          {{"slot", row_.slot}, {"position", row_.position.ToString()}});
  stop_.set_grace(kStopGrace);
  monitor_->Watch(session.get());
  std::optional<SequenceKeeper> keeper;
  // Two keepers in a circle would drive each other's sequences to their ends.
  if (context_.config.foreign_origins) keeper.emplace(SequenceOptions(), *store_, shutdown_);
  absl::Status ended = WatchStream(*session, keeper ? &*keeper : nullptr);
  const std::optional<Oid> copied_again = TableToCopyAgain(ended);
  has_progressed_ |= session->progress().apply.position > row_.position;
  const ParkTime park_time = MayPark(ended);
  may_park_at_last_ = park_time == ParkTime::kAfterRetries;
  const bool is_parked = park_time == ParkTime::kAtOnce;
  // After a failure nothing is worth waiting for; a pause or a stop lets the batch end.
  const std::optional<int64_t> held = WaitsForDecision(ended);
  const bool goes_on = copied_again.has_value() || is_parked || held.has_value();
  if (!ended.ok() && !absl::IsCancelled(ended) && !goes_on) stop_.Request();
  session->Stop();
  if (keeper && (ended.ok() || absl::IsCancelled(ended))) {
    keeper->Look(session->progress().apply.position);
  }
  has_progressed_ |= session->progress().apply.position > row_.position;
  monitor_->Watch(static_cast<const StreamSession*>(nullptr));
  stop_.set_grace(absl::ZeroDuration());
  if (is_parked) {
    session.reset();
    return Park(ended);
  }
  if (held.has_value()) {
    session.reset();
    return AwaitDecision(*held, ended);
  }
  if (!copied_again.has_value()) return ended;
  // The position is before the transaction that asked for it. What it has passed had ended before
  // the marker that the copy takes and waits for anew, so the new snapshot holds it (hazards A1).
  session.reset();
  TOWLINE_RETURN_IF_ERROR(store_->CopyAgain(*copied_again, ended.message()));
  FaultPoint("stream:copy-again");
  return ended;
}

// Only what would stop the task for good, some of it not before it has been tried again for long. A
// last try that has got on, maybe for days, has ended that: what fails now fails for the first
// time.
ParkTime Attempt::MayPark(const absl::Status& ended) const {
  const std::optional<FailedTable> table = FailedTableOf(ended);
  if (!table.has_value() || !MayTablesLeave()) return ParkTime::kNever;
  const Config& config = context_.config;
  auto own = config.on_failure_by_table.find(table->name);
  const FailedTables wish =
      own != config.on_failure_by_table.end() ? own->second : config.on_failure;
  const bool is_ddl_error = table->is_rewritten && config.on_ddl_error == FailedTables::kPark;
  if (wish != FailedTables::kPark && !is_ddl_error) return ParkTime::kNever;
  const ParkTime time = ParkTimeOf(ended);
  const bool is_last_try = context_.is_last_try && !has_progressed_;
  return time == ParkTime::kAfterRetries && is_last_try ? ParkTime::kAtOnce : time;
}

// The destination's transaction that met the failure is rolled back. The stream begins again at the
// position and without the table, so the others have all of their changes.
absl::Status Attempt::Park(const absl::Status& why) {
  const FailedTable table = *FailedTableOf(why);
  // Of one that has no piece yet: where tasks share it, the others look at its rule. (Shared tables
  // are no partitions, whose rule may be that of a table above.)
  const TableRule* rule = FindRule(context_.config.rules, table.name, /*ancestors=*/{});
  TOWLINE_RETURN_IF_ERROR(store_->ParkTable(
      table, RuleText(rule), std::string(why.message().data(), why.message().size())));
  FaultPoint("stream:parked");
  has_progressed_ = true;
  return absl::AbortedError(absl::StrCat(
      "table ", QuoteQualified(table.name.schema, table.name.name),
      table.is_rewritten ? " cannot take the rows that a schema change gives it, and" : "",
      " is parked, as ", table.is_rewritten ? "on_ddl_error or " : "",
      "on_failure says, and the others go on: ", Describe(why)));
}

// The next attempt finds the decision, or parks the tables. The slot keeps the source's log
// meanwhile.
absl::Status Attempt::AwaitDecision(int64_t number, const absl::Status& held) {
  const absl::Duration hold_max = context_.config.limits.ddl_hold_max;
  LogWarning(std::string(held.message()),
             {{"waits_at_most", towline::FormatDuration(hold_max)}, {"mend", GetHint(held)}});
  while (!context_.control.wants_pause()) {
    TOWLINE_RETURN_IF_ERROR(monitor_->status());
    TOWLINE_ASSIGN_OR_RETURN(const absl::Duration left,
                             ReadHoldLeft(store_->connection(), context_.task, number, hold_max));
    if (left == absl::ZeroDuration()) break;
    context_.ShowState(
        TaskState::kWaiting,
        absl::StrCat(held.message(), " (towline ddl approve ", number, ", or skip; in ",
                     towline::FormatDuration(absl::Floor(left, absl::Seconds(1))),
                     " its tables are parked)"));
    TOWLINE_ASSIGN_OR_RETURN(const bool are_tables_due, AreTablesDue());
    if (are_tables_due) break;
    if (!outer_.SleepFor(std::min(left, kDecisionPoll))) {
      return absl::CancelledError("shutting down");
    }
  }
  has_progressed_ = true;
  return absl::AbortedError("a schema change was held, and the task goes on");
}

// Two-phase decoding belongs to the slot: START_REPLICATION switches it on, and before version 18
// nothing switches it off. While the copy has not been passed it must be off (hazards B5): a
// prepared transaction that the copy does not hold could be passed over at its PREPARE, and nothing
// would come at its COMMIT PREPARED. Once it is on, the stream is always asked for with it,
// whatever the configuration says now: without, the position would pass a PREPARE that is sent no
// more when the option comes back (B3).
absl::Status Attempt::DecideTwoPhase(Connection& server, const SlotInfo& slot) {
  uses_two_phase_ = false;
  const bool is_wanted = context_.config.two_phase;
  if (slot.is_two_phase && row_.lsn_after.is_valid()) {
    return WithHint(
        absl::DataLossError(absl::StrCat("slot ", row_.slot,
                                         " sends transactions at their PREPARE, and the stream "
                                         "has not passed the copy yet: somebody switched it on")),
        "Drop the task (towline drop) and copy anew.");
  }
  // A prepared transaction would hold locks that a foreign key needs, and end only with the stream.
  if (is_wanted && !slot.is_two_phase && has_constraints_left_) return absl::OkStatus();
  if (is_wanted && row_.lsn_after.is_valid()) {
    LogInfo("two-phase decoding is switched on when the stream has passed the copy",
            {{"position", row_.position.ToString()}, {"copy", row_.lsn_after.ToString()}});
    return absl::OkStatus();
  }
  if (is_wanted) TOWLINE_RETURN_IF_ERROR(CheckTwoPhase(server));
  if (slot.is_two_phase && !is_wanted) {
    TOWLINE_ASSIGN_OR_RETURN(bool is_off, SwitchTwoPhaseOff(server));
    if (is_off) return absl::OkStatus();
  }
  uses_two_phase_ = is_wanted || slot.is_two_phase;
  if (uses_two_phase_ && !slot.is_two_phase) {
    LogInfo(
        "two-phase decoding is switched on: transactions are prepared at the destination when "
        "the source prepares them",
        {{"slot", row_.slot}, {"position", row_.position.ToString()}});
  }
  return absl::OkStatus();
}

absl::Status Attempt::CheckTwoPhase(Connection& server) {
  if (server.server_version() < kTwoPhaseVersionMin) {
    return WithHint(
        absl::FailedPreconditionError("two_phase is on, and the source is older than version 15"),
        "Set two_phase: off; prepared transactions then arrive at COMMIT PREPARED.");
  }
  TOWLINE_ASSIGN_OR_RETURN(std::string max,
                           store_->connection().QueryValue(
                               "SELECT pg_catalog.current_setting('max_prepared_transactions')"));
  if (max != "0") return absl::OkStatus();
  return WithHint(
      absl::FailedPreconditionError(
          "two_phase is on, and max_prepared_transactions of the destination is 0"),
      "ALTER SYSTEM SET max_prepared_transactions to the source's value or more and restart the "
      "destination; or set two_phase: off.");
}

// What is prepared at the destination would come once more, whole, at its COMMIT PREPARED. So it is
// switched off at a start that finds nothing prepared.
absl::StatusOr<bool> Attempt::SwitchTwoPhaseOff(Connection& server) {
  if (server.server_version() < kTwoPhaseOffVersionMin) {
    LogWarning(
        "two_phase is off, but the slot was used with it and sends transactions at their "
        "PREPARE for good: they go on being prepared at the destination. To be rid of it "
        "drop the task and copy anew",
        {{"slot", row_.slot}});
    return false;
  }
  TOWLINE_ASSIGN_OR_RETURN(
      std::string rows,
      store_->connection().QueryValue("SELECT count(*) FROM towline_state.prepared WHERE task = $1",
                                      {context_.task}));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PreparedTransaction> open,
                           ListPrepared(store_->connection(), context_.task));
  if (rows != "0" || !open.empty()) {
    LogWarning(
        "two_phase is off, but transactions are prepared at the destination: it stays on "
        "until a start that finds none",
        {{"prepared", absl::StrCat(open.size())}});
    return false;
  }
  TOWLINE_ASSIGN_OR_RETURN(
      ReplicationConnection session,
      ReplicationConnection::Open(context_.config.StreamServer(),
                                  SourceApplication(context_.task, "slot"), shutdown_));
  TOWLINE_RETURN_IF_ERROR(session.SwitchTwoPhaseOff(row_.slot));
  LogInfo("two-phase decoding is switched off", {{"slot", row_.slot}});
  return true;
}

// OK when a pause is wished, or for what needs the stream closed: constraints, tables that leave or
// come back, switching two-phase decoding on, and too many descriptions.
absl::Status Attempt::WatchStream(StreamSession& session, SequenceKeeper* keeper) {
  const absl::Time begun_at = SteadyNow();
  absl::Time may_forget_at = absl::InfiniteFuture();  // until the position has moved
  while (!context_.control.wants_pause()) {
    TOWLINE_RETURN_IF_ERROR(session.status());
    TOWLINE_RETURN_IF_ERROR(monitor_->status());
    const ApplyLoop::Progress applied = session.progress().apply;
    TOWLINE_RETURN_IF_ERROR(MoveOn(applied.position));
    seen_position_ = applied.reached;
    if (is_constraints_due_) break;
    if (may_forget_at == absl::InfiniteFuture() && applied.position > row_.position) {
      const absl::Duration reading = SteadyNow() - begun_at;
      may_forget_at =
          SteadyNow() + std::max(kForgetIntervalMin, kForgetIntervalsOfReading * reading);
    }
    const size_t bytes_max = kDescriptionBytesMax << context_.forgotten_count;
    if (applied.description_bytes > bytes_max && SteadyNow() >= may_forget_at) {
      context_.forgotten_count = std::min(context_.forgotten_count + 1, kForgottenCountMax);
      LogInfo("the stream is opened anew, to forget the descriptions of tables",
              {{"bytes", absl::StrCat(applied.description_bytes)},
               {"position", applied.position.ToString()}});
      break;
    }
    TOWLINE_ASSIGN_OR_RETURN(const bool are_tables_due, AreTablesDue());
    if (are_tables_due) break;
    bool has_passed_copy = !row_.lsn_after.is_valid() && !has_constraints_left_;
    if (context_.config.two_phase && !uses_two_phase_ && has_passed_copy) break;
    if (keeper != nullptr) keeper->LookIfDue(applied.position);
    if (!outer_.SleepFor(kTick)) return absl::CancelledError("shutting down");
  }
  return absl::OkStatus();
}

void Attempt::LetDdlPark() { may_park_ddl_ = MayTablesLeave(); }

// The applier holds the task row's lock while its transaction lasts. Waiting for it must not end a
// long one: what is noted here may be noted later.
absl::Status Attempt::MoveOn(Lsn position) {
  absl::Status noted = NoteProgress(position);
  return GetSqlState(noted) == "55P03" ? absl::OkStatus() : noted;
}

absl::Status Attempt::NoteProgress(Lsn position) {
  if (row_.lsn_after.is_valid() && position >= row_.lsn_after) {
    // No transaction beyond can be visible in any snapshot (hazards A11): this is the greatest.
    TOWLINE_RETURN_IF_ERROR(store_->ForgetSnapshots());
    row_.lsn_after = Lsn{};
    LetDdlPark();
    LogInfo("the stream has passed the copy", {{"position", position.ToString()}});
  }
  if (row_.state != TaskState::kCatchingUp || position < catch_up_to_) return absl::OkStatus();
  // Not as soon as the copy is passed: after a constraint that rows of the source do not fit, what
  // mends them there is streamed before the next try.
  is_constraints_due_ = has_constraints_left_ && !row_.lsn_after.is_valid();
  if (!has_constraints_left_) {
    TOWLINE_RETURN_IF_ERROR(SetState(TaskState::kStreaming));
    LogInfo("caught up", {{"position", position.ToString()}});
  }
  return absl::OkStatus();
}

// Three updates within the time after which the source takes us for dead (hazards B8).
absl::Status Attempt::SetStatusInterval(Connection& server) {
  TOWLINE_ASSIGN_OR_RETURN(Result timeout,
                           server.Exec("SELECT setting::bigint FROM pg_catalog.pg_settings "
                                       "WHERE name = 'wal_sender_timeout'"));
  status_interval_ = context_.config.limits.status_interval;
  if (timeout.row_count() == 1 && timeout.GetInt(0, 0) > 0) {
    status_interval_ = std::min(status_interval_, absl::Milliseconds(timeout.GetInt(0, 0)) / 3);
  }
  return absl::OkStatus();
}

// The library is the server's that decodes, the triggers that capture DDL the source's.
absl::Status Attempt::SetPluginOptions(Connection& source, Connection& server) {
  TOWLINE_ASSIGN_OR_RETURN(Result installed,
                           server.Exec("SELECT default_version FROM "
                                       "pg_catalog.pg_available_extensions WHERE name = "
                                       "'towline'"));
  Config config = context_.config;
  TOWLINE_ASSIGN_OR_RETURN(std::vector<std::string> parked, ParkedPatterns());
  // Where schema changes are followed a parked table may be renamed: the applier knows it by OID.
  if (!config.ddl.is_on) config.exclude.insert(config.exclude.end(), parked.begin(), parked.end());
  plugin_options_ = ChoosePluginOptions(
      config, server.server_version(), installed.row_count() > 0 ? installed.GetString(0, 0) : "",
      MakePair(source.server_version(), source.server_encoding(),
               store_->connection().server_version(), store_->connection().server_encoding()));
  if (plugin_options_.takes_ddl) TOWLINE_RETURN_IF_ERROR(CheckDdlCapture(source));
  for (const std::string& refusal : plugin_options_.refusals) {
    LogWarning(refusal, {{"mend",
                          "update the extension at the source: install the newer files, "
                          "then ALTER EXTENSION towline UPDATE"}});
  }
  return absl::OkStatus();
}

// The stream names domains, and not what they are over; that only matters where one is cast.
absl::Status Attempt::ReadDomains(Connection& source) {
  domains_.clear();
  TOWLINE_ASSIGN_OR_RETURN(CopiedTypes copied,
                           ReadColumnTypes(store_->connection(), context_.task));
  // What joins may come to be cast while it streams beside the copy.
  if (copied.empty() && !is_joining_) return absl::OkStatus();
  TOWLINE_ASSIGN_OR_RETURN(TypeCatalog types, ReadTypeCatalog(source));
  domains_ = DomainBasesOf(types);
  return absl::OkStatus();
}

// Rows that were copied under one rule and changes that come under another make a table that no
// rule describes: only by the user's word.
absl::Status Attempt::CheckRules(const std::vector<PieceRow>& known) {
  const Config& config = context_.config;
  std::vector<PieceRow> pieces = known;
  // What comes back is copied by the rule of then.
  std::erase_if(pieces, [](const PieceRow& piece) { return piece.is_out_of_stream(); });
  bool has_rules = !config.rules.empty();
  for (const PieceRow& piece : pieces) has_rules |= !piece.rule.empty();
  if (!has_rules) return absl::OkStatus();
  // Partitions may have moved since; a table that is gone brings no changes.
  std::vector<TableName> names;
  for (const PieceRow& piece : pieces) names.push_back(piece.table);
  TOWLINE_ASSIGN_OR_RETURN(Connection * source, Source());
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> tables, ReadTablesByName(*source, names));
  std::vector<PieceRow> changed = ChangedRules(pieces, tables, config.rules);
  if (changed.empty()) return absl::OkStatus();
  if (!config.accepts_rule_change) return RefuseRuleChange(row_, changed);
  std::set<TableName> changed_names;
  for (const PieceRow& piece : changed) changed_names.insert(piece.table);
  std::erase_if(tables, [&](const Table& table) { return !changed_names.contains(table.name); });
  TOWLINE_RETURN_IF_ERROR(CheckRulesOf(tables));
  for (const PieceRow& piece : changed) {
    LogWarning(
        "the rule of a table has changed, as accepted: it counts for changes from here on, "
        "rows that are at the destination are not looked at again",
        {{"table", QuoteQualified(piece.table.schema, piece.table.name)},
         {"rule", piece.rule.empty() ? "none" : piece.rule},
         {"position", row_.position.ToString()}});
  }
  return store_->SetPieceRules(changed);
}

SequenceKeeper::Options Attempt::SequenceOptions() const {
  const Config& config = context_.config;
  return {config.source, config.destination, SelectionOf(config), context_.task};
}

absl::StatusOr<StreamSession::Options> Attempt::StreamOptions(LiveCopy* live) {
  const Config& config = context_.config;
  const Limits& limits = config.limits;
  StreamSession::Options options;
  options.receiver = {.source = config.StreamServer(),
                      .application_name = SourceApplication(context_.task, "stream"),
                      .slot = row_.slot,
                      .position = row_.position,
                      .system_identifier = source_identity_.system_identifier,
                      .timeline = source_identity_.timeline,
                      .status_interval = status_interval_,
                      .plugin_options = std::move(plugin_options_.options)};
  if (uses_two_phase_) options.receiver.plugin_options.emplace_back("two_phase", "on");
  options.takes_ddl = plugin_options_.takes_ddl;
  options.compression = plugin_options_.compression;
  if (plugin_options_.is_streaming) {
    options.spool = Spool::Options{.memory_max = limits.spool_memory_max,
                                   .disk_max = limits.spool_disk_max,
                                   .directory = SpoolDirectory(config),
                                   .prefix = SlotName(context_.task)};
  }

  options.applier.destination = config.destination;
  options.applier.claim = store_->claim();
  options.applier.position = row_.position;
  options.applier.durable_interval_max = limits.durable_interval_max;
  options.applier.conflict_rows_max = limits.conflict_rows_max;
  options.applier.statement_bytes_max = limits.statement_bytes_max;
  options.applier.set_rows_min = limits.set_rows_min;
  options.applier.misses_prepares = !config.foreign_origins;
  options.applier.requires_origin = !config.foreign_origins;
  options.applier.policies.rules = config.rules;
  options.applier.policies.conflicts = config.conflicts;
  options.applier.policies.domains = domains_;
  options.applier.policies.folds = config.folds;
  TOWLINE_ASSIGN_OR_RETURN(options.applier.ddl, DdlOptionsOf(config));
  LetDdlPark();
  options.applier.ddl.may_park = &may_park_ddl_;
  options.applier.ddl.on_parked = [this](const std::vector<TableName>& parked) {
    ShowParked(parked);
  };
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_->ReadPieces());
  TOWLINE_RETURN_IF_ERROR(CheckRules(pieces));
  for (const PieceRow& piece : pieces) {
    options.applier.source_oids[piece.table] = piece.source_oid;
    // Of one that is being copied the assembler asks the copy.
    const bool is_left_out =
        piece.state == "parked" ||
        (piece.state == "joining" && !(is_joining_ && joining_places_.contains(piece.source_oid)));
    if (is_left_out) options.applier.ddl.parked.push_back({piece.table, piece.source_oid});
    if (piece.existing == "append") options.applier.policies.append_tables.push_back(piece.table);
  }

  options.assembler.batch_bytes_max = limits.batch_bytes_max;
  options.assembler.batch_rows_max = limits.batch_rows_max;
  options.assembler.position = row_.position;
  options.assembler.on_rewrite = [this](const TableName& table) { ShowRewritten(table); };
  TOWLINE_ASSIGN_OR_RETURN(std::vector<SnapshotRow> snapshots, store_->ReadSnapshots());
  TOWLINE_ASSIGN_OR_RETURN(std::vector<RangeRow> ranges, store_->ReadRanges());
  if (is_joining_) {
    options.assembler.boundary = BoundaryOfJoining(joining_places_, live);
    options.applier.ddl.is_joining = [places = joining_places_, live](Oid source_oid) {
      auto place = places.find(source_oid);
      return place != places.end() && !live->IsFinished(place->second.place);
    };
  } else {
    TOWLINE_ASSIGN_OR_RETURN(options.assembler.boundary,
                             BoundaryOf(snapshots, pieces, ranges, live));
  }
  if (options.assembler.boundary.has_value() && !options.assembler.boundary->ranged.empty()) {
    options.moved_rows = std::make_shared<MovedRows>(
        MovedRows::Options{config.source, context_.task, config.rules}, shutdown_);
    options.visible_wait_max = limits.snapshot_wait_max;
  }
  options.queue_bytes_max = limits.queue_bytes_max;
  options.batch_time_max = limits.batch_time_max;
  options.meter = &context_.meter;
  return options;
}

}  // namespace towline
