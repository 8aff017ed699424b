#include "ddl_names.h"

#include "ddl_objects.h"

namespace towline::plugin {
namespace {

struct Place {
  int location;
  const char* schema;
};

struct Places {
  const DdlFields* ddl;
  const List* made;   // of CREATE SCHEMA: what it has made before, RangeVars,
  const List* makes;  // and all tables that it makes
  Place* all;
  int count;
  int room;
};

bool IsMade(const DdlFields& ddl, Oid relation) {
  for (size_t i = 0; i < ddl.object_count; ++i) {
    if (ddl.objects[i].class_oid == RelationRelationId && ddl.objects[i].oid == relation) {
      return true;
    }
  }
  return false;
}

// What the name has meant before the command has made another that stands earlier in the path.
Oid FindBehindMade(const char* name, const DdlFields& ddl) {
  ListCell* cell;
  List* schemas = fetch_search_path(true);
  foreach (cell, schemas) {
    Oid relation = get_relname_relid(name, lfirst_oid(cell));
    if (OidIsValid(relation) && !IsMade(ddl, relation)) return relation;
  }
  return InvalidOid;
}

bool IsAmong(const List* names, const char* name) {
  ListCell* cell;
  foreach (cell, names) {
    if (strcmp(lfirst_node(RangeVar, cell)->relname, name) == 0) return true;
  }
  return false;
}

// The command is done: a name that it has made may have meant another table before.
void Add(const RangeVar* name, bool may_be_made, Places* places) {
  if (name->schemaname != nullptr || name->location < 0) return;
  if (IsAmong(places->made, name->relname)) return;
  Oid relation = RangeVarGetRelid(name, NoLock, true);
  if (OidIsValid(relation) && !may_be_made && IsMade(*places->ddl, relation)) {
    relation = FindBehindMade(name->relname, *places->ddl);
  }
  if (!OidIsValid(relation)) return;
  Oid schema = get_rel_namespace(relation);
  if (!OidIsValid(schema) || isAnyTempNamespace(schema)) return;
  if (places->count == places->room) {
    places->room = Max(8, 2 * places->room);
    auto bytes = static_cast<Size>(places->room) * sizeof(Place);
    places->all =
        static_cast<Place*>(places->all == nullptr ? palloc(bytes) : repalloc(places->all, bytes));
  }
  places->all[places->count++] = {name->location, get_namespace_name(schema)};
}

void AddAll(const List* names, Places* places) {
  ListCell* cell;
  foreach (cell, names) Add(lfirst_node(RangeVar, cell), /*may_be_made=*/false, places);
}

// A table may refer to itself.
void AddOfConstraint(const Constraint* constraint, Places* places) {
  if (constraint->contype != CONSTR_FOREIGN) return;
  // Within CREATE SCHEMA versions differ in when keys are made.
  if (!IsAmong(places->makes, constraint->pktable->relname)) Add(constraint->pktable, true, places);
}

void AddOfElement(const Node* element, Places* places) {
  if (IsA(element, Constraint)) {
    AddOfConstraint(reinterpret_cast<const Constraint*>(element), places);
  } else if (IsA(element, TableLikeClause)) {
    Add(reinterpret_cast<const TableLikeClause*>(element)->relation, false, places);
  } else if (IsA(element, ColumnDef)) {
    ListCell* cell;
    foreach (cell, reinterpret_cast<const ColumnDef*>(element)->constraints) {
      const auto* constraint = static_cast<const Node*>(lfirst(cell));
      if (IsA(constraint, Constraint)) AddOfElement(constraint, places);
    }
  }
}

void AddOfCreate(const CreateStmt* create, Places* places) {
  ListCell* cell;
  foreach (cell, create->tableElts) {
    AddOfElement(static_cast<const Node*>(lfirst(cell)), places);
  }
  AddAll(create->inhRelations, places);
}

void AddOfAlter(const AlterTableStmt* alter, Places* places) {
  ListCell* cell;
  foreach (cell, alter->cmds) {
    const auto* command = lfirst_node(AlterTableCmd, cell);
    if (IsDetachFinalize(command->subtype)) {
      Add(reinterpret_cast<const PartitionCmd*>(command->def)->name, false, places);
      continue;
    }
    switch (command->subtype) {
      case AT_AddColumn:
      case AT_AddConstraint:
        AddOfElement(command->def, places);
        break;
      case AT_AttachPartition:
      case AT_DetachPartition:
        Add(reinterpret_cast<const PartitionCmd*>(command->def)->name, false, places);
        break;
      case AT_AddInherit:
      case AT_DropInherit:
        Add(reinterpret_cast<const RangeVar*>(command->def), false, places);
        break;
      default:
        break;
    }
  }
}

void AddOfGrant(const GrantStmt* grant, Places* places) {
  if (grant->targtype != ACL_TARGET_OBJECT) return;
  if (grant->objtype == OBJECT_TABLE || grant->objtype == OBJECT_SEQUENCE) {
    AddAll(grant->objects, places);
  }
}

// Its parts find what it has made before anything else. They are run by kinds, grants last, and
// before version 19 all tables before all views: the name of a view is left alone in any case.
void AddOfSchema(const CreateSchemaStmt* schema, Places* places) {
  List* made = nullptr;
  List* makes = nullptr;
  ListCell* cell;
  foreach (cell, schema->schemaElts) {
    const auto* part = static_cast<const Node*>(lfirst(cell));
    if (IsA(part, ViewStmt)) made = lappend(made, reinterpret_cast<const ViewStmt*>(part)->view);
    if (IsA(part, CreateSeqStmt)) {
      made = lappend(made, reinterpret_cast<const CreateSeqStmt*>(part)->sequence);
    }
    if (IsA(part, CreateStmt)) {
      makes = lappend(makes, reinterpret_cast<const CreateStmt*>(part)->relation);
    }
  }
  places->makes = makes;
  foreach (cell, schema->schemaElts) {
    const auto* part = static_cast<const Node*>(lfirst(cell));
    if (!IsA(part, CreateStmt)) continue;
    const auto* create = reinterpret_cast<const CreateStmt*>(part);
    places->made = made;
    AddOfCreate(create, places);
    made = lappend(made, create->relation);
  }
  places->made = made;
  foreach (cell, schema->schemaElts) {
    const auto* part = static_cast<const Node*>(lfirst(cell));
    if (IsA(part, GrantStmt)) AddOfGrant(reinterpret_cast<const GrantStmt*>(part), places);
  }
}

void AddOfCommand(const Node* command, Places* places) {
  switch (nodeTag(command)) {
    case T_CreateStmt:
      AddOfCreate(reinterpret_cast<const CreateStmt*>(command), places);
      break;
    case T_CreateForeignTableStmt:
      AddOfCreate(&reinterpret_cast<const CreateForeignTableStmt*>(command)->base, places);
      break;
    case T_AlterTableStmt:
      AddOfAlter(reinterpret_cast<const AlterTableStmt*>(command), places);
      break;
    case T_CreateSchemaStmt:
      AddOfSchema(reinterpret_cast<const CreateSchemaStmt*>(command), places);
      break;
    case T_GrantStmt:
      AddOfGrant(reinterpret_cast<const GrantStmt*>(command), places);
      break;
    default:
      break;
  }
}

bool NamesOthers(const Node* parsetree) {
  switch (nodeTag(parsetree)) {
    case T_CreateStmt:
    case T_CreateForeignTableStmt:
    case T_AlterTableStmt:
    case T_CreateSchemaStmt:
    case T_GrantStmt:
      return true;
    default:
      return false;
  }
}

Oid NamespaceOfType(Oid type) {
  HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
  if (!HeapTupleIsValid(tuple)) return InvalidOid;
  Oid schema = reinterpret_cast<Form_pg_type>(GETSTRUCT(tuple))->typnamespace;
  ReleaseSysCache(tuple);
  return schema;
}

int ByLocation(const void* a, const void* b) {
  return static_cast<const Place*>(a)->location - static_cast<const Place*>(b)->location;
}

}  // namespace

namespace {

bool IsOfRoutines(ObjectType kind) {
  return kind == OBJECT_FUNCTION || kind == OBJECT_PROCEDURE || kind == OBJECT_ROUTINE;
}

bool TakesTypesOfExtensions(Oid routine) {
  Oid* types = nullptr;
  int count = 0;
  (void)get_func_signature(routine, &types, &count);
  for (int i = 0; i < count; ++i) {
    Oid element = get_element_type(types[i]);
    Oid type = OidIsValid(element) ? element : types[i];
    if (OidIsValid(getExtensionOfObject(TypeRelationId, type))) return true;
  }
  return false;
}

// Gives its schema; invalid: it is named with that.
Oid ReadRoutine(ObjectType kind, ObjectWithArgs* named, DdlObjectFields* object) {
  Oid routine = LookupFuncWithArgs(kind, named, true);
  if (!OidIsValid(routine)) return InvalidOid;
  if (!TakesTypesOfExtensions(routine)) {
    object->identity = DdlText(format_procedure_qualified(routine));
  }
  return list_length(named->objname) > 1 ? InvalidOid : get_func_namespace(routine);
}

Oid ReadType(List* name) {
  if (list_length(name) > 1) return InvalidOid;
  return NamespaceOfType(LookupTypeNameOid(nullptr, makeTypeNameFromNameList(name), true));
}

}  // namespace

void ReadGranted(const GrantStmt* grant, DdlFields* ddl) {
  const bool is_of_types = grant->objtype == OBJECT_TYPE || grant->objtype == OBJECT_DOMAIN;
  if (grant->targtype != ACL_TARGET_OBJECT || ddl->object_count == 0) return;
  if (!is_of_types && !IsOfRoutines(grant->objtype)) return;
  const auto count = static_cast<size_t>(list_length(grant->objects));
  auto* objects = static_cast<DdlObjectFields*>(palloc0(count * sizeof(DdlObjectFields)));
  Oid first = InvalidOid;
  bool is_one = true;
  size_t number = 0;
  ListCell* cell;
  foreach (cell, grant->objects) {
    DdlObjectFields* object = &objects[number++];
    object->type = ddl->objects[0].type;
    Oid schema = is_of_types
                     ? ReadType(static_cast<List*>(lfirst(cell)))
                     : ReadRoutine(grant->objtype, lfirst_node(ObjectWithArgs, cell), object);
    if (!OidIsValid(schema)) continue;
    object->schema = DdlText(get_namespace_name(schema));
    is_one &= !OidIsValid(first) || schema == first;
    first = schema;
  }
  if (is_one && OidIsValid(first)) ddl->named_schema = DdlText(get_namespace_name(first));
  ddl->objects = objects;
  ddl->object_count = count;
}

namespace {

// In quotes always: a quoted name may follow a word without a space.
void AppendQuoted(StringInfo text, const char* name) {
  appendStringInfoChar(text, '"');
  for (; *name != '\0'; ++name) {
    if (*name == '"') appendStringInfoChar(text, '"');
    appendStringInfoChar(text, *name);
  }
  appendStringInfoChar(text, '"');
}

}  // namespace

// The trigger's tree has been worked on, and its locations are those of the whole string.
const char* WithSchemas(const char* text, const Node* parsetree, const DdlFields& ddl) {
  if (!NamesOthers(parsetree)) return text;
  const List* commands = ParseRaw(text);
  if (list_length(commands) != 1) return text;
  Places places = {&ddl, nullptr, nullptr, nullptr, 0, 0};
  AddOfCommand(linitial_node(RawStmt, commands)->stmt, &places);
  if (places.count == 0) return text;
  qsort(places.all, static_cast<size_t>(places.count), sizeof(Place), ByLocation);
  StringInfoData written;
  initStringInfo(&written);
  int done = 0;
  for (int i = 0; i < places.count; ++i) {
    const Place& place = places.all[i];
    appendBinaryStringInfo(&written, text + done, place.location - done);
    AppendQuoted(&written, place.schema);
    appendStringInfoChar(&written, '.');
    done = place.location;
  }
  appendStringInfoString(&written, text + done);
  return written.data;
}

}  // namespace towline::plugin
