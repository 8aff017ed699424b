// The option table_rules: per table a row filter, a column list with expressions, and the
// operations that are sent. docs/plugin.md, "Rules". Parsed without looking at any catalog: at
// START_REPLICATION no transaction is open, and the tables that the WAL speaks of are yesterday's.
#pragma once

#include "pg_headers.h"
#include "table_names.h"

namespace towline::plugin {

enum Operation : uint8_t {
  kInsertOperation = 1,
  kUpdateOperation = 2,
  kDeleteOperation = 4,
  kTruncateOperation = 8,
  kAllOperations = 15,
};

struct ColumnRule {
  const char* name;
  const char* expression;  // null: the column as it is
};

struct TableRule {
  TableName table;    // the hash table's key
  int number;         // its place in the option, from 1
  const char* where;  // null: every row
  bool has_columns;   // else all columns as they are
  int column_count;
  ColumnRule* columns;
  uint8_t operations;  // of Operation
};

struct TableRules {
  HTAB* by_name;  // null: no rules
  int count;
  const TableRule** in_order;
};

// Parses in the current memory context, which must live as long as the rules. Raises an error that
// names rule, table and place. The expressions are texts, not looked at.
void ParseTableRules(const char* json, TableRules* rules);
// Refuses what can be told of the expressions without a catalog.
void CheckRulesSyntax(const TableRules& rules);

// Null if there is no rule of exactly that name.
const TableRule* FindTableRule(const TableRules& rules, std::string_view schema,
                               std::string_view name);

const ColumnRule* FindColumnRule(const TableRule* rule, const char* name);

}  // namespace towline::plugin
