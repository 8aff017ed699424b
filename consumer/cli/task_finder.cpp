#include "cli/task_finder.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "state/task_name.h"

namespace towline {

absl::StatusOr<Connection> OpenFor(const ConnectOptions& options, const Shutdown& shutdown) {
  Connection::Purpose purpose;
  purpose.application_name = "towline command";
  return Connection::Open(options, purpose, shutdown);
}

absl::Status MissingUri(absl::string_view side) {
  return WithHint(
      absl::InvalidArgumentError(absl::StrCat("no ", side, " given")),
      absl::StrCat("Give --", side,
                   " postgresql://user@host:port/database, set "
                   "TOWLINE_",
                   absl::AsciiStrToUpper(side), ", or write it into a file for --config."));
}

absl::Status RequireBothUris(const Config& config) {
  if (!config.has_source) return MissingUri("source");
  if (!config.has_destination) return MissingUri("destination");
  return absl::OkStatus();
}

absl::StatusOr<std::string> TaskNameOf(const Config& config, const Shutdown& shutdown) {
  if (!config.task.empty()) return config.task;
  TOWLINE_RETURN_IF_ERROR(RequireBothUris(config));
  TOWLINE_ASSIGN_OR_RETURN(Connection source, OpenFor(config.source, shutdown));
  TOWLINE_ASSIGN_OR_RETURN(Connection destination, OpenFor(config.destination, shutdown));
  TOWLINE_ASSIGN_OR_RETURN(ServerIdentity source_identity,
                           ReadSourceIdentity(source, config.source, shutdown));
  TOWLINE_ASSIGN_OR_RETURN(ServerIdentity destination_identity, ReadServerIdentity(destination));
  return DeriveTaskName(source_identity, destination_identity);
}

absl::StatusOr<std::string> TaskAt(Connection& destination, const Config& config,
                                   const Shutdown& shutdown) {
  if (!config.task.empty()) return config.task;
  TOWLINE_ASSIGN_OR_RETURN(std::vector<TaskRow> tasks, StateStore::ListTasks(destination));
  if (tasks.size() == 1) return tasks.front().task;
  if (config.has_source) return TaskNameOf(config, shutdown);
  if (tasks.empty()) return absl::NotFoundError("the destination knows no task");
  std::vector<std::string> names;
  for (const TaskRow& row : tasks) names.push_back(row.task);
  return WithHint(
      absl::InvalidArgumentError("several tasks write into this destination"),
      absl::StrCat("Name one with --task, or give --source: ", absl::StrJoin(names, ", "), "."));
}

std::optional<TaskRow> FindTask(const std::vector<TaskRow>& tasks, const std::string& task) {
  for (const TaskRow& row : tasks) {
    if (row.task == task) return row;
  }
  return std::nullopt;
}

}  // namespace towline
