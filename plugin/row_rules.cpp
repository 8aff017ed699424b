#include "row_rules.h"

#include "plugin_state.h"

namespace towline::plugin {
namespace {

constexpr uint8_t kOperationsWithOldRow = kUpdateOperation | kDeleteOperation;

bool HasRows(Relation relation) { return relation->rd_rel->relkind != RELKIND_PARTITIONED_TABLE; }

// Whether a value can be moved out of line, and so be missing from the WAL of an UPDATE that leaves
// it as it is. One that is no longer than what would stand in its place stays.
bool CanBeUnsent(const FormData_pg_attribute* attribute) {
  if (attribute->attlen != -1) return false;
  int32 typmod = attribute->atttypmod;
  Oid type = getBaseTypeAndTypmod(attribute->atttypid, &typmod);
  int32 longest = type_maximum_size(type, typmod);
  return longest <= 0 || longest > static_cast<int32>(MAXALIGN(TOAST_POINTER_SIZE));
}

bool IsUnsent(const RowValues& row, TupleDesc descriptor, int index) {
  return TupleDescAttr(descriptor, index)->attlen == -1 && !row.nulls[index] &&
         VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(row.values[index]));
}

const char* MendingStatement(const char* table) {
  return psprintf("ALTER TABLE %s REPLICA IDENTITY FULL", table);
}

// Errors raised while a row is looked at name the expression and the row.
struct RowErrorContext {
  ErrorContextCallback callback;
  const RelationEntry* entry;
  const ExpressionSource* source;
  RowValues row;
  MemoryContext scratch;
};

// A user's function may raise an error itself, which would take the place of the one that is told.
bool CallsUserCode(const RelationEntry* entry) {
  const RowRules* rules = entry->rules;
  for (int i = 0; i < rules->naming_count; ++i) {
    const ColumnCodec& codec = entry->columns[rules->naming_codecs[i]];
    if (codec.function != nullptr && codec.function->fn_oid >= FirstNormalObjectId) return true;
  }
  return false;
}

// FNV-1a over the fields that name the row, as the service hashes keys: the values themselves do
// not belong into a log.
uint64_t HashRow(const RowErrorContext* context) {
  uint64_t hash = 0xcbf29ce484222325;
  auto add = [&hash](std::string_view bytes) {
    for (char byte : bytes) hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001b3;
  };
  const RowRules* rules = context->entry->rules;
  for (int i = 0; i < rules->naming_count; ++i) {
    const ColumnCodec& codec = context->entry->columns[rules->naming_codecs[i]];
    if (context->row.nulls[codec.index]) {
      add("1:0:");
      continue;
    }
    std::string_view bytes = FieldBytes(codec, context->row.values[codec.index]);
    add(psprintf("0:%zu:", bytes.size()));
    add(bytes);
  }
  return hash;
}

void ReportRow(void* arg) {
  auto* context = static_cast<RowErrorContext*>(arg);
  if (context->source == nullptr) return;
  // A key that cannot be converted is an error of its own, which comes here again.
  const ExpressionSource* source = context->source;
  context->source = nullptr;
  const RowRules* rules = context->entry->rules;
  MemoryContext caller = MemoryContextSwitchTo(context->scratch);
  StringInfoData names;
  initStringInfo(&names);
  for (int i = 0; i < rules->naming_count; ++i) {
    appendStringInfo(&names, "%s%s", i > 0 ? ", " : "",
                     quote_identifier(context->entry->columns[rules->naming_codecs[i]].name));
  }
  if (names.len > 0 && !CallsUserCode(context->entry)) {
    errcontext("row with (%s) of hash %016llx", names.data,
               static_cast<unsigned long long>(HashRow(context)));
  }
  MemoryContextSwitchTo(caller);
  context->source = source;
}

struct Evaluator {
  PluginState* state;
  RelationEntry* entry;
  RowErrorContext row_context;
  ExpressionErrorContext expression_context;
};

void Begin(Evaluator* evaluator, const ExpressionSource& source, RowValues row) {
  evaluator->row_context.source = &source;
  evaluator->row_context.row = row;
  PushExpressionContext(&evaluator->expression_context, &source);
}

void End(Evaluator* evaluator) {
  PopExpressionContext(&evaluator->expression_context);
  evaluator->row_context.source = nullptr;
}

Datum Evaluate(Evaluator* evaluator, const Expression& expression, RowValues row, bool* is_null) {
  TupleTableSlot* slot = evaluator->entry->rules->slot;
  slot->tts_values = const_cast<Datum*>(row.values);
  slot->tts_isnull = const_cast<bool*>(row.nulls);
  ExprContext* context = evaluator->state->expression_context;
  context->ecxt_scantuple = slot;
  // Where the executor keeps what it makes once: for as long as the expression is bound, not
  // longer.
  context->ecxt_per_query_memory = evaluator->entry->context;
  return ExecEvalExprSwitchContext(expression.state, context, is_null);
}

[[noreturn]] void RefuseUnsent(const Evaluator* evaluator, const char* column) {
  ereport(ERROR,
          (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
           errmsg("the WAL does not carry the value of column \"%s\", which this UPDATE leaves as "
                  "it was",
                  column),
           errdetail("A value that is stored out of line and does not change is written only "
                     "under REPLICA IDENTITY FULL."),
           errhint("For changes from then on: %s. To pass this one, change the table's rule.",
                   MendingStatement(evaluator->entry->display_name))));
  pg_unreachable();
}

[[noreturn]] void RefuseUnsentInput(Evaluator* evaluator, const ExpressionInput& input) {
  evaluator->expression_context.position = input.position;
  TupleDesc descriptor = evaluator->entry->rules->slot->tts_tupleDescriptor;
  RefuseUnsent(evaluator, NameStr(TupleDescAttr(descriptor, input.index)->attname));
}

bool Passes(Evaluator* evaluator, RowValues row) {
  const RowRules* rules = evaluator->entry->rules;
  if (rules->filter.state == nullptr) return true;
  Begin(evaluator, rules->filter_source, row);
  TupleDesc descriptor = rules->slot->tts_tupleDescriptor;
  for (int i = 0; i < rules->filter.input_count; ++i) {
    const ExpressionInput& input = rules->filter.inputs[i];
    if (IsUnsent(row, descriptor, input.index)) RefuseUnsentInput(evaluator, input);
  }
  bool is_null = false;
  Datum result = Evaluate(evaluator, rules->filter, row, &is_null);
  End(evaluator);
  return !is_null && DatumGetBool(result);
}

// A value that the expression reads is missing. Nothing is lost if all that it reads is known to be
// what it was: then so is its result.
void LeaveUnchanged(Evaluator* evaluator, ComputedColumn* column, RowValues row, bool key_changed,
                    const ExpressionInput& unsent) {
  const RowRules* rules = evaluator->entry->rules;
  TupleDesc descriptor = rules->slot->tts_tupleDescriptor;
  for (int i = 0; i < column->expression.input_count; ++i) {
    int index = column->expression.inputs[i].index;
    bool is_same = IsUnsent(row, descriptor, index) || (rules->is_key[index] && !key_changed);
    if (!is_same) RefuseUnsentInput(evaluator, unsent);
  }
  column->is_unchanged = true;
  const_cast<bool*>(row.nulls)[column->index] = true;
}

void Compute(Evaluator* evaluator, RowValues row, bool key_changed) {
  RowRules* rules = evaluator->entry->rules;
  TupleDesc descriptor = rules->slot->tts_tupleDescriptor;
  for (int i = 0; i < rules->computed_count; ++i) {
    ComputedColumn* column = &rules->computed[i];
    Begin(evaluator, column->source, row);
    column->is_unchanged = false;
    const ExpressionInput* unsent = nullptr;
    for (int read = 0; read < column->expression.input_count; ++read) {
      const ExpressionInput* input = &column->expression.inputs[read];
      if (IsUnsent(row, descriptor, input->index)) unsent = input;
    }
    if (unsent != nullptr) {
      LeaveUnchanged(evaluator, column, row, key_changed, *unsent);
    } else {
      const_cast<Datum*>(row.values)[column->index] = Evaluate(
          evaluator, column->expression, row, &const_cast<bool*>(row.nulls)[column->index]);
    }
    End(evaluator);
  }
}

// Values that the new row lacks and the old one has.
void TakeFromOld(const RowRules* rules, RowValues old_row, RowValues new_row) {
  TupleDesc descriptor = rules->slot->tts_tupleDescriptor;
  for (int i = 0; i < rules->unsendable_count; ++i) {
    int index = rules->unsendable[i];
    if (!IsUnsent(new_row, descriptor, index) || old_row.nulls[index] ||
        IsUnsent(old_row, descriptor, index)) {
      continue;
    }
    const_cast<Datum*>(new_row.values)[index] = old_row.values[index];
  }
}

// A row that enters the filter is new to the reader, who must get all of it.
void CheckIsWhole(Evaluator* evaluator, RowValues row) {
  const RelationEntry* entry = evaluator->entry;
  const RowRules* rules = entry->rules;
  TupleDesc descriptor = rules->slot->tts_tupleDescriptor;
  Begin(evaluator, rules->filter_source, row);
  for (int i = 0; i < entry->column_count; ++i) {
    const ColumnCodec& codec = entry->columns[i];
    if (!codec.is_sent) continue;
    bool is_whole = codec.index < descriptor->natts
                        ? !IsUnsent(row, descriptor, codec.index)
                        : codec.is_unchanged == nullptr || !*codec.is_unchanged;
    if (!is_whole) RefuseUnsent(evaluator, codec.name);
  }
  End(evaluator);
}

RowFate DecideUpdate(Evaluator* evaluator, RowValues old_row, RowValues new_row) {
  bool new_passes = Passes(evaluator, new_row);
  // Without an old image the key is what it was, and the filter reads nothing else.
  bool old_passes = old_row.nulls == nullptr ? new_passes : Passes(evaluator, old_row);
  if (old_passes) return new_passes ? RowFate::kUpdate : RowFate::kDelete;
  return new_passes ? RowFate::kInsert : RowFate::kDropped;
}

RowFate Decide(Evaluator* evaluator, Operation operation, RowValues old_row, RowValues new_row) {
  const RowRules* rules = evaluator->entry->rules;
  if (operation == kInsertOperation) {
    return Passes(evaluator, new_row) ? RowFate::kInsert : RowFate::kDropped;
  }
  if (rules->filter.state == nullptr) {
    return operation == kUpdateOperation ? RowFate::kUpdate : RowFate::kDelete;
  }
  if (rules->lacking_name != nullptr) RefuseFilter(rules);
  if (operation == kUpdateOperation) return DecideUpdate(evaluator, old_row, new_row);
  if (old_row.nulls == nullptr) {
    ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                    errmsg("the WAL does not carry the key of the deleted row")));
  }
  return Passes(evaluator, old_row) ? RowFate::kDelete : RowFate::kDropped;
}

void ListUnsendable(RowRules* rules, TupleDesc descriptor) {
  for (int i = 0; i < descriptor->natts; ++i) {
    Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
    if (!attribute->attisdropped && attribute->attlen == -1) {
      rules->unsendable[rules->unsendable_count++] = i;
    }
  }
}

template <typename T>
T* AllocateArray(MemoryContext context, int count) {
  return static_cast<T*>(
      MemoryContextAllocZero(context, static_cast<size_t>(Max(count, 1)) * sizeof(T)));
}

}  // namespace

RowRules* BindRowRules(const TableRule* rule, const char* table, Relation relation,
                       const Identity& identity, MemoryContext context) {
  TupleDesc descriptor = RelationGetDescr(relation);
  auto* rules = AllocateArray<RowRules>(context, 1);
  rules->rule = rule;
  rules->filter_source = {table, nullptr, rule->where};
  rules->computed = AllocateArray<ComputedColumn>(context, rule->column_count);
  rules->is_key = AllocateArray<bool>(context, descriptor->natts);
  rules->unsendable = AllocateArray<int>(context, descriptor->natts);
  for (int i = 0; i < descriptor->natts; ++i) rules->is_key[i] = identity.is_key[i + 1];
  ListUnsendable(rules, descriptor);

  MemoryContext caller = MemoryContextSwitchTo(context);
  rules->slot = MakeSingleTupleTableSlot(CreateTupleDescCopy(descriptor), &TTSOpsVirtual);
  rules->slot->tts_flags &= static_cast<uint16>(~TTS_FLAG_EMPTY);
  rules->slot->tts_nvalid = static_cast<AttrNumber>(descriptor->natts);
  MemoryContextSwitchTo(caller);
  if (rule->where == nullptr) return rules;

  rules->filter = BindExpression(rules->filter_source, descriptor,
                                 {ResultKind::kBoolean, BOOLOID, -1}, context);
  for (int i = 0; i < rules->filter.input_count; ++i) {
    const ExpressionInput& input = rules->filter.inputs[i];
    if (identity.is_key[input.index + 1]) continue;
    rules->lacking_name =
        MemoryContextStrdup(context, NameStr(TupleDescAttr(descriptor, input.index)->attname));
    rules->lacking_position = input.position;
  }
  return rules;
}

const ComputedColumn* BindComputedColumn(RowRules* rules, const ColumnRule* column,
                                         const char* table, TupleDesc descriptor,
                                         const FormData_pg_attribute* attribute,
                                         MemoryContext context) {
  ComputedColumn* computed = &rules->computed[rules->computed_count];
  computed->source = {table, column->name, column->expression};
  ResultType result{ResultKind::kOwn, InvalidOid, -1};
  if (attribute != nullptr) {
    result = {ResultKind::kColumn, attribute->atttypid, attribute->atttypmod};
  }
  computed->expression = BindExpression(computed->source, descriptor, result, context);
  computed->index = descriptor->natts + rules->computed_count++;
  return computed;
}

bool IsListed(const TableRule* rule, const FormData_pg_attribute* attribute,
              const ColumnRule** column) {
  *column = nullptr;
  if (rule == nullptr || !rule->has_columns) return true;
  *column = FindColumnRule(rule, NameStr(attribute->attname));
  if (*column == nullptr) return false;
  if ((*column)->expression != nullptr && attribute->attgenerated != '\0') {
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
             errmsg("the table rule has an expression for generated column \"%s\", which is not "
                    "sent",
                    (*column)->name),
             errhint("Give the expression another name, or leave it out of the rule.")));
  }
  return true;
}

void RefuseMissingColumn(const char* table, const ColumnRule* column) {
  ereport(ERROR,
          (errcode(ERRCODE_UNDEFINED_COLUMN),
           errmsg("column \"%s\" of the table rule of %s does not exist", column->name, table),
           errhint("Names are those that the table had at the time of the change.")));
  pg_unreachable();
}

void CheckKeyIsSent(const TableRule* rule, const char* table, Relation relation,
                    const Identity& identity) {
  if (!rule->has_columns || identity.kind == IdentityKind::kFull || !HasRows(relation) ||
      (rule->operations & kOperationsWithOldRow) == 0) {
    return;
  }
  TupleDesc descriptor = RelationGetDescr(relation);
  for (int i = 0; i < descriptor->natts; ++i) {
    if (!identity.is_key[i + 1]) continue;
    const char* name = NameStr(TupleDescAttr(descriptor, i)->attname);
    const ColumnRule* column = FindColumnRule(rule, name);
    if (column != nullptr && column->expression == nullptr) continue;
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("the table rule of %s %s column \"%s\", which identifies rows", table,
                           column == nullptr ? "does not list" : "has an expression for", name),
                    errhint("List it as it is, set operations to insert and truncate, or %s.",
                            MendingStatement(table))));
  }
}

void CheckInputsAreSent(const TableRule* rule, const ComputedColumn& column, Relation relation,
                        const Identity& identity) {
  if (identity.kind == IdentityKind::kFull || !HasRows(relation) ||
      (rule->operations & kUpdateOperation) == 0) {
    return;
  }
  TupleDesc descriptor = RelationGetDescr(relation);
  int outside_key = 0;
  const char* unsendable = nullptr;
  int position = 0;
  for (int i = 0; i < column.expression.input_count; ++i) {
    const ExpressionInput& input = column.expression.inputs[i];
    Form_pg_attribute attribute = TupleDescAttr(descriptor, input.index);
    if (identity.is_key[attribute->attnum]) continue;
    ++outside_key;
    if (!CanBeUnsent(attribute)) continue;
    unsendable = NameStr(attribute->attname);
    position = input.position;
  }
  if (outside_key < 2 || unsendable == nullptr) return;
  ExpressionErrorContext context;
  PushExpressionContext(&context, &column.source, position);
  ereport(ERROR,
          (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
           errmsg("the expression reads column \"%s\", whose value an UPDATE may leave out of the "
                  "WAL, together with other columns that may have changed",
                  unsendable),
           errhint("%s, or leave update out of the rule's operations.",
                   MendingStatement(column.source.table))));
}

void RefuseFilter(const RowRules* rules) {
  ExpressionErrorContext context;
  PushExpressionContext(&context, &rules->filter_source, rules->lacking_position);
  ereport(ERROR,
          (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
           errmsg("the row filter reads column \"%s\", which is not part of the replica identity: "
                  "whether the old row of an UPDATE or DELETE passed it cannot be told",
                  rules->lacking_name),
           errhint("For changes from then on: %s. To pass this one, leave update and delete out of "
                   "the rule's operations, or change the filter.",
                   MendingStatement(rules->filter_source.table))));
  pg_unreachable();
}

RowFate ApplyRowRules(PluginState* state, RelationEntry* entry, Operation operation,
                      RowValues old_row, RowValues new_row) {
  RowRules* rules = entry->rules;
  Evaluator evaluator = {state, entry, {}, {}};
  evaluator.row_context.entry = entry;
  evaluator.row_context.scratch = state->change_context;
  evaluator.row_context.callback = {error_context_stack, ReportRow, &evaluator.row_context};
  error_context_stack = &evaluator.row_context.callback;

  if (operation == kUpdateOperation && old_row.nulls != nullptr) {
    TakeFromOld(rules, old_row, new_row);
  }
  RowFate fate = Decide(&evaluator, operation, old_row, new_row);
  if (rules->computed_count > 0 && fate != RowFate::kDropped) {
    bool has_old_values = entry->is_full_identity && old_row.nulls != nullptr;
    if (has_old_values && fate != RowFate::kInsert) Compute(&evaluator, old_row, true);
    if (fate != RowFate::kDelete) Compute(&evaluator, new_row, old_row.nulls != nullptr);
  }
  if (fate == RowFate::kInsert && operation == kUpdateOperation) CheckIsWhole(&evaluator, new_row);
  error_context_stack = evaluator.row_context.callback.previous;
  return fate;
}

}  // namespace towline::plugin
