#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "cli/check_options.h"
#include "cli/commands.h"
#include "cli/task_finder.h"
#include "config/shared_options.h"
#include "run/check_options.h"

namespace towline {

CheckOptions CheckOptionsOfTask(const Config& config) {
  CheckOptions options = CheckOptionsOf(config);
  options.task = config.task;
  options.given_slot = config.slot;
  options.given_position = config.position;
  options.finds_task = true;
  return options;
}

int CheckExitStatus(const CheckReport& report) {
  if (!report.connection.ok()) return ExitCode(report.connection);
  return report.Count(FindingLevel::kFail) > 0 ? 1 : 0;
}

absl::StatusOr<int> CheckCommand(const Arguments& arguments, const Config& config,
                                 Shutdown& shutdown) {
  TOWLINE_RETURN_IF_ERROR(RequireBothUris(config));
  TOWLINE_RETURN_IF_ERROR(CheckSharedRun(config));
  CheckReport report = RunChecks(CheckOptionsOfTask(config), shutdown);
  if (shutdown.is_requested()) return absl::CancelledError("shutting down");
  std::string text = arguments.is_json
                         ? absl::StrCat(ReportToJson(report), "\n")
                         : FormatReport(report, isatty(STDOUT_FILENO) != 0, arguments.is_verbose);
  fputs(text.c_str(), stdout);
  return CheckExitStatus(report);
}

}  // namespace towline
