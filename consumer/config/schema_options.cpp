// The options of how tables and all around them are made at the destination.
#include "base/error.h"
#include "config/option_parts.h"

namespace towline {
namespace {

constexpr char kSchema[] = "Schema";
constexpr Word<SchemaMode> kSchemaModes[] = {
    {"copy", SchemaMode::kCopy}, {"skip", SchemaMode::kSkip}, {"only", SchemaMode::kOnly}};
constexpr Word<LargeObjects> kLargeObjects[] = {
    {"auto", LargeObjects::kAuto}, {"on", LargeObjects::kOn}, {"off", LargeObjects::kOff}};
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

}  // namespace

void AddSchemaOptions(std::vector<OptionSpec>& table) {
  OptionSpec schema = Named("schema", "schema", kSchema);
  schema.value_name = "MODE";
  schema.default_text = "copy";
  schema.range = "copy, skip or only";
  schema.help =
      "copy makes the source's schema at the destination, before and after the rows; what is there "
      "already is left as it is. skip makes nothing: the tables, and all that belongs to them, "
      "must "
      "be there. only makes the schema and ends, without rows and without a slot.";
  schema.set = [](Config& config, const Values& values) {
    return SetWord(kSchemaModes, values[0], config.schema);
  };
  table.push_back(schema);
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
}

}  // namespace towline
