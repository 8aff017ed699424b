// The options of what a run does, and of how tables and all around them are made at the
// destination.
#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "config/option_parts.h"

namespace towline {
namespace {

constexpr char kSchema[] = "Schema";
constexpr char kStages[] = "Stages";
constexpr Word<Stages> kSchemaModes[] = {
    {"copy", {true, true, true}}, {"skip", {false, true, true}}, {"only", {true, false, false}}};
constexpr Word<LargeObjects> kLargeObjects[] = {
    {"auto", LargeObjects::kAuto}, {"on", LargeObjects::kOn}, {"off", LargeObjects::kOff}};
constexpr Word<const char*> kPlanners[] = {{"auto", "auto"}, {"keys", "keys"}, {"ctid", "ctid"}};
constexpr Word<bool> kOnOff[] = {{"on", true}, {"off", false}};

OptionSpec Switch(const char* name, bool Config::*member, const char* help) {
  OptionSpec option = Named(name, name, kSchema);
  option.value_name = "SWITCH";
  option.default_text = "off";
  option.range = "on or off";
  option.help = help;
  option.set = [member](Config& config, const Values& values) {
    return SetWord(kOnOff, values[0], config.*member);
  };
  return option;
}

// One of the two options says it, or nobody could tell which counts.
absl::Status TakeStages(Config& config, const char* option) {
  if (!config.stages_option.empty() && config.stages_option != option) {
    return absl::InvalidArgumentError(absl::StrCat(
        "says what a run does, and so does ", config.stages_option, ": leave one of them out"));
  }
  config.stages_option = option;
  return absl::OkStatus();
}

absl::Status SetStages(Config& config, const Values& values) {
  TOWLINE_RETURN_IF_ERROR(TakeStages(config, "stages"));
  Stages chosen{false, false, false};
  for (const std::string& value : values) {
    // As a flag they come in one word.
    for (absl::string_view stage : absl::StrSplit(value, ',')) {
      stage = absl::StripAsciiWhitespace(stage);
      if (stage != "schema" && stage != "copy" && stage != "stream") {
        return absl::InvalidArgumentError("must be a list of schema, copy, stream");
      }
      (stage == "schema" ? chosen.schema : stage == "copy" ? chosen.copy : chosen.stream) = true;
    }
  }
  if (!chosen.schema && !chosen.copy && !chosen.stream) {
    return absl::InvalidArgumentError("names no stage: schema, copy, stream");
  }
  if (chosen.schema && chosen.is_stream_alone()) {
    return WithHint(
        absl::InvalidArgumentError("has schema and stream without copy: the rows would be missing"),
        "Run --stages schema first, bring the rows, then run --stages stream.");
  }
  config.stages = chosen;
  return absl::OkStatus();
}

}  // namespace

void AddStageOptions(std::vector<OptionSpec>& table) {
  OptionSpec stages = Named("stages", "stages", kStages);
  stages.value_name = "STAGES";
  stages.default_text = "schema,copy,stream";
  stages.range = "a list of schema, copy, stream";
  stages.help =
      "What a run does. schema makes the source's schema at the destination, before and after the "
      "rows; what is there already is left as it is. Without it the tables, and all that belongs "
      "to them, must be there. copy copies the rows, stream carries every change after them. "
      "Without stream a run ends when it is done, and makes no slot. stream alone needs a slot and "
      "the rows: see slot.";
  stages.is_list = true;
  stages.set = SetStages;
  table.push_back(stages);
  OptionSpec schema = Named("schema", "schema", kStages);
  schema.value_name = "MODE";
  schema.default_text = "copy";
  schema.range = "copy, skip or only";
  schema.help =
      "The usual stages in short: copy is all of them, skip is copy,stream, only is schema.";
  schema.set = [](Config& config, const Values& values) -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(TakeStages(config, "schema"));
    return SetWord(kSchemaModes, values[0], config.stages);
  };
  table.push_back(schema);
  OptionSpec slot = Named("slot", "slot", kStages);
  slot.value_name = "NAME";
  slot.help =
      "With stages: stream, at the first start: the slot to stream from, made beforehand with the "
      "plugin towline. Without one: towline_ and the task's name. From then on it is the task's, "
      "and towline drop removes it.";
  slot.set = [](Config& config, const Values& values) -> absl::Status {
    if (values[0].empty()) return absl::InvalidArgumentError("is empty");
    config.slot = values[0];
    return absl::OkStatus();
  };
  table.push_back(slot);
  OptionSpec position = Named("position", "position", kStages);
  position.value_name = "LSN";
  position.range = "as 16/B374D848";
  position.help =
      "With stages: stream, at the first start: the position in the source's log up to which the "
      "destination holds everything. What was committed before it is passed over. Without one: "
      "where the slot stands (its confirmed_flush_lsn). A later start goes on where the task is.";
  position.set = [](Config& config, const Values& values) -> absl::Status {
    absl::StatusOr<Lsn> lsn = Lsn::Parse(values[0]);
    if (!lsn.ok() || !lsn->is_valid()) {
      return absl::InvalidArgumentError("must be a position in the log such as 16/B374D848");
    }
    config.position = *lsn;
    return absl::OkStatus();
  };
  table.push_back(position);
}

void AddSchemaOptions(std::vector<OptionSpec>& table) {
  table.push_back(Switch("owners", &Config::with_owners,
                         "Whether objects get the owners that they have at the source. off, and "
                         "where a role does not exist at the destination: they belong to the role "
                         "that made them."));
  table.push_back(Switch("privileges", &Config::with_privileges,
                         "Whether rights (GRANT, default privileges) are made as at the source. "
                         "Those of roles that do not exist at the destination are left out."));
  OptionSpec large_objects = Named("large_objects", "large_objects", kSchema);
  large_objects.value_name = "SWITCH";
  large_objects.default_text = "auto";
  large_objects.range = "auto, on or off";
  large_objects.help =
      "Whether large objects (lo_*) are copied, with owners and privileges as those options say. "
      "What changes in them after the copy does not follow. auto: unless tables.include is given.";
  large_objects.set = [](Config& config, const Values& values) {
    return SetWord(kLargeObjects, values[0], config.large_objects);
  };
  table.push_back(large_objects);
  table.push_back(
      Switch("extension_tables", &Config::copies_extension_tables,
             "Whether the rows are copied and streamed that users have added to tables of "
             "extensions, as far as the extension tells them from its own "
             "(pg_extension_config_dump()); such a table is selected like any other. What they do "
             "there they do at the destination as well: jobs of pg_cron would run twice."));
  OptionSpec pg_dump = Named("pg_dump", "pg_dump", kSchema);
  pg_dump.value_name = "PATH";
  pg_dump.example = "/usr/lib/postgresql/15/bin/pg_dump";
  pg_dump.help =
      "The pg_dump that reads the schema, not older than the source. Without one: the oldest that "
      "is new enough, of those in the usual directories and in PATH.";
  pg_dump.set = [](Config& config, const Values& values) -> absl::Status {
    config.pg_dump = values[0];
    return absl::OkStatus();
  };
  table.push_back(pg_dump);
  OptionSpec planner = Named("copy_planner", "copy_planner", kSchema);
  planner.value_name = "PLANNER";
  planner.default_text = "auto";
  planner.range = "auto, keys or ctid";
  planner.help =
      "How tables larger than copy_part_bytes are divided in the copy. keys: into ranges of a "
      "single key column, each read under a short snapshot of its own and done for good when it is "
      "committed, where the table allows it. ctid: into ranges of pages, all under one snapshot. "
      "auto: keys where the key follows the order of the rows, else ctid; and ctid where all "
      "tables together are no larger than eight parts, or ddl is on: a schema change between the "
      "snapshots of ranges stops the task. The log says what became of each table, and why.";
  planner.set = [](Config& config, const Values& values) -> absl::Status {
    const char* name = nullptr;
    TOWLINE_RETURN_IF_ERROR(SetWord(kPlanners, values[0], name));
    config.copy_planner = name;
    return absl::OkStatus();
  };
  table.push_back(planner);
}

}  // namespace towline
