#include "ddl_objects.h"

#include "ddl_query.h"
#include "expression_safety.h"

namespace towline::plugin {
namespace {

// A function or type that needs a temporary table or type is dropped with it when the session ends,
// and no event trigger tells of that.
#define TOWLINE_GOES_WITH_TEMPORARY(class, object)                                                 \
  "pg_catalog.pg_my_temp_schema() <> 0 AND " class                                                 \
      " IN ('pg_catalog.pg_proc'::pg_catalog.regclass, "                                           \
      "'pg_catalog.pg_type'::pg_catalog.regclass) "                                                \
      "AND EXISTS (SELECT 1 FROM pg_catalog.pg_depend d LEFT JOIN pg_catalog.pg_type t ON "        \
      "d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND t.oid = d.refobjid LEFT JOIN " \
      "pg_catalog.pg_class k ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND "    \
      "k.oid = d.refobjid WHERE d.classid = " class " AND d.objid = " object                       \
                                                    " AND pg_catalog.pg_my_temp_schema() IN "      \
                                                    "(t.typnamespace, k.relnamespace))"

constexpr char kObjectsSql[] =
    "SELECT c.classid::pg_catalog.int8, c.objid::pg_catalog.int8, c.objsubid, c.object_type, "
    "c.schema_name, r.relname, c.object_identity, n.nspname, r.relname, "
    "COALESCE(c.schema_name = 'pg_temp' OR r.relpersistence = 't', false) OR "
    TOWLINE_GOES_WITH_TEMPORARY("c.classid", "c.objid") ", "
    "COALESCE(c.schema_name = 'towline' OR c.object_type = 'extension' AND c.object_identity = "
    "'towline', false), c.command "
    "FROM pg_catalog.pg_event_trigger_ddl_commands() c "
    "LEFT JOIN pg_catalog.pg_class r ON r.oid = " TOWLINE_TABLE_OF("c.classid", "c.objid") " "
    "LEFT JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace";

constexpr char kDroppedSql[] =
    "SELECT d.classid::pg_catalog.int8, d.objid::pg_catalog.int8, d.objsubid, d.object_type, "
    "d.schema_name, COALESCE(d.object_name, d.address_names[pg_catalog.array_length("
    "d.address_names, 1)]), d.object_identity, "
    "CASE WHEN d.object_type IN ('table', 'table column') THEN d.address_names[1] END, "
    "CASE WHEN d.object_type IN ('table', 'table column') THEN d.address_names[2] END, "
    "d.is_temporary OR d.schema_name = 'pg_temp' OR d.address_names[1] = 'pg_temp' AND "
    "pg_catalog.array_length(d.address_names, 1) > 1, false "
    "FROM pg_catalog.pg_event_trigger_dropped_objects() d WHERE d.original OR d.object_type IN "
    "('table', 'table column')";

constexpr char kRewrittenSql[] =
    "SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid::pg_catalog.int8, "
    "c.oid::pg_catalog.int8, 0, CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'table' END, "
    "n.nspname, c.relname, pg_catalog.format('%I.%I', n.nspname, c.relname), n.nspname, c.relname, "
    "c.relpersistence = 't', false "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.oid = pg_catalog.pg_event_trigger_table_rewrite_oid()";

std::string_view TextAt(HeapTuple row, TupleDesc descriptor, int column) {
  const char* text = SPI_getvalue(row, descriptor, column);
  return text == nullptr ? std::string_view() : DdlText(text);
}

int64_t NumberAt(HeapTuple row, TupleDesc descriptor, int column) {
  const char* text = SPI_getvalue(row, descriptor, column);
  return text == nullptr ? 0 : static_cast<int64_t>(strtoll(text, nullptr, 10));
}

bool BoolAt(HeapTuple row, TupleDesc descriptor, int column) {
  bool is_null = false;
  return DatumGetBool(SPI_getbinval(row, descriptor, column, &is_null)) && !is_null;
}

// The server keeps the schema that SET SCHEMA has taken something out of, and has no SQL for it.
std::string_view SchemaBefore(HeapTuple row, TupleDesc descriptor) {
  constexpr int kCommand = 12;
  if (descriptor->natts < kCommand) return {};
  bool is_null = false;
  Datum value = SPI_getbinval(row, descriptor, kCommand, &is_null);
  if (is_null) return {};
  const auto* command = reinterpret_cast<const CollectedCommand*>(DatumGetPointer(value));
  if (command->type != SCT_Simple || !IsA(command->parsetree, AlterObjectSchemaStmt)) return {};
  const ObjectAddress& schema = command->d.simple.secondaryObject;
  if (schema.classId != NamespaceRelationId) return {};
  return DdlText(get_namespace_name(schema.objectId));
}

struct Found {
  bool has_temporary;
  bool has_own;
};

CatalogQuery objects_query = {kObjectsSql, nullptr};
CatalogQuery dropped_query = {kDroppedSql, nullptr};
CatalogQuery rewritten_query = {kRewrittenSql, nullptr};

Found ReadRows(CatalogQuery* query, DdlFields* ddl) {
  Found found = {false, false};
  MemoryContext caller = CurrentMemoryContext;
  int nest_level = OpenQuery(query);
  uint64 count = SPI_processed;
  SPITupleTable* table = SPI_tuptable;
  MemoryContext spi = MemoryContextSwitchTo(caller);
  auto* objects = static_cast<DdlObjectFields*>(
      palloc0(Max(count, static_cast<uint64>(1)) * sizeof(DdlObjectFields)));
  for (uint64 i = 0; i < count; ++i) {
    HeapTuple row = table->vals[i];
    TupleDesc descriptor = table->tupdesc;
    if (BoolAt(row, descriptor, 10)) {
      found.has_temporary = true;
      continue;
    }
    found.has_own |= BoolAt(row, descriptor, 11);
    if (ddl->named_schema.empty()) ddl->named_schema = SchemaBefore(row, descriptor);
    objects[ddl->object_count++] = {static_cast<uint32_t>(NumberAt(row, descriptor, 1)),
                                    static_cast<uint32_t>(NumberAt(row, descriptor, 2)),
                                    static_cast<int32_t>(NumberAt(row, descriptor, 3)),
                                    TextAt(row, descriptor, 4),
                                    TextAt(row, descriptor, 5),
                                    TextAt(row, descriptor, 6),
                                    TextAt(row, descriptor, 7),
                                    TextAt(row, descriptor, 8),
                                    TextAt(row, descriptor, 9)};
  }
  MemoryContextSwitchTo(spi);
  CloseQuery(nest_level);
  MemoryContextSwitchTo(caller);
  ddl->objects = objects;
  return found;
}

constexpr size_t kActionsMax = 64;

// Null: one that needs no word of its own.
const char* ActionName(AlterTableType kind) {
  if (IsDetachFinalize(kind)) return "DETACH PARTITION";
  switch (kind) {
    case AT_AddColumn:
      return "ADD COLUMN";
    case AT_DropColumn:
      return "DROP COLUMN";
    case AT_AlterColumnType:
      return "ALTER COLUMN TYPE";
    case AT_ChangeOwner:
      return "OWNER";
    case AT_SetLogged:
      return "SET LOGGED";
    case AT_SetUnLogged:
      return "SET UNLOGGED";
    case AT_SetTableSpace:
      return "SET TABLESPACE";
    case AT_AddInherit:
      return "INHERIT";
    case AT_DropInherit:
      return "NO INHERIT";
    case AT_AddOf:
      return "OF";
    case AT_DropOf:
      return "NOT OF";
    case AT_ReplicaIdentity:
      return "REPLICA IDENTITY";
    case AT_AttachPartition:
      return "ATTACH PARTITION";
    case AT_DetachPartition:
      return "DETACH PARTITION";
    case AT_GenericOptions:
      return "OPTIONS";
    case AT_EnableAlwaysTrig:
    case AT_EnableReplicaTrig:
    case AT_EnableAlwaysRule:
    case AT_EnableReplicaRule:
      return "ENABLE ALWAYS";
    default:
      return "OTHER";
  }
}

const char* RenameName(const RenameStmt* rename) {
  switch (rename->renameType) {
    case OBJECT_TABLE:
      return "RENAME TABLE";
    case OBJECT_COLUMN:
    case OBJECT_ATTRIBUTE:
      return "RENAME COLUMN";
    case OBJECT_SCHEMA:
      return "RENAME SCHEMA";
    default:
      return "RENAME";
  }
}

void AddAction(std::string_view action, std::string_view* actions, size_t* count) {
  for (size_t i = 0; i < *count; ++i) {
    if (actions[i] == action) return;
  }
  if (*count < kActionsMax) actions[(*count)++] = action;
}

bool AddsColumn(const AlterTableStmt* alter) {
  ListCell* cell;
  foreach (cell, alter->cmds) {
    if (lfirst_node(AlterTableCmd, cell)->subtype == AT_AddColumn) return true;
  }
  return false;
}

// "ADD c ... DEFAULT now(), ALTER c SET DEFAULT ...": what the old rows got cannot be told from the
// default that is left.
bool ChangesDefault(const AlterTableStmt* alter, const char* column) {
  ListCell* cell;
  foreach (cell, alter->cmds) {
    const AlterTableCmd* command = lfirst_node(AlterTableCmd, cell);
    if (command->subtype == AT_ColumnDefault && strcmp(command->name, column) == 0) return true;
  }
  return false;
}

// Null: the column has none of its own.
Node* RawDefault(const ColumnDef* column) {
  ListCell* cell;
  foreach (cell, column->constraints) {
    const auto* constraint = lfirst_node(Constraint, cell);
    if (constraint->contype == CONSTR_DEFAULT) return constraint->raw_expr;
  }
  return column->raw_default;
}

// A default that is a constant here, made from a text that the destination may read as another
// value: 'now' by its clock, an amount of money by its lc_monetary, the zone of a time of day by
// its date.
bool IsReadAnew(const ColumnDef* column, Oid type) {
  Oid base = getBaseType(type);
  if (base == kMoneyOid || base == TIMETZOID) return true;
  if (!MayMeanNow(base)) return false;
  Node* raw = RawDefault(column);
  // Without one the domain's, which each server has read for itself.
  return raw == nullptr || HoldsClockWord(raw);
}

// The value itself is that of the first row, so to say: an array of one.
void AddFill(Relation table, const AlterTableStmt* alter, const ColumnDef* definition,
             DdlFillFields* fill, size_t* count) {
  const char* column = definition->colname;
  AttrNumber number = get_attnum(RelationGetRelid(table), column);
  if (number == InvalidAttrNumber) return;
  HeapTuple tuple =
      SearchSysCache2(ATTNUM, ObjectIdGetDatum(RelationGetRelid(table)), Int16GetDatum(number));
  if (!HeapTupleIsValid(tuple)) return;
  auto* attribute = reinterpret_cast<Form_pg_attribute>(GETSTRUCT(tuple));
  bool is_null = true;
  Datum missing = SysCacheGetAttr(ATTNUM, tuple, Anum_pg_attribute_attmissingval, &is_null);
  const bool has_missing = attribute->atthasmissing && !is_null;
  Node* expression = has_missing ? build_column_default(table, number) : nullptr;
  const bool is_mutable = expression != nullptr && (contain_mutable_functions(expression) ||
                                                    IsReadAnew(definition, attribute->atttypid));
  if (has_missing && (is_mutable || ChangesDefault(alter, column))) {
    int one = 1;
    bool is_value_null = false;
    Datum value = array_get_element(missing, 1, &one, -1, attribute->attlen, attribute->attbyval,
                                    attribute->attalign, &is_value_null);
    Oid output = InvalidOid;
    bool is_varlena = false;
    getTypeOutputInfo(attribute->atttypid, &output, &is_varlena);
    if (!is_value_null) {
      fill[(*count)++] = {DdlText(get_namespace_name(RelationGetNamespace(table))),
                          DdlText(pstrdup(RelationGetRelationName(table))), DdlText(column),
                          DdlText(OidOutputFunctionCall(output, value))};
    }
  }
  ReleaseSysCache(tuple);
}

}  // namespace

// A name that is gone meanwhile (a role that was dropped while its session goes on) is empty.
std::string_view DdlText(const char* stored) {
  if (stored == nullptr) return {};
  auto size = static_cast<int>(strlen(stored));
  if (GetDatabaseEncoding() == PG_SQL_ASCII) {
    if (!pg_verify_mbstr(PG_UTF8, stored, size, true)) {
      ereport(ERROR, (errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
                      errmsg("a text of it is not valid UTF-8")));
    }
    return {stored, static_cast<size_t>(size)};
  }
  const char* sent = pg_server_to_any(stored, size, PG_UTF8);
  return {sent, strlen(sent)};
}

std::string_view SchemaOfNamed(const RangeVar* name) {
  Oid relation = RangeVarGetRelid(name, NoLock, true);
  return OidIsValid(relation) ? DdlText(get_namespace_name(get_rel_namespace(relation)))
                              : std::string_view();
}

ObjectsFound ReadObjects(DdlFields* ddl) {
  Found found = ReadRows(&objects_query, ddl);
  if (found.has_own) return ObjectsFound::kOwn;
  if (ddl->object_count > 0) return ObjectsFound::kSome;
  return found.has_temporary ? ObjectsFound::kOnlyTemporary : ObjectsFound::kNone;
}

bool ReadDroppedObjects(DdlFields* ddl) {
  (void)ReadRows(&dropped_query, ddl);
  return ddl->object_count > 0;
}

bool ReadRewrittenTable(const Node* parsetree, DdlFields* ddl) {
  (void)ReadRows(&rewritten_query, ddl);
  if (IsA(parsetree, AlterTableStmt)) {
    ddl->named_schema = SchemaOfNamed(reinterpret_cast<const AlterTableStmt*>(parsetree)->relation);
  }
  return ddl->object_count > 0;
}

void ReadActions(const Node* parsetree, DdlFields* ddl) {
  auto* actions = static_cast<std::string_view*>(palloc0(kActionsMax * sizeof(std::string_view)));
  size_t count = 0;
  if (IsA(parsetree, AlterTableStmt)) {
    ListCell* cell;
    foreach (cell, reinterpret_cast<const AlterTableStmt*>(parsetree)->cmds) {
      AddAction(ActionName(lfirst_node(AlterTableCmd, cell)->subtype), actions, &count);
    }
  } else if (IsA(parsetree, RenameStmt)) {
    AddAction(RenameName(reinterpret_cast<const RenameStmt*>(parsetree)), actions, &count);
  } else if (IsA(parsetree, AlterObjectSchemaStmt)) {
    AddAction("SET SCHEMA", actions, &count);
  } else if (IsA(parsetree, AlterOwnerStmt)) {
    AddAction("OWNER", actions, &count);
  } else if (IsA(parsetree, AlterTableMoveAllStmt)) {
    AddAction("SET TABLESPACE", actions, &count);
  }
  ddl->actions = actions;
  ddl->action_count = count;
}

void ReadFills(const Node* parsetree, DdlFields* ddl) {
  if (!IsA(parsetree, AlterTableStmt)) return;
  const auto* alter = reinterpret_cast<const AlterTableStmt*>(parsetree);
  if (!AddsColumn(alter)) return;
  for (size_t i = 0; i < ddl->object_count; ++i) {
    const DdlObjectFields& object = ddl->objects[i];
    if (object.class_oid != RelationRelationId || object.type != "table") continue;
    // Each table below has a value of its own.
    List* tables = alter->relation->inh ? find_all_inheritors(object.oid, NoLock, nullptr)
                                        : list_make1_oid(object.oid);
    size_t room = ddl->fill_count + static_cast<size_t>(list_length(tables)) *
                                        static_cast<size_t>(list_length(alter->cmds));
    auto* fills = static_cast<DdlFillFields*>(
        palloc0(Max(room, static_cast<size_t>(1)) * sizeof(DdlFillFields)));
    for (size_t k = 0; k < ddl->fill_count; ++k) fills[k] = ddl->fills[k];
    ListCell* cell;
    foreach (cell, tables) {
      // The command holds all of them itself.
      Relation table = table_open(lfirst_oid(cell), AccessShareLock);
      ListCell* step;
      foreach (step, alter->cmds) {
        const AlterTableCmd* command = lfirst_node(AlterTableCmd, step);
        if (command->subtype != AT_AddColumn || command->def == nullptr) continue;
        AddFill(table, alter, reinterpret_cast<ColumnDef*>(command->def), fills, &ddl->fill_count);
      }
      table_close(table, NoLock);
    }
    ddl->fills = fills;
  }
}

}  // namespace towline::plugin
