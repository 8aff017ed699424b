#include "run/plugin_options.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "schema/table_rules.h"

namespace towline {
namespace {

constexpr int kServerOfStreaming = 140000;

// The first plugin that speaks version 2 of the protocol. An older one refuses options that it does
// not know, so they must not be sent.
constexpr int kPluginOfProtocol2 = 2;  // 0.2
constexpr int kPluginOfProtocol3 = 3;  // 0.3; a later one speaks versions 4 and 5 as well

bool IsAtLeast(absl::string_view plugin_version, int minor_min) {
  std::vector<absl::string_view> parts = absl::StrSplit(plugin_version, '.');
  int major = 0;
  int minor = 0;
  if (parts.size() < 2 || !absl::SimpleAtoi(parts[0], &major) ||
      !absl::SimpleAtoi(parts[1], &minor)) {
    return false;
  }
  return major > 0 || minor >= minor_min;
}

}  // namespace

PluginOptions ChoosePluginOptions(const Config& config, int server_version,
                                  absl::string_view plugin_version, const ServerPair& pair) {
  const bool is_new = IsAtLeast(plugin_version, kPluginOfProtocol2);
  const bool has_ddl = IsAtLeast(plugin_version, kPluginOfProtocol3);
  PluginOptions chosen;
  auto add = [&chosen](const char* name, std::string value) {
    chosen.options.emplace_back(name, std::move(value));
  };
  auto refuse = [&](absl::string_view what) {
    chosen.refusals.push_back(
        absl::StrCat(what, " needs plugin 0.2, and the source has ",
                     plugin_version.empty() ? "one of unknown version" : plugin_version));
  };
  add("min_protocol", "1");
  add("max_protocol", has_ddl ? "5" : is_new ? "2" : "1");
  add("binary", !pair.AllowsBasicTypesOnly() ? "on" : is_new ? "basic" : "off");
  add("partitions", "leaf");
  add("messages", "off");
  if (!config.foreign_origins) add("origin", "none");
  if (!config.include.empty()) add("include_tables", absl::StrJoin(config.include, ","));
  if (!config.exclude.empty()) add("exclude_tables", absl::StrJoin(config.exclude, ","));
  // Never left out: an older plugin, which would send every row, refuses the option instead.
  if (!config.rules.empty()) add("table_rules", RulesJson(config.rules));
  if (config.streaming && server_version >= kServerOfStreaming) {
    chosen.is_streaming = is_new;
    if (is_new) {
      add("streaming", "on");
    } else {
      refuse("streaming of transactions in progress");
    }
  }
  // Never left out: an older plugin, which would pass over schema changes, refuses the option.
  chosen.takes_ddl = config.ddl.is_on;
  if (chosen.takes_ddl) add("ddl", "on");
  if (config.compression != "none") {
    if (is_new) {
      chosen.compression = config.compression;
      add("compression", config.compression);
    } else {
      refuse("compression");
    }
  }
  return chosen;
}

}  // namespace towline
