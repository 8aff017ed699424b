#include "cli/arguments.h"

#include <libpq-fe.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "config/option_table.h"
#include "config/value_text.h"

namespace towline {
namespace {

struct CommandSpec {
  const char* name;
  Command command;
  const char* help;
  bool moves_data;  // takes every option, not only those of the servers
  bool takes_task;  // TASK as a word of its own
};

constexpr CommandSpec kCommands[] = {
    {"init", Command::kInit,
     "Print what both servers still need, as SQL for each (roles, grants, settings, pg_hba line).",
     true, false},
    {"grants", Command::kGrants,
     "Print, as SQL for each server, exactly the rights that a run with these options needs.", true,
     false},
    {"check", Command::kCheck, "Check both servers, and say how to mend what is wrong.", true,
     false},
    {"run", Command::kRun, "Copy, then stream every change until stopped. Resumes by itself.", true,
     false},
    {"status", Command::kStatus, "Show a task; without a name, list those that can be found.",
     false, true},
    {"pause", Command::kPause, "Stop applying; the slot keeps the source's log meanwhile.", false,
     true},
    {"resume", Command::kResume, "Go on after a pause.", false, true},
    {"set", Command::kSet,
     "Change a limit of a running copy: copy_rate_max (bytes/s), copy_rows_max, copy_active_max, "
     "copy_lag_max; 0: none.",
     false, true},
    {"verify", Command::kVerify,
     "Compare both databases row for row: exit status 0 equal, 1 different, 2 could not tell.",
     true, false},
    {"ddl", Command::kDdl,
     "List schema changes of the source that are held, and decide: ddl list, approve or skip.",
     false, false},
    {"table", Command::kTable,
     "Let a table leave a task that streams, come back or join it: table park, rejoin, recopy, "
     "add or remove.",
     false, false},
    {"drop", Command::kDrop, "Remove a task's slot and state. Copied tables stay.", false, true},
};

constexpr char kAfterCommands[] =
    "  version   Print the version.\n"
    "  help      Print this, or help on a command: towline help run.\n";

std::string Version() {
  int libpq = PQlibVersion();
  return absl::StrCat("towline ", TOWLINE_VERSION, " (libpq ", libpq / 10000, ".", libpq % 10000,
                      ")\n");
}

std::string DescriptionOf(const OptionSpec& option) {
  std::string text = option.help;
  if (!option.range.empty()) absl::StrAppend(&text, " (", option.range, ")");
  if (!option.default_text.empty()) absl::StrAppend(&text, " [", option.default_text, "]");
  return text;
}

// Everything that CLI11 writes into while it parses.
struct Parsed {
  Arguments arguments;
  std::map<std::string, std::vector<std::string>> values;  // option path -> values
};

void AddTableOptions(CLI::App& app, const CommandSpec& spec, Parsed& parsed) {
  app.add_option("-c,--config", parsed.arguments.sources.file,
                 "YAML file with any of these options (TOWLINE_CONFIG)")
      ->type_name("FILE")
      ->group("Options");
  for (const OptionSpec& option : OptionTable()) {
    if (!option.is_for_all && !spec.moves_data) continue;
    std::string names = option.flag;
    if (!option.flag_twin.empty()) absl::StrAppend(&names, ",", option.flag_twin);
    CLI::Option* added = app.add_option(names, parsed.values[option.path], DescriptionOf(option));
    added->type_name(option.value_name)->group(option.group)->allow_extra_args(false);
    if (!option.is_list) added->expected(1);
  }
}

void AddOwnOptions(CLI::App& app, const CommandSpec& spec, Parsed& parsed) {
  Arguments& arguments = parsed.arguments;
  if (spec.command == Command::kSet) {
    app.add_option("NAME", arguments.set_name,
                   "copy_rate_max, copy_rows_max, copy_active_max or copy_lag_max")
        ->type_name("");
    app.add_option("VALUE", arguments.set_value, "As the configuration writes it: 20MB, 5000")
        ->type_name("");
  }
  if (spec.takes_task) app.add_option("TASK", arguments.task, "The task's name")->type_name("");
  switch (spec.command) {
    case Command::kInit:
      app.add_flag("--execute", arguments.is_execute,
                   "Execute the statements that are safe, and say what is left");
      app.add_option("--role", arguments.role,
                     "The role that run will use, if the URIs here are an administrator's")
          ->type_name("ROLE");
      break;
    case Command::kGrants:
      app.add_option("--role", arguments.role,
                     "The role that run will use, if the URIs here are an administrator's")
          ->type_name("ROLE");
      break;
    case Command::kRun:
      app.add_flag("--accept-rule-change", arguments.accepts_rule_change,
                   "Go on although where, columns or operations of a table differ from those under "
                   "which it was copied: the new ones count for changes from here on");
      app.add_flag("--heal", arguments.heals,
                   "If the slot is lost or does not fit the destination any more: make a new one, "
                   "compare all rows, mend those that differ, and go on");
      break;
    case Command::kCheck:
      app.add_flag("--json", arguments.is_json, "Print JSON");
      app.add_flag("-v,--verbose", arguments.is_verbose, "Show what passed, too");
      break;
    case Command::kStatus:
      app.add_flag("--json", arguments.is_json, "Print JSON");
      app.add_flag("--watch", arguments.is_watch, "Repeat every second until stopped");
      break;
    case Command::kVerify:
      app.add_flag("--json", arguments.is_json, "Print JSON");
      app.add_flag("--counts", arguments.is_count_only, "Compare the numbers of rows only");
      app.add_flag("--schema-only", arguments.is_schema_only,
                   "Compare what pg_dump writes of the schemas, and the sequences, and no rows");
      app.add_option("--sample", arguments.sample_percent,
                     "Compare so many percent of each table's ranges, chosen by chance [100]")
          ->type_name("PERCENT")
          ->check(CLI::Range(0.001, 100.0));
      app.add_option("--seed", arguments.seed, "Choose the same ranges as another --sample with it")
          ->type_name("N");
      app.add_option("--rate-max", arguments.rate_max, "Bytes a second, as 20MB [no limit]")
          ->type_name("SIZE");
      app.add_option("--rows-max", arguments.rows_max, "Rows a second [no limit]")->type_name("N");
      app.add_flag("--repair", arguments.is_repaired,
                   "Mend at the destination the rows that differ, while the task streams");
      app.add_option("--repair-sql", arguments.repair_sql_file,
                     "Write the statements that would mend them into this file instead")
          ->type_name("FILE");
      app.add_flag("--resume", arguments.resumes,
                   "Go on with the task's last comparison, which was interrupted");
      app.add_flag("--continuous", arguments.is_continuous,
                   "Compare all tables again and again until stopped, those that were changed "
                   "most first; 10 MB/s if no other rate is given");
      app.add_option("--interval", arguments.verify_interval_seconds,
                     "With --continuous: between the beginnings of two rounds, at least [60]")
          ->type_name("SECONDS")
          ->check(CLI::Range(0, 604800));
      app.add_option("--workers", arguments.verify_workers, "Tables compared at a time [1]")
          ->type_name("N")
          ->check(CLI::Range(1, 64));
      app.add_option("--part-size", arguments.part_size,
                     "Compare a larger table in parts, each by itself [1GB]")
          ->type_name("SIZE");
      app.add_option("--wait", arguments.verify_wait_seconds,
                     "How long a task may stand still before what differs is left undecided [60]")
          ->type_name("SECONDS")
          ->check(CLI::Range(1, 86400));
      app.add_option("--lag-max", arguments.verify_lag_max_seconds,
                     "Read nothing more while the task's lag is above it; 0: whatever it is [10]")
          ->type_name("SECONDS")
          ->check(CLI::Range(0, 86400));
      app.add_option("--active-max", arguments.verify_active_max,
                     "Read nothing more while more sessions than these are at work on a server, "
                     "towline's own apart [no limit]")
          ->type_name("N")
          ->check(CLI::Range(1, 100000));
      break;
    case Command::kDdl:
      app.add_option("ACTION", arguments.ddl_action,
                     "list, approve (run what is held as it is) or skip (go on without it)")
          ->type_name("");
      app.add_option("NUMBER", arguments.ddl_number,
                     "Of the schema change, as list shows it [the one that is held]")
          ->type_name("");
      app.add_flag("--all", arguments.lists_all_ddl,
                   "list: also those that were applied or ignored");
      app.add_flag("--json", arguments.is_json, "list: print JSON");
      break;
    case Command::kTable:
      app.add_option("ACTION", arguments.table_action,
                     "park (it leaves the stream, and its rows stay as they are), rejoin (one that "
                     "is parked is copied anew and streams again), recopy (the same for one that "
                     "streams), add (one that the task has not is copied and streams), or remove "
                     "(it leaves the task for good)")
          ->type_name("");
      app.add_option("TABLE", arguments.table_name, "As schema.table")->type_name("");
      break;
    case Command::kDrop:
      app.add_flag("--yes", arguments.is_yes, "Do not ask on a terminal");
      app.add_flag("--source-only", arguments.is_source_only, "Only the slot at the source");
      app.add_flag("--destination-only", arguments.is_destination_only,
                   "Only the state at the destination");
      break;
    default:
      break;
  }
}

std::vector<std::string> CommandNames() {
  std::vector<std::string> names = {"help", "version"};
  for (const CommandSpec& spec : kCommands) names.push_back(spec.name);
  return names;
}

absl::Status UnknownWord(const CLI::App& app, const std::string& word) {
  if (!absl::StartsWith(word, "-")) {
    return WithHint(absl::InvalidArgumentError(absl::StrCat("unexpected word \"", word, "\"")),
                    absl::StrCat("See towline help ", app.get_name(), "."));
  }
  std::string flag = word.substr(0, word.find('='));
  std::vector<std::string> known;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  }
  std::string nearest = NearestOf(flag, known);
  return WithHint(
      absl::InvalidArgumentError(absl::StrCat("towline ", app.get_name(), " has no option ", flag)),
      nearest.empty() ? absl::StrCat("See towline help ", app.get_name(), ".")
                      : absl::StrCat("Did you mean ", nearest, "?"));
}

absl::StatusOr<const CommandSpec*> FindCommand(const std::string& name) {
  for (const CommandSpec& spec : kCommands) {
    if (name == spec.name) return &spec;
  }
  std::string nearest = NearestOf(name, CommandNames());
  return WithHint(absl::InvalidArgumentError(absl::StrCat("unknown command \"", name, "\"")),
                  nearest.empty()
                      ? absl::StrCat("Commands: ", absl::StrJoin(CommandNames(), ", "), ".")
                      : absl::StrCat("Did you mean towline ", nearest, "?"));
}

std::unique_ptr<CLI::App> MakeApp(const CommandSpec& spec, Parsed& parsed) {
  auto app = std::make_unique<CLI::App>(spec.help, spec.name);
  app->get_formatter()->column_width(34);
  app->set_help_flag("-h,--help", "Print this");
  app->allow_extras();
  AddOwnOptions(*app, spec, parsed);
  AddTableOptions(*app, spec, parsed);
  return app;
}

std::string HelpOf(const CLI::App& app) {
  return absl::StrCat(app.help("towline"),
                      "\nEvery option has a twin in the environment (TOWLINE_SOURCE, ...) and in "
                      "YAML: docs/reference/options.md.\n");
}

absl::StatusOr<Arguments> ParseCommand(const CommandSpec& spec, std::vector<std::string> words) {
  Parsed parsed;
  parsed.arguments.command = spec.command;
  std::unique_ptr<CLI::App> app = MakeApp(spec, parsed);
  // CLI11 takes them last first, and reports by exceptions only; none leaves this function.
  std::reverse(words.begin(), words.end());
  try {
    app->parse(words);
  } catch (const CLI::CallForHelp&) {
    parsed.arguments.answer = HelpOf(*app);
    return std::move(parsed.arguments);
  } catch (const CLI::ParseError& error) {
    return WithHint(absl::InvalidArgumentError(error.what()),
                    absl::StrCat("See towline help ", spec.name, "."));
  }
  if (std::vector<std::string> extra = app->remaining(); !extra.empty()) {
    return UnknownWord(*app, extra[0]);
  }
  for (const OptionSpec& option : OptionTable()) {
    auto found = parsed.values.find(option.path);
    if (found == parsed.values.end() || found->second.empty()) continue;
    parsed.arguments.sources.flags.emplace_back(option.path, found->second);
  }
  return std::move(parsed.arguments);
}

// Not in the help: it writes the pages of docs/.
Arguments ParseReference(const std::vector<std::string>& words) {
  Arguments arguments;
  arguments.command = Command::kReference;
  auto has = [&words](const char* flag) {
    return std::find(words.begin(), words.end(), flag) != words.end();
  };
  arguments.is_markdown = has("--markdown");
  arguments.is_example = has("--example");
  arguments.is_checks = has("--checks");
  return arguments;
}

}  // namespace

std::string HelpText() {
  std::string text =
      "towline keeps a live, exact copy of a PostgreSQL database in another one.\n\n"
      "  towline run --source postgresql://user@host/db --destination postgresql://user@host/db\n\n"
      "Commands (towline help COMMAND says more):\n";
  for (const CommandSpec& spec : kCommands) {
    std::string name = spec.name;
    name.resize(9, ' ');
    absl::StrAppend(&text, "  ", name, " ", spec.help, "\n");
  }
  return absl::StrCat(text, kAfterCommands);
}

absl::StatusOr<Arguments> ParseArguments(const std::vector<std::string>& words) {
  Arguments answer;
  if (words.empty()) {
    return WithHint(absl::InvalidArgumentError("no command given"),
                    absl::StrCat("Commands: ", absl::StrJoin(CommandNames(), ", "),
                                 "; towline help says what each does."));
  }
  std::vector<std::string> rest(words.begin() + 1, words.end());
  const std::string& first = words[0];
  if (first == "version" || first == "--version" || first == "-V") {
    answer.answer = Version();
    return answer;
  }
  if (first == "reference") return ParseReference(rest);
  if (first == "help" || first == "--help" || first == "-h") {
    if (rest.empty()) {
      answer.answer = HelpText();
      return answer;
    }
    TOWLINE_ASSIGN_OR_RETURN(const CommandSpec* spec, FindCommand(rest[0]));
    return ParseCommand(*spec, {"--help"});
  }
  TOWLINE_ASSIGN_OR_RETURN(const CommandSpec* spec, FindCommand(first));
  return ParseCommand(*spec, std::move(rest));
}

}  // namespace towline
