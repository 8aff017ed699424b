#include "config/config_loader.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "base/error.h"
#include "config/option_table.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace towline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class ConfigLoaderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/towline-unit-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    sources_.get_env = [this](const char* variable) -> const char* {
      auto found = environment_.find(variable);
      return found == environment_.end() ? nullptr : found->second.c_str();
    };
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void WriteYaml(const std::string& text) {
    sources_.file = directory_ + "/t.yaml";
    std::ofstream(sources_.file) << text;
  }
  // The message after the directory's name, as a user in that directory would see it.
  std::string ErrorOf(const std::string& yaml) {
    WriteYaml(yaml);
    absl::StatusOr<Config> config = LoadConfig(sources_);
    if (config.ok()) return "no error";
    EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
    std::string text = Describe(config.status());
    size_t at = text.find(directory_);
    if (at != std::string::npos) text.erase(at, directory_.size() + 1);
    return text;
  }

  std::string directory_;
  std::map<std::string, std::string> environment_;
  ConfigSources sources_;
};

TEST_F(ConfigLoaderTest, NothingGivenIsTheDefaults) {
  absl::StatusOr<Config> config = LoadConfig(sources_);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_FALSE(config->has_source);
  EXPECT_EQ(config->retry_connection, absl::Minutes(720));
  EXPECT_EQ(config->limits.queue_bytes_max, 64 << 20);
  EXPECT_TRUE(config->streaming);
  EXPECT_EQ(config->spool_directory, "");
  EXPECT_EQ(config->compression, "none");
}

TEST_F(ConfigLoaderTest, YamlReadsEveryKind) {
  WriteYaml(R"(
task: shop
source: postgresql://u:secret@src:5433/a
destination: "host=dst dbname=b"
tables:
  include: ["public.*", sales.order]
  exclude: public.tmp_*
accept: [source.tls, task.loop]
table:
  "public.audit": {existing: append}
existing: truncate
retry: {connection: 100, other: 5}
limits:
  queue_bytes_max: 128MB
  batch_time_max: 250ms
  copy_workers: 8
  spool_memory_max: 1MB
  spool_disk_max: 20GB
streaming: off
spool_directory: /var/spool
compression: zstd
log_format: json
log_level: warning
metrics_port: 9187
)");
  absl::StatusOr<Config> config = LoadConfig(sources_);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->task, "shop");
  EXPECT_EQ(config->source.host(), "src");
  EXPECT_TRUE(config->has_source);
  EXPECT_EQ(config->destination.database(), "b");
  EXPECT_THAT(config->include, ElementsAre("public.*", "sales.order"));
  EXPECT_THAT(config->exclude, ElementsAre("public.tmp_*"));
  EXPECT_THAT(config->accept, ElementsAre("source.tls", "task.loop"));
  EXPECT_EQ(config->existing, ExistingTables::kTruncate);
  EXPECT_EQ(config->existing_by_table.at({"public", "audit"}), ExistingTables::kAppend);
  EXPECT_EQ(config->retry_connection, absl::Minutes(100));
  EXPECT_EQ(config->retry_other, absl::Minutes(5));
  EXPECT_EQ(config->limits.queue_bytes_max, 128 << 20);
  EXPECT_EQ(config->limits.batch_time_max, absl::Milliseconds(250));
  EXPECT_EQ(config->limits.copy_workers, 8);
  EXPECT_EQ(config->limits.spool_memory_max, 1 << 20);
  EXPECT_EQ(config->limits.spool_disk_max, int64_t{20} << 30);
  EXPECT_FALSE(config->streaming);
  EXPECT_EQ(config->spool_directory, "/var/spool");
  EXPECT_EQ(config->compression, "zstd");
  EXPECT_EQ(config->log_format, LogFormat::kJson);
  EXPECT_EQ(config->log_level, LogLevel::kWarning);
  EXPECT_EQ(config->metrics_port, 9187);
}

TEST_F(ConfigLoaderTest, FlagWinsOverEnvironmentOverFile) {
  WriteYaml("task: from_file\nexisting: append\nretry: {other: 2}\n");
  environment_ = {{"TOWLINE_TASK", "from_environment"}, {"TOWLINE_EXISTING", "truncate"}};
  sources_.flags = {{"task", {"from_flag"}}};
  absl::StatusOr<Config> config = LoadConfig(sources_);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->task, "from_flag");
  EXPECT_EQ(config->existing, ExistingTables::kTruncate);
  EXPECT_EQ(config->retry_other, absl::Minutes(2));
}

TEST_F(ConfigLoaderTest, EveryOptionHasAnEnvironmentTwin) {
  environment_ = {
      {"TOWLINE_SOURCE", "host=a"},   {"TOWLINE_DESTINATION", "host=b"},
      {"TOWLINE_INCLUDE", "a.*,b.c"}, {"TOWLINE_BATCH_ROWS_MAX", "7"},
      {"TOWLINE_LOG_FORMAT", "json"}, {"TOWLINE_METRICS_PORT", ""}};  // empty: as if unset
  absl::StatusOr<Config> config = LoadConfig(sources_);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->source.host(), "a");
  EXPECT_THAT(config->include, ElementsAre("a.*", "b.c"));
  EXPECT_EQ(config->limits.batch_rows_max, 7);
}

TEST_F(ConfigLoaderTest, FileIsTakenFromTheEnvironmentToo) {
  WriteYaml("task: from_file\n");
  environment_["TOWLINE_CONFIG"] = sources_.file;
  sources_.file.clear();
  EXPECT_EQ(LoadConfig(sources_)->task, "from_file");
}

TEST_F(ConfigLoaderTest, EmptyFileIsTheDefaults) {
  EXPECT_EQ(ErrorOf(""), "no error");
  EXPECT_EQ(ErrorOf("# nothing yet\n"), "no error");
}

TEST_F(ConfigLoaderTest, RulesOfTablesAreRead) {
  WriteYaml(R"yaml(
table:
  shop.orders:
    where: region = 'eu'
    columns: [id, total, {email: "left(email, 2)"}, {tag: "'eu'::text"}]
    operations: [insert, update]
  '"my.Schema"."a""b"': {where: "a > 1 -- all"}
  Shop.Orders: {operations: [delete, truncate]}
)yaml");
  absl::StatusOr<Config> config = LoadConfig(sources_);
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->rules.size(), 3u);
  const TableRule& orders = config->rules.at({"shop", "orders"});
  EXPECT_EQ(orders.table.name, "orders");
  EXPECT_EQ(orders.where, "region = 'eu'");
  EXPECT_TRUE(orders.has_columns);
  EXPECT_THAT(orders.columns,
              ElementsAre(RuleColumn{"id", std::nullopt}, RuleColumn{"total", std::nullopt},
                          RuleColumn{"email", "left(email, 2)"}, RuleColumn{"tag", "'eu'::text"}));
  EXPECT_EQ(orders.operations, (RuleOperations{true, true, false, false}));
  const TableRule& quoted = config->rules.at({"my.Schema", "a\"b"});
  EXPECT_EQ(quoted.where, "a > 1 -- all");
  EXPECT_FALSE(quoted.has_columns);
  EXPECT_EQ(quoted.operations, RuleOperations());
  EXPECT_EQ(config->rules.at({"Shop", "Orders"}).operations,
            (RuleOperations{false, false, true, true}));
}

TEST_F(ConfigLoaderTest, BadRulesNameFileLineAndKey) {
  auto of = [this](const std::string& keys) { return ErrorOf("table:\n  a.b: {" + keys + "}\n"); };
  EXPECT_EQ(of("where: ''"), "t.yaml:2: table.\"a.b\".where is empty");
  EXPECT_THAT(of("where: 'a = 1) OR (b = 2'"),
              HasSubstr("t.yaml:2: table.\"a.b\".where has a \")\" that closes nothing"));
  EXPECT_EQ(of("where: [a]"), "t.yaml:2: \"table.\"a.b\".where\" takes one value");
  EXPECT_EQ(of("columns: []"), "t.yaml:2: table.\"a.b\".columns lists no column");
  EXPECT_THAT(of("columns: id"), HasSubstr("\"table.\"a.b\".columns\" takes a list, as in ["));
  EXPECT_EQ(of("columns: [id, {id: '1'}]"), "t.yaml:2: table.\"a.b\".columns lists \"id\" twice");
  EXPECT_THAT(of("columns: [{id: '1', no: '2'}]"), HasSubstr("or one {name: \"expression\"}"));
  EXPECT_THAT(of("columns: [{id: }]"), HasSubstr("or one {name: \"expression\"}"));
  EXPECT_EQ(of("columns: [{id: '(1'}]"),
            "t.yaml:2: table.\"a.b\".columns has an expression for \"id\" that has a \"(\" that "
            "is not closed");
  EXPECT_EQ(of("operations: [upsert]"),
            "t.yaml:2: table.\"a.b\".operations must be a list of insert, update, delete and "
            "truncate");
  EXPECT_EQ(of("operations: [insert, insert]"),
            "t.yaml:2: table.\"a.b\".operations lists insert twice");
  EXPECT_THAT(of("operations: []"), HasSubstr("lists no operation\nHINT:  Leave the table out"));
  EXPECT_THAT(of("columms: [id]"), HasSubstr("Did you mean \"table.\"a.b\".columns\"?"));
  EXPECT_THAT(ErrorOf("table:\n  a.b: {}\n  '\"a\".b': {}\n"),
              HasSubstr("t.yaml:3: table \"\"a\".b\" is given twice"));
  for (const char* name : {"a.b.c", ".b", "a.", "'\"a.b'", "'\"a\"b.c'"}) {
    EXPECT_THAT(ErrorOf(std::string("table:\n  ") + name + ": {}\n"), HasSubstr("t.yaml:2: table "))
        << name;
  }
}

TEST_F(ConfigLoaderTest, UnknownKeyNamesFileLineKeyAndTheNearestKnown) {
  EXPECT_EQ(ErrorOf("task: a\nsorce: x\n"),
            "t.yaml:2: unknown key \"sorce\"\nHINT:  Did you mean \"source\"?");
  EXPECT_EQ(ErrorOf("retry:\n  conection: 20\n"),
            "t.yaml:2: unknown key \"retry.conection\"\n"
            "HINT:  Did you mean \"retry.connection\"?");
  EXPECT_EQ(ErrorOf("table:\n  a.b:\n    exsting: stop\n"),
            "t.yaml:3: unknown key \"table.\"a.b\".exsting\"\n"
            "HINT:  Did you mean \"table.\"a.b\".existing\"?");
}

TEST_F(ConfigLoaderTest, KeyInTheWrongPlaceIsSentToItsOwn) {
  EXPECT_EQ(ErrorOf("copy_workers: 4\n"),
            "t.yaml:1: unknown key \"copy_workers\"\n"
            "HINT:  \"copy_workers\" belongs under \"limits\".");
}

TEST_F(ConfigLoaderTest, KeyWithoutANeighbourListsWhatIsKnown) {
  EXPECT_THAT(ErrorOf("zzzzzzzzz: 4\n"), HasSubstr("HINT:  Known keys here: task, source,"));
}

TEST_F(ConfigLoaderTest, ConflictPoliciesByTaskTableAndKind) {
  WriteYaml(R"(
on_conflict: {update_missing: overwrite, check_violation: skip}
table:
  a.t: {on_conflict: skip}
  a.u: {on_conflict: {update_missing: stop, update_exists: skip}}
  a.w: {on_conflict: overwrite}
)");
  absl::StatusOr<Config> loaded = LoadConfig(sources_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const ConflictPolicies& policies = loaded->conflicts;
  auto action = [&policies](const TableName& table, ConflictKind kind) {
    return NameOf(ActionFor(policies, table, {{"a", "w"}}, kind));
  };
  EXPECT_STREQ(action({"a", "t"}, ConflictKind::kUpdateMissing), "skip");
  EXPECT_STREQ(action({"a", "t"}, ConflictKind::kRowCount), "stop");
  EXPECT_STREQ(action({"a", "u"}, ConflictKind::kUpdateMissing), "stop");
  EXPECT_STREQ(action({"a", "u"}, ConflictKind::kInsertExists), "overwrite");  // of a.w above it
  EXPECT_STREQ(action({"a", "w"}, ConflictKind::kNotNull), "stop");
  EXPECT_STREQ(NameOf(ActionFor(policies, {"a", "x"}, {}, ConflictKind::kCheck)), "skip");
  EXPECT_STREQ(NameOf(ActionFor(policies, {"a", "x"}, {}, ConflictKind::kInsertExists)), "stop");
  EXPECT_THAT(ErrorOf("on_conflict: {check_violation: overwrite}\n"),
              HasSubstr("cannot overwrite"));
  EXPECT_THAT(ErrorOf("on_conflict: {row_count: skip}\n"), HasSubstr("Kinds are insert_exists, "));
  EXPECT_THAT(ErrorOf("on_conflict: {update_missing: [skip]}\n"), HasSubstr("takes one value"));
  EXPECT_THAT(ErrorOf("table: {a.t: {on_conflict: [skip]}}\n"), HasSubstr("a word or a map"));
  EXPECT_THAT(ErrorOf("on_conflict: ignore\n"), HasSubstr("must be stop or overwrite or skip"));
}

TEST_F(ConfigLoaderTest, LaterKeysAreRefusedAndNotIgnored) {
  for (const char* key : {"map", "state"}) {
    EXPECT_THAT(ErrorOf(std::string(key) + ": x\n"),
                HasSubstr("\" is not supported yet by this version"));
  }
}

TEST_F(ConfigLoaderTest, DdlPoliciesByTaskSchemaAndTable) {
  WriteYaml(R"(
ddl: {drop_table: hold}
table:
  a.*: {ddl: ignore}
  a.t: {ddl: {table: hold, index: apply}}
  'a."*"': {ddl: {view: hold}}
  b.*: {ddl: apply}
)");
  absl::StatusOr<Config> loaded = LoadConfig(sources_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const DdlPolicy& policy = loaded->ddl;
  auto reason = [&policy](DdlKind kind, const DdlSubject& subject) {
    return policy.WordFor(kind, subject).reason;
  };
  EXPECT_EQ(reason(DdlKind::kTable, {"a", {{"a", "t"}}}), "ddl of table a.t says hold for table");
  EXPECT_EQ(reason(DdlKind::kIndex, {"a", {{"a", "t"}}}), "ddl of table a.t says apply for index");
  EXPECT_EQ(reason(DdlKind::kView, {"a", {{"a", "*"}}}), "ddl of table a.* says hold for view");
  EXPECT_EQ(reason(DdlKind::kView, {"a", {{"a", "t"}}}), "ddl of schema a says ignore for view");
  EXPECT_EQ(reason(DdlKind::kRoutine, {"a", {}}), "ddl of schema a says ignore for routine");
  EXPECT_EQ(reason(DdlKind::kDropTable, {"b", {}}), "ddl of schema b says apply for drop_table");
  EXPECT_EQ(reason(DdlKind::kForeign, {"b", {}}), "ddl says hold for foreign");
  EXPECT_EQ(reason(DdlKind::kDropTable, {"c", {}}), "ddl says hold for drop_table");
  EXPECT_EQ(ErrorOf("table: {a.t: {ddl: hold}}\n"),
            "tables or schemas have ddl of their own, and ddl is off\n"
            "HINT:  Set ddl: apply, or ddl: ignore to carry the schema changes of those alone.");
  EXPECT_THAT(ErrorOf("table: {a.t: {ddl: off}}\n"), HasSubstr("must be apply or hold or ignore"));
  EXPECT_THAT(ErrorOf("table: {a.t: {ddl: {}}}\n"), HasSubstr("names no kind of command"));
  EXPECT_THAT(ErrorOf("table: {a.*: {ddl: {tabel: hold}}}\n"), HasSubstr("Kinds are table, "));
  EXPECT_THAT(ErrorOf("table: {a.*: {ddl: {grant: apply}}}\n"), HasSubstr("names grant, which"));
  EXPECT_THAT(ErrorOf("table: {a.*: {existing: append}}\n"), HasSubstr("is for single tables"));
}

TEST_F(ConfigLoaderTest, RolesForSchemaChanges) {
  WriteYaml("ddl: apply\nddl_role: {alice: shop, bob: b}\n");
  absl::StatusOr<Config> loaded = LoadConfig(sources_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->ddl_roles.For("alice"), "shop");
  EXPECT_EQ(loaded->ddl_roles.For("carol"), std::nullopt);
  WriteYaml("ddl: apply\nddl_role: [app, alice=shop]\n");
  loaded = LoadConfig(sources_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->ddl_roles.For("alice"), "shop");
  EXPECT_EQ(loaded->ddl_roles.For("carol"), "app");
  EXPECT_EQ(loaded->ddl_roles.All(), (std::set<std::string>{"app", "shop"}));
  EXPECT_THAT(ErrorOf("ddl_role: a\n"), HasSubstr("and ddl is off"));
  EXPECT_THAT(ErrorOf("ddl: apply\nddl_role: [a, b]\n"), HasSubstr("names two roles"));
  EXPECT_THAT(ErrorOf("ddl: apply\nddl_role: [\"a=\"]\n"), HasSubstr("an empty name"));
}

std::string StagesOf(const Config& config) {
  std::string text;
  if (config.stages.schema) text += "schema ";
  if (config.stages.copy) text += "copy ";
  if (config.stages.stream) text += "stream ";
  return text;
}

TEST_F(ConfigLoaderTest, StagesAreAListAndSchemaIsShortForTheUsualOnes) {
  for (auto [yaml, stages] :
       std::map<std::string, std::string>{{"accept: []\n", "schema copy stream "},
                                          {"stages: [copy, schema]\n", "schema copy "},
                                          {"stages: copy\n", "copy "},
                                          {"stages: \"copy, stream\"\n", "copy stream "},
                                          {"stages: stream\nslot: s\nposition: 1/A0\n", "stream "},
                                          {"schema: copy\n", "schema copy stream "},
                                          {"schema: skip\n", "copy stream "},
                                          {"schema: only\n", "schema "}}) {
    WriteYaml(yaml);
    absl::StatusOr<Config> config = LoadConfig(sources_);
    ASSERT_TRUE(config.ok()) << yaml << config.status();
    EXPECT_EQ(StagesOf(*config), stages) << yaml;
  }
}

TEST_F(ConfigLoaderTest, StagesThatMakeNoSenseAreRefused) {
  EXPECT_EQ(ErrorOf("stages: [schema, stream]\n"),
            "t.yaml:1: stages has schema and stream without copy: the rows would be missing\n"
            "HINT:  Run --stages schema first, bring the rows, then run --stages stream.");
  EXPECT_THAT(ErrorOf("stages: []\n"), Not(HasSubstr("no error")));
  EXPECT_EQ(ErrorOf("stages: [copy, dance]\n"),
            "t.yaml:1: stages must be a list of schema, copy, stream");
  EXPECT_EQ(ErrorOf("schema: skip\nstages: copy\n"),
            "t.yaml:2: stages says what a run does, and so does schema: leave one of them out");
  EXPECT_THAT(ErrorOf("slot: s\n"), HasSubstr("slot is for stages: stream alone"));
  EXPECT_THAT(ErrorOf("stages: copy\nposition: 1/A0\n"),
              HasSubstr("position is for stages: stream alone"));
  EXPECT_EQ(ErrorOf("stages: stream\nposition: 0/0\n"),
            "t.yaml:2: position must be a position in the log such as 16/B374D848");
}

TEST_F(ConfigLoaderTest, ValueOutOfRangeNamesTheRange) {
  EXPECT_EQ(ErrorOf("retry:\n  connection: 9\n"),
            "t.yaml:2: retry.connection must be 10 to 1440 minutes");
  EXPECT_EQ(ErrorOf("retry: {connection: 1441}\n"),
            "t.yaml:1: retry.connection must be 10 to 1440 minutes");
  EXPECT_EQ(ErrorOf("retry: {other: 0}\n"), "t.yaml:1: retry.other must be 1 to 1440 minutes");
  EXPECT_EQ(ErrorOf("limits: {copy_workers: 65}\n"),
            "t.yaml:1: limits.copy_workers must be 1 to 64");
  EXPECT_EQ(ErrorOf("limits: {queue_bytes_max: 1kB}\n"),
            "t.yaml:1: limits.queue_bytes_max must be 64kB to 4GB");
  EXPECT_EQ(ErrorOf("limits: {status_interval: 2m}\n"),
            "t.yaml:1: limits.status_interval must be 1s to 30s");
  EXPECT_EQ(ErrorOf("metrics_port: 70000\n"), "t.yaml:1: metrics_port must be 0 to 65535");
  EXPECT_EQ(ErrorOf("existing: drop\n"), "t.yaml:1: existing must be stop or append or truncate");
}

TEST_F(ConfigLoaderTest, ValueOfTheWrongKindIsRefused) {
  EXPECT_EQ(ErrorOf("retry: {connection: long}\n"),
            "t.yaml:1: retry.connection expected a whole number");
  EXPECT_THAT(ErrorOf("limits: {batch_bytes_max: 3 bananas}\n"),
              HasSubstr("limits.batch_bytes_max expected a size such as 64MB"));
  EXPECT_THAT(ErrorOf("limits: {batch_time_max: 10}\n"),
              HasSubstr("limits.batch_time_max expected a time with its unit"));
  EXPECT_EQ(ErrorOf("task: [a, b]\n"), "t.yaml:1: \"task\" takes one value");
  EXPECT_EQ(ErrorOf("task:\n"), "t.yaml:1: \"task\" has no value");
  EXPECT_EQ(ErrorOf("retry: 10\n"), "t.yaml:1: \"retry\" holds keys of its own: connection, other");
  EXPECT_EQ(ErrorOf("tables: {include: {a: b}}\n"),
            "t.yaml:1: \"tables.include\" takes a word or a list of words");
  EXPECT_THAT(ErrorOf("table: {orders: {existing: stop}}\n"),
              HasSubstr("expected \"schema.table\""));
  EXPECT_THAT(ErrorOf("- a\n- b\n"), HasSubstr("t.yaml:1: expected \"key: value\" lines"));
}

TEST_F(ConfigLoaderTest, SameKeyTwiceIsRefused) {
  EXPECT_EQ(ErrorOf("task: a\ntask: b\n"), "t.yaml:2: key \"task\" is given twice");
  EXPECT_EQ(ErrorOf("retry: {other: 1, other: 2}\n"),
            "t.yaml:1: key \"retry.other\" is given twice");
}

TEST_F(ConfigLoaderTest, BrokenYamlNamesTheLine) {
  EXPECT_THAT(ErrorOf("task: a\nsource: \"open\n"), HasSubstr("t.yaml:"));
  EXPECT_THAT(ErrorOf("a: b: c\n"), HasSubstr("t.yaml:1: "));
}

TEST_F(ConfigLoaderTest, MissingFileIsNamed) {
  sources_.file = directory_ + "/none.yaml";
  absl::Status status = LoadConfig(sources_).status();
  EXPECT_EQ(ExitCode(status), 2);
  EXPECT_THAT(std::string(status.message()), HasSubstr("none.yaml: No such file"));
  sources_.file = directory_;  // a directory
  EXPECT_EQ(ExitCode(LoadConfig(sources_).status()), 2);
}

TEST_F(ConfigLoaderTest, OtherWindowMustBeBelowTheConnectionWindow) {
  EXPECT_THAT(ErrorOf("retry: {connection: 20, other: 20}\n"),
              HasSubstr("retry.other (20 minutes) must be below retry.connection (20 minutes)"));
  // Also when one of them comes from elsewhere.
  WriteYaml("retry: {other: 30}\n");
  environment_["TOWLINE_RETRY_CONNECTION"] = "25";
  EXPECT_FALSE(LoadConfig(sources_).ok());
}

TEST_F(ConfigLoaderTest, BadUriIsExplainedWithoutItsPassword) {
  sources_.flags = {{"source", {"postgresql://u:p%ZZword@h/db"}}};
  std::string text = Describe(LoadConfig(sources_).status());
  EXPECT_THAT(text, HasSubstr("--source: invalid source URI"));
  EXPECT_THAT(text, HasSubstr("HINT:  Write it as postgresql://"));
  EXPECT_THAT(text, Not(HasSubstr("ZZ")));
}

TEST_F(ConfigLoaderTest, ErrorsOfFlagsAndVariablesNameThem) {
  environment_["TOWLINE_COPY_WORKERS"] = "many";
  EXPECT_THAT(std::string(LoadConfig(sources_).status().message()),
              HasSubstr("TOWLINE_COPY_WORKERS expected a whole number"));
  environment_.clear();
  sources_.flags = {{"limits.copy_workers", {"0"}}};
  EXPECT_THAT(std::string(LoadConfig(sources_).status().message()),
              HasSubstr("--copy-workers must be 1 to 64"));
}

TEST(OptionTableTest, NamesAreUnique) {
  std::map<std::string, int> seen;
  for (const OptionSpec& option : OptionTable()) {
    EXPECT_EQ(seen[option.path]++, 0) << option.path;
    EXPECT_EQ(seen[option.flag]++, 0) << option.flag;
    EXPECT_EQ(seen[option.env]++, 0) << option.env;
  }
}

TEST(OptionTableTest, EveryDefaultAndExampleIsAccepted) {
  for (const OptionSpec& option : OptionTable()) {
    for (const std::string& text : {option.default_text, option.example}) {
      Config config;
      if (!text.empty()) {
        EXPECT_TRUE(option.set(config, {text}).ok()) << option.path << ": " << text;
      }
    }
  }
}

}  // namespace
}  // namespace towline
