// drop: the slot at the source and the state at the destination. Nothing of the user's is touched.
//
// The state goes first, because removing it takes the lock that a running consumer holds: so nobody
// streams from the slot when it is dropped. What is interrupted between the two is mended by the
// same command again.
#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/format.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/task_finder.h"
#include "observe/control_socket.h"
#include "pg/quoting.h"
#include "snapshot/append_staging.h"
#include "snapshot/slot.h"
#include "state/origin.h"
#include "state/prepared.h"
#include "state/task_name.h"

namespace towline {
namespace {

struct Target {
  std::string task;
  std::string slot;
  std::optional<TaskRow> row;
  bool has_state = false;
  std::vector<PreparedTransaction> prepared;
  std::vector<std::string> known;  // tasks at the destination, for messages
  // Where the slot is: the source, or its standby.
  const char* slot_side = "source";
  std::optional<Connection> source;
  std::optional<Connection> destination;
  absl::Status source_failure;
  absl::Status destination_failure;
};

std::string StatementsForSource(const Target& target) {
  return absl::StrCat("SELECT pg_catalog.pg_drop_replication_slot(", QuoteLiteral(target.slot),
                      ");\n");
}

std::string StatementsForDestination(const Target& target) {
  std::string text;
  for (const PreparedTransaction& transaction : target.prepared) {
    absl::StrAppend(&text, "ROLLBACK PREPARED ", QuoteLiteral(transaction.gid), ";\n");
  }
  for (const char* table :
       {"conflict",         "conflict_total", "ddl_history",   "heal",        "prepared",
        "schema_statement", "range",          "piece",         "shape",       "snapshot",
        "column_type",      "made_object",    "table_request", "verify_look", "verify_progress",
        "verify_result",    "verify_row",     "verify_run",    "session",     "task"}) {
    absl::StrAppend(&text, "DELETE FROM towline_state.", table,
                    " WHERE task = ", QuoteLiteral(target.task), ";\n");
  }
  absl::StrAppend(&text,
                  "SELECT pg_catalog.pg_replication_origin_drop(roname) FROM "
                  "pg_catalog.pg_replication_origin WHERE ",
                  OriginsCondition(QuoteLiteral(target.task)), ";\n");
  return absl::StrCat(text, "-- and if no task is left: DROP SCHEMA towline_state CASCADE;\n");
}

// Of a slot whose creation was not noted nothing is known but where it should stand: another
// destination's task of the same name may have made it.
bool IsAnothers(const Target& target, const SlotInfo& slot) {
  return target.row && !target.row->is_slot_created &&
         slot.confirmed_flush_lsn != target.row->position;
}

void Open(bool is_wanted, bool is_given, const ConnectOptions& options, const Shutdown& shutdown,
          std::optional<Connection>& connection, absl::Status& failure) {
  if (!is_wanted || !is_given) return;
  absl::StatusOr<Connection> opened = OpenFor(options, shutdown);
  if (opened.ok()) {
    connection = *std::move(opened);
  } else {
    failure = opened.status();
  }
}

// Reads what the destination knows, also where only the source is to be cleaned: the slot's name
// stands there.
absl::StatusOr<Target> FindTarget(const Config& config, const Shutdown& shutdown) {
  Target target;
  Open(true, config.has_source, config.source, shutdown, target.source, target.source_failure);
  Open(true, config.has_destination, config.destination, shutdown, target.destination,
       target.destination_failure);
  std::vector<TaskRow> tasks;
  if (target.destination) {
    TOWLINE_ASSIGN_OR_RETURN(tasks, StateStore::ListTasks(*target.destination));
  }
  for (const TaskRow& row : tasks) target.known.push_back(row.task);
  if (!config.task.empty()) {
    target.task = config.task;
  } else if (target.source && target.destination) {
    TOWLINE_ASSIGN_OR_RETURN(target.task, TaskNameOf(config, shutdown));
  } else {
    TOWLINE_RETURN_IF_ERROR(target.source_failure);
    TOWLINE_RETURN_IF_ERROR(target.destination_failure);
    return WithHint(
        absl::InvalidArgumentError("no task named"),
        target.known.empty()
            ? "Give the task's name, or both URIs."
            : absl::StrCat("Tasks at this destination: ", absl::StrJoin(target.known, ", "), "."));
  }
  std::optional<TaskRow> row = FindTask(tasks, target.task);
  target.row = row;
  target.has_state = row.has_value();
  if (target.destination) {
    TOWLINE_ASSIGN_OR_RETURN(target.prepared, ListPrepared(*target.destination, target.task));
  }
  target.slot = row && !row->slot.empty() ? row->slot : SlotName(target.task);
  if (row ? row->is_slot_on_standby : config.has_source_standby) {
    target.slot_side = "standby";
    target.source.reset();
    target.source_failure = absl::OkStatus();
    Open(true, config.has_source_standby, config.source_standby, shutdown, target.source,
         target.source_failure);
  }
  return target;
}

absl::Status RefuseIfRunning(const Target& target) {
  if (!AskControlSocket(target.task, {"status"}).ok()) return absl::OkStatus();
  return WithHint(
      absl::FailedPreconditionError(absl::StrCat("task \"", target.task, "\" runs here")),
      "Stop it first (Ctrl-C or SIGTERM), then drop it.");
}

bool Confirm(const Target& target, const std::vector<std::string>& deeds) {
  printf(
      "This will %s.\nCopied tables stay as they are. Task %s cannot be resumed afterwards. Go on? "
      "[y/N] ",
      absl::StrJoin(deeds, " and ").c_str(), target.task.c_str());
  fflush(stdout);
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

// True if nothing is left there.
bool CleanDestination(Target& target) {
  if (!target.destination) return false;
  absl::Status removed =
      StateStore::RemoveTask(*target.destination, target.task, [&](const std::string& gid) {
        printf("destination: prepared transaction %s rolled back\n", gid.c_str());
      });
  // Of a copy that was not finished; gone already with the schema if this was the last task.
  if (removed.ok()) removed = DropStaging(*target.destination, target.task);
  if (!removed.ok()) {
    target.destination_failure = removed;
    return false;
  }
  printf("destination: %s\n", target.has_state
                                  ? absl::StrCat("state of task ", target.task, " removed").c_str()
                                  : absl::StrCat("no state of task ", target.task).c_str());
  return true;
}

absl::Status CleanSlot(Target& target, bool is_consumer_excluded, const Shutdown& shutdown) {
  TOWLINE_ASSIGN_OR_RETURN(std::optional<SlotInfo> slot, ReadSlot(*target.source, target.slot));
  if (!slot.has_value()) {
    printf("%s: no slot %s\n", target.slot_side, target.slot.c_str());
    return absl::OkStatus();
  }
  if (IsAnothers(target, *slot)) {
    printf("%s: slot %s was not made by this task, and stays. If nothing uses it:\n%s",
           target.slot_side, target.slot.c_str(), StatementsForSource(target).c_str());
    return absl::OkStatus();
  }
  if (slot->is_active) {
    if (!is_consumer_excluded) {
      return WithHint(absl::FailedPreconditionError(absl::StrCat(
                          "slot ", target.slot, " is in use by pid ", slot->active_pid)),
                      "Stop the towline that uses it, then drop it.");
    }
    TOWLINE_RETURN_IF_ERROR(
        FreeSlot(*target.source, target.slot, target.slot, absl::Seconds(20), shutdown));
  }
  TOWLINE_RETURN_IF_ERROR(DropSlot(*target.source, target.slot));
  printf("%s: slot %s dropped, %s of log set free\n", target.slot_side, target.slot.c_str(),
         FormatBytes(slot->retained_bytes).c_str());
  return absl::OkStatus();
}

void PrintLeft(const char* where, const absl::Status& failure, const std::string& statements) {
  if (!failure.ok()) printf("%s: %s\n", where, std::string(failure.message()).c_str());
  printf("Left at the %s; to remove it there:\n%s", where, statements.c_str());
}

}  // namespace

absl::StatusOr<int> DropCommand(const Arguments& arguments, const Config& config,
                                Shutdown& shutdown) {
  if (arguments.is_source_only && arguments.is_destination_only) {
    return absl::InvalidArgumentError("--source-only and --destination-only exclude each other");
  }
  bool wants_source = !arguments.is_destination_only;
  bool wants_destination = !arguments.is_source_only;
  if (wants_source && !config.has_source && !config.has_destination) return MissingUri("source");
  if (arguments.is_source_only && !config.has_source) return MissingUri("source");
  if (arguments.is_destination_only && !config.has_destination) return MissingUri("destination");
  TOWLINE_ASSIGN_OR_RETURN(Target target, FindTarget(config, shutdown));
  TOWLINE_RETURN_IF_ERROR(RefuseIfRunning(target));
  bool is_on_standby = target.row && target.row->is_slot_on_standby;
  if (wants_source && is_on_standby && !config.has_source_standby) {
    return WithHint(
        absl::InvalidArgumentError(
            absl::StrCat("the slot of task ", target.task, " is on a standby of the source")),
        "Give --source-standby too; or, if that server is no more, --destination-only.");
  }

  std::optional<SlotInfo> slot;
  if (target.source) {
    TOWLINE_ASSIGN_OR_RETURN(slot, ReadSlot(*target.source, target.slot));
  }
  if (target.source && target.destination && !slot && !target.has_state &&
      target.prepared.empty()) {
    return WithHint(
        absl::NotFoundError(absl::StrCat("there is no task \"", target.task, "\"")),
        target.known.empty()
            ? "Nothing is left of it on either server."
            : absl::StrCat("Tasks at this destination: ", absl::StrJoin(target.known, ", "), "."));
  }
  std::vector<std::string> deeds;
  if (wants_destination && target.destination) {
    deeds.push_back(absl::StrCat("remove the state of task ", target.task, " at the destination"));
    if (!target.prepared.empty()) {
      deeds.push_back(absl::StrCat("roll back ", target.prepared.size(),
                                   " transactions that it has prepared there"));
    }
  }
  if (wants_source && target.source && !(slot && IsAnothers(target, *slot))) {
    deeds.push_back(absl::StrCat("drop slot ", target.slot, " at the ", target.slot_side));
  }
  if (isatty(STDIN_FILENO) != 0 && !arguments.is_yes && !deeds.empty() && !Confirm(target, deeds)) {
    printf("Nothing was changed.\n");
    return 1;
  }

  bool is_destination_clean = wants_destination && CleanDestination(target);
  bool is_refused = absl::IsFailedPrecondition(target.destination_failure);
  if (is_refused && wants_destination) return target.destination_failure;  // a consumer runs
  bool is_source_clean = false;
  if (wants_source && target.source) {
    absl::Status cleaned = CleanSlot(target, is_destination_clean, shutdown);
    if (cleaned.ok()) {
      is_source_clean = true;
    } else {
      target.source_failure = cleaned;
    }
  }
  if (!is_source_clean)
    PrintLeft(target.slot_side, target.source_failure, StatementsForSource(target));
  if (!is_destination_clean) {
    PrintLeft("destination", target.destination_failure, StatementsForDestination(target));
  }
  // What was not asked for is no failure.
  bool is_done = (is_source_clean || !wants_source) && (is_destination_clean || !wants_destination);
  return is_done ? 0 : 3;
}

}  // namespace towline
