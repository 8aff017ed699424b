// Every option, declared once: parser, --help, docs/reference and the example file come from this
// table, so none of them can say something else than the program does.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "config/config.h"

namespace towline {

struct OptionSpec {
  std::string path;          // in YAML: "retry.connection"
  std::string flag;          // "--retry-connection"
  std::string flag_twin;     // "--target"; mostly empty
  std::string env;           // "TOWLINE_RETRY_CONNECTION"
  std::string value_name;    // "MINUTES", for --help
  std::string default_text;  // as it would be written; empty: none
  std::string range;         // "10 to 1440", or the words that are allowed
  std::string group;         // heading in help and reference
  std::string help;          // a sentence or two
  std::string example;       // a value for the example file; empty: the default
  bool is_list = false;      // may be given several times; a sequence in YAML; env: comma-separated
  bool is_map = false;       // a mapping in YAML gives the words "key=value"; with is_list
  bool is_for_all = false;   // of every command; the rest only of those that start the data's way
  // Checks and stores. A list replaces what was there.
  std::function<absl::Status(Config&, const std::vector<std::string>&)> set;
};

const std::vector<OptionSpec>& OptionTable();
const OptionSpec* FindOption(absl::string_view path);

// What a table's key may hold in YAML.
enum class TableValueKind {
  kWord,       // existing: append
  kWords,      // operations: [insert, update]
  kWordOrMap,  // on_conflict: skip, or {update_missing: skip}; as words "key=value"
  kColumns,    // columns: [id, {email: "left(email, 2)"}]
};

struct TableValue {
  std::vector<std::string> words;   // kWord: one
  std::vector<RuleColumn> columns;  // kColumns
};

// Keys of YAML that stand per table, under table: {"schema.table": {...}}.
struct TableOptionSpec {
  std::string key;
  std::string range;
  std::string help;
  std::string example;  // as it is written in YAML
  TableValueKind kind = TableValueKind::kWord;
  std::function<absl::Status(Config&, const TableName& table, const TableValue& value)> set;
  // Under "schema.*"; null: it is for single tables only.
  std::function<absl::Status(Config&, const std::string& schema, const TableValue& value)>
      set_schema{};
  bool excludes_others = false;  // the example has it as a comment: some others do not go with it
};
const std::vector<TableOptionSpec>& TableOptionTable();

// Keys that are designed and not built: refused by name, never ignored and never called unknown.
const std::vector<std::string>& FutureKeys();  // top level: "map", ...

}  // namespace towline
