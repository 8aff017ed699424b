// The options of single tables.
#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "config/expression_text.h"
#include "config/option_parts.h"

namespace towline {
namespace {

constexpr Word<bool> kOnOff[] = {{"on", true}, {"off", false}};

constexpr char kOperationsRange[] = "a list of insert, update, delete and truncate";

TableRule& RuleFor(Config& config, const TableName& name) {
  TableRule& rule = config.rules[name];
  rule.table = name;
  return rule;
}

absl::Status SetWhere(Config& config, const TableName& name, const TableValue& value) {
  TOWLINE_RETURN_IF_ERROR(CheckExpressionText(value.words[0]));
  RuleFor(config, name).where = value.words[0];
  return absl::OkStatus();
}

absl::Status SetColumns(Config& config, const TableName& name, const TableValue& value) {
  if (value.columns.empty()) return absl::InvalidArgumentError("lists no column");
  std::set<std::string> seen;
  for (const RuleColumn& column : value.columns) {
    if (column.name.empty()) return absl::InvalidArgumentError("holds an empty name");
    if (!seen.insert(column.name).second) {
      return absl::InvalidArgumentError(absl::StrCat("lists \"", column.name, "\" twice"));
    }
    if (!column.expression.has_value()) continue;
    absl::Status checked = CheckExpressionText(*column.expression);
    if (!checked.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("has an expression for \"", column.name, "\" that ", checked.message()));
    }
  }
  TableRule& rule = RuleFor(config, name);
  rule.has_columns = true;
  rule.columns = value.columns;
  return absl::OkStatus();
}

absl::Status SetOperations(Config& config, const TableName& name, const TableValue& value) {
  RuleOperations operations{false, false, false, false};
  const std::pair<absl::string_view, bool*> known[] = {{"insert", &operations.has_insert},
                                                       {"update", &operations.has_update},
                                                       {"delete", &operations.has_delete},
                                                       {"truncate", &operations.has_truncate}};
  for (const std::string& word : value.words) {
    bool is_known = false;
    for (const auto& [text, has] : known) {
      if (word != text) continue;
      if (*has) return absl::InvalidArgumentError(absl::StrCat("lists ", word, " twice"));
      *has = is_known = true;
    }
    if (!is_known) return OutOfRange(kOperationsRange);
  }
  if (value.words.empty()) {
    return WithHint(absl::InvalidArgumentError("lists no operation"),
                    "Leave the table out by tables.exclude.");
  }
  RuleFor(config, name).operations = operations;
  return absl::OkStatus();
}

constexpr Word<ConflictAction> kConflictActions[] = {{"stop", ConflictAction::kStop},
                                                     {"overwrite", ConflictAction::kOverwrite},
                                                     {"skip", ConflictAction::kSkip}};

absl::Status SetKindPolicy(absl::string_view name, const std::string& word,
                           ConflictPolicy& policy) {
  ConflictAction action{};
  TOWLINE_RETURN_IF_ERROR(SetWord(kConflictActions, word, action));
  Values known;
  for (const ConflictFacts& facts : kConflictFacts) {
    if (!facts.may_skip) continue;
    known.push_back(facts.name);
    if (facts.name != name) continue;
    if (action == ConflictAction::kOverwrite && !facts.may_overwrite) {
      return absl::InvalidArgumentError(
          absl::StrCat("cannot overwrite where there is a ", name, ": no row is in the way"));
    }
    policy.actions[static_cast<size_t>(facts.kind)] = action;
    return absl::OkStatus();
  }
  return WithHint(absl::InvalidArgumentError(
                      absl::StrCat("names a kind of conflict \"", name, "\" that there is not")),
                  absl::StrCat("Kinds are ", absl::StrJoin(known, ", "), "."));
}

}  // namespace

// A word alone is for all kinds, whatever stands beside it.
absl::Status SetConflictPolicy(const Values& words, ConflictPolicy& policy) {
  policy = {};
  for (const std::string& word : words) {
    if (absl::StrContains(word, '=')) continue;
    ConflictAction action{};
    TOWLINE_RETURN_IF_ERROR(SetWord(kConflictActions, word, action));
    policy.actions.fill(action);
  }
  for (const std::string& word : words) {
    const std::pair<std::string, std::string> pair = absl::StrSplit(word, absl::MaxSplits('=', 1));
    if (!absl::StrContains(word, '=')) continue;
    TOWLINE_RETURN_IF_ERROR(SetKindPolicy(pair.first, pair.second, policy));
  }
  return absl::OkStatus();
}

namespace {

constexpr Word<DdlAction> kDdlActions[] = {
    {"apply", DdlAction::kApply}, {"hold", DdlAction::kHold}, {"ignore", DdlAction::kIgnore}};

absl::Status SetDdlKind(absl::string_view name, const std::string& word, DdlActions& actions) {
  DdlAction action{};
  TOWLINE_RETURN_IF_ERROR(SetWord(kDdlActions, word, action));
  Values known;
  for (const DdlFacts& facts : kDdlFacts) {
    known.push_back(facts.name);
    if (facts.name != name) continue;
    actions[static_cast<size_t>(facts.kind)] = action;
    return absl::OkStatus();
  }
  return WithHint(absl::InvalidArgumentError(
                      absl::StrCat("names a kind of command \"", name, "\" that there is not")),
                  absl::StrCat("Kinds are ", absl::StrJoin(known, ", "), "."));
}

// "kind=word" each; a word alone is somebody else's.
absl::Status SetDdlKinds(const Values& words, DdlActions& actions) {
  for (const std::string& word : words) {
    const std::pair<std::string, std::string> pair = absl::StrSplit(word, absl::MaxSplits('=', 1));
    if (!absl::StrContains(word, '=')) continue;
    TOWLINE_RETURN_IF_ERROR(SetDdlKind(pair.first, pair.second, actions));
  }
  return absl::OkStatus();
}

// Commands of these kinds tell no table and no schema that they are of.
constexpr DdlKind kOfNoPlace[] = {DdlKind::kGrant, DdlKind::kExtension, DdlKind::kReplication};

// Of a table or a schema. apply alone is for the kinds that are applied by default, hold and ignore
// alone are for all.
absl::Status SetDdlActions(const Values& words, DdlActions& actions) {
  actions = {};
  if (words.empty()) return absl::InvalidArgumentError("names no kind of command");
  for (DdlKind kind : kOfNoPlace) {
    const std::string name = absl::StrCat(NameOf(kind), "=");
    if (std::any_of(words.begin(), words.end(),
                    [&](const std::string& word) { return absl::StartsWith(word, name); })) {
      return WithHint(
          absl::InvalidArgumentError(absl::StrCat("names ", NameOf(kind),
                                                  ", which is the task's: such a "
                                                  "command is of no single table or schema")),
          absl::StrCat("Say it in ddl: {", NameOf(kind), ": ...}."));
    }
  }
  if (words.size() == 1 && !absl::StrContains(words[0], '=')) {
    DdlAction action{};
    TOWLINE_RETURN_IF_ERROR(SetWord(kDdlActions, words[0], action));
    for (const DdlFacts& facts : kDdlFacts) {
      if (action == DdlAction::kApply && facts.by_default != DdlAction::kApply) continue;
      actions[static_cast<size_t>(facts.kind)] = action;
    }
  }
  return SetDdlKinds(words, actions);
}

}  // namespace

// apply alone leaves each kind its default; hold and ignore alone are for all kinds.
absl::Status SetDdlPolicy(const Values& words, DdlPolicy& policy) {
  policy.is_on = false;
  policy.actions = {};
  if (words.size() == 1 && words[0] == "off") return absl::OkStatus();
  policy.is_on = true;
  for (const std::string& word : words) {
    if (absl::StrContains(word, '=')) continue;
    DdlAction action{};
    absl::Status set = SetWord(kDdlActions, word, action);
    if (!set.ok()) return OutOfRange(kDdlRange);
    if (action != DdlAction::kApply) policy.actions.fill(action);
  }
  return SetDdlKinds(words, policy.actions);
}

absl::Status SetDdlRoles(const Values& words, DdlRoles& roles) {
  roles = {};
  for (const std::string& word : words) {
    const std::vector<std::string> parts = absl::StrSplit(word, absl::MaxSplits('=', 1));
    if (parts.front().empty() || parts.back().empty()) {
      return absl::InvalidArgumentError("holds an empty name of a role");
    }
    if (parts.size() == 2) {
      roles.by_source[parts[0]] = parts[1];
    } else if (roles.others.empty()) {
      roles.others = word;
    } else {
      return WithHint(absl::InvalidArgumentError(absl::StrCat("names two roles for everybody, ",
                                                              roles.others, " and ", word)),
                      "Of the others say whose commands they are for: SOURCE_ROLE=ROLE.");
    }
  }
  return absl::OkStatus();
}

const std::vector<TableOptionSpec>& TableOptionTable() {
  static const auto* table = new std::vector<TableOptionSpec>{
      {"existing", kExistingRange,
       "As existing, for this table and for partitions below it, unless they or a table in "
       "between have their own.",
       "append", TableValueKind::kWord,
       [](Config& config, const TableName& name, const TableValue& value) {
         return SetWord(kExisting, value.words[0], config.existing_by_table[name]);
       }},
      {"where", "an SQL expression",
       "Only rows for which it is true are copied and streamed. A row that comes to satisfy it is "
       "inserted at the destination, one that ceases to is deleted.",
       "\"region = 'eu'\"", TableValueKind::kWord, SetWhere},
      {"columns", "names, and name: SQL expression",
       "The columns that are sent; without it all are. An expression replaces a column's value, or "
       "under a new name adds a column.",
       "[id, region, {email: \"left(email, 2)\"}, {origin: \"'eu'::text\"}]",
       TableValueKind::kColumns, SetColumns},
      {"shared",
       "a name",
       "The column of columns that tells the task's rows from those of other tasks in the same "
       "table of the destination; its expression is a string or an integer, another one for each "
       "task. Needs schema: skip, and goes with no ddl, existing: append or operations "
       "(docs/shared.md).",
       "origin",
       TableValueKind::kWord,
       [](Config& config, const TableName& name, const TableValue& value) {
         RuleFor(config, name).shared = value.words[0];
         return absl::OkStatus();
       },
       {},
       /*excludes_others=*/true},
      {"operations", kOperationsRange,
       "What is streamed of the table's changes. The first copy brings the rows in any case.",
       "[insert, update]", TableValueKind::kWords, SetOperations},
      {"on_conflict", kConflictRange,
       "As on_conflict, for this table. Kinds that it does not name are as the task has them.",
       "{update_missing: skip}", TableValueKind::kWordOrMap,
       [](Config& config, const TableName& name, const TableValue& value) {
         return SetConflictPolicy(value.words, config.conflicts.tables[name]);
       }},
      {"fold", "on or off",
       "off: each change of the table is written as it came, row by row, with all that was "
       "committed before it and nothing that came after it, instead of its net changes in sets. "
       "Always so where triggers or rules of the destination fire for replicated rows.",
       "off", TableValueKind::kWord,
       [](Config& config, const TableName& name, const TableValue& value) {
         return SetWord(kOnOff, value.words[0], config.folds[name]);
       }},
      {"on_failure", kFailedRange, "As on_failure, for this table.", "park", TableValueKind::kWord,
       [](Config& config, const TableName& name, const TableValue& value) {
         return SetWord(kFailed, value.words[0], config.on_failure_by_table[name]);
       }},
      {"ddl", "apply, hold or ignore, or one of them per kind of command",
       "As ddl, for schema changes of this table and of partitions below it; under \"schema.*\", "
       "which takes this key only, for those of all that is in the schema. The table wins over the "
       "schema, and the schema over the task. Kinds that it does not name are as the next of them "
       "has them (docs/ddl.md).",
       "{drop_table: hold}", TableValueKind::kWordOrMap,
       [](Config& config, const TableName& name, const TableValue& value) {
         return SetDdlActions(value.words, config.ddl.tables[name]);
       },
       [](Config& config, const std::string& schema, const TableValue& value) {
         return SetDdlActions(value.words, config.ddl.schemas[schema]);
       }}};
  return *table;
}

}  // namespace towline
