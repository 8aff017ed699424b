// A YAML file to settings by option path. Nothing in the file is ignored: an unknown key, a key
// given twice, a value of the wrong shape and a key of a later version are errors that name file,
// line and key.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "config/option_table.h"
#include "model/name.h"

namespace towline {

struct YamlSetting {
  std::string path;                 // of OptionTable(); for a table's key: its key
  std::vector<std::string> values;  // one, or several for a list
  std::optional<TableName> table;   // a key of this table, with
  TableValue table_value;           // instead of values
  bool is_schema = false;           // then for all that is in its schema
  std::string origin;               // "towline.yaml:12: retry.connection", for messages
};

// `name` is the file's, for messages.
absl::StatusOr<std::vector<YamlSetting>> ParseYaml(absl::string_view text, absl::string_view name);

absl::StatusOr<std::vector<YamlSetting>> ReadYamlFile(const std::string& file);

}  // namespace towline
