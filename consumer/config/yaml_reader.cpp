#include "config/yaml_reader.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "config/option_table.h"
#include "config/value_text.h"

namespace towline {
namespace {

constexpr size_t kFileBytesMax = 4 << 20;

bool Contains(const std::vector<std::string>& list, absl::string_view item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

class Reader {
 public:
  explicit Reader(absl::string_view name) : name_(name) {}

  absl::StatusOr<std::vector<YamlSetting>> Read(const YAML::Node& root) {
    if (root.IsNull()) return std::vector<YamlSetting>();  // an empty file says nothing
    if (!root.IsMap()) return Error(root, "expected \"key: value\" lines");
    TOWLINE_RETURN_IF_ERROR(ReadSection(root, ""));
    return std::move(settings_);
  }

 private:
  std::string Origin(const YAML::Node& node, absl::string_view key) const {
    return absl::StrCat(name_, ":", node.Mark().line + 1, key.empty() ? "" : ": ", key);
  }
  absl::Status Error(const YAML::Node& node, absl::string_view text) const {
    return absl::InvalidArgumentError(absl::StrCat(Origin(node, ""), ": ", text));
  }

  // Each entry's key, checked to be a plain word given once; then the visitor.
  template <typename Visit>
  absl::Status ForEachKey(const YAML::Node& map, absl::string_view prefix, Visit visit) {
    std::set<std::string> seen;
    for (const auto& entry : map) {
      if (!entry.first.IsScalar()) return Error(entry.first, "a key must be a word");
      const std::string& key = entry.first.Scalar();
      if (!seen.insert(key).second) {
        return Error(entry.first, absl::StrCat("key \"", prefix, key, "\" is given twice"));
      }
      TOWLINE_RETURN_IF_ERROR(visit(entry.first, key, entry.second));
    }
    return absl::OkStatus();
  }

  // prefix: "" for the file itself, else "retry." and the like.
  absl::Status ReadSection(const YAML::Node& map, const std::string& prefix) {
    return ForEachKey(
        map, prefix,
        [&](const YAML::Node& at, const std::string& key, const YAML::Node& value) -> absl::Status {
          std::string path = absl::StrCat(prefix, key);
          if (const OptionSpec* option = FindOption(path); option != nullptr) {
            return AddOption(at, *option, value);
          }
          if (prefix.empty() && key == "table") return ReadTables(at, value);
          if (prefix.empty() && Contains(FutureKeys(), key)) return FutureKey(at, path);
          if (prefix.empty() && IsSection(key)) {
            if (!value.IsMap()) {
              return Error(at, absl::StrCat("\"", key, "\" holds keys of its own: ",
                                            absl::StrJoin(KeysOf(key + "."), ", ")));
            }
            return ReadSection(value, path + ".");
          }
          return UnknownKey(at, prefix, key);
        });
  }

  absl::Status AddOption(const YAML::Node& at, const OptionSpec& option, const YAML::Node& value) {
    YamlSetting setting;
    setting.path = option.path;
    setting.origin = Origin(at, option.path);
    if (value.IsScalar()) {
      setting.values = {value.Scalar()};
    } else if (option.is_list && value.IsSequence()) {
      for (const YAML::Node& item : value) {
        if (!item.IsScalar()) return Error(item, absl::StrCat(option.path, " takes words"));
        setting.values.push_back(item.Scalar());
      }
    } else if (option.is_map && value.IsMap()) {
      TOWLINE_RETURN_IF_ERROR(ReadPairs(option.path, value, &setting.values));
    } else {
      return Error(at, absl::StrCat("\"", option.path, "\" ",
                                    value.IsNull()   ? "has no value"
                                    : option.is_list ? "takes a word or a list of words"
                                                     : "takes one value"));
    }
    settings_.push_back(std::move(setting));
    return absl::OkStatus();
  }

  absl::Status ReadPairs(const std::string& path, const YAML::Node& map,
                         std::vector<std::string>* words) {
    return ForEachKey(
        map, path + ".",
        [&](const YAML::Node& at, const std::string& key, const YAML::Node& value) -> absl::Status {
          if (!value.IsScalar()) {
            return Error(at, absl::StrCat("\"", path, ".", key, "\" takes one value"));
          }
          words->push_back(absl::StrCat(key, "=", value.Scalar()));
          return absl::OkStatus();
        });
  }

  absl::Status ReadTables(const YAML::Node& at, const YAML::Node& map) {
    if (!map.IsMap()) {
      return Error(at, "\"table\" holds keys of the form \"schema.table\": {existing: append}");
    }
    std::set<std::pair<bool, TableName>> seen;
    return ForEachKey(
        map, "table.",
        [&](const YAML::Node& table_at, const std::string& table,
            const YAML::Node& keys) -> absl::Status {
          absl::StatusOr<TableName> name = ParseTableName(table);
          if (!name.ok()) {
            return WithHint(
                Error(table_at, absl::StrCat("table \"", table, "\": ", name.status().message())),
                GetHint(name.status()));
          }
          const bool is_schema = IsWholeSchema(table);
          // A table may be called so.
          if (!seen.insert({is_schema, *name}).second) {
            return Error(table_at, absl::StrCat("table \"", table, "\" is given twice"));
          }
          if (!keys.IsMap()) {
            return Error(table_at, absl::StrCat("table \"", table,
                                                "\": expected keys of its own, as in {existing: "
                                                "append}"));
          }
          return ReadTable(table, *name, is_schema, keys);
        });
  }

  absl::Status ReadTable(const std::string& table, const TableName& name, bool is_schema,
                         const YAML::Node& keys) {
    std::string prefix = absl::StrCat("table.\"", table, "\".");
    return ForEachKey(
        keys, prefix,
        [&](const YAML::Node& at, const std::string& key, const YAML::Node& value) -> absl::Status {
          std::vector<std::string> known;
          for (const TableOptionSpec& option : TableOptionTable()) {
            known.push_back(prefix + option.key);
            if (option.key != key) continue;
            if (is_schema && option.set_schema == nullptr) {
              return WithHint(Error(at, absl::StrCat("\"", prefix, key, "\" is for single tables")),
                              "For all that is in a schema only ddl can be given.");
            }
            return AddTableOption(at, prefix + key, {name, is_schema}, option, value);
          }
          return Unknown(at, prefix + key, known);
        });
  }

  struct TableKey {
    TableName name;
    bool is_schema = false;
  };

  absl::Status AddTableOption(const YAML::Node& at, const std::string& path, const TableKey& table,
                              const TableOptionSpec& option, const YAML::Node& value) {
    YamlSetting setting;
    setting.path = option.key;
    setting.origin = Origin(at, path);
    setting.table = table.name;
    setting.is_schema = table.is_schema;
    if (option.kind == TableValueKind::kWord) {
      if (!value.IsScalar()) return Error(at, absl::StrCat("\"", path, "\" takes one value"));
      setting.table_value.words = {value.Scalar()};
    } else if (option.kind == TableValueKind::kWordOrMap && value.IsScalar()) {
      setting.table_value.words = {value.Scalar()};
    } else if (option.kind == TableValueKind::kWordOrMap && value.IsMap()) {
      TOWLINE_RETURN_IF_ERROR(ReadPairs(path, value, &setting.table_value.words));
    } else if (option.kind == TableValueKind::kWordOrMap) {
      return Error(at,
                   absl::StrCat("\"", path, "\" takes a word or a map, as in ", option.example));
    } else if (!value.IsSequence()) {
      return Error(at, absl::StrCat("\"", path, "\" takes a list, as in ", option.example));
    } else {
      for (const YAML::Node& item : value) {
        TOWLINE_RETURN_IF_ERROR(AddItem(item, path, option, &setting.table_value));
      }
    }
    settings_.push_back(std::move(setting));
    return absl::OkStatus();
  }

  absl::Status AddItem(const YAML::Node& item, const std::string& path,
                       const TableOptionSpec& option, TableValue* value) const {
    if (option.kind == TableValueKind::kWords) {
      if (!item.IsScalar()) return Error(item, absl::StrCat("\"", path, "\" takes words"));
      value->words.push_back(item.Scalar());
      return absl::OkStatus();
    }
    if (item.IsScalar()) {
      value->columns.push_back({item.Scalar(), std::nullopt});
      return absl::OkStatus();
    }
    bool is_pair = item.IsMap() && item.size() == 1 && item.begin()->first.IsScalar() &&
                   item.begin()->second.IsScalar();
    if (!is_pair) {
      return Error(item, absl::StrCat("\"", path,
                                      "\": each item is a column's name, or one {name: "
                                      "\"expression\"}"));
    }
    value->columns.push_back({item.begin()->first.Scalar(), item.begin()->second.Scalar()});
    return absl::OkStatus();
  }

  static bool IsSection(const std::string& key) { return !KeysOf(key + ".").empty(); }

  // Keys that may stand under the prefix; under "" also the sections.
  static std::vector<std::string> KeysOf(const std::string& prefix) {
    std::vector<std::string> keys;
    for (const OptionSpec& option : OptionTable()) {
      absl::string_view rest = option.path;
      if (!absl::ConsumePrefix(&rest, prefix)) continue;
      std::string key(rest.substr(0, rest.find('.')));
      if (!Contains(keys, key)) keys.push_back(key);
    }
    if (prefix.empty()) keys.push_back("table");
    return keys;
  }

  absl::Status FutureKey(const YAML::Node& at, const std::string& path) const {
    return WithHint(
        Error(at, absl::StrCat("key \"", path, "\" is not supported yet by this version")),
        "Remove the key.");
  }

  absl::Status UnknownKey(const YAML::Node& at, const std::string& prefix,
                          const std::string& key) const {
    // Right key, wrong place: the most frequent mistake with sections.
    for (const OptionSpec& option : OptionTable()) {
      if (absl::EndsWith(option.path, absl::StrCat(".", key))) {
        return WithHint(Error(at, absl::StrCat("unknown key \"", prefix, key, "\"")),
                        absl::StrCat("\"", key, "\" belongs under \"",
                                     option.path.substr(0, option.path.find('.')), "\"."));
      }
    }
    std::vector<std::string> known = KeysOf(prefix);
    for (std::string& each : known) each = prefix + each;
    return Unknown(at, prefix + key, known);
  }

  absl::Status Unknown(const YAML::Node& at, const std::string& path,
                       const std::vector<std::string>& known) const {
    std::string nearest = NearestOf(path, known);
    return WithHint(Error(at, absl::StrCat("unknown key \"", path, "\"")),
                    nearest.empty()
                        ? absl::StrCat("Known keys here: ", absl::StrJoin(known, ", "), ".")
                        : absl::StrCat("Did you mean \"", nearest, "\"?"));
  }

  std::string name_;
  std::vector<YamlSetting> settings_;
};

}  // namespace

absl::StatusOr<std::vector<YamlSetting>> ParseYaml(absl::string_view text, absl::string_view name) {
  // yaml-cpp reports by exceptions only; none of them leaves this function.
  try {
    return Reader(name).Read(YAML::Load(std::string(text)));
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ":", error.mark.is_null() ? 1 : error.mark.line + 1, ": ", error.msg));
  }
}

absl::StatusOr<std::vector<YamlSetting>> ReadYamlFile(const std::string& file) {
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  if (!stream || !(text << stream.rdbuf())) {
    // An empty file also fails to copy a single character; that one is fine.
    if (!stream.is_open() || errno != 0) {
      return WithHint(absl::InvalidArgumentError(absl::StrCat("cannot read ", file, ": ",
                                                              strerror(errno != 0 ? errno : EIO))),
                      "Give the path of a YAML file with --config.");
    }
  }
  if (text.str().size() > kFileBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, " is no configuration: it is larger than ", BytesText(kFileBytesMax)));
  }
  return ParseYaml(text.str(), file);
}

}  // namespace towline
