// Libraries: config
//
// The configuration: whatever a file, the environment or the command line says is a configuration
// or an error that says something.
#include <map>
#include <string>

#include "config/config_loader.h"
#include "config/yaml_reader.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace towline;
  FuzzInput input(data, size);
  const bool has_environment = input.Below(2) != 0;
  std::string environment = has_environment ? input.Bytes(input.Below(40)) : "";
  environment = environment.c_str();  // to its first NUL, as the environment has it
  absl::StatusOr<std::vector<YamlSetting>> settings = ParseYaml(input.Rest(), "towline.yaml");
  if (!settings.ok()) {
    Check(!settings.status().message().empty());
    return 0;
  }
  ConfigSources sources;
  for (const YamlSetting& setting : *settings) {
    if (!setting.table.has_value()) sources.flags.emplace_back(setting.path, setting.values);
  }
  const size_t chosen = environment.size();
  size_t asked = 0;
  sources.get_env = [&](const char* name) -> const char* {
    // A file named here would be read.
    return has_environment && std::string(name) != "TOWLINE_CONFIG" && ++asked % (chosen + 2) == 1
               ? environment.c_str()
               : nullptr;
  };
  absl::StatusOr<Config> config = LoadConfig(sources);
  Check(config.ok() || !config.status().message().empty());
  return 0;
}
