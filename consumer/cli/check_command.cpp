#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "cli/check_options.h"
#include "cli/commands.h"
#include "cli/task_finder.h"

namespace towline {

CheckOptions CheckOptionsOf(const Config& config) {
  CheckOptions options;
  options.source = config.source;
  options.destination = config.destination;
  options.selection = {config.include, config.exclude};
  options.existing = config.existing;
  options.existing_by_table = config.existing_by_table;
  options.rules = config.rules;
  options.copies_schema = config.stages.schema;
  options.copies_rows = config.stages.copy;
  options.streams = config.stages.stream;
  options.copies_large_objects = config.CopiesLargeObjects();
  options.copies_extension_tables = config.copies_extension_tables;
  options.pg_dump = config.pg_dump;
  options.copy_workers = config.limits.copy_workers;
  options.index_workers = config.limits.index_workers;
  options.two_phase = config.two_phase;
  options.compression = config.compression;
  options.requires_origin = !config.foreign_origins;
  options.streaming = config.streaming;
  options.accept = config.accept;
  options.task = config.task;
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
  CheckReport report = RunChecks(CheckOptionsOf(config), shutdown);
  if (shutdown.is_requested()) return absl::CancelledError("shutting down");
  std::string text = arguments.is_json
                         ? absl::StrCat(ReportToJson(report), "\n")
                         : FormatReport(report, isatty(STDOUT_FILENO) != 0, arguments.is_verbose);
  fputs(text.c_str(), stdout);
  return CheckExitStatus(report);
}

}  // namespace towline
