#include "ddl_structure.h"

namespace towline::plugin {
namespace {

struct ColumnOfQuery {
  const char* name;
  Oid type;
  int32 modifier;
  Oid collation;
};

// As the server itself names it, and not by the search_path of its reader.
void AppendCollation(StringInfo text, const ColumnOfQuery& column) {
  if (!OidIsValid(column.collation) || column.collation == get_typcollation(column.type)) return;
  HeapTuple tuple = SearchSysCache1(COLLOID, ObjectIdGetDatum(column.collation));
  if (!HeapTupleIsValid(tuple)) elog(ERROR, "collation %u is gone", column.collation);
  auto* collation = reinterpret_cast<Form_pg_collation>(GETSTRUCT(tuple));
  appendStringInfo(text, " COLLATE %s",
                   quote_qualified_identifier(get_namespace_name(collation->collnamespace),
                                              NameStr(collation->collname)));
  ReleaseSysCache(tuple);
}

void AppendColumn(StringInfo text, const ColumnOfQuery& column) {
  const bool is_first = text->data[text->len - 1] == '(';
  appendStringInfo(text, "%s%s %s", is_first ? "" : ", ", quote_identifier(column.name),
                   format_type_extended(column.type, column.modifier,
                                        FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
  AppendCollation(text, column);
}

// The name that the command gives to the column at this place; else the query's own.
const char* NameOfColumn(const List* names, int at, const char* own) {
  return at < list_length(names) ? strVal(list_nth(names, at)) : own;
}

bool AppendColumns(StringInfo text, const CreateTableAsStmt* command) {
  if (!IsA(command->query, Query)) return false;
  const auto* query = reinterpret_cast<const Query*>(command->query);
  const List* names = command->into->colNames;
  int at = 0;
  if (query->commandType == CMD_UTILITY) {
    if (!IsA(query->utilityStmt, ExecuteStmt)) return false;
    PreparedStatement* prepared = FetchPreparedStatement(
        reinterpret_cast<const ExecuteStmt*>(query->utilityStmt)->name, false);
    if (prepared == nullptr) return false;
    TupleDesc columns = prepared->plansource->resultDesc;
    if (columns == nullptr) return false;
    for (; at < columns->natts; ++at) {
      Form_pg_attribute column = TupleDescAttr(columns, at);
      AppendColumn(text, {NameOfColumn(names, at, NameStr(column->attname)), column->atttypid,
                          column->atttypmod, column->attcollation});
    }
    return true;
  }
  ListCell* cell;
  foreach (cell, query->targetList) {
    const TargetEntry* entry = lfirst_node(TargetEntry, cell);
    if (entry->resjunk) continue;
    const Node* value = reinterpret_cast<const Node*>(entry->expr);
    AppendColumn(text, {NameOfColumn(names, at, entry->resname), exprType(value), exprTypmod(value),
                        exprCollation(value)});
    ++at;
  }
  return true;
}

void AppendOptions(StringInfo text, const List* options) {
  ListCell* cell;
  foreach (cell, options) {
    DefElem* option = lfirst_node(DefElem, cell);
    const bool is_first = cell == list_head(options);
    appendStringInfoString(text, is_first ? " WITH (" : ", ");
    if (option->defnamespace != nullptr) {
      appendStringInfo(text, "%s.", quote_identifier(option->defnamespace));
    }
    appendStringInfoString(text, quote_identifier(option->defname));
    if (option->arg != nullptr) {
      appendStringInfo(text, " = %s", quote_literal_cstr(defGetString(option)));
    }
  }
  if (options != NIL) appendStringInfoChar(text, ')');
}

}  // namespace

const char* BoundsOf(Oid table) {
  HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
  if (!HeapTupleIsValid(tuple)) return nullptr;
  bool is_null = true;
  Datum bounds = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relpartbound, &is_null);
  const char* written = nullptr;
  if (!is_null) {
    written =
        TextDatumGetCString(DirectFunctionCall2(pg_get_expr, bounds, ObjectIdGetDatum(table)));
  }
  ReleaseSysCache(tuple);
  return written;
}

const char* StructureOf(const CreateTableAsStmt* command, const char* name) {
  const IntoClause* into = command->into;
  StringInfoData text;
  initStringInfo(&text);
  appendStringInfo(&text, "CREATE %sTABLE %s%s (",
                   into->rel->relpersistence == RELPERSISTENCE_UNLOGGED ? "UNLOGGED " : "",
                   command->if_not_exists ? "IF NOT EXISTS " : "", name);
  if (!AppendColumns(&text, command)) return nullptr;
  appendStringInfoChar(&text, ')');
  if (into->accessMethod != nullptr) {
    appendStringInfo(&text, " USING %s", quote_identifier(into->accessMethod));
  }
  AppendOptions(&text, into->options);
  return text.data;
}

}  // namespace towline::plugin
