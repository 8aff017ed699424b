// The command line, read: which command, its own switches, and the configuration put together.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/config.h"
#include "config/config_loader.h"

namespace towline {

enum class Command {
  kInit,
  kGrants,
  kCheck,
  kRun,
  kStatus,
  kPause,
  kResume,
  kSet,
  kDrop,
  kVerify,
  kDdl,
  kTable,
  kReference,
  kNone
};

struct Arguments {
  Command command = Command::kNone;
  ConfigSources sources;
  std::string task;                  // status, pause, resume, set, drop: TASK
  bool is_json = false;              // check, status, verify, ddl
  bool is_verbose = false;           // check
  bool is_watch = false;             // status
  bool is_execute = false;           // init
  bool accepts_rule_change = false;  // run
  bool heals = false;
  std::string role;      // init, grants
  std::string set_name;  // set: of the limit
  std::string set_value;
  bool is_yes = false;  // drop
  bool is_source_only = false;
  bool is_destination_only = false;
  std::string ddl_action;  // ddl: list, approve, skip
  std::string ddl_number;  // of the schema change; empty: the one that is held
  bool lists_all_ddl = false;
  std::string table_action;  // table: park, rejoin, recopy, add, remove
  std::string table_name;
  bool is_count_only = false;  // verify
  bool is_schema_only = false;
  double sample_percent = 100;
  std::optional<uint64_t> seed;
  std::string rate_max;
  std::string rows_max;
  bool is_repaired = false;
  std::string repair_sql_file;
  bool resumes = false;
  int verify_workers = 1;
  int verify_wait_seconds = 60;
  bool is_continuous = false;
  int verify_interval_seconds = 60;
  int verify_lag_max_seconds = 10;
  std::string part_size = "1GB";
  int verify_active_max = 0;
  bool is_markdown = false;  // reference: which page
  bool is_example = false;
  bool is_checks = false;
  // Not empty: the whole answer (help, version), to be printed with status 0.
  std::string answer;
};

// `arguments` without the program's name.
absl::StatusOr<Arguments> ParseArguments(const std::vector<std::string>& arguments);

// What `towline` alone and `towline help` print.
std::string HelpText();

}  // namespace towline
