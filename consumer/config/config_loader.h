// The sources of a configuration put together: flags over environment over YAML over defaults; then
// the rules that concern several options.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "config/config.h"

namespace towline {

struct ConfigSources {
  std::string file;  // of YAML; empty: $TOWLINE_CONFIG, else none
  // Option path and its values, as the command line gave them.
  std::vector<std::pair<std::string, std::vector<std::string>>> flags;
  // getenv() of the process, or a test's.
  std::function<const char*(const char*)> get_env;
};

absl::StatusOr<Config> LoadConfig(const ConfigSources& sources);

}  // namespace towline
