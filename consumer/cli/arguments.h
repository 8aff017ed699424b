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
  kReference,
  kNone
};

struct Arguments {
  Command command = Command::kNone;
  ConfigSources sources;
  std::string task;                  // status, pause, resume, set, drop: TASK
  bool is_json = false;              // check, status
  bool is_verbose = false;           // check
  bool is_watch = false;             // status
  bool is_execute = false;           // init
  bool accepts_rule_change = false;  // run
  std::string role;                  // init, grants
  std::string set_name;              // set: of the limit
  std::string set_value;
  bool is_yes = false;  // drop
  bool is_source_only = false;
  bool is_destination_only = false;
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
