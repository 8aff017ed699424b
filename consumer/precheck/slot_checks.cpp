// The task's slot: before a first start with a copy none of its name may be there; a stream alone
// wants one that somebody has made; later it is there and can be read on.
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "pg/quoting.h"
#include "precheck/check_context.h"
#include "state/state_store.h"
#include "state/task_name.h"

namespace towline {
namespace {

constexpr char kId[] = "task.slot";

// to_jsonb: columns that not every version has are NULL then.
constexpr char kSlotSql[] = R"sql(
SELECT COALESCE(s.plugin, ''), COALESCE(s.database, ''), s.active, COALESCE(s.active_pid, 0),
       COALESCE(a.application_name, ''), COALESCE(s.wal_status, ''),
       COALESCE(s.database = pg_catalog.current_database(), false),
       COALESCE((pg_catalog.to_jsonb(s) ->> 'two_phase')::boolean, false),
       COALESCE(s.confirmed_flush_lsn::text, ''),
       COALESCE(pg_catalog.to_jsonb(s) ->> 'invalidation_reason',
                CASE WHEN (pg_catalog.to_jsonb(s) ->> 'conflicting')::boolean THEN 'rows_removed'
                     ELSE 'wal_removed' END)
FROM pg_catalog.pg_replication_slots s
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid
WHERE s.slot_name = $1
)sql";

struct Slot {
  std::string name;  // in quotes
  std::string plugin;
  std::string database;
  bool is_active = false;
  std::string active_pid;
  std::string active_application;
  std::string wal_status;
  bool is_of_plugin_and_database = false;
  bool is_two_phase = false;
  std::string confirmed;  // empty: it is just being made
  std::string reason;     // of wal_status "lost"
};

// Nothing: it is not there.
std::optional<Slot> SlotOf(const Result& rows, const std::string& name) {
  if (rows.row_count() == 0) return std::nullopt;
  Slot slot;
  slot.name = QuoteIdentifier(name);
  slot.plugin = rows.GetString(0, 0);
  slot.database = rows.GetString(0, 1);
  slot.is_active = rows.GetBool(0, 2);
  slot.active_pid = rows.GetString(0, 3);
  slot.active_application = rows.GetString(0, 4);
  slot.wal_status = rows.GetString(0, 5);
  slot.is_of_plugin_and_database = slot.plugin == "towline" && rows.GetBool(0, 6);
  slot.is_two_phase = rows.GetBool(0, 7);
  slot.confirmed = rows.GetString(0, 8);
  slot.reason = rows.Get(0, 9) == "wal_removed"
                    ? "the server has removed WAL it needs"
                    : absl::StrCat("the server has invalidated it (", rows.Get(0, 9), ")");
  return slot;
}

std::string DescribeOther(const Slot& slot) {
  if (slot.plugin.empty()) return absl::StrCat("slot ", slot.name, " is of physical replication");
  return absl::StrCat("slot ", slot.name, " belongs to something else (plugin ", slot.plugin,
                      ", database ", slot.database, ")");
}

// Nobody knows what a slot of our name has passed that this task has not made.
void CheckNoSlot(CheckContext& context, const std::optional<Slot>& slot) {
  if (!slot) {
    context.Pass(kId, absl::StrCat("the name ", QuoteIdentifier(context.options.slot), " is free"));
  } else if (!slot->is_of_plugin_and_database) {
    context.Fail(kId, DescribeOther(*slot), {.text = "Choose another name with --task."});
  } else {
    Mend mend = {.statement = absl::StrCat("SELECT pg_catalog.pg_drop_replication_slot(",
                                           QuoteLiteral(context.options.slot), ");"),
                 .where = context.stream_side()};
    if (slot->is_active) {
      mend = {.text = absl::StrCat("It is in use by pid ", slot->active_pid,
                                   ": stop that towline, or choose another name with --task.")};
    }
    context.Fail(
        kId, absl::StrCat("slot ", slot->name, " exists, but the destination knows no such task"),
        mend);
  }
}

// `run` compares its position itself and stops with a status of its own.
void CheckOwnSlot(CheckContext& context, const std::optional<Slot>& slot) {
  constexpr char kCopyAgain[] =
      "Changes are lost to this task: towline run --heal compares all rows and mends those that "
      "differ; or towline drop, then copy again.";
  if (!slot) {
    context.Fail(
        kId, absl::StrCat("the task's slot ", QuoteIdentifier(context.options.slot), " is gone"),
        {.text = kCopyAgain});
  } else if (!slot->is_of_plugin_and_database) {
    context.Fail(kId, DescribeOther(*slot), {.text = kCopyAgain});
  } else if (slot->wal_status == "lost") {
    context.Fail(kId, absl::StrCat("slot ", slot->name, " is lost: ", slot->reason),
                 {.text = kCopyAgain});
  } else if (slot->wal_status == "unreserved") {
    context.Warn(kId,
                 absl::StrCat("slot ", slot->name, " is about to be lost (wal_status unreserved)"),
                 {.text = "Raise max_slot_wal_keep_size there, and let the task run."});
  } else {
    context.Pass(kId, absl::StrCat("slot ", slot->name, " is there"));
  }
}

// The task that another task's row says to have the slot; empty: none, or its state is not to be
// seen.
std::string TaskWithSlot(CheckContext& context) {
  if (!context.destination) return "";
  absl::StatusOr<ServerIdentity> source =
      ReadSourceIdentity(*context.source, context.options.source, context.shutdown);
  absl::StatusOr<std::vector<TaskRow>> tasks = StateStore::ListTasks(*context.destination);
  if (!source.ok() || !tasks.ok()) return "";
  for (const TaskRow& task : *tasks) {
    bool is_there = task.task != context.options.task && task.slot == context.options.slot;
    if (is_there && task.source == *source) return task.task;
  }
  return "";
}

// As AdoptSlot() will look at it (run/attempt_stages.cpp).
void CheckGivenSlot(CheckContext& context, const std::optional<Slot>& slot) {
  const std::string& name = context.options.slot;
  constexpr char kAnother[] = "Name another by --slot.";
  constexpr char kMakeAnother[] = "Make another slot, and copy the rows after that.";
  if (!slot) {
    context.Fail(
        kId, absl::StrCat("there is no slot ", QuoteIdentifier(name)),
        {.text = absl::StrCat("Before the rows are copied: SELECT "
                              "pg_create_logical_replication_slot(",
                              QuoteLiteral(name), ", 'towline'); or name another by --slot.")});
    return;
  }
  if (!slot->is_of_plugin_and_database) {
    context.Fail(kId, DescribeOther(*slot), {.text = kAnother});
    return;
  }
  std::string other_task = TaskWithSlot(context);
  if (!other_task.empty()) {
    context.Fail(kId, absl::StrCat("slot ", slot->name, " belongs to task ", other_task),
                 {.text = kAnother});
    return;
  }
  if (slot->is_active && !absl::StartsWith(slot->active_application,
                                           absl::StrCat(SlotName(context.options.task), " "))) {
    context.Fail(kId,
                 absl::StrCat("slot ", slot->name, " is in use by pid ", slot->active_pid, " (",
                              slot->active_application, ")"),
                 {.text = absl::StrCat("Stop that program, or: SELECT pg_terminate_backend(",
                                       slot->active_pid, ");")});
    return;
  }
  if (slot->wal_status == "lost" || slot->confirmed.empty()) {
    context.Fail(kId,
                 absl::StrCat("slot ", slot->name, " cannot be streamed from: ",
                              slot->wal_status == "lost" ? slot->reason : "it is just being made"),
                 {.text = kMakeAnother});
    return;
  }
  if (slot->is_two_phase) {
    context.Fail(
        kId,
        absl::StrCat("slot ", slot->name,
                     " sends transactions at their PREPARE: what is prepared before the position "
                     "would be lost"),
        {.text = "Make one without two_phase; with two_phase: on towline switches it on itself."});
    return;
  }
  absl::StatusOr<Lsn> confirmed = Lsn::Parse(slot->confirmed);
  std::optional<Result> end =
      context.Ask(kId, *context.source, "SELECT pg_catalog.pg_current_wal_lsn()");
  if (!confirmed.ok() || !end) return;
  absl::StatusOr<Lsn> log_end = Lsn::Parse(end->Get(0, 0));
  if (!log_end.ok()) return;
  const Lsn given = context.options.given_position;
  std::string text = absl::StrCat("position is ", given.ToString());
  constexpr char kPosition[] = "Give the position up to which the destination is complete.";
  if (given.is_valid() && given < *confirmed) {
    context.Fail(kId,
                 absl::StrCat(text, ", and slot ", slot->name, " begins at ", slot->confirmed,
                              ": changes between the two would be lost"),
                 {.text = absl::StrCat(kPosition, " The slot must have been made before it.")});
  } else if (given.is_valid() && given > *log_end) {
    context.Fail(kId,
                 absl::StrCat(text, ", and the source's log ends at ", log_end->ToString(),
                              ": changes before that position would be passed over"),
                 {.text = kPosition});
  } else {
    context.Pass(kId,
                 absl::StrCat("slot ", slot->name, " is there and begins at ", slot->confirmed));
  }
}

}  // namespace

void CheckTaskSlot(CheckContext& context) {
  const std::string& name = context.options.slot;
  if (name.empty()) return;
  if (context.stream_server() == nullptr) return;
  std::optional<Result> rows = context.Ask(kId, *context.stream_server(), kSlotSql, {{name}});
  if (!rows) return;
  std::optional<Slot> slot = SlotOf(*rows, name);
  if (!context.options.is_first_start) {
    CheckOwnSlot(context, slot);
  } else if (context.options.is_stream_alone()) {
    CheckGivenSlot(context, slot);
  } else {
    CheckNoSlot(context, slot);
  }
}

}  // namespace towline
