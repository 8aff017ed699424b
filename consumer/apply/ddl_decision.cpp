#include "apply/ddl_decision.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "apply/ddl_drops.h"
#include "apply/ddl_names.h"
#include "apply/ddl_words.h"

namespace towline {
namespace {

// Of all objects.
template <typename Predicate>
bool AllOf(const DdlCommand& command, const DdlCircumstances& circumstances, Predicate predicate) {
  return (!command.objects.empty() || !circumstances.dropped.empty()) &&
         std::all_of(command.objects.begin(), command.objects.end(), predicate) &&
         std::all_of(circumstances.dropped.begin(), circumstances.dropped.end(), predicate);
}

// A consumer that writes into the source keeps its state there, and makes its schema.
bool IsOwn(const DdlObject& object) {
  const std::string& schema = object.type == "schema" ? object.identity : object.schema;
  return schema == "towline" || schema == "towline_state";
}

bool IsOfTable(const DdlObject& object) {
  static constexpr std::array<absl::string_view, 8> kTypes = {
      "table",   "index", "table column", "table constraint",
      "trigger", "rule",  "policy",       "default value"};
  return std::find(kTypes.begin(), kTypes.end(), object.type) != kTypes.end() &&
         !object.table.name.empty();
}

// Of a DROP that names no table and takes columns along, the destination's takes its own.
bool TakesColumnsOnly(const DdlCommand& command, const std::vector<DdlObject>& dropped) {
  auto is_column = [](const DdlObject& object) { return object.type == "table column"; };
  return absl::StartsWith(command.tag, "DROP ") &&
         std::any_of(dropped.begin(), dropped.end(), is_column) &&
         std::all_of(dropped.begin(), dropped.end(), [&](const DdlObject& object) {
           return is_column(object) || !IsOfTable(object);
         });
}

// What the statement alone does not do right, or what its text does not say here.
std::string WhyNotSupported(const DdlCommand& command, const DdlCircumstances& circumstances) {
  if (HasAction(command, "ENABLE ALWAYS")) {
    return "a trigger or rule is made ENABLE ALWAYS or REPLICA: it would fire for the rows that "
           "Towline writes, which the source's has made already";
  }
  if (HasAction(command, "SET TABLESPACE")) {
    return "SET TABLESPACE is not carried, and the command does more than that: tablespaces are "
           "each server's own";
  }
  if (HasAction(command, "RENAME SCHEMA") && circumstances.has_rules) {
    return "RENAME SCHEMA, and tables of the task have rules (where, columns, operations), which "
           "go "
           "by names";
  }
  static constexpr std::array<absl::string_view, 4> kFamilyActions = {
      "ATTACH PARTITION", "DETACH PARTITION", "INHERIT", "NO INHERIT"};
  for (absl::string_view action : kFamilyActions) {
    if (HasAction(command, action) && circumstances.has_table_rules) {
      return absl::StrCat(action,
                          " of tables with rules (where, columns, operations), which go by names "
                          "and partitions");
    }
  }
  switch (circumstances.moved.what) {
    case DdlMove::kNone:
    case DdlMove::kOutside:
    case DdlMove::kStays:
    case DdlMove::kLeaves:
      break;
    case DdlMove::kEnters:
      return "a table comes into the selection with its rows, which are not here: skip it, make "
             "the table here as it is at the source then, and let towline table rejoin copy it";
    case DdlMove::kApart:
      return "a selected table becomes a partition of one that is not selected";
    case DdlMove::kUnknown:
      return "tables are selected by patterns, and whether this one is selected before and behind "
             "it cannot be told";
  }
  const bool moves_table = HasAction(command, "RENAME TABLE") || HasAction(command, "SET SCHEMA");
  if (circumstances.has_own_rules &&
      (moves_table || command.phase == DdlPhase::kRewrite || command.phase == DdlPhase::kStart)) {
    return "a table with a rule or rows of its own (where, columns, operations, existing: append) "
           "is renamed or rewritten";
  }
  const bool brings_rows = command.phase == DdlPhase::kRewrite || !command.fills.empty();
  if (brings_rows && circumstances.has_table_rules) {
    return "it writes rows of a table anew that has a rule (where, columns, operations)";
  }
  if (command.tag == "DROP OWNED" && !circumstances.selects_all) {
    return "it drops all that a role owns, and tables are selected by patterns";
  }
  const bool takes_columns =
      circumstances.selected_tables > 0 && TakesColumnsOnly(command, circumstances.dropped);
  if (takes_columns && !circumstances.selects_all && KindOf(command) != DdlKind::kType) {
    return "it takes a column of a selected table along, and tables are selected by patterns: what "
           "else it would take here cannot be told";
  }
  // Of DROP TABLE those that are selected are dropped.
  if (circumstances.selected_tables > 0 && circumstances.other_tables > 0 &&
      command.tag != "DROP TABLE" && !takes_columns) {
    return "it names tables that are selected and others that are not";
  }
  return "";
}

// Where it cannot be told whether the command is of a selected table.
std::string WhyNotTold(const DdlCommand& command, const DdlCircumstances& circumstances) {
  const bool names_tables = circumstances.selected_tables + circumstances.other_tables > 0;
  if (!command.gap.empty() && (!names_tables || circumstances.misses_drops)) {
    return absl::StrCat("the source could not capture it: ", command.gap);
  }
  if (circumstances.selects_all) return "";
  if (HasAction(command, "RENAME SCHEMA")) {
    return "RENAME SCHEMA, and tables are selected by patterns: rows may come into the selection "
           "or leave it";
  }
  if (command.tag == "DROP SCHEMA") {
    return "a schema is dropped, and tables are selected by patterns: it may hold others";
  }
  // An index that is not here is not dropped either.
  static constexpr std::array<absl::string_view, 3> kTags = {"DROP TRIGGER", "DROP POLICY",
                                                             "DROP RULE"};
  if (!names_tables && std::find(kTags.begin(), kTags.end(), command.tag) != kTags.end()) {
    return "tables are selected by patterns, and of which table it is cannot be told";
  }
  return "";
}

std::string SchemaOf(const DdlObject& object) {
  if (object.type != "schema") return object.schema;
  const DdlWords words(object.identity);
  return words.IsName(0) ? words.NameAt(0) : "";
}

}  // namespace

std::optional<TableName> TableOf(const DdlObject& object) {
  if (IsOfTable(object)) return object.table;
  static constexpr std::array<absl::string_view, 3> kTypes = {"trigger", "rule", "policy"};
  if (std::find(kTypes.begin(), kTypes.end(), object.type) == kTypes.end()) return std::nullopt;
  const DdlWords words(object.identity);
  return words.Is(1, "on") ? NameInIdentity(object.identity.substr(words[1].end)) : std::nullopt;
}

std::vector<DdlSubject> SubjectsOf(const DdlCommand& command,
                                   const std::vector<DdlObject>& dropped) {
  if (KindOf(command) == DdlKind::kGrant) return {};
  std::set<TableName> tables;
  std::set<std::string> others;  // their schemas
  for (const auto* objects : {&command.objects, &dropped}) {
    for (const DdlObject& object : *objects) {
      const std::optional<TableName> table = TableOf(object);
      if (table.has_value()) tables.insert(*table);
      if (!table.has_value()) others.insert(SchemaOf(object));
    }
  }
  std::vector<DdlSubject> subjects;
  for (const TableName& table : tables) subjects.push_back({table.schema, {table}});
  // What else a command is of belongs to its tables; but of a DROP the objects that it names are
  // told, and tables that lose columns by CASCADE.
  const bool is_drop = absl::StartsWith(command.tag, "DROP ");
  if (!tables.empty() && !is_drop && KindOf(command) != DdlKind::kSchema) return subjects;
  for (const std::string& schema : others) subjects.push_back({schema, {}});
  return subjects;
}

DdlKind KindOf(const DdlCommand& command) {
  const std::string& tag = command.tag;
  auto has = [&tag](absl::string_view word) { return absl::StrContains(tag, word); };
  if (tag == "GRANT" || tag == "REVOKE" || has("DEFAULT PRIVILEGES")) return DdlKind::kGrant;
  if (!command.actions.empty() && command.actions == std::vector<std::string>{"OWNER"}) {
    return DdlKind::kOwner;
  }
  if (has("FOREIGN") || has("SERVER") || has("USER MAPPING")) return DdlKind::kForeign;
  if (has("PUBLICATION") || has("SUBSCRIPTION")) return DdlKind::kReplication;
  if (tag == "COMMENT") return DdlKind::kComment;
  if (has("EXTENSION")) return DdlKind::kExtension;
  if (has("MATERIALIZED VIEW")) return DdlKind::kMaterializedView;
  if (has("VIEW")) return DdlKind::kView;
  if (has("INDEX")) return DdlKind::kIndex;
  if (has("SEQUENCE")) return DdlKind::kSequence;
  if (has("SCHEMA")) return DdlKind::kSchema;
  if (has("EVENT TRIGGER")) return DdlKind::kOther;
  if (has("TRIGGER") || has(" RULE")) return DdlKind::kTrigger;
  if (has("POLICY")) return DdlKind::kPolicy;
  if (tag == "DROP TABLE" || tag == "DROP OWNED") return DdlKind::kDropTable;
  if (has("TABLE") || tag == "SELECT INTO" || has("STATISTICS")) return DdlKind::kTable;
  for (absl::string_view word :
       {"FUNCTION", "PROCEDURE", "ROUTINE", "AGGREGATE", "OPERATOR", "CAST", "CONVERSION",
        "TRANSFORM", "LANGUAGE", "TEXT SEARCH", "ACCESS METHOD"}) {
    if (has(word)) return DdlKind::kRoutine;
  }
  for (absl::string_view word : {"TYPE", "DOMAIN", "COLLATION"}) {
    if (has(word)) return DdlKind::kType;
  }
  return DdlKind::kOther;
}

std::vector<TableName> TablesOf(const DdlCommand& command, const std::vector<DdlObject>& dropped) {
  std::set<TableName> tables;
  for (const auto* objects : {&command.objects, &dropped}) {
    for (const DdlObject& object : *objects) {
      if (IsOfTable(object)) tables.insert(object.table);
    }
  }
  return {tables.begin(), tables.end()};
}

std::vector<FailedTable> TablesToPark(const DdlCommand& command,
                                      const std::vector<DdlObject>& dropped) {
  static constexpr std::array<DdlKind, 4> kHarmless = {DdlKind::kComment, DdlKind::kGrant,
                                                       DdlKind::kOwner, DdlKind::kReplication};
  std::vector<FailedTable> tables;
  if (command.actions == std::vector<std::string>{"ENABLE ALWAYS"}) return tables;
  std::set<Oid> known;
  auto add = [&](const DdlObject& object) {
    if (known.insert(object.oid).second) tables.push_back({object.table, object.oid});
  };
  const bool is_harmless =
      std::find(kHarmless.begin(), kHarmless.end(), KindOf(command)) != kHarmless.end();
  for (const DdlObject& object : command.objects) {
    const bool is_table = object.type == "table" || object.type == "table column";
    if (is_table && !is_harmless && object.oid != 0) add(object);
  }
  // One that is dropped itself brings no rows any more.
  for (const DdlObject& object : dropped) {
    if (object.type == "table") known.insert(object.oid);
  }
  for (const DdlObject& object : dropped) {
    if (object.type == "table column") add(object);
  }
  return tables;
}

DdlWord WordFor(DdlKind kind, const DdlPolicy& policy, const std::vector<DdlSubject>& subjects) {
  if (subjects.empty()) return policy.WordFor(kind, {});
  std::optional<DdlWord> applied;
  std::optional<DdlWord> ignored;
  for (const DdlSubject& subject : subjects) {
    DdlWord word = policy.WordFor(kind, subject);
    if (word.action == DdlAction::kHold) return word;
    (word.action == DdlAction::kIgnore ? ignored : applied) = std::move(word);
  }
  if (!applied.has_value() || !ignored.has_value())
    return applied.has_value() ? *applied : *ignored;
  return {DdlAction::kHold, false, absl::StrCat(applied->reason, ", and ", ignored->reason)};
}

DdlDecision Decide(const DdlCommand& command, const DdlPolicy& policy,
                   const DdlCircumstances& circumstances) {
  const DdlKind kind = KindOf(command);
  if (AllOf(command, circumstances, IsOwn)) {
    return {DdlAction::kIgnore, "Towline's own schema"};
  }
  if (AllOf(command, circumstances,
            [](const DdlObject& object) { return object.type == "large object"; })) {
    return {DdlAction::kIgnore, "large objects are not followed"};
  }
  if (command.tag == "REINDEX") return {DdlAction::kIgnore, "it changes nothing that is carried"};
  if (!command.actions.empty() &&
      std::all_of(command.actions.begin(), command.actions.end(),
                  [](const std::string& action) { return action == "SET TABLESPACE"; })) {
    return {DdlAction::kIgnore, "tablespaces are each server's own"};
  }
  const DdlWord word = WordFor(kind, policy, circumstances.subjects);
  const DdlAction action = word.action;
  if (command.tag == "DROP OWNED" && command.gap.empty() && !circumstances.misses_drops &&
      DropStatements(command, circumstances.dropped).empty()) {
    const bool carries = policy.ActionFor(DdlKind::kGrant) == DdlAction::kApply;
    return {carries ? DdlAction::kHold : DdlAction::kIgnore,
            "it drops nothing that is here, and takes rights away"};
  }
  if (action != DdlAction::kIgnore) {
    std::string why = WhyNotTold(command, circumstances);
    if (!why.empty()) return {DdlAction::kHold, why};
  }
  if (!circumstances.selects_all && circumstances.selected_tables == 0) {
    const bool is_harmless = command.tag == "CREATE SCHEMA" || kind == DdlKind::kType;
    if (!is_harmless) return {DdlAction::kIgnore, "not of a selected table"};
  }
  if (action == DdlAction::kIgnore) {
    return {action, word.reason};
  }
  if (!command.gap.empty()) {
    return {DdlAction::kHold, absl::StrCat("the source could not capture it: ", command.gap)};
  }
  std::string why = WhyNotSupported(command, circumstances);
  if (!why.empty()) return {DdlAction::kHold, why};
  if (action == DdlAction::kHold) {
    return {action, word.reason, word.is_said};
  }
  return {DdlAction::kApply, ""};
}

}  // namespace towline
