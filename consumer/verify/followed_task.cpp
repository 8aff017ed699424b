#include "verify/followed_task.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/table_rules.h"
#include "state/state_store.h"

namespace towline {
namespace {

// A task whose slot nobody reads will not move; the slot is free for a moment between two tries.
constexpr absl::Duration kIdleStandMax = absl::Seconds(5);

absl::Status CheckSide(absl::string_view side, const ServerIdentity& known,
                       const ServerIdentity& found) {
  bool is_system_same = known.system_identifier == found.system_identifier ||
                        known.system_identifier == 0 || found.system_identifier == 0;
  if (is_system_same && known.database_oid == found.database_oid) return absl::OkStatus();
  return WithHint(absl::FailedPreconditionError(absl::StrCat(
                      "the ", side, " is not the database that the task was made for")),
                  absl::StrCat("Correct the URI of the ", side, ", or --task."));
}

// Whether something reads the slot.
absl::StatusOr<bool> IsSlotActive(Connection& source, const std::string& slot) {
  TOWLINE_ASSIGN_OR_RETURN(Result rows,
                           source.Query("SELECT active FROM pg_catalog.pg_replication_slots "
                                        "WHERE slot_name = $1",
                                        {{slot}}));
  return rows.row_count() > 0 && rows.GetBool(0, 0);
}

// The same where the slot is on a server that is not asked: whether the task has sessions here.
absl::StatusOr<bool> HasSessions(Connection& destination, const std::string& task) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result rows,
      destination.Query("SELECT 1 FROM towline_state.session s JOIN pg_catalog.pg_stat_activity a "
                        "ON a.pid = s.pid AND a.backend_start = s.backend_start "
                        "WHERE s.task = $1 LIMIT 1",
                        {{task}}));
  return rows.row_count() > 0;
}

std::map<TableName, std::string> TablesApart(const std::vector<PieceRow>& pieces) {
  std::map<TableName, std::string> apart;
  for (const PieceRow& piece : pieces) {
    if (piece.state == "removed") continue;
    if (piece.state == "parked") {
      apart[piece.table] = "it is parked: it has left the stream";
    } else if (piece.state != "copied" && piece.state != "streamed") {
      apart[piece.table] = "it is not copied yet";
    }
  }
  return apart;
}

absl::Status NoSuchTask(const std::string& task, const std::vector<TaskRow>& tasks) {
  std::vector<std::string> names;
  for (const TaskRow& row : tasks) names.push_back(row.task);
  return WithHint(
      absl::NotFoundError(absl::StrCat("there is no task \"", task, "\"")),
      names.empty() ? "Leave --task out to compare two databases as they are."
                    : absl::StrCat("Tasks at this destination: ", absl::StrJoin(names, ", "), "."));
}

}  // namespace

absl::StatusOr<CopyMark> ReadCopyMark(Connection& destination, const std::string& recorded,
                                      const TableName& table) {
  CopyMark mark;
  if (recorded.empty()) return mark;
  TOWLINE_ASSIGN_OR_RETURN(
      Result rows, destination.Query("SELECT state IN ('copied', 'streamed'), xmin "
                                     "FROM towline_state.piece WHERE task = $1 AND schema_name = "
                                     "$2 AND table_name = $3",
                                     {{recorded, table.schema, table.name}}));
  if (rows.row_count() == 0) return mark;
  return CopyMark{rows.GetBool(0, 0), rows.GetString(0, 1)};
}

absl::StatusOr<FollowedTask> FindFollowedTask(const TaskSearch& search, Connection& source,
                                              Connection& destination, const Shutdown& shutdown) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<TaskRow> tasks, StateStore::ListTasks(destination));
  auto found = std::find_if(tasks.begin(), tasks.end(),
                            [&search](const TaskRow& row) { return row.task == search.task; });
  FollowedTask task;
  if (found == tasks.end()) {
    if (search.is_given) return NoSuchTask(search.task, tasks);
    for (const TaskRow& row : tasks) {
      TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces,
                               StateStore::ReadPieces(destination, row.task));
      for (const PieceRow& piece : pieces) {
        std::string shared = SharedText(piece.rule);
        if (!shared.empty()) task.shared[piece.table].insert(std::move(shared));
      }
    }
    return task;
  }
  TOWLINE_ASSIGN_OR_RETURN(ServerIdentity source_identity,
                           ReadSourceIdentity(source, search.source, shutdown));
  TOWLINE_ASSIGN_OR_RETURN(ServerIdentity destination_identity, ReadServerIdentity(destination));
  TOWLINE_RETURN_IF_ERROR(CheckSide("source", found->source, source_identity));
  TOWLINE_RETURN_IF_ERROR(CheckSide("destination", found->destination, destination_identity));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces,
                           StateStore::ReadPieces(destination, found->task));
  if (found->phase == TaskState::kHealing) {
    return WithHint(absl::UnavailableError(absl::StrCat(
                        "task ", found->task, " is being healed: its rows are compared already")),
                    "Compare when that is over; `towline run` goes on with it.");
  }
  task.recorded = found->task;
  task.apart = TablesApart(pieces);
  for (const PieceRow& piece : pieces) {
    if (piece.is_added && piece.state != "removed") task.added.push_back(piece.table);
    if (piece.state != "removed") {
      task.shared[piece.table].insert(SharedText(piece.rule));
      continue;
    }
    task.removed.push_back(QuoteQualified(piece.table.schema, piece.table.name));
  }
  // Without a slot (stages without stream) nothing moves, and nothing is waited for.
  if (!found->position.is_valid()) return task;
  task.followed = found->task;
  task.stand_max = search.stand_max;
  TOWLINE_ASSIGN_OR_RETURN(bool is_streaming, found->is_slot_on_standby
                                                  ? HasSessions(destination, found->task)
                                                  : IsSlotActive(source, found->slot));
  if (!is_streaming) task.stand_max = std::min(task.stand_max, kIdleStandMax);
  return task;
}

TableSelection FollowedSelection(const FollowedTask& task, TableSelection selected) {
  selected.exclude.insert(selected.exclude.end(), task.removed.begin(), task.removed.end());
  return selected;
}

}  // namespace towline
