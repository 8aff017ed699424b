// A table rule (table_rules.h) bound to a relation as it was at the time of the change, and applied
// to its rows: which changes are sent, and what the columns with expressions hold.
//
// The filter looks at both images of an UPDATE: a row that enters it becomes an INSERT, one that
// leaves it a DELETE. So the old row must be known as far as the filter reads it, a row that enters
// must be whole, and an expression must have all that it reads; where the WAL lacks something of
// that the table is refused and the way to mend it named, never a row guessed.
#pragma once

#include "expression.h"
#include "relation_cache.h"
#include "replica_identity.h"
#include "row_encoder.h"
#include "table_rules.h"

namespace towline::plugin {

// A column whose value an expression gives.
struct ComputedColumn {
  ExpressionSource source;
  Expression expression;
  int index;          // of its value, behind the relation's own columns
  bool is_unchanged;  // in the row at hand: not in the WAL, and what it was before
};

struct RowRules {
  const TableRule* rule;
  ExpressionSource filter_source;
  Expression filter;         // without a state if there is none
  const char* lacking_name;  // a column of the filter that old images lack; null if there is none
  int lacking_position;
  ComputedColumn* computed;
  int computed_count;
  TupleTableSlot* slot;  // the row as expressions see it
  bool* is_key;          // by column index
  int* unsendable;       // indexes of columns that an UPDATE's WAL may lack
  int unsendable_count;
  int* naming_codecs;  // columns that name the row in errors, by index in entry->columns
  int naming_count;
};

enum class RowFate { kDropped, kInsert, kUpdate, kDelete };

// Binds the filter. Belongs to `context`, as what the other Bind functions add.
RowRules* BindRowRules(const TableRule* rule, const char* table, Relation relation,
                       const Identity& identity, MemoryContext context);
// Binds the expression of a column; `attribute` is null for one that the table does not have.
const ComputedColumn* BindComputedColumn(RowRules* rules, const ColumnRule* column,
                                         const char* table, TupleDesc descriptor,
                                         const FormData_pg_attribute* attribute,
                                         MemoryContext context);

// Raise what stands between a rule and a table with this identity: columns of the key that are not
// sent as they are, an expression for which an UPDATE may lack a value. Nothing if only rows are
// inserted, or for a partitioned table, which has no rows of its own.
void CheckKeyIsSent(const TableRule* rule, const char* table, Relation relation,
                    const Identity& identity);
void CheckInputsAreSent(const TableRule* rule, const ComputedColumn& column, Relation relation,
                        const Identity& identity);
// Raises that the filter needs `rules->lacking_name`, which old images lack.
[[noreturn]] void RefuseFilter(const RowRules* rules);
// Whether columns are listed and this one is not, or the column is generated and replaced: raised.
bool IsListed(const TableRule* rule, const FormData_pg_attribute* attribute,
              const ColumnRule** column);
[[noreturn]] void RefuseMissingColumn(const char* table, const ColumnRule* column);

// What becomes of a change, and the computed columns of the rows that are sent. `old_row` is
// without nulls where the WAL has none.
RowFate ApplyRowRules(PluginState* state, RelationEntry* entry, Operation operation,
                      RowValues old_row, RowValues new_row);

}  // namespace towline::plugin
