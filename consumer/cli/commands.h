// The commands. Each gives the program's exit status, or an error that command_line.cpp prints and
// turns into one.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/shutdown.h"
#include "cli/arguments.h"
#include "config/config.h"

namespace towline {

absl::StatusOr<int> InitCommand(const Arguments& arguments, const Config& config,
                                Shutdown& shutdown);
absl::StatusOr<int> CheckCommand(const Arguments& arguments, const Config& config,
                                 Shutdown& shutdown);
absl::StatusOr<int> GrantsCommand(const Arguments& arguments, const Config& config,
                                  Shutdown& shutdown);
absl::StatusOr<int> RunCommand(const Config& config, Shutdown& shutdown);
absl::StatusOr<int> StatusCommand(const Arguments& arguments, const Config& config,
                                  Shutdown& shutdown);
absl::StatusOr<int> PauseCommand(const Config& config, Shutdown& shutdown);
absl::StatusOr<int> ResumeCommand(const Config& config, Shutdown& shutdown);
absl::StatusOr<int> SetCommand(const Arguments& arguments, const Config& config,
                               Shutdown& shutdown);
absl::StatusOr<int> DropCommand(const Arguments& arguments, const Config& config,
                                Shutdown& shutdown);
absl::StatusOr<int> DdlCommandLine(const Arguments& arguments, const Config& config,
                                   Shutdown& shutdown);
absl::StatusOr<int> TableCommand(const Arguments& arguments, const Config& config,
                                 Shutdown& shutdown);
absl::StatusOr<int> VerifyCommand(const Arguments& arguments, const Config& config,
                                  Shutdown& shutdown);
absl::StatusOr<int> ReferenceCommand(const Arguments& arguments);

}  // namespace towline
