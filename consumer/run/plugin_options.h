// What START_REPLICATION asks of the plugin: as much of what the user wants as the source can do.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "config/config.h"
#include "schema/type_rules.h"

namespace towline {

struct PluginOptions {
  std::vector<std::pair<std::string, std::string>> options;
  bool is_streaming = false;
  bool takes_ddl = false;
  std::string compression;            // empty: none
  std::vector<std::string> refusals;  // what was wanted and cannot be had, and why
};

// `plugin_version`: of the library that the source has installed, "0.2"; empty if it does not say.
PluginOptions ChoosePluginOptions(const Config& config, int server_version,
                                  absl::string_view plugin_version, const ServerPair& pair);

}  // namespace towline
