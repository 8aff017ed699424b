#include "run/attempt.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "config/existing_policy.h"
#include "pg/quoting.h"
#include "precheck/precheck.h"
#include "run/start_checks.h"
#include "run/stream_beside.h"
#include "schema/shared_rows.h"
#include "schema/table_rules.h"
#include "snapshot/slot.h"
#include "state/joining_piece.h"
#include "state/origin.h"
#include "state/other_writer.h"
#include "state/prepared.h"
#include "state/task_lock.h"
#include "state/task_name.h"

namespace towline {
namespace {

CopyPlanner PlannerOf(const Config& config) {
  if (config.copy_planner == "keys") return CopyPlanner::kKeys;
  return config.copy_planner == "ctid" ? CopyPlanner::kCtid : CopyPlanner::kAuto;
}

}  // namespace

Attempt::Attempt(TaskContext& context, const Shutdown& shutdown,
                 std::function<absl::Status()> on_task_known)
    : context_(context),
      outer_(shutdown),
      on_task_known_(std::move(on_task_known)),
      stop_(shutdown),
      shutdown_(stop_.shutdown()) {}

absl::Duration Attempt::healthy_for() const {
  return connected_at_ == absl::Time() ? absl::ZeroDuration() : SteadyNow() - connected_at_;
}

absl::Status Attempt::Run() {
  absl::Status ended = RunSteps();
  // Whatever ended it, no thread of this attempt may wait for a server any more.
  stop_.Request();
  // A thread that saw the end coming says more than the wait that was cancelled for it.
  if (absl::IsCancelled(ended) && !outer_.is_requested() && monitor_ != nullptr &&
      !monitor_->status().ok()) {
    ended = monitor_->status();
  }
  monitor_.reset();
  return ended;
}

absl::Status Attempt::RunSteps() {
  TOWLINE_RETURN_IF_ERROR(Connect());
  TOWLINE_RETURN_IF_ERROR(TakeOver());
  TOWLINE_RETURN_IF_ERROR(Compare());
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_->ReadPieces());
  TOWLINE_RETURN_IF_ERROR(CheckSharedKept(row_, pieces, context_.config.rules));
  TOWLINE_RETURN_IF_ERROR(
      CheckSharedAlone(store_->connection(), context_.task, context_.config.rules));
  TOWLINE_RETURN_IF_ERROR(StartMonitor());
  const Stages& stages = context_.config.stages;
  if (!stages.stream && !stages.copy) return CopySchema();
  TOWLINE_RETURN_IF_ERROR(FindExtensionRows());
  if (!stages.stream) return CopyOnce();
  if (!heal_reason_.empty()) TOWLINE_RETURN_IF_ERROR(Heal());
  if (stages.copy) {
    TOWLINE_RETURN_IF_ERROR(PrepareSlot());
    TOWLINE_RETURN_IF_ERROR(CheckRulesOfCopy());
    TOWLINE_RETURN_IF_ERROR(Copy());
  } else {
    TOWLINE_RETURN_IF_ERROR(AdoptSlot());
  }
  while (true) {
    if (context_.control.wants_pause()) TOWLINE_RETURN_IF_ERROR(StayPaused());
    if (is_constraints_due_) TOWLINE_RETURN_IF_ERROR(Constrain());
    TOWLINE_RETURN_IF_ERROR(ChangeTables());
    TOWLINE_RETURN_IF_ERROR(Stream());
  }
}

// Once for all attempts. Of a copy that has begun only its own tables: of others the rows from
// before would be missing.
absl::Status Attempt::FindExtensionRows() {
  Config& config = context_.config;
  if (!config.copies_extension_tables || !config.extension_rows.empty()) return absl::OkStatus();
  TOWLINE_ASSIGN_OR_RETURN(Connection * source, Source());
  TOWLINE_ASSIGN_OR_RETURN(ExtensionRows rows, ReadExtensionRows(*source));
  TableSelection selection = SelectionOf(config);
  for (const auto& [table, condition] : rows) selection.extension_tables.push_back(table);
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> selected, ReadTables(*source, selection));
  rows = SelectedRows(rows, selected);
  if (row_.phase >= TaskState::kCopying) {
    TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_->ReadPieces());
    std::set<TableName> copied;
    for (const PieceRow& piece : pieces) copied.insert(piece.table);
    std::erase_if(rows, [&](const auto& row) {
      if (copied.contains(row.first)) return false;
      LogWarning("a table of an extension is left out, because it was not among those of the copy",
                 {{"table", QuoteQualified(row.first.schema, row.first.name)}});
      return true;
    });
  }
  config.extension_rows = std::move(rows);
  AddExtensionRules(config.extension_rows, &config.rules);
  return absl::OkStatus();
}

absl::StatusOr<Connection> Attempt::OpenSource() { return OpenControl(context_.config.source); }

absl::StatusOr<Connection> Attempt::OpenControl(const ConnectOptions& server) {
  Connection::Purpose purpose;
  purpose.application_name =
      context_.task.empty() ? "towline" : SourceApplication(context_.task, "control");
  return Connection::Open(server, purpose, shutdown_);
}

absl::StatusOr<Connection*> Attempt::Source() {
  if (!control_.has_value()) {
    TOWLINE_ASSIGN_OR_RETURN(control_, OpenSource());
  }
  return &*control_;
}

absl::StatusOr<Connection*> Attempt::StreamServer() {
  if (!context_.config.has_source_standby) return Source();
  if (!standby_control_.has_value()) {
    TOWLINE_ASSIGN_OR_RETURN(standby_control_, OpenControl(context_.config.source_standby));
  }
  return &*standby_control_;
}

void Attempt::CloseControl() {
  control_.reset();
  standby_control_.reset();
}

absl::Status Attempt::Connect() {
  const Config& config = context_.config;
  TOWLINE_ASSIGN_OR_RETURN(Connection * source, Source());
  TOWLINE_ASSIGN_OR_RETURN(source_identity_, ReadSourceIdentity(*source, config.source, shutdown_));
  Connection::Purpose purpose;
  purpose.application_name = "towline";
  TOWLINE_ASSIGN_OR_RETURN(Connection destination,
                           Connection::Open(config.destination, purpose, shutdown_));
  TOWLINE_ASSIGN_OR_RETURN(destination_identity_, ReadServerIdentity(destination));
  if (context_.task.empty()) {
    context_.task = DeriveTaskName(source_identity_, destination_identity_);
    control_.reset();  // it has no name
  }
  context_.has_ever_connected = true;
  connected_at_ = SteadyNow();
  TOWLINE_ASSIGN_OR_RETURN(std::vector<TaskRow> tasks, StateStore::ListTasks(destination));
  auto known = std::find_if(tasks.begin(), tasks.end(),
                            [&](const TaskRow& row) { return row.task == context_.task; });
  if (known != tasks.end() && (known->is_slot_created || known->phase == TaskState::kHealing)) {
    return absl::OkStatus();
  }
  // Of a copy without a stream that was cut short, which was checked; its rows are there.
  bool is_once = config.stages.copy && !config.stages.stream;
  if (is_once && known != tasks.end() && known->slot.empty() &&
      known->phase >= TaskState::kCopyingSchema) {
    return absl::OkStatus();
  }
  return Check(known != tasks.end() && !known->slot.empty());
}

absl::Status Attempt::TakeOver() {
  // First: a process of this machine that runs the task is asked by its socket and not disturbed.
  TOWLINE_RETURN_IF_ERROR(on_task_known_());
  TOWLINE_ASSIGN_OR_RETURN(
      StateStore store,
      StateStore::Open({context_.config.destination, context_.task, context_.run_id}, shutdown_));
  store_.emplace(std::move(store));
  store_->set_on_state([this](TaskState state) { context_.ShowState(state); });
  TOWLINE_ASSIGN_OR_RETURN(row_, store_->TakeOver(source_identity_, destination_identity_));
  DropOldOrigin(store_->connection(), context_.task);
  TOWLINE_RETURN_IF_ERROR(SelectTables());
  if (row_.phase >= TaskState::kCatchingUp) {
    // Of a table that was copied by itself just before a crash: what follows decides by it.
    TOWLINE_RETURN_IF_ERROR(SettleJoined(store_->connection(), store_->claim()));
    TOWLINE_ASSIGN_OR_RETURN(row_, store_->ReadTask());
  }
  context_.claim = store_->claim();
  context_.is_slot_created = row_.is_slot_created;
  context_.control.AdoptStored(row_.state == TaskState::kPaused);
  context_.control.set_is_copying(row_.phase < TaskState::kCatchingUp);
  context_.board.Update([&](TaskStatus& status) {
    status.task = context_.task;
    bool has_slot_soon = row_.slot.empty() && context_.config.stages.stream;
    status.slot = has_slot_soon ? SlotName(context_.task) : row_.slot;
    status.epoch = row_.epoch;
    status.position = status.durable_lsn = row_.position;
  });
  LogInfo("task taken over",
          {{"task", context_.task},
           {"epoch", absl::StrCat(row_.epoch)},
           {"phase", std::string(TaskStateName(row_.phase))},
           {"position", row_.position.is_valid() ? row_.position.ToString() : "none"}});
  return absl::OkStatus();
}

absl::Status Attempt::StartMonitor() {
  Monitor::Options options;
  options.source = context_.config.source;
  if (context_.config.has_source_standby && context_.config.stages.stream) {
    options.source_standby = context_.config.source_standby;
  }
  options.destination = context_.config.destination;
  options.claim = context_.claim;
  options.slot = row_.slot.empty() ? SlotName(context_.task) : row_.slot;
  options.on_failure = [this] { stop_.Request(); };
  options.meter = &context_.meter;
  options.brake = &context_.copy_brake;
  options.conflict_rows_max = context_.config.limits.conflict_rows_max;
  TOWLINE_ASSIGN_OR_RETURN(monitor_, Monitor::Start(options, *store_, context_.board, shutdown_));
  return absl::OkStatus();
}

absl::Status Attempt::SetState(TaskState state) {
  TOWLINE_RETURN_IF_ERROR(store_->SetState(state));
  row_.state = state;
  if (IsPhase(state)) row_.phase = state;
  return absl::OkStatus();
}

void Attempt::NoteWait(const std::string& waits_for) {
  LogInfo(waits_for);
  context_.ShowState(TaskState::kWaiting, waits_for);
}

// A wait for somebody's transaction that came to its limit has asked the operator often enough.
absl::Status Attempt::WaitEnded(absl::Status status) {
  if (absl::IsDeadlineExceeded(status)) is_final_ = true;
  if (status.ok()) context_.ShowState(row_.state);
  return status;
}

absl::Status Attempt::PrepareSlot() {
  if (row_.is_slot_created) return absl::OkStatus();
  TOWLINE_RETURN_IF_ERROR(SetState(TaskState::kChecking));
  TOWLINE_ASSIGN_OR_RETURN(Connection * source, Source());
  TOWLINE_ASSIGN_OR_RETURN(Connection * server, StreamServer());
  const std::string slot = SlotName(context_.task);
  TOWLINE_ASSIGN_OR_RETURN(std::optional<SlotInfo> found, ReadSlot(*server, slot));
  bool is_ours = found.has_value() && IsLeftSlot(row_, source_identity_.database, *found);
  if (found.has_value() && !found->confirmed_flush_lsn.is_valid()) {
    return absl::AbortedError(
        absl::StrCat("a slot ", slot, " is just being made on the ", server->side()));
  }
  if (found.has_value() && !is_ours) {
    return WithHint(absl::FailedPreconditionError(
                        absl::StrCat("a slot ", slot, " exists on the ", server->side(),
                                     " already, and this task has not made it")),
                    absl::StrCat("If no other towline uses it: SELECT pg_drop_replication_slot('",
                                 slot, "'); else give another --task."));
  }
  if (is_ours) {
    LogInfo("taking the slot that was made before a crash and not noted", {{"slot", slot}});
    return NoteOurSlot(*source);
  }
  TOWLINE_RETURN_IF_ERROR(CheckNothingPrepared());
  return CreateOurSlot(*source, slot);
}

// What an earlier task of this name has left prepared would be taken for this one's.
absl::Status Attempt::CheckNothingPrepared() {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PreparedTransaction> left,
                           ListPrepared(store_->connection(), context_.task));
  if (left.empty()) return absl::OkStatus();
  std::string statements;
  for (const PreparedTransaction& transaction : left) {
    absl::StrAppend(&statements, " ROLLBACK PREPARED ", QuoteLiteral(transaction.gid), ";");
  }
  return WithHint(absl::FailedPreconditionError(
                      absl::StrCat("an earlier task ", context_.task, " has left ", left.size(),
                                   " prepared transactions at the destination")),
                  absl::StrCat("At the destination:", statements));
}

absl::Status Attempt::CreateOurSlot(Connection& source, const std::string& name) {
  FaultPoint("run:before-slot");
  row_.slot = name;
  auto on_wait = [this](const std::string& waits_for) { NoteWait(waits_for); };
  auto on_position = [this](Lsn position) {
    row_.position = position;
    return store_->SetSlot({.name = row_.slot,
                            .is_on_standby = context_.config.has_source_standby,
                            .position = position});
  };
  const Config& config = context_.config;
  TOWLINE_RETURN_IF_ERROR(
      WaitEnded(CreateSlot(config.source, config.StreamServer(), row_.slot,
                           config.limits.snapshot_wait_max, shutdown_, on_wait, on_position)));
  FaultPoint("run:after-slot");
  return NoteOurSlot(source);
}

// Of a slot that we have made.
absl::Status Attempt::NoteOurSlot(Connection& source) {
  absl::StatusOr<Lsn> settled =
      SettleSlot(source, context_.config.limits.snapshot_wait_max, shutdown_,
                 [this](const std::string& waits_for) { NoteWait(waits_for); });
  TOWLINE_RETURN_IF_ERROR(WaitEnded(settled.status()));
  row_.position = std::max(row_.position, *settled);
  return NoteSlotCreated(source);
}

absl::Status Attempt::NoteSlotCreated(Connection& source) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result version,
      source.Exec("SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'towline'"));
  TOWLINE_RETURN_IF_ERROR(
      store_->SetSlot({.name = row_.slot,
                       .is_on_standby = context_.config.has_source_standby,
                       .position = row_.position,
                       .is_created = true,
                       .plugin_version = version.row_count() > 0 ? version.GetString(0, 0) : ""}));
  context_.is_slot_created = true;
  FaultPoint("run:slot-stored");
  LogInfo("slot created", {{"slot", row_.slot}, {"position", row_.position.ToString()}});
  TOWLINE_ASSIGN_OR_RETURN(row_, store_->ReadTask());
  return absl::OkStatus();
}

CopierOptions Attempt::CopyOptions() const {
  const Config& config = context_.config;
  CopierOptions options;
  options.source = config.source;
  options.destination = config.destination;
  options.selection = SelectionOf(config);
  options.existing = [policy = ExistingPolicyOf(config)](const Table& table) {
    return ExistingName(policy.For(table));
  };
  options.rules = config.rules;
  options.extension_rows = config.extension_rows;
  options.own_rows = OwnRows(config.extension_rows, config.rules);
  options.workers = config.limits.copy_workers;
  options.index_workers = config.limits.index_workers;
  options.index_memory = config.limits.index_memory;
  options.part_bytes = config.limits.copy_part_bytes;
  options.planner = PlannerOf(config);
  options.snapshot_wait_max = config.limits.snapshot_wait_max;
  options.rate_limit = &context_.copy_rate;
  options.pace = &context_.copy_brake.pace();
  options.requires_origin = !config.foreign_origins;
  options.task = context_.task;
  options.schema = {config.pg_dump, config.with_owners, config.with_privileges};
  options.copies_schema = config.stages.schema;
  options.copies_large_objects = config.CopiesLargeObjects();
  options.is_once = !config.stages.stream;
  options.follows_ddl = config.stages.stream && config.ddl.is_on;
  return options;
}

// stages: schema. Leaves a task that is as good as new.
absl::Status Attempt::CopySchema() {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> begun, store_->ReadPieces());
  if (!row_.slot.empty() || !begun.empty()) {
    return WithHint(absl::InvalidArgumentError(absl::StrCat(
                        "stages: schema, and task ", context_.task, " has begun to copy rows")),
                    "Run it without this option, or drop the task first (towline drop).");
  }
  CloseControl();
  auto on_wait = [this](const std::string& waits_for) { NoteWait(waits_for); };
  TOWLINE_RETURN_IF_ERROR(SetState(TaskState::kCopyingSchema));
  TOWLINE_RETURN_IF_ERROR(
      WaitEnded(MakeSchemaOnly(CopyOptions(), *store_, copy_progress_, shutdown_, on_wait)));
  DropCopyOrigins(store_->connection(), context_.task);
  LogInfo(absl::StrCat("the schema is made, rows were not asked for; task ", context_.task,
                       " stays in towline_state until towline drop"));
  return absl::OkStatus();
}

absl::Status Attempt::Copy() {
  if (row_.phase >= TaskState::kCatchingUp) return absl::OkStatus();
  // Of a copy that goes on the tables are compared; from then on the source alone can move them.
  const bool compares = row_.phase < TaskState::kIndexing;
  auto on_wait = [this](const std::string& waits_for) { NoteWait(waits_for); };
  TOWLINE_RETURN_IF_ERROR(SetState(row_.phase));
  const CopierOptions options = CopyOptions();
  CloseControl();
  monitor_->Watch(&copy_progress_);
  StreamBeside beside({.start = [this](LiveCopy& live) { return StartBeside(live); },
                       .watch = [this](const StreamSession* s) { monitor_->WatchBeside(s); },
                       .watched_status = [this] { return monitor_->stream_status(); }});
  absl::Status copied =
      WaitEnded(RunCopy(options, *store_, copy_progress_, beside, shutdown_, on_wait));
  monitor_->Watch(static_cast<CopyProgress*>(nullptr));
  TOWLINE_RETURN_IF_ERROR(copied);
  context_.has_selected |= compares;
  TOWLINE_ASSIGN_OR_RETURN(row_, store_->ReadTask());
  DropCopyOrigins(store_->connection(), context_.task);
  TOWLINE_RETURN_IF_ERROR(SetState(TaskState::kCatchingUp));
  context_.control.set_is_copying(false);
  LogInfo("the copy is complete", {{"tables", absl::StrCat(copy_progress_.tables_total.load())},
                                   {"rows", absl::StrCat(copy_progress_.rows_done.load())}});
  return absl::OkStatus();
}

}  // namespace towline
