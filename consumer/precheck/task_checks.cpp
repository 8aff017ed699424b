// What concerns the task itself: its options for single tables, other tasks beside it; its slot in
// slot_checks.cpp.
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "config/value_text.h"
#include "precheck/check_context.h"
#include "schema/array_literal.h"
#include "schema/table_rules.h"

namespace towline {
namespace {

void CheckTableOptions(CheckContext& context) {
  const CheckOptions& options = context.options;
  std::set<TableName> named;
  for (const auto& [name, policy] : options.existing.by_table) named.insert(name);
  for (const auto& [name, rule] : options.rules) named.insert(name);
  for (const auto& [name, may_fold] : options.folds) named.insert(name);
  named.insert(options.ddl_tables.begin(), options.ddl_tables.end());
  if (named.empty() || context.tables.empty()) return;
  std::vector<std::string> known;
  std::set<TableName> selected;
  for (const Table& table : context.tables) {
    known.push_back(TableNameText(table.name));
    selected.insert(table.name);
    // A rule of a partitioned table may be meant for a partition that alone is selected.
    for (const TableName& ancestor : table.ancestors) {
      if (options.existing.by_table.contains(ancestor)) selected.insert(ancestor);
      if (options.rules.contains(ancestor)) selected.insert(ancestor);
      if (options.folds.contains(ancestor)) selected.insert(ancestor);
      if (options.ddl_tables.contains(ancestor)) selected.insert(ancestor);
    }
  }
  std::vector<std::string> strange;
  for (const TableName& name : named) {
    if (!selected.contains(name)) strange.push_back(TableNameText(name));
  }
  if (strange.empty()) {
    context.Pass("task.table_options", "every table with options of its own is selected");
    return;
  }
  std::string nearest = NearestOf(strange[0], known);
  context.Fail("task.table_options", absl::StrCat("not selected: ", ListNames(strange)),
               {.text = nearest.empty() ? "" : absl::StrCat("Did you mean \"", nearest, "\"?")});
}

void CheckOtherTask(CheckContext& context) {
  constexpr char kId[] = "task.other_task";
  std::optional<Result> exists = context.Ask(
      kId, *context.destination,
      "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
      "ON n.oid = c.relnamespace WHERE n.nspname = 'towline_state' AND c.relname = 'piece' "
      "AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') "
      "AND pg_catalog.has_table_privilege(c.oid, 'SELECT'))");
  if (!exists) return;
  if (!exists->GetBool(0, 0)) {
    context.Pass(kId, "no other task writes here");
    return;
  }
  ArrayLiteral schemas;
  ArrayLiteral tables;
  for (const Table& table : context.tables) {
    schemas.Add(table.name.schema);
    tables.Add(table.name.name);
  }
  std::optional<Result> result =
      context.Ask(kId, *context.destination,
                  "SELECT p.task, p.schema_name, p.table_name, p.rule FROM towline_state.piece p "
                  "WHERE p.task <> $1 AND p.state <> 'removed' AND "
                  "(p.schema_name, p.table_name) IN (SELECT * FROM unnest($2::text[], $3::text[])) "
                  "ORDER BY 1, 2, 3",
                  {{context.options.task, schemas.ToString(), tables.ToString()}});
  if (!result) return;
  std::map<std::string, std::vector<TableName>> written;
  for (int row = 0; row < result->row_count(); ++row) {
    const TableName table{result->GetString(row, 1), result->GetString(row, 2)};
    auto rule = context.options.rules.find(table);
    const bool is_shared = rule != context.options.rules.end() &&
                           AreApart(RuleText(&rule->second), result->Get(row, 3));
    if (!is_shared) written[result->GetString(row, 0)].push_back(table);
  }
  std::vector<std::string> others;
  for (const auto& [task, its_tables] : written) {
    others.push_back(absl::StrCat("task ", task, " writes ", Counted(its_tables.size(), "table"),
                                  " of these, ", its_tables.front().schema, ".",
                                  its_tables.front().name));
  }
  if (others.empty()) {
    context.Pass(kId, "no other task writes these tables");
  } else {
    context.Fail(kId, ListNames(others), {});
  }
}

}  // namespace

void CheckTask(CheckContext& context) {
  CheckTableOptions(context);
  if (context.source) CheckTaskSlot(context);
  if (context.destination && !context.options.task.empty()) CheckOtherTask(context);
}

}  // namespace towline
