#include "config/option_table.h"

#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "config/expression_text.h"
#include "config/value_text.h"

namespace towline {
namespace {

using Values = std::vector<std::string>;

constexpr char kServers[] = "Servers";
constexpr char kTables[] = "Tables";
constexpr char kStream[] = "Stream";
constexpr char kRetry[] = "Retry";
constexpr char kLimits[] = "Limits";
constexpr char kOutput[] = "Output";

// flag and env follow from the path's last part, or from all of it where that alone says nothing.
OptionSpec Named(const char* path, const std::string& words, const char* group) {
  OptionSpec option;
  option.path = path;
  option.flag = absl::StrCat("--", absl::StrReplaceAll(words, {{"_", "-"}}));
  option.env = absl::StrCat("TOWLINE_", absl::AsciiStrToUpper(words));
  option.group = group;
  return option;
}

absl::Status OutOfRange(const std::string& range) {
  return absl::InvalidArgumentError(absl::StrCat("must be ", range));
}

OptionSpec Server(const char* path, ConnectOptions Config::*member, bool Config::*has,
                  const char* help) {
  OptionSpec option = Named(path, path, kServers);
  option.value_name = "URI";
  option.help = help;
  option.is_for_all = true;
  option.set = [path, member, has](Config& config, const Values& values) -> absl::Status {
    if (values[0].empty()) return absl::InvalidArgumentError("is empty");
    TOWLINE_ASSIGN_OR_RETURN(config.*member, ConnectOptions::Parse(path, values[0]));
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

template <typename Enum>
struct Word {
  const char* text;
  Enum value;
};

template <typename Enum, size_t n>
absl::Status SetWord(const Word<Enum> (&words)[n], const std::string& text, Enum& out) {
  Values known;
  for (const Word<Enum>& word : words) {
    known.push_back(word.text);
    if (text == word.text) {
      out = word.value;
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(absl::StrCat("must be ", absl::StrJoin(known, " or ")));
}

constexpr Word<ExistingTables> kExisting[] = {{"stop", ExistingTables::kStop},
                                              {"append", ExistingTables::kAppend},
                                              {"truncate", ExistingTables::kTruncate}};
constexpr char kExistingRange[] = "stop, append or truncate";
constexpr char kOperationsRange[] = "a list of insert, update, delete and truncate";
constexpr Word<LogFormat> kLogFormats[] = {{"text", LogFormat::kText}, {"json", LogFormat::kJson}};
constexpr Word<LogLevel> kLogLevels[] = {{"debug", LogLevel::kDebug},
                                         {"info", LogLevel::kInfo},
                                         {"warning", LogLevel::kWarning},
                                         {"error", LogLevel::kError}};

TableRule& RuleFor(Config& config, const TableName& name) {
  TableRule& rule = config.rules[name];
  rule.table = name;
  return rule;
}

absl::Status SetWhere(Config& config, const TableName& name, const TableValue& value) {
  TOWLINE_RETURN_IF_ERROR(CheckExpressionText(value.words[0]));
  RuleFor(config, name).where = value.words[0];
  return absl::OkStatus();
}

absl::Status SetColumns(Config& config, const TableName& name, const TableValue& value) {
  if (value.columns.empty()) return absl::InvalidArgumentError("lists no column");
  std::set<std::string> seen;
  for (const RuleColumn& column : value.columns) {
    if (column.name.empty()) return absl::InvalidArgumentError("holds an empty name");
    if (!seen.insert(column.name).second) {
      return absl::InvalidArgumentError(absl::StrCat("lists \"", column.name, "\" twice"));
    }
    if (!column.expression.has_value()) continue;
    absl::Status checked = CheckExpressionText(*column.expression);
    if (!checked.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("has an expression for \"", column.name, "\" that ", checked.message()));
    }
  }
  TableRule& rule = RuleFor(config, name);
  rule.has_columns = true;
  rule.columns = value.columns;
  return absl::OkStatus();
}

absl::Status SetOperations(Config& config, const TableName& name, const TableValue& value) {
  RuleOperations operations{false, false, false, false};
  const std::pair<absl::string_view, bool*> known[] = {{"insert", &operations.has_insert},
                                                       {"update", &operations.has_update},
                                                       {"delete", &operations.has_delete},
                                                       {"truncate", &operations.has_truncate}};
  for (const std::string& word : value.words) {
    bool is_known = false;
    for (const auto& [text, has] : known) {
      if (word != text) continue;
      if (*has) return absl::InvalidArgumentError(absl::StrCat("lists ", word, " twice"));
      *has = is_known = true;
    }
    if (!is_known) return OutOfRange(kOperationsRange);
  }
  if (value.words.empty()) {
    return WithHint(absl::InvalidArgumentError("lists no operation"),
                    "Leave the table out by tables.exclude.");
  }
  RuleFor(config, name).operations = operations;
  return absl::OkStatus();
}

OptionSpec RetryWindow(const char* path, const char* words, absl::Duration Config::*member,
                       int minutes_min, const char* help) {
  OptionSpec option = Named(path, words, kRetry);
  option.value_name = "MINUTES";
  option.default_text = absl::StrCat(absl::ToInt64Minutes(Config().*member));
  option.range = absl::StrCat(minutes_min, " to 1440");
  option.help = help;
  option.set = [member, minutes_min, range = option.range](Config& config,
                                                           const Values& values) -> absl::Status {
    TOWLINE_ASSIGN_OR_RETURN(int64_t minutes, ParseCount(values[0]));
    if (minutes < minutes_min || minutes > 1440) return OutOfRange(range + " minutes");
    config.*member = absl::Minutes(minutes);
    return absl::OkStatus();
  };
  return option;
}

OptionSpec BytesLimit(const char* name, int64_t Limits::*member, int64_t min, int64_t max,
                      const char* help) {
  OptionSpec option = Named("", name, kLimits);
  option.path = absl::StrCat("limits.", name);
  option.value_name = "SIZE";
  option.default_text = BytesText(Limits().*member);
  option.range = absl::StrCat(BytesText(min), " to ", BytesText(max));
  option.help = help;
  option.set = [member, min, max, range = option.range](Config& config,
                                                        const Values& values) -> absl::Status {
    TOWLINE_ASSIGN_OR_RETURN(int64_t bytes, ParseBytes(values[0]));
    if (bytes < min || bytes > max) return OutOfRange(range);
    config.limits.*member = bytes;
    return absl::OkStatus();
  };
  return option;
}

template <typename Integer>
OptionSpec CountLimit(const char* name, Integer Limits::*member, int64_t min, int64_t max,
                      const char* help) {
  OptionSpec option = Named("", name, kLimits);
  option.path = absl::StrCat("limits.", name);
  option.value_name = "N";
  option.default_text = absl::StrCat(Limits().*member);
  option.range = absl::StrCat(min, " to ", max);
  option.help = help;
  option.set = [member, min, max, range = option.range](Config& config,
                                                        const Values& values) -> absl::Status {
    TOWLINE_ASSIGN_OR_RETURN(int64_t count, ParseCount(values[0]));
    if (count < min || count > max) return OutOfRange(range);
    config.limits.*member = static_cast<Integer>(count);
    return absl::OkStatus();
  };
  return option;
}

OptionSpec TimeLimit(const char* name, absl::Duration Limits::*member, absl::Duration min,
                     absl::Duration max, const char* help) {
  OptionSpec option = Named("", name, kLimits);
  option.path = absl::StrCat("limits.", name);
  option.value_name = "TIME";
  option.default_text = TimeText(Limits().*member);
  option.range = absl::StrCat(TimeText(min), " to ", TimeText(max));
  option.help = help;
  option.set = [member, min, max, range = option.range](Config& config,
                                                        const Values& values) -> absl::Status {
    TOWLINE_ASSIGN_OR_RETURN(absl::Duration time, ParseTime(values[0]));
    if (time < min || time > max) return OutOfRange(range);
    config.limits.*member = time;
    return absl::OkStatus();
  };
  return option;
}

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
  table.push_back(Server("source", &Config::source, &Config::has_source,
                         "The database to copy from: a URI or \"key=value\" string as psql takes "
                         "it. A password may stand in it, or in PGPASSWORD, ~/.pgpass or a "
                         "service file; it is never printed."));
  table.back().example = "postgresql://towline@source.example.com/shop";
  table.push_back(Server("destination", &Config::destination, &Config::has_destination,
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
  OptionSpec origin = Named("origin", "origin", kStream);
  origin.value_name = "WHICH";
  origin.default_text = "any";
  origin.range = "any or none";
  origin.help =
      "Whose changes are streamed: any, or none but those that were written at the source itself. "
      "With none, two databases can be each other's source without changes going in circles. The "
      "initial copy takes all rows.";
  origin.set = [](Config& config, const Values& values) {
    return SetWord(kOrigins, values[0], config.foreign_origins);
  };
  table.push_back(origin);
}

void AddRetry(std::vector<OptionSpec>& table) {
  table.push_back(RetryWindow("retry.connection", "retry_connection", &Config::retry_connection, 10,
                              "How long a lost or refused connection is tried again, in minutes."));
  table.push_back(RetryWindow("retry.other", "retry_other", &Config::retry_other, 1,
                              "How long other errors are tried again, in minutes; below "
                              "retry.connection."));
}

void AddLimits(std::vector<OptionSpec>& table) {
  constexpr int64_t kKilo = 1 << 10;
  constexpr int64_t kGiga = 1 << 30;
  table.push_back(BytesLimit("queue_bytes_max", &Limits::queue_bytes_max, 64 * kKilo, 4 * kGiga,
                             "Received changes that wait in memory for the applier; above it the "
                             "source waits."));
  table.push_back(BytesLimit("batch_bytes_max", &Limits::batch_bytes_max, 4 * kKilo, kGiga,
                             "Changes of one destination transaction; a larger source transaction "
                             "passes through in parts of this size."));
  table.push_back(CountLimit("batch_rows_max", &Limits::batch_rows_max, 1, 10'000'000,
                             "Row changes of one destination transaction."));
  table.push_back(BytesLimit("spool_memory_max", &Limits::spool_memory_max, 64 * kKilo, 4 * kGiga,
                             "Transactions in progress that are kept in memory, all together; "
                             "beyond it they go to files in spool_directory."));
  table.push_back(BytesLimit("spool_disk_max", &Limits::spool_disk_max, 0, 64 * 1024 * kGiga,
                             "Those files, all together; 0: what the file system holds. When it "
                             "is reached the task stops as for a full disk and tries again."));
  table.push_back(TimeLimit("batch_time_max", &Limits::batch_time_max, absl::Milliseconds(1),
                            absl::Minutes(1),
                            "How long changes are gathered for one destination transaction while "
                            "more keep coming; nothing waits when the source is idle."));
  table.push_back(
      TimeLimit("durable_interval_max", &Limits::durable_interval_max, absl::Milliseconds(10),
                absl::Minutes(1),
                "Longest time between two commits that wait for the destination's disk; "
                "only what such a commit covers is acknowledged to the source."));
  table.push_back(TimeLimit("status_interval", &Limits::status_interval, absl::Seconds(1),
                            absl::Seconds(30),
                            "How often the source hears of us; keep it well below its "
                            "wal_sender_timeout."));
  table.push_back(TimeLimit("snapshot_wait_max", &Limits::snapshot_wait_max, absl::Seconds(1),
                            absl::Hours(24),
                            "How long the start waits for older transactions of the source to "
                            "end."));
  table.push_back(TimeLimit("slot_busy_wait_max", &Limits::slot_busy_wait_max, absl::Seconds(1),
                            absl::Hours(1),
                            "How long to wait for a predecessor that still holds the slot."));
  table.push_back(CountLimit("copy_workers", &Limits::copy_workers, 1, 64,
                             "Tables, or parts of tables, that are copied at the same time; each "
                             "takes a connection at either end."));
  table.push_back(BytesLimit("copy_part_bytes", &Limits::copy_part_bytes, 8 * kKilo, 1024 * kGiga,
                             "Larger tables are copied in parts of this size."));
  table.push_back(CountLimit("conflict_rows_max", &Limits::conflict_rows_max, 0, 10'000'000,
                             "Rows kept of this task in towline_state.conflict."));
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
    AddTables(*made);
    AddStream(*made);
    AddTwoPhaseAndOrigin(*made);
    AddRetry(*made);
    AddLimits(*made);
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

const std::vector<TableOptionSpec>& TableOptionTable() {
  static const auto* table = new std::vector<TableOptionSpec>{
      {"existing", kExistingRange, "As existing, for this table.", "append", TableValueKind::kWord,
       [](Config& config, const TableName& name, const TableValue& value) {
         return SetWord(kExisting, value.words[0], config.existing_by_table[name]);
       }},
      {"where", "an SQL expression",
       "Only rows for which it is true are copied and streamed. A row that comes to satisfy it is "
       "inserted at the destination, one that ceases to is deleted.",
       "\"region = 'eu'\"", TableValueKind::kWord, SetWhere},
      {"columns", "names, and name: SQL expression",
       "The columns that are sent; without it all are. An expression replaces a column's value, or "
       "under a new name adds a column.",
       "[id, region, {email: \"left(email, 2)\"}, {origin: \"'eu'::text\"}]",
       TableValueKind::kColumns, SetColumns},
      {"operations", kOperationsRange,
       "What is streamed of the table's changes. The first copy brings the rows in any case.",
       "[insert, update]", TableValueKind::kWords, SetOperations}};
  return *table;
}

const std::vector<std::string>& FutureKeys() {
  static const auto* keys = new Values{"stages", "map", "ddl", "on_conflict", "state"};
  return *keys;
}

const std::vector<std::string>& FutureTableKeys() {
  static const auto* keys = new Values{"on_conflict", "ddl"};
  return *keys;
}

}  // namespace towline
