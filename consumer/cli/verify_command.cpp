// verify: its own exit status, 0 equal, 1 different, 2 could not tell; so an error is a 2, whatever
// it would be to another command.
#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/task_finder.h"
#include "verify/verify.h"

namespace towline {
namespace {

std::string ProgressText(const VerifyProgress& progress, absl::Duration elapsed) {
  std::string text =
      absl::StrCat("verify: ", progress.tables_done, " of ", progress.tables, " tables, ",
                   FormatBytes(progress.bytes_done), " of ", FormatBytes(progress.bytes));
  if (progress.bytes_done > 0 && progress.bytes_done < progress.bytes) {
    absl::Duration left = elapsed * (static_cast<double>(progress.bytes - progress.bytes_done) /
                                     static_cast<double>(progress.bytes_done));
    absl::StrAppend(&text, ", ", towline::FormatDuration(left), " left");
  }
  return text;
}

absl::StatusOr<VerifyReport> RunVerify(const Arguments& arguments, const Config& config,
                                       const Shutdown& shutdown) {
  TOWLINE_RETURN_IF_ERROR(RequireBothUris(config));
  VerifyOptions options;
  options.source = config.source;
  options.destination = config.destination;
  TOWLINE_ASSIGN_OR_RETURN(options.task, TaskNameOf(config, shutdown));
  options.is_task_given = !config.task.empty();
  options.selection = {config.include, config.exclude};
  options.rules = config.rules;
  options.compares_extension_tables = config.copies_extension_tables;
  options.is_count_only = arguments.is_count_only;
  options.workers = arguments.verify_workers;
  options.stand_max = absl::Seconds(arguments.verify_wait_seconds);
  const bool shows_progress = isatty(STDERR_FILENO) != 0;
  const absl::Time started = absl::Now();
  absl::StatusOr<VerifyReport> report = Verify(
      options,
      [&](const VerifyProgress& progress) {
        if (shows_progress) SetStatusLine(ProgressText(progress, absl::Now() - started));
      },
      shutdown);
  if (shows_progress) SetStatusLine("");
  return report;
}

}  // namespace

absl::StatusOr<int> VerifyCommand(const Arguments& arguments, const Config& config,
                                  Shutdown& shutdown) {
  absl::StatusOr<VerifyReport> report = RunVerify(arguments, config, shutdown);
  if (!report.ok()) {
    LogError(report.status().message(), {{"detail", GetDetail(report.status())},
                                         {"hint", GetHint(report.status())},
                                         {"sqlstate", GetSqlState(report.status())}});
    return VerifyExitStatus(VerifyVerdict::kUndecided);
  }
  std::string text = arguments.is_json ? absl::StrCat(VerifyReportToJson(*report), "\n")
                                       : FormatVerifyReport(*report);
  fputs(text.c_str(), stdout);
  return VerifyExitStatus(report->verdict());
}

}  // namespace towline
