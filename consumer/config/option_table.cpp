#include "config/option_table.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "config/option_parts.h"
#include "config/value_text.h"

namespace towline {
namespace {

constexpr char kServers[] = "Servers";
constexpr char kTables[] = "Tables";
constexpr char kStream[] = "Stream";
constexpr char kChecks[] = "Checks";
constexpr char kOutput[] = "Output";

OptionSpec Server(const char* path, const char* side, ConnectOptions Config::*member,
                  bool Config::*has, const char* help) {
  OptionSpec option = Named(path, path, kServers);
  option.value_name = "URI";
  option.help = help;
  option.is_for_all = true;
  option.set = [side, member, has](Config& config, const Values& values) -> absl::Status {
    if (values[0].empty()) return absl::InvalidArgumentError("is empty");
    TOWLINE_ASSIGN_OR_RETURN(config.*member, ConnectOptions::Parse(side, values[0]));
    config.*has = true;
    return absl::OkStatus();
  };
  return option;
}

OptionSpec Patterns(const char* path, const char* words, std::vector<std::string> Config::*member,
                    const char* example, const char* help) {
  OptionSpec option = Named(path, words, kTables);
  option.value_name = "PATTERN";
  option.example = example;
  option.help = help;
  option.is_list = true;
  option.set = [member](Config& config, const Values& values) -> absl::Status {
    for (const std::string& value : values) {
      if (value.empty()) return absl::InvalidArgumentError("holds an empty pattern");
    }
    config.*member = values;
    return absl::OkStatus();
  };
  return option;
}

constexpr Word<LogFormat> kLogFormats[] = {{"text", LogFormat::kText}, {"json", LogFormat::kJson}};
constexpr Word<LogLevel> kLogLevels[] = {{"debug", LogLevel::kDebug},
                                         {"info", LogLevel::kInfo},
                                         {"warning", LogLevel::kWarning},
                                         {"error", LogLevel::kError}};

void AddServers(std::vector<OptionSpec>& table) {
  OptionSpec task = Named("task", "task", kServers);
  task.value_name = "NAME";
  task.example = "shop";
  task.help =
      "Name of the task, also in the slot's name (towline_NAME). Without one it is derived from "
      "the identities of both databases, so that the same command resumes the same task.";
  task.is_for_all = true;
  task.set = [](Config& config, const Values& values) -> absl::Status {
    if (values[0].empty()) return absl::InvalidArgumentError("is empty");
    config.task = values[0];
    return absl::OkStatus();
  };
  table.push_back(task);
  table.push_back(Server("source", "source", &Config::source, &Config::has_source,
                         "The database to copy from: a URI or \"key=value\" string as psql takes "
                         "it. A password may stand in it, or in PGPASSWORD, ~/.pgpass or a "
                         "service file; it is never printed."));
  table.back().example = "postgresql://towline@source.example.com/shop";
  table.push_back(Server("source_standby", "standby", &Config::source_standby,
                         &Config::has_source_standby,
                         "A standby of the source, version 16 or later: the changes are read from "
                         "its log, by a slot there, which takes the decoding off the source. All "
                         "else, the rows of the copy too, is read from source, which must be the "
                         "primary (docs/standby.md)."));
  table.back().example = "postgresql://towline@standby.example.com/shop";
  table.push_back(Server("destination", "destination", &Config::destination,
                         &Config::has_destination,
                         "The database to copy into, in the same forms."));
  table.back().flag_twin = "--target";
  table.back().example = "postgresql://towline@destination.example.com/shop";
}

void AddTables(std::vector<OptionSpec>& table) {
  table.push_back(Patterns("tables.include", "include", &Config::include, "public.*",
                           "Tables to copy, as psql's patterns (\"sales.*\", \"public.order*\"). "
                           "Without one: every table."));
  table.push_back(Patterns("tables.exclude", "exclude", &Config::exclude, "public.tmp_*",
                           "Tables to leave out of those, as psql's patterns."));
  OptionSpec existing = Named("existing", "existing", kTables);
  existing.value_name = "POLICY";
  existing.default_text = "stop";
  existing.range = kExistingRange;
  existing.help =
      "What to do with a destination table that holds rows already: stop; append keeps them and "
      "lets the stream overwrite rows of the same key; truncate empties it first. An empty table "
      "with fitting columns is always used.";
  existing.set = [](Config& config, const Values& values) {
    return SetWord(kExisting, values[0], config.existing);
  };
  table.push_back(existing);
  OptionSpec conflict = Named("on_conflict", "on_conflict", kTables);
  conflict.value_name = "POLICY";
  conflict.default_text = "stop";
  conflict.range = kConflictRange;
  conflict.help =
      "What to do with a change of the stream that the destination does not take: stop and wait "
      "for "
      "the operator; overwrite what is in its way; or skip the change. In YAML also a map of kinds "
      "of conflicts to these words, on the command line KIND=POLICY (docs/conflicts.md). Each is "
      "recorded.";
  conflict.is_list = true;
  conflict.is_map = true;
  conflict.set = [](Config& config, const Values& values) {
    return SetConflictPolicy(values, config.conflicts.task);
  };
  OptionSpec failed = Named("on_failure", "on_failure", kTables);
  failed.value_name = "POLICY";
  failed.default_text = "stop";
  failed.range = kFailedRange;
  failed.help =
      "What becomes of a table that cannot be streamed any more: a conflict that stops it, a "
      "column that does not fit, a right that is gone, an error that no retry has mended. stop: "
      "the task waits for the operator; park: the table leaves the stream, the others go on "
      "(docs/conflicts.md).";
  failed.set = [](Config& config, const Values& values) {
    return SetWord(kFailed, values[0], config.on_failure);
  };
  table.push_back(conflict);
  table.push_back(failed);
}

constexpr Word<bool> kOnOff[] = {{"on", true}, {"off", false}};
constexpr Word<const char*> kCompressions[] = {{"none", "none"}, {"lz4", "lz4"}, {"zstd", "zstd"}};

void AddStream(std::vector<OptionSpec>& table) {
  OptionSpec streaming = Named("streaming", "streaming", kStream);
  streaming.value_name = "SWITCH";
  streaming.default_text = "on";
  streaming.range = "on or off";
  streaming.help =
      "Whether the source sends a large transaction while it is in progress instead of keeping it "
      "on its own disk until the commit. It is applied after its commit all the same. Needs a "
      "source of version 14 or later with plugin 0.2; without them it is off.";
  streaming.set = [](Config& config, const Values& values) {
    return SetWord(kOnOff, values[0], config.streaming);
  };
  table.push_back(streaming);
  OptionSpec ddl = Named("ddl", "ddl", kStream);
  ddl.value_name = "POLICY";
  ddl.default_text = "off";
  ddl.example = "apply";
  ddl.range = kDdlRange;
  ddl.help =
      "What to do with schema changes of the source: off, apply, hold and wait for the operator, "
      "or "
      "ignore and record. In YAML also a map of kinds of commands to these words, on the command "
      "line KIND=POLICY (docs/ddl.md). Needs the extension towline 0.3 at the source, with SELECT "
      "towline.enable_ddl().";
  ddl.is_list = true;
  ddl.is_map = true;
  ddl.set = [](Config& config, const Values& values) { return SetDdlPolicy(values, config.ddl); };
  table.push_back(ddl);
  OptionSpec ddl_error = Named("on_ddl_error", "on_ddl_error", kStream);
  ddl_error.value_name = "POLICY";
  ddl_error.default_text = "stop";
  ddl_error.range = kFailedRange;
  ddl_error.help =
      "What becomes of a schema change that cannot be carried. stop: the task waits for the "
      "operator; park: it is recorded, its tables leave the stream, the rest goes on "
      "(docs/ddl.md).";
  ddl_error.set = [](Config& config, const Values& values) {
    return SetWord(kFailed, values[0], config.on_ddl_error);
  };
  table.push_back(ddl_error);
  OptionSpec ddl_role = Named("ddl_role", "ddl_role", kStream);
  ddl_role.value_name = "ROLE";
  ddl_role.range = "a role of the destination, or one for each role of the source";
  ddl_role.help =
      "The role that schema changes are run as at the destination, which owns what they make; it "
      "must be no superuser, and one whose rights the role of destination has. In YAML also a map "
      "from the source's roles to the destination's, on the command line SOURCE_ROLE=ROLE "
      "(docs/ddl.md). Without one: the role of destination.";
  ddl_role.example = "shop_owner";
  ddl_role.is_list = true;
  ddl_role.is_map = true;
  ddl_role.set = [](Config& config, const Values& values) {
    return SetDdlRoles(values, config.ddl_roles);
  };
  table.push_back(ddl_role);
  OptionSpec directory = Named("spool_directory", "spool_directory", kStream);
  directory.value_name = "DIRECTORY";
  directory.example = "/var/tmp";
  directory.help =
      "Where transactions in progress wait that limits.spool_memory_max does not hold: files "
      "without a name, gone with the process. Without one: TMPDIR, else /var/tmp.";
  directory.set = [](Config& config, const Values& values) -> absl::Status {
    if (values[0].empty()) return absl::InvalidArgumentError("is empty");
    config.spool_directory = values[0];
    return absl::OkStatus();
  };
  table.push_back(directory);
  OptionSpec compression = Named("compression", "compression", kStream);
  compression.value_name = "METHOD";
  compression.default_text = "none";
  compression.range = "none, lz4 or zstd";
  compression.help =
      "How the source compresses what it sends. It costs the source CPU and saves network. Needs "
      "plugin 0.2, and a server built with the method.";
  compression.set = [](Config& config, const Values& values) -> absl::Status {
    const char* method = nullptr;
    TOWLINE_RETURN_IF_ERROR(SetWord(kCompressions, values[0], method));
    config.compression = method;
    return absl::OkStatus();
  };
  table.push_back(compression);
}

constexpr Word<bool> kOrigins[] = {{"any", true}, {"none", false}};

constexpr Word<FailoverSlot> kFailovers[] = {
    {"auto", FailoverSlot::kAuto}, {"on", FailoverSlot::kOn}, {"off", FailoverSlot::kOff}};

void AddTwoPhaseAndOrigin(std::vector<OptionSpec>& table) {
  OptionSpec two_phase = Named("two_phase", "two_phase", kStream);
  two_phase.value_name = "SWITCH";
  two_phase.default_text = "off";
  two_phase.range = "on or off";
  two_phase.help =
      "Whether PREPARE TRANSACTION at the source is repeated at the destination, and its COMMIT "
      "PREPARED or ROLLBACK PREPARED too. off: a prepared transaction arrives at its COMMIT "
      "PREPARED. Begins when the stream has passed the copy. Needs a source of version 15 or later "
      "and max_prepared_transactions at the destination. Before version 18 a slot that was "
      "switched on stays so.";
  two_phase.set = [](Config& config, const Values& values) {
    return SetWord(kOnOff, values[0], config.two_phase);
  };
  table.push_back(two_phase);
  OptionSpec failover = Named("failover", "failover", kStream);
  failover.value_name = "SWITCH";
  failover.default_text = "auto";
  failover.range = "auto, on or off";
  failover.help =
      "Whether standbys of the source may keep the slot synchronised (sync_replication_slots), so "
      "that the task goes on from one that is promoted. auto: where the source can (version 17 and "
      "later) and two_phase is off; on: an error where it cannot. docs/heal.md says what the "
      "servers need.";
  failover.set = [](Config& config, const Values& values) {
    return SetWord(kFailovers, values[0], config.failover);
  };
  table.push_back(failover);
  OptionSpec origin = Named("origin", "origin", kStream);
  origin.value_name = "WHICH";
  origin.default_text = "any";
  origin.range = "any or none";
  origin.help =
      "Whose changes are streamed: any, or none but those that were written at the source itself. "
      "With none, two databases can be each other's source without changes going in circles; "
      "their sequences are then left to you. The initial copy takes all rows.";
  origin.set = [](Config& config, const Values& values) {
    return SetWord(kOrigins, values[0], config.foreign_origins);
  };
  table.push_back(origin);
}

// Whether the names are those of checks is asked where the checks are known (cli).
void AddChecks(std::vector<OptionSpec>& table) {
  OptionSpec accept = Named("accept", "accept", kChecks);
  accept.value_name = "CHECK";
  accept.example = "source.max_slot_wal_keep_size";
  accept.help =
      "Checks (docs/checks.md) whose warnings are known and wanted: they are shown as accepted, "
      "and "
      "run does not log them. What fails cannot be accepted, except where docs/checks.md says so.";
  accept.is_list = true;
  accept.set = [](Config& config, const Values& values) -> absl::Status {
    config.accept = values;
    return absl::OkStatus();
  };
  table.push_back(accept);
}

void AddOutput(std::vector<OptionSpec>& table) {
  OptionSpec format = Named("log_format", "log_format", kOutput);
  format.value_name = "FORMAT";
  format.default_text = "text";
  format.range = "text or json";
  format.help = "The log on standard error: lines for people, or one JSON object a line.";
  format.is_for_all = true;
  format.set = [](Config& config, const Values& values) {
    return SetWord(kLogFormats, values[0], config.log_format);
  };
  table.push_back(format);
  OptionSpec level = Named("log_level", "log_level", kOutput);
  level.value_name = "LEVEL";
  level.default_text = "info";
  level.range = "debug, info, warning or error";
  level.help = "The least level that is logged.";
  level.is_for_all = true;
  level.set = [](Config& config, const Values& values) {
    return SetWord(kLogLevels, values[0], config.log_level);
  };
  table.push_back(level);
  OptionSpec port = Named("metrics_port", "metrics_port", kOutput);
  port.value_name = "PORT";
  port.default_text = "0";
  port.range = "0 to 65535";
  port.example = "9187";
  port.help = "Serves /metrics, /healthz and /status on this TCP port of 127.0.0.1; 0: none.";
  port.set = [](Config& config, const Values& values) -> absl::Status {
    TOWLINE_ASSIGN_OR_RETURN(int64_t number, ParseCount(values[0]));
    if (number < 0 || number > 65535) return OutOfRange("0 to 65535");
    config.metrics_port = static_cast<int>(number);
    return absl::OkStatus();
  };
  table.push_back(port);
}

}  // namespace

const std::vector<OptionSpec>& OptionTable() {
  static const auto* table = [] {
    auto* made = new std::vector<OptionSpec>;
    AddServers(*made);
    AddStageOptions(*made);
    AddTables(*made);
    AddSchemaOptions(*made);
    AddStream(*made);
    AddTwoPhaseAndOrigin(*made);
    AddChecks(*made);
    AddLimitOptions(*made);
    AddOutput(*made);
    return made;
  }();
  return *table;
}

const OptionSpec* FindOption(absl::string_view path) {
  for (const OptionSpec& option : OptionTable()) {
    if (option.path == path) return &option;
  }
  return nullptr;
}

const std::vector<std::string>& FutureKeys() {
  static const auto* keys = new Values{"map", "state"};
  return *keys;
}

}  // namespace towline
