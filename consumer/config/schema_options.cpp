// The options of how tables and all around them are made at the destination.
#include "base/error.h"
#include "base/status_macros.h"
#include "config/option_parts.h"

namespace towline {
namespace {

constexpr char kSchema[] = "Schema";
constexpr Word<SchemaMode> kSchemaModes[] = {
    {"copy", SchemaMode::kCopy}, {"skip", SchemaMode::kSkip}, {"only", SchemaMode::kOnly}};
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
      "auto: keys where the key follows the order of the rows, else ctid. The log says what became "
      "of each table, and why.";
  planner.set = [](Config& config, const Values& values) -> absl::Status {
    const char* name = nullptr;
    TOWLINE_RETURN_IF_ERROR(SetWord(kPlanners, values[0], name));
    config.copy_planner = name;
    return absl::OkStatus();
  };
  table.push_back(planner);
}

}  // namespace towline
