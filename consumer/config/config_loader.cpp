#include "config/config_loader.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "config/option_table.h"
#include "config/shared_options.h"
#include "config/yaml_reader.h"

namespace towline {
namespace {

// "towline.yaml:12: retry.connection must be 10 to 1440". What a URI's parser says already stands
// alone.
absl::Status Located(const absl::Status& status, absl::string_view origin, bool is_uri) {
  if (status.ok()) return status;
  absl::Status located = WithContext(status, origin);
  if (is_uri) return located;
  absl::Status reworded(status.code(), absl::StrCat(origin, " ", status.message()));
  return WithHint(reworded, GetHint(status));
}

absl::Status Apply(const OptionSpec& option, const std::vector<std::string>& values,
                   absl::string_view origin, Config& config) {
  return Located(option.set(config, values), origin, option.value_name == "URI");
}

absl::Status ApplyYaml(const std::string& file, Config& config) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<YamlSetting> settings, ReadYamlFile(file));
  for (const YamlSetting& setting : settings) {
    if (!setting.table.has_value()) {
      TOWLINE_RETURN_IF_ERROR(
          Apply(*FindOption(setting.path), setting.values, setting.origin, config));
      continue;
    }
    for (const TableOptionSpec& option : TableOptionTable()) {
      if (option.key != setting.path) continue;
      absl::Status set = setting.is_schema
                             ? option.set_schema(config, setting.table->schema, setting.table_value)
                             : option.set(config, *setting.table, setting.table_value);
      TOWLINE_RETURN_IF_ERROR(Located(set, setting.origin, false));
    }
  }
  return absl::OkStatus();
}

absl::Status ApplyEnvironment(const ConfigSources& sources, Config& config) {
  for (const OptionSpec& option : OptionTable()) {
    const char* value = sources.get_env(option.env.c_str());
    // An empty variable is one that somebody meant to unset.
    if (value == nullptr || value[0] == '\0') continue;
    std::vector<std::string> values = {value};
    if (option.is_list) values = absl::StrSplit(value, ',');
    TOWLINE_RETURN_IF_ERROR(Apply(option, values, option.env, config));
  }
  return absl::OkStatus();
}

absl::Status CheckTogether(const Config& config) {
  if (config.retry_other >= config.retry_connection) {
    return WithHint(absl::InvalidArgumentError(
                        absl::StrCat("retry.other (", absl::ToInt64Minutes(config.retry_other),
                                     " minutes) must be below retry.connection (",
                                     absl::ToInt64Minutes(config.retry_connection), " minutes)")),
                    "Lower --retry-other or raise --retry-connection.");
  }
  if (!config.ddl.is_on && config.ddl.GoesBySubject()) {
    return WithHint(
        absl::InvalidArgumentError("tables or schemas have ddl of their own, and ddl is off"),
        "Set ddl: apply, or ddl: ignore to carry the schema changes of those alone.");
  }
  if (!config.ddl.is_on && !config.ddl_roles.empty()) {
    return WithHint(absl::InvalidArgumentError("ddl_role is for schema changes, and ddl is off"),
                    "Set ddl: apply, or leave it out.");
  }
  bool has_slot = !config.slot.empty();
  if ((has_slot || config.position.is_valid()) && !config.stages.is_stream_alone()) {
    return WithHint(
        absl::InvalidArgumentError(absl::StrCat(
            has_slot ? "slot" : "position",
            " is for stages: stream alone; a copy makes its own slot, and its position follows")),
        "Leave it out, or run with --stages stream.");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Config> LoadConfig(const ConfigSources& sources) {
  Config config;
  std::string file = sources.file;
  if (const char* value = sources.get_env("TOWLINE_CONFIG"); file.empty() && value != nullptr) {
    file = value;
  }
  if (!file.empty()) TOWLINE_RETURN_IF_ERROR(ApplyYaml(file, config));
  TOWLINE_RETURN_IF_ERROR(ApplyEnvironment(sources, config));
  for (const auto& [path, values] : sources.flags) {
    const OptionSpec& option = *FindOption(path);
    TOWLINE_RETURN_IF_ERROR(Apply(option, values, option.flag, config));
  }
  TOWLINE_RETURN_IF_ERROR(ReadSharedValues(config));
  TOWLINE_RETURN_IF_ERROR(CheckTogether(config));
  return config;
}

}  // namespace towline
