#include "cli/command_line.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"
#include "base/shutdown.h"
#include "base/status_macros.h"
#include "cli/argv_secrets.h"
#include "cli/commands.h"
#include "config/value_text.h"
#include "precheck/check_catalog.h"
#include "schema/table_patterns.h"
#include "state/task_name.h"

namespace towline {
namespace {

Shutdown* signalled = nullptr;  // for the handler only; set once before it is installed

extern "C" void RequestShutdown(int signal) {
  // Who presses Ctrl-C a second time does not want to wait. It is as safe as any crash.
  if (signal == SIGINT && signalled->is_requested()) _Exit(128 + SIGINT);
  signalled->Request();
}

void InstallSignalHandlers(Shutdown& shutdown) {
  signalled = &shutdown;
  struct sigaction action = {};
  action.sa_handler = RequestShutdown;
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
  // A peer that goes away, or a file beyond ulimit -f, is an error code, not the end of the
  // process.
  action.sa_handler = SIG_IGN;
  for (int signal : {SIGPIPE, SIGXFSZ}) sigaction(signal, &action, nullptr);
}

// TASK as a word is the same as --task.
absl::Status AddTaskWord(Arguments& arguments) {
  if (arguments.task.empty()) return absl::OkStatus();
  for (const auto& [path, values] : arguments.sources.flags) {
    if (path == "task" && values[0] != arguments.task) {
      return absl::InvalidArgumentError(
          absl::StrCat("two task names are given, ", arguments.task, " and ", values[0]));
    }
  }
  arguments.sources.flags.emplace_back("task", std::vector<std::string>{arguments.task});
  return absl::OkStatus();
}

// A pattern that cannot be read is a mistake in the command, found before any server is asked.
absl::Status CheckPatterns(const Config& config) {
  for (const auto* patterns : {&config.include, &config.exclude}) {
    for (const std::string& pattern : *patterns) {
      TOWLINE_RETURN_IF_ERROR(ParseTablePattern(pattern).status());
    }
  }
  return absl::OkStatus();
}

// A name that is mistyped would accept nothing, without a word.
absl::Status CheckAccepted(const Config& config) {
  std::vector<std::string> known;
  for (const CheckInfo& info : CheckCatalog()) known.push_back(info.id);
  for (const std::string& id : config.accept) {
    if (std::find(known.begin(), known.end(), id) != known.end()) continue;
    std::string nearest = NearestOf(id, known);
    return WithHint(
        absl::InvalidArgumentError(absl::StrCat("accept: there is no check \"", id, "\"")),
        nearest.empty() ? "`towline reference --checks` lists them."
                        : absl::StrCat("Did you mean \"", nearest, "\"?"));
  }
  return absl::OkStatus();
}

absl::StatusOr<int> Execute(const std::vector<std::string>& words, Shutdown& shutdown,
                            LogFormat& log_format) {
  TOWLINE_ASSIGN_OR_RETURN(Arguments arguments, ParseArguments(words));
  if (!arguments.answer.empty()) {
    fputs(arguments.answer.c_str(), stdout);
    return 0;
  }
  if (arguments.command == Command::kReference) return ReferenceCommand(arguments);
  TOWLINE_RETURN_IF_ERROR(AddTaskWord(arguments));
  arguments.sources.get_env = [](const char* name) -> const char* { return getenv(name); };
  TOWLINE_ASSIGN_OR_RETURN(Config config, LoadConfig(arguments.sources));
  config.accepts_rule_change = arguments.accepts_rule_change;
  config.heals = arguments.heals;
  if (!config.task.empty()) TOWLINE_RETURN_IF_ERROR(CheckTaskName(config.task));
  TOWLINE_RETURN_IF_ERROR(CheckPatterns(config));
  TOWLINE_RETURN_IF_ERROR(CheckAccepted(config));
  InitLog(config.log_format, config.log_level);
  log_format = config.log_format;
  switch (arguments.command) {
    case Command::kInit:
      return InitCommand(arguments, config, shutdown);
    case Command::kGrants:
      return GrantsCommand(arguments, config, shutdown);
    case Command::kCheck:
      return CheckCommand(arguments, config, shutdown);
    case Command::kRun:
      return RunCommand(config, shutdown);
    case Command::kStatus:
      return StatusCommand(arguments, config, shutdown);
    case Command::kPause:
      return PauseCommand(config, shutdown);
    case Command::kResume:
      return ResumeCommand(config, shutdown);
    case Command::kSet:
      return SetCommand(arguments, config, shutdown);
    case Command::kDrop:
      return DropCommand(arguments, config, shutdown);
    case Command::kDdl:
      return DdlCommandLine(arguments, config, shutdown);
    case Command::kTable:
      return TableCommand(arguments, config, shutdown);
    case Command::kVerify:
      return VerifyCommand(arguments, config, shutdown);
    case Command::kReference:
    case Command::kNone:
      break;
  }
  return absl::InternalError("a command is not handled");
}

}  // namespace

int RunCommandLine(int argc, char** argv) {
  std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  WipeSecrets(argc, argv);
  // Lives as long as the process: the handler may run at any moment.
  static auto* shutdown = new Shutdown;
  InstallSignalHandlers(*shutdown);
  LogFormat log_format = LogFormat::kText;
  absl::StatusOr<int> status = Execute(words, *shutdown, log_format);
  if (status.ok()) return *status;
  if (absl::IsCancelled(status.status())) return 0;
  if (log_format == LogFormat::kJson) {
    LogError(status.status().message(), {{"detail", GetDetail(status.status())},
                                         {"hint", GetHint(status.status())},
                                         {"sqlstate", GetSqlState(status.status())}});
  } else {
    std::string text = absl::StrCat("towline: error: ", Describe(status.status()), "\n");
    fputs(text.c_str(), stderr);
  }
  return ExitCode(status.status());
}

}  // namespace towline
