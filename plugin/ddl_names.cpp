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

// The command is done: a name that it has made may have meant another table before.
void Add(const RangeVar* name, bool may_be_made, Places* places) {
  if (name->schemaname != nullptr || name->location < 0) return;
  Oid relation = RangeVarGetRelid(name, NoLock, true);
  if (!OidIsValid(relation) || (!may_be_made && IsMade(*places->ddl, relation))) return;
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
  if (constraint->contype == CONSTR_FOREIGN) Add(constraint->pktable, true, places);
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

std::string_view SchemaOfGranted(const GrantStmt* grant) {
  if (grant->targtype != ACL_TARGET_OBJECT) return {};
  Oid schema = InvalidOid;
  ListCell* cell;
  foreach (cell, grant->objects) {
    Oid found = InvalidOid;
    if (grant->objtype == OBJECT_FUNCTION || grant->objtype == OBJECT_PROCEDURE ||
        grant->objtype == OBJECT_ROUTINE) {
      auto* routine = lfirst_node(ObjectWithArgs, cell);
      if (list_length(routine->objname) > 1) continue;
      found = get_func_namespace(LookupFuncWithArgs(grant->objtype, routine, true));
    } else if (grant->objtype == OBJECT_TYPE || grant->objtype == OBJECT_DOMAIN) {
      List* name = static_cast<List*>(lfirst(cell));
      if (list_length(name) > 1) continue;
      found = NamespaceOfType(LookupTypeNameOid(nullptr, makeTypeNameFromNameList(name), true));
    }
    if (!OidIsValid(found) || (OidIsValid(schema) && schema != found)) return {};
    schema = found;
  }
  return OidIsValid(schema) ? DdlText(get_namespace_name(schema)) : std::string_view();
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
  Places places = {&ddl, nullptr, 0, 0};
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
