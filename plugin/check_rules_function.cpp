// towline.check_table_rules(): binds every rule to the tables as they are now, by the same code as
// decoding does, and returns what is wrong as rows.
#include "plugin_state.h"
#include "row_rules.h"
#include "session_settings.h"

extern "C" {
PG_FUNCTION_INFO_V1(towline_check_table_rules);
PGDLLEXPORT Datum towline_check_table_rules(PG_FUNCTION_ARGS);
}

namespace towline::plugin {
namespace {

constexpr int kResultColumns = 5;

struct Check {
  Tuplestorestate* rows;
  TupleDesc descriptor;
  MemoryContext context;  // of one rule, or of one partition that it holds for
  const char* text;
  TableRules rules;
  const TableRule* rule;  // null while the text is parsed
  const char* item;       // where in the rule; null: the rule
  Relation relation;      // a table that the rule holds for
  bool is_partition;      // it has the rule from a table above it
};

using Step = void (*)(Check* check, const ColumnRule* column);

const char* WithPosition(const Check* check, const ErrorData* error) {
  StringInfoData text;
  initStringInfo(&text);
  if (check->is_partition) {
    appendStringInfo(&text, "partition %s: ", RelationGetRelationName(check->relation));
  }
  appendStringInfoString(&text, error->message);
  if (error->internalpos > 0) appendStringInfo(&text, ", at character %d", error->internalpos);
  if (error->detail != nullptr) appendStringInfo(&text, ". %s", error->detail);
  return text.data;
}

void Emit(const Check* check, const char* error, const char* hint) {
  const TableRule* rule = check->rule;
  const char* const texts[kResultColumns] = {rule == nullptr ? nullptr : rule->table.schema,
                                             rule == nullptr ? nullptr : rule->table.name,
                                             check->item, error, hint};
  Datum values[kResultColumns] = {};
  bool nulls[kResultColumns];
  for (int i = 0; i < kResultColumns; ++i) {
    nulls[i] = texts[i] == nullptr;
    if (!nulls[i]) values[i] = CStringGetTextDatum(texts[i]);
  }
  tuplestore_putvalues(check->rows, check->descriptor, values, nulls);
}

// An error is a row of the result. It may have come from anywhere in the parser, so that what it
// left behind is undone as a function of PL/pgSQL would.
bool Try(Check* check, Step step, const ColumnRule* column) {
  MemoryContext context = CurrentMemoryContext;
  ResourceOwner owner = CurrentResourceOwner;
  ErrorContextCallback* callbacks = error_context_stack;
  ErrorData* volatile error = nullptr;
  BeginInternalSubTransaction(nullptr);
  MemoryContextSwitchTo(context);
  PG_TRY();
  {
    step(check, column);
    ReleaseCurrentSubTransaction();
  }
  PG_CATCH();
  {
    MemoryContextSwitchTo(context);
    error = CopyErrorData();
    FlushErrorState();
    RollbackAndReleaseCurrentSubTransaction();
  }
  PG_END_TRY();
  error_context_stack = callbacks;
  MemoryContextSwitchTo(context);
  CurrentResourceOwner = owner;
  if (error == nullptr) return true;
  int category = ERRCODE_TO_CATEGORY(error->sqlerrcode);
  if (error->sqlerrcode == ERRCODE_QUERY_CANCELED || category == ERRCODE_INSUFFICIENT_RESOURCES ||
      category == ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION)) {
    ReThrowError(error);
  }
  Emit(check, WithPosition(check, error), error->hint);
  return false;
}

const char* TableOf(const Check* check) {
  return quote_qualified_identifier(get_namespace_name(RelationGetNamespace(check->relation)),
                                    RelationGetRelationName(check->relation));
}

const FormData_pg_attribute* FindAttribute(TupleDesc descriptor, const char* name) {
  for (int i = 0; i < descriptor->natts; ++i) {
    Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
    if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), name) == 0) {
      return attribute;
    }
  }
  return nullptr;
}

void CheckFilter(Check* check, const ColumnRule*) {
  Identity identity = ReadIdentity(check->relation);
  const RowRules* bound =
      BindRowRules(check->rule, TableOf(check), check->relation, identity, check->context);
  bool has_rows = check->relation->rd_rel->relkind != RELKIND_PARTITIONED_TABLE;
  bool sends_old = (check->rule->operations & (kUpdateOperation | kDeleteOperation)) != 0;
  if (bound->lacking_name != nullptr && has_rows && sends_old) RefuseFilter(bound);
}

void CheckColumn(Check* check, const ColumnRule* column) {
  TupleDesc descriptor = RelationGetDescr(check->relation);
  const FormData_pg_attribute* attribute = FindAttribute(descriptor, column->name);
  if (column->expression == nullptr) {
    if (attribute == nullptr) RefuseMissingColumn(TableOf(check), column);
    return;
  }
  const ColumnRule* listed = nullptr;
  if (attribute != nullptr) (void)IsListed(check->rule, attribute, &listed);
  // Without the filter, which has been judged by itself.
  TableRule only_columns = *check->rule;
  only_columns.where = nullptr;
  Identity identity = ReadIdentity(check->relation);
  RowRules* bound =
      BindRowRules(&only_columns, TableOf(check), check->relation, identity, check->context);
  const ComputedColumn* computed =
      BindComputedColumn(bound, column, TableOf(check), descriptor, attribute, check->context);
  CheckInputsAreSent(check->rule, *computed, check->relation, identity);
}

void CheckKey(Check* check, const ColumnRule*) {
  CheckKeyIsSent(check->rule, TableOf(check), check->relation, ReadIdentity(check->relation));
}

bool CheckRelation(Check* check) {
  check->item = "where";
  bool is_good = check->rule->where == nullptr || Try(check, CheckFilter, nullptr);
  for (int i = 0; i < check->rule->column_count; ++i) {
    const ColumnRule* column = &check->rule->columns[i];
    check->item = psprintf("column %s", quote_identifier(column->name));
    is_good &= Try(check, CheckColumn, column);
  }
  check->item = "columns";
  is_good &= Try(check, CheckKey, nullptr);
  check->item = nullptr;
  return is_good;
}

// Whether the rule is the nearest one above the partition.
bool HoldsFor(const Check* check, Oid partition) {
  List* path = lcons_oid(partition, get_partition_ancestors(partition));
  ListCell* cell;
  foreach (cell, path) {
    Oid oid = lfirst_oid(cell);
    const char* name = get_rel_name(oid);
    const char* schema = get_namespace_name(get_rel_namespace(oid));
    if (name == nullptr || schema == nullptr) return false;
    const TableRule* rule = FindTableRule(check->rules, schema, name);
    if (rule != nullptr) return rule == check->rule;
  }
  return false;
}

void CheckPartition(Check* check, Oid oid) {
  check->relation = relation_open(oid, NoLock);
  if (check->relation->rd_rel->relkind == RELKIND_RELATION) (void)CheckRelation(check);
  relation_close(check->relation, NoLock);
}

// Each has a replica identity of its own.
void CheckPartitions(Check* check, Oid root) {
  List* partitions = find_all_inheritors(root, AccessShareLock, nullptr);
  ListCell* cell;
  MemoryContext rule_context = check->context;
  check->context =
      AllocSetContextCreate(rule_context, "towline partition check", ALLOCSET_DEFAULT_SIZES);
  MemoryContext caller = MemoryContextSwitchTo(check->context);
  check->is_partition = true;
  foreach (cell, partitions) {
    CHECK_FOR_INTERRUPTS();
    Oid oid = lfirst_oid(cell);
    if (oid != root && HoldsFor(check, oid)) CheckPartition(check, oid);
    MemoryContextReset(check->context);
  }
  check->is_partition = false;
  MemoryContextSwitchTo(caller);
  check->context = rule_context;
}

void CheckRule(Check* check) {
  const TableRule* rule = check->rule;
  Oid schema = get_namespace_oid(rule->table.schema, true);
  Oid oid = OidIsValid(schema) ? get_relname_relid(rule->table.name, schema) : InvalidOid;
  check->relation = OidIsValid(oid) ? try_relation_open(oid, AccessShareLock) : nullptr;
  if (check->relation == nullptr) {
    Emit(check, "the table does not exist", nullptr);
    return;
  }
  char kind = check->relation->rd_rel->relkind;
  bool is_good = false;
  if (kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE) {
    is_good = CheckRelation(check);
  } else {
    Emit(check, "it is not a table", nullptr);
  }
  relation_close(check->relation, NoLock);
  if (is_good && kind == RELKIND_PARTITIONED_TABLE) CheckPartitions(check, oid);
}

void Parse(Check* check, const ColumnRule*) { ParseTableRules(check->text, &check->rules); }

// A lock on any table, and the shape of tables, for those who may read all of them anyway.
void CheckRights() {
  if (has_rolreplication(GetUserId())) return;
  ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                  errmsg("permission denied for function towline.check_table_rules()"),
                  errdetail("It needs the attribute REPLICATION, as reading a slot does.")));
}

void OpenResult(FunctionCallInfo fcinfo, Check* check) {
  auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  if (result == nullptr || !IsA(result, ReturnSetInfo) ||
      (result->allowedModes & SFRM_Materialize) == 0) {
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("towline.check_table_rules() can only be called where a set is "
                           "accepted")));
  }
  MemoryContext caller = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
  if (get_call_result_type(fcinfo, nullptr, &check->descriptor) != TYPEFUNC_COMPOSITE) {
    elog(ERROR, "towline.check_table_rules() must return a row type");
  }
  check->rows =
      tuplestore_begin_heap((result->allowedModes & SFRM_Materialize_Random) != 0, false, work_mem);
  result->returnMode = SFRM_Materialize;
  result->setResult = check->rows;
  result->setDesc = check->descriptor;
  MemoryContextSwitchTo(caller);
}

void CheckAll(FunctionCallInfo fcinfo) {
  Check check = {};
  OpenResult(fcinfo, &check);
  CheckRights();
  if (PG_ARGISNULL(0)) return;
  check.text = text_to_cstring(PG_GETARG_TEXT_PP(0));
  if (!Try(&check, Parse, nullptr)) return;
  check.context =
      AllocSetContextCreate(CurrentMemoryContext, "towline rule check", ALLOCSET_DEFAULT_SIZES);
  for (int i = 0; i < check.rules.count; ++i) {
    CHECK_FOR_INTERRUPTS();
    check.rule = check.rules.in_order[i];
    check.item = nullptr;
    MemoryContext caller = MemoryContextSwitchTo(check.context);
    CheckRule(&check);
    MemoryContextSwitchTo(caller);
    MemoryContextReset(check.context);
  }
}

}  // namespace
}  // namespace towline::plugin

Datum towline_check_table_rules(PG_FUNCTION_ARGS) {
  int nest_level = towline::plugin::PinSessionSettings();
  towline::plugin::CheckAll(fcinfo);
  towline::plugin::RestoreSessionSettings(nest_level);
  return static_cast<Datum>(0);
}
