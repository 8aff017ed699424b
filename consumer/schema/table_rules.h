// What the rules of the configuration mean for the tables of the source: which rule holds for a
// table, what of the table is published under it, and the texts that both the plugin and the copy
// take.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/table.h"
#include "model/table_rule.h"
#include "pg/connection.h"

namespace towline {

using TableRules = std::map<TableName, TableRule>;

// The plugin resolves names in expressions under this setting (docs/protocol.md); whoever else
// binds them does so under the same.
inline constexpr char kRuleSearchPathSql[] = "SET search_path = pg_catalog, pg_temp";

// The table's own rule, else that of the nearest table above it in a partition tree; null: none.
const TableRule* FindRule(const TableRules& rules, const TableName& table,
                          const std::vector<TableName>& ancestors);
const TableRule* FindRule(const TableRules& rules, const Table& table);

// For the plugin's option table_rules and for towline.check_table_rules().
std::string RulesJson(const TableRules& rules);

// What a rule says, without its table's name: two rules with equal texts do the same. Empty for
// null.
std::string RuleText(const TableRule* rule);

// The part of such a text that says which rows are the task's (TableRule::shared); empty: all.
std::string SharedText(absl::string_view rule_text);

// Whether tasks with these rules write other rows of one table.
bool AreApart(absl::string_view rule_text, absl::string_view other_rule_text);

// True for the task's rows of the destination's table, as a term of a WHERE clause; empty: all are.
// `alias`: before the column's name, with its dot.
std::string SharedCondition(const TableRule& rule, absl::string_view alias = "");

// The text as one operand: it can be nothing but what stands between the parentheses
// (config/expression_text.h has looked at it), and a comment in it ends with its line.
std::string AsOperand(const std::string& expression);

// The tables as they are published: without the columns that a list leaves out, with those that
// expressions add (attnum 0, type of the expression). Binds every expression at the source without
// evaluating it, so that one that does not fit is an error (kFailedPrecondition) that names table
// and column. In the order of `tables`. The session's search_path is that of kRuleSearchPathSql.
//
// The plugin takes a replacing expression only if its type can be assigned to the column's. Asking
// that locks the table as an INSERT would, for the length of the session's transaction.
enum class AssignmentCheck { kSkip, kAsk };
absl::StatusOr<std::vector<Table>> PublishTables(Connection& source, const TableRules& rules,
                                                 std::vector<Table> tables, AssignmentCheck check);

// A replaced or added value as the copy selects it, in the column's type. Its modifier is left to
// the destination's column, which then refuses or rounds as an assignment does, and does not cut
// off as a cast would.
std::string RuleValueSql(const TableColumn& column, const std::string& expression);

}  // namespace towline
