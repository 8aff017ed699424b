// verify: its own exit status, 0 equal, 1 different, 2 could not tell; so an error is a 2, whatever
// it would be to another command.
#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "cli/commands.h"
#include "cli/task_finder.h"
#include "config/value_text.h"
#include "verify/verify.h"

namespace towline {
namespace {

constexpr int64_t kContinuousBytesRate = 10 << 20;

std::string ProgressText(const VerifyProgress& progress, absl::Duration elapsed) {
  std::string text = absl::StrCat(
      "verify: ", progress.round > 0 ? absl::StrCat("round ", progress.round, ", ") : "",
      progress.tables_done, " of ", progress.tables, " tables, ", FormatBytes(progress.bytes_done),
      " of ", FormatBytes(progress.bytes));
  if (progress.bytes_done > 0 && progress.bytes_done < progress.bytes) {
    absl::Duration left = elapsed * (static_cast<double>(progress.bytes - progress.bytes_done) /
                                     static_cast<double>(progress.bytes_done));
    absl::StrAppend(&text, ", ", towline::FormatDuration(left), " left");
  }
  if (!progress.waiting_for.empty()) absl::StrAppend(&text, ", waiting: ", progress.waiting_for);
  return text;
}

absl::StatusOr<int64_t> Named(const char* flag, absl::StatusOr<int64_t> value) {
  if (value.ok()) return value;
  return WithContext(value.status(), flag);
}

// Modes that mean something else together than each alone.
absl::Status CheckModes(const VerifyOptions& options) {
  const bool is_sample = options.percent < 100;
  if (int{options.is_count_only} + int{options.is_schema_only} + int{is_sample} <= 1) {
    return absl::OkStatus();
  }
  return WithHint(
      absl::InvalidArgumentError("--counts, --schema-only and --sample are different comparisons"),
      "Give one of them.");
}

absl::Status CheckContinuous(const Arguments& arguments) {
  if (!arguments.is_continuous) return absl::OkStatus();
  for (const auto& [flag, is_given] :
       {std::pair("--repair", arguments.is_repaired),
        std::pair("--repair-sql", !arguments.repair_sql_file.empty()),
        std::pair("--schema-only", arguments.is_schema_only)}) {
    if (!is_given) continue;
    return WithHint(
        absl::InvalidArgumentError(absl::StrCat(flag, " and --continuous do not go together")),
        "Give one of them.");
  }
  return absl::OkStatus();
}

absl::Status CheckRepair(const VerifyOptions& options, const Config& config) {
  const bool writes_file = !options.repair_sql_file.empty();
  if (!options.is_repaired && !writes_file) return absl::OkStatus();
  const char* flag = writes_file ? "--repair-sql" : "--repair";
  if (options.is_repaired && writes_file) {
    return WithHint(absl::InvalidArgumentError(
                        "--repair and --repair-sql are given, and mean one or the other"),
                    "Give one.");
  }
  if (writes_file && options.resumes) {
    return WithHint(absl::InvalidArgumentError(
                        "--repair-sql writes its file anew, and --resume would leave out "
                        "of it what the interrupted comparison has found"),
                    "Begin without --resume.");
  }
  if (options.is_count_only || options.is_schema_only) {
    const char* mode = options.is_count_only ? "--counts" : "--schema-only";
    return WithHint(absl::InvalidArgumentError(absl::StrCat(
                        flag, " needs to know which rows differ, which ", mode, " does not tell")),
                    absl::StrCat("Leave ", mode, " out."));
  }
  if (!config.foreign_origins) {
    return WithHint(absl::InvalidArgumentError(absl::StrCat(
                        flag,
                        " cannot be used with origin: none: rows that are only at one side "
                        "may be on their way to the other")),
                    "Compare without it, and mend by hand.");
  }
  return absl::OkStatus();
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
  options.is_schema_only = arguments.is_schema_only;
  options.schema = {config.pg_dump, config.with_owners, config.with_privileges};
  options.percent = arguments.sample_percent;
  options.seed = arguments.seed;
  if (!arguments.rate_max.empty()) {
    TOWLINE_ASSIGN_OR_RETURN(options.bytes_rate,
                             Named("--rate-max", ParseBytes(arguments.rate_max)));
  }
  if (!arguments.rows_max.empty()) {
    TOWLINE_ASSIGN_OR_RETURN(options.rows_rate,
                             Named("--rows-max", ParseCount(arguments.rows_max)));
  }
  TOWLINE_ASSIGN_OR_RETURN(options.part_bytes,
                           Named("--part-size", ParseBytes(arguments.part_size)));
  options.load = {absl::Seconds(arguments.verify_lag_max_seconds), arguments.verify_active_max};
  options.is_repaired = arguments.is_repaired;
  options.repair_sql_file = arguments.repair_sql_file;
  options.resumes = arguments.resumes;
  options.is_continuous = arguments.is_continuous;
  options.interval = absl::Seconds(arguments.verify_interval_seconds);
  if (options.is_continuous && arguments.rate_max.empty() && arguments.rows_max.empty()) {
    options.bytes_rate = kContinuousBytesRate;
  }
  TOWLINE_RETURN_IF_ERROR(CheckContinuous(arguments));
  TOWLINE_RETURN_IF_ERROR(CheckModes(options));
  TOWLINE_RETURN_IF_ERROR(CheckRepair(options, config));
  options.workers = arguments.verify_workers;
  options.stand_max = absl::Seconds(arguments.verify_wait_seconds);
  const bool shows_progress = isatty(STDERR_FILENO) != 0;
  const absl::Time started = SteadyNow();
  absl::StatusOr<VerifyReport> report = Verify(
      options,
      [&](const VerifyProgress& progress) {
        if (shows_progress) SetStatusLine(ProgressText(progress, SteadyNow() - started));
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
