// Which task a command means, and what the destination knows of it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/shutdown.h"
#include "config/config.h"
#include "pg/connection.h"
#include "state/state_store.h"

namespace towline {

// A session for a command's own few questions.
absl::StatusOr<Connection> OpenFor(const ConnectOptions& options, const Shutdown& shutdown);

// "no source given" with how to give it; `side` is source or destination.
absl::Status MissingUri(absl::string_view side);
absl::Status RequireBothUris(const Config& config);

// The task's name: given, else derived from both servers as `run` does it.
absl::StatusOr<std::string> TaskNameOf(const Config& config, const Shutdown& shutdown);

// The same of a command that asks the destination only, where one task needs no name.
absl::StatusOr<std::string> TaskAt(Connection& destination, const Config& config,
                                   const Shutdown& shutdown);

std::optional<TaskRow> FindTask(const std::vector<TaskRow>& tasks, const std::string& task);

}  // namespace towline
