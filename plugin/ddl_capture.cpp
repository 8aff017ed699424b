// The event triggers that capture DDL (towline.enable_ddl()): each command becomes one or more rows
// of towline.ddl_log in the transaction of its user. A row is written by nobody but this file,
// beside all rights, and deleted at once: what remains of it is its place in the log, where
// decoding finds it among the rows of the transaction, and where a rollback takes it along.
//
// Nothing here makes the command fail: what goes wrong is a warning, and a row that says that there
// is a gap. Only a cancelled command stays cancelled.
#include "ddl_names.h"
#include "ddl_objects.h"
#include "ddl_references.h"
#include "ddl_statement.h"
#include "ddl_structure.h"
#include "frame.h"
#include "session_settings.h"
#include "wire_writer.h"

extern "C" {
PGDLLEXPORT void _PG_init(void);
PG_FUNCTION_INFO_V1(towline_ddl_command_start);
PG_FUNCTION_INFO_V1(towline_ddl_command_end);
PG_FUNCTION_INFO_V1(towline_ddl_sql_drop);
PG_FUNCTION_INFO_V1(towline_ddl_table_rewrite);
PGDLLEXPORT Datum towline_ddl_command_start(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum towline_ddl_command_end(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum towline_ddl_sql_drop(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum towline_ddl_table_rewrite(PG_FUNCTION_ARGS);
}

namespace towline::plugin {
namespace {

// One entry is sent as one piece, whose size is bounded.
constexpr size_t kEntryBytesMax = 8 * 1024 * 1024;

uint64_t last_number = 0;

// Of a command whose beginning the hook has missed, the first of its session. Those that run within
// it have their own.
SeenOfCommand seen_before_hook;

SeenOfCommand* SeenOf(RunningCommand* command) {
  return command == nullptr ? &seen_before_hook : &command->seen;
}

uint64_t NumberOf(RunningCommand* command) {
  SeenOfCommand* seen = SeenOf(command);
  if (seen->number == 0) seen->number = ++last_number;
  return seen->number;
}

// Options of other servers of which the wrappers that come with PostgreSQL say what they are.
bool HasOtherOptions(const List* options) {
  static constexpr std::string_view kHarmless[] = {"host",
                                                   "hostaddr",
                                                   "port",
                                                   "dbname",
                                                   "user",
                                                   "fdw_startup_cost",
                                                   "fdw_tuple_cost",
                                                   "fetch_size",
                                                   "batch_size",
                                                   "use_remote_estimate",
                                                   "extensions",
                                                   "updatable",
                                                   "truncatable",
                                                   "async_capable",
                                                   "keep_connections"};
  ListCell* cell;
  foreach (cell, options) {
    bool is_harmless = false;
    for (std::string_view name : kHarmless)
      is_harmless |= name == lfirst_node(DefElem, cell)->defname;
    if (!is_harmless) return true;
  }
  return false;
}

// Statements whose text may hold a password of another server.
bool MayHoldSecret(const Node* parsetree) {
  switch (nodeTag(parsetree)) {
    case T_CreateUserMappingStmt:
      return HasOtherOptions(reinterpret_cast<const CreateUserMappingStmt*>(parsetree)->options);
    case T_AlterUserMappingStmt:
      return HasOtherOptions(reinterpret_cast<const AlterUserMappingStmt*>(parsetree)->options);
    case T_CreateForeignServerStmt:
      return HasOtherOptions(reinterpret_cast<const CreateForeignServerStmt*>(parsetree)->options);
    case T_AlterForeignServerStmt:
      return HasOtherOptions(reinterpret_cast<const AlterForeignServerStmt*>(parsetree)->options);
    case T_CreateSubscriptionStmt:
    case T_AlterSubscriptionStmt:
      return true;
    default:
      return false;
  }
}

std::string_view SearchPath() {
  StringInfoData path;
  initStringInfo(&path);
  ListCell* cell;
  List* schemas = fetch_search_path(false);
  foreach (cell, schemas) {
    Oid oid = lfirst_oid(cell);
    const char* name = get_namespace_name(oid);
    if (name == nullptr || isAnyTempNamespace(oid)) continue;
    appendStringInfo(&path, "%s%s", path.len > 0 ? ", " : "", quote_identifier(name));
  }
  return DdlText(path.data);
}

// Those that decide what a text in a command means.
void ReadSettings(DdlFields* ddl) {
  static constexpr const char* kNames[] = {"DateStyle",
                                           "IntervalStyle",
                                           "TimeZone",
                                           "standard_conforming_strings",
                                           "transform_null_equals",
                                           "array_nulls",
                                           "xmloption"};
  auto* settings =
      static_cast<DdlSettingFields*>(palloc(lengthof(kNames) * sizeof(DdlSettingFields)));
  for (size_t i = 0; i < lengthof(kNames); ++i) {
    settings[i] = {kNames[i], DdlText(pstrdup(GetConfigOption(kNames[i], false, false)))};
  }
  ddl->settings = settings;
  ddl->setting_count = lengthof(kNames);
}

void FillStatement(RunningCommand* command, Node* parsetree, DdlFields* ddl) {
  ddl->search_path = SearchPath();
  Oid role = command == nullptr ? GetUserId() : command->role;
  ddl->role = DdlText(GetUserNameFromId(role, true));
  ReadSettings(ddl);
  if (MayHoldSecret(parsetree)) {
    ddl->gap = "its text may hold a password and is not captured";
    return;
  }
  const char* text = StatementText(command, parsetree);
  if (text == nullptr || *text == '\0') {
    ddl->gap = "its text could not be told from that of the function which has run it";
  } else if (strlen(text) > kEntryBytesMax) {
    ddl->gap = "its text is longer than 8 MiB";
  } else {
    ddl->statement = DdlText(WithSchemas(text, parsetree, *ddl));
  }
}

Oid DdlLogOid() {
  Oid schema = get_namespace_oid("towline", false);
  Oid oid = get_relname_relid("ddl_log", schema);
  if (!OidIsValid(oid)) {
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table towline.ddl_log is missing"),
                    errhint("SELECT towline.disable_ddl(), then SELECT towline.enable_ddl().")));
  }
  return oid;
}

void WriteRow(const DdlFields& ddl) {
  ByteBuffer body;
  InitBuffer(&body, CurrentMemoryContext, 4096);
  WriteDdlBody(&body, ddl);
  if (body.size > kEntryBytesMax + kEntryBytesMax / 2) {
    ereport(ERROR,
            (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("it concerns too many objects")));
  }
  auto* stored = static_cast<bytea*>(palloc(body.size + VARHDRSZ));
  SET_VARSIZE(stored, body.size + VARHDRSZ);
  memcpy(VARDATA(stored), body.data, body.size);
  Relation log = table_open(DdlLogOid(), RowExclusiveLock);
  TupleDesc columns = RelationGetDescr(log);
  if (TupleDescAttr(columns, 0)->atttypid != BYTEAOID) {
    ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                    errmsg("table towline.ddl_log is not the one of this library"),
                    errhint("ALTER EXTENSION towline UPDATE.")));
  }
  auto count = static_cast<size_t>(columns->natts);
  auto* values = static_cast<Datum*>(palloc0(count * sizeof(Datum)));
  auto* nulls = static_cast<bool*>(palloc0(count * sizeof(bool)));
  memset(nulls, true, count);
  values[0] = PointerGetDatum(stored);
  nulls[0] = false;
  HeapTuple row = heap_form_tuple(columns, values, nulls);
  PushActiveSnapshot(GetTransactionSnapshot());
  simple_heap_insert(log, row);
  CommandCounterIncrement();
  simple_heap_delete(log, &row->t_self);
  CommandCounterIncrement();
  PopActiveSnapshot();
  table_close(log, NoLock);
}

// What the table that CREATE TABLE AS is about to make will be called; false: it is temporary.
bool NameNewTable(const CreateTableAsStmt* command, DdlFields* ddl) {
  const RangeVar* name = command->into->rel;
  if (name->relpersistence == RELPERSISTENCE_TEMP) return false;
  Oid schema = RangeVarGetCreationNamespace(name);
  if (isAnyTempNamespace(schema)) return false;
  // IF NOT EXISTS makes nothing then, and no END would come.
  if (command->if_not_exists && OidIsValid(get_relname_relid(name->relname, schema))) return false;
  auto* object = static_cast<DdlObjectFields*>(palloc0(sizeof(DdlObjectFields)));
  const char* schema_name = get_namespace_name(schema);
  if (schema_name == nullptr) {
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_SCHEMA), errmsg("its schema was dropped meanwhile")));
  }
  object->type = "table";
  object->schema = object->table_schema = DdlText(schema_name);
  object->name = object->table_name = DdlText(name->relname);
  const char* identity = quote_qualified_identifier(schema_name, name->relname);
  object->identity = DdlText(identity);
  const char* structure = StructureOf(command, identity);
  if (structure != nullptr) ddl->structure = DdlText(structure);
  ddl->objects = object;
  ddl->object_count = 1;
  return true;
}

// Null: the command makes none.
const CreateStmt* PartitionIn(const Node* parsetree) {
  if (!IsA(parsetree, CreateStmt)) return nullptr;
  const auto* create = reinterpret_cast<const CreateStmt*>(parsetree);
  return create->partbound == nullptr ? nullptr : create;
}

// By the tree, as the partition may have the name of the table above and stand before it in the
// search_path.
std::string_view SchemaAbove(const DdlFields& ddl) {
  for (size_t i = 0; i < ddl.object_count; ++i) {
    const DdlObjectFields& object = ddl.objects[i];
    if (object.type != "table" || !get_rel_relispartition(object.oid)) continue;
    return DdlText(get_namespace_name(get_rel_namespace(TableAbovePartition(object.oid))));
  }
  return {};
}

// now() as a bound of a partition means what it has meant here.
void ReadBounds(DdlFields* ddl) {
  for (size_t i = 0; i < ddl->object_count; ++i) {
    if (ddl->objects[i].type != "table") continue;
    const char* bounds = BoundsOf(ddl->objects[i].oid);
    if (bounds != nullptr) ddl->structure = DdlText(bounds);
  }
}

// Fills what the phase says of the command. False: there is nothing to say.
bool FillPhase(RunningCommand* command, Node* parsetree, DdlFields* ddl) {
  switch (ddl->phase) {
    case DdlPhase::kStart:
      if (!IsA(parsetree, CreateTableAsStmt) ||
          !NameNewTable(reinterpret_cast<CreateTableAsStmt*>(parsetree), ddl)) {
        return false;
      }
      ddl->wants_rows = true;
      break;
    case DdlPhase::kRewrite:
      if (!ReadRewrittenTable(parsetree, ddl)) return false;
      ddl->wants_rows = true;
      ReadReferences(parsetree, ddl);
      break;
    case DdlPhase::kDrop:
      SeenOf(command)->has_drops = true;
      SeenOf(command)->drops_only_temporary = !ReadDroppedObjects(ddl);
      return !SeenOf(command)->drops_only_temporary;
    case DdlPhase::kEnd: {
      ObjectsFound found = ReadObjects(ddl);
      const SeenOfCommand* seen = SeenOf(command);
      bool has_dropped = seen->has_drops && !seen->drops_only_temporary;
      if (found == ObjectsFound::kOnlyTemporary || found == ObjectsFound::kOwn) return false;
      if (found == ObjectsFound::kNone && !has_dropped) return false;
      const CreateStmt* partition = PartitionIn(parsetree);
      if (partition != nullptr) ddl->named_schema = SchemaAbove(*ddl);
      if (IsA(parsetree, GrantStmt)) {
        ReadGranted(reinterpret_cast<const GrantStmt*>(parsetree), ddl);
      }
      // Their reader knows nothing of this session.
      const int nest_level = PinTextSettings();
      ReadFills(parsetree, ddl);
      if (partition != nullptr) ReadBounds(ddl);
      RestoreSessionSettings(nest_level);
      ReadReferences(parsetree, ddl);
      break;
    }
  }
  ReadActions(parsetree, ddl);
  FillStatement(command, parsetree, ddl);
  return true;
}

void WriteEntry(DdlPhase phase, RunningCommand* command, const EventTriggerData* trigger) {
  DdlFields ddl = {};
  ddl.phase = phase;
  ddl.tag = GetCommandTagName(trigger->tag);
  if (!FillPhase(command, trigger->parsetree, &ddl)) return;
  ddl.number = NumberOf(command);
  WriteRow(ddl);
}

void WriteGap(DdlPhase phase, RunningCommand* command, const EventTriggerData* trigger,
              const char* why) {
  DdlFields ddl = {};
  ddl.phase = phase;
  ddl.tag = GetCommandTagName(trigger->tag);
  ddl.number = NumberOf(command);
  ddl.gap = why;
  WriteRow(ddl);
}

struct Attempt {
  DdlPhase phase;
  RunningCommand* command;
  const EventTriggerData* trigger;
  const char* gap;  // null: the entry itself
};

bool IsMeantToStop(const ErrorData* error) {
  int category = ERRCODE_TO_CATEGORY(error->sqlerrcode);
  return category == ERRCODE_OPERATOR_INTERVENTION || error->elevel > ERROR;
}

// In a subtransaction, so that an error takes nothing else along. Null: it has worked.
const ErrorData* Try(const Attempt& attempt) {
  MemoryContext context = CurrentMemoryContext;
  ResourceOwner owner = CurrentResourceOwner;
  ErrorData* volatile error = nullptr;
  BeginInternalSubTransaction(nullptr);
  MemoryContextSwitchTo(context);
  PG_TRY();
  {
    if (attempt.gap == nullptr) {
      WriteEntry(attempt.phase, attempt.command, attempt.trigger);
    } else {
      WriteGap(attempt.phase, attempt.command, attempt.trigger, attempt.gap);
    }
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
  MemoryContextSwitchTo(context);
  CurrentResourceOwner = owner;
  if (error != nullptr && IsMeantToStop(error)) ReThrowError(error);
  return error;
}

// What stands in a gap may be in any encoding and of any length.
const char* GapText(const char* message) {
  constexpr size_t kTextBytesMax = 500;
  char* text = pnstrdup(message, kTextBytesMax);
  for (char* c = text; *c != '\0'; ++c) {
    if (IS_HIGHBIT_SET(*c)) *c = '?';
  }
  return text;
}

void Capture(DdlPhase phase, const EventTriggerData* trigger) {
  // A script's commands are CREATE EXTENSION's, which comes as one.
  if (creating_extension) return;
  MemoryContext caller = CurrentMemoryContext;
  MemoryContext scratch = AllocSetContextCreate(caller, "towline ddl", ALLOCSET_DEFAULT_SIZES);
  MemoryContextSwitchTo(scratch);
  RunningCommand* command = FindRunningCommand(trigger->parsetree);
  const ErrorData* error = Try({phase, command, trigger, nullptr});
  if (error != nullptr) {
    const ErrorData* again = Try({phase, command, trigger, GapText(error->message)});
    ereport(WARNING,
            (errcode(ERRCODE_WARNING),
             errmsg("towline could not capture this %s: %s", GetCommandTagName(trigger->tag),
                    error->message),
             again == nullptr
                 ? errdetail("The command is done all the same. Towline will stop at its place.")
                 : errdetail("The command is done all the same, and Towline will not know of it: "
                             "%s",
                             again->message)));
  }
  MemoryContextSwitchTo(caller);
  MemoryContextDelete(scratch);
}

Datum OnTrigger(FunctionCallInfo fcinfo, DdlPhase phase) {
  if (!CALLED_AS_EVENT_TRIGGER(fcinfo)) {
    ereport(ERROR, (errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
                    errmsg("this function can only be called as an event trigger")));
  }
  auto* trigger = reinterpret_cast<EventTriggerData*>(fcinfo->context);
  SeenOfCommand* seen = SeenOf(FindRunningCommand(trigger->parsetree));
  if (phase == DdlPhase::kDrop) seen->has_drops = seen->drops_only_temporary = false;
  Capture(phase, trigger);
  if (phase == DdlPhase::kEnd) *seen = {};
  return static_cast<Datum>(0);
}

}  // namespace
}  // namespace towline::plugin

void _PG_init(void) { towline::plugin::InstallUtilityHook(); }

Datum towline_ddl_command_start(PG_FUNCTION_ARGS) {
  return towline::plugin::OnTrigger(fcinfo, towline::plugin::DdlPhase::kStart);
}
Datum towline_ddl_command_end(PG_FUNCTION_ARGS) {
  return towline::plugin::OnTrigger(fcinfo, towline::plugin::DdlPhase::kEnd);
}
Datum towline_ddl_sql_drop(PG_FUNCTION_ARGS) {
  return towline::plugin::OnTrigger(fcinfo, towline::plugin::DdlPhase::kDrop);
}
Datum towline_ddl_table_rewrite(PG_FUNCTION_ARGS) {
  return towline::plugin::OnTrigger(fcinfo, towline::plugin::DdlPhase::kRewrite);
}
