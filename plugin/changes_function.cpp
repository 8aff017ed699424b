// towline.changes(): peeks at a slot through the server's own function, so that its checks of
// rights and slot hold, and shows each entry as a row.
#include "changes_text.h"
#include "pg_compat.h"

extern "C" {
PG_FUNCTION_INFO_V1(towline_changes);
PGDLLEXPORT Datum towline_changes(PG_FUNCTION_ARGS);
}

namespace towline::plugin {
namespace {

// Frames held in memory at a time.
constexpr long kFramesPerFetch = 16;

constexpr int kResultColumns = 9;
constexpr int32 kAllFrames = 0;

struct Output {
  Tuplestorestate* rows;
  TupleDesc descriptor;
  int64_t frame_count;
  int64_t change_count;
};

bool IsChange(const char* kind) {
  for (const char* change : {"insert", "update", "delete", "truncate", "message"}) {
    if (strcmp(kind, change) == 0) return true;
  }
  return false;
}

void EmitRow(const ReadableEntry& entry, void* arg) {
  auto* output = static_cast<Output*>(arg);
  Datum values[kResultColumns];
  bool nulls[kResultColumns] = {};
  const char* const texts[] = {entry.kind,    entry.relation, entry.old_image,
                               entry.old_row, entry.new_row,  entry.detail};
  values[0] = LSNGetDatum(entry.lsn);
  values[1] = UInt64GetDatum(entry.xid);
  nulls[1] = entry.xid == 0;
  for (int i = 0; i < static_cast<int>(lengthof(texts)); ++i) {
    nulls[2 + i] = texts[i] == nullptr;
    values[2 + i] = texts[i] == nullptr ? static_cast<Datum>(0) : CStringGetTextDatum(texts[i]);
  }
  values[8] = TimestampTzGetDatum(entry.commit_time);
  nulls[8] = !entry.has_commit_time;
  tuplestore_putvalues(output->rows, output->descriptor, values, nulls);
  if (IsChange(entry.kind)) ++output->change_count;
}

ReturnSetInfo* CheckCaller(FunctionCallInfo fcinfo) {
  auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  if (result == nullptr || !IsA(result, ReturnSetInfo) ||
      (result->allowedModes & SFRM_Materialize) == 0) {
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("towline.changes() can only be called where a set is accepted")));
  }
  if (PG_ARGISNULL(0)) {
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("slot name must not be null")));
  }
  if (!PG_ARGISNULL(2) && PG_GETARG_INT32(2) < 1) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("upto_changes must be greater than zero")));
  }
  return result;
}

void OpenOutput(FunctionCallInfo fcinfo, ReturnSetInfo* result, Output* output) {
  MemoryContext caller = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
  if (get_call_result_type(fcinfo, nullptr, &output->descriptor) != TYPEFUNC_COMPOSITE) {
    elog(ERROR, "towline.changes() must return a row type");
  }
  output->rows =
      tuplestore_begin_heap((result->allowedModes & SFRM_Materialize_Random) != 0, false, work_mem);
  result->returnMode = SFRM_Materialize;
  result->setResult = output->rows;
  result->setDesc = output->descriptor;
  MemoryContextSwitchTo(caller);
}

// The options the caller gave, and text values unless he chose otherwise.
Datum OptionsArray(FunctionCallInfo fcinfo) {
  Datum* elements = nullptr;
  bool* nulls = nullptr;
  int count = 0;
  if (!PG_ARGISNULL(3)) {
    deconstruct_array(PG_GETARG_ARRAYTYPE_P(3), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls,
                      &count);
  }
  bool has_format = false;
  auto* all = static_cast<Datum*>(palloc(static_cast<size_t>(count + 2) * sizeof(Datum)));
  for (int i = 0; i < count; ++i) {
    if (nulls[i]) {
      ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("options must not be null")));
    }
    all[i] = elements[i];
    if (i % 2 == 0 && strcmp(TextDatumGetCString(elements[i]), "binary") == 0) has_format = true;
  }
  if (!has_format && count % 2 == 0) {
    all[count++] = CStringGetTextDatum("binary");
    all[count++] = CStringGetTextDatum("off");
  }
  return PointerGetDatum(construct_array(all, count, TEXTOID, -1, false, TYPALIGN_INT));
}

// Another plugin's options and bytes are not ours; its errors would not say so.
void CheckPlugin(FunctionCallInfo fcinfo) {
  Oid types[] = {NAMEOID};
  Datum values[] = {PG_GETARG_DATUM(0)};
  // A slot that does not exist is the server's to refuse.
  SPI_execute_with_args(
      "SELECT plugin FROM pg_catalog.pg_replication_slots WHERE slot_name = $1 AND (plugin IS NULL "
      "OR plugin !~ '(^|/)towline$')",
      1, types, values, nullptr, true, 1);
  if (SPI_processed == 0) return;
  char* plugin = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
  ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                  errmsg("replication slot \"%s\" is not one of output plugin \"towline\"",
                         NameStr(*PG_GETARG_NAME(0))),
                  plugin == nullptr ? errdetail("It is a physical slot.")
                                    : errdetail("Its output plugin is \"%s\".", plugin)));
}

Portal OpenPeek(FunctionCallInfo fcinfo, int32 frames_max) {
  Oid types[] = {NAMEOID, kPgLsnOid, INT4OID, TEXTARRAYOID};
  Datum values[] = {PG_GETARG_DATUM(0), PG_ARGISNULL(1) ? Datum{0} : PG_GETARG_DATUM(1),
                    Int32GetDatum(frames_max), OptionsArray(fcinfo)};
  char nulls[] = {' ', PG_ARGISNULL(1) ? 'n' : ' ', frames_max == kAllFrames ? 'n' : ' ', ' ',
                  '\0'};
  return SPI_cursor_open_with_args(
      nullptr,
      "SELECT lsn, data FROM pg_catalog.pg_logical_slot_peek_binary_changes($1, $2, $3, VARIADIC "
      "$4)",
      static_cast<int>(lengthof(types)), types, values, nulls, false, 0);
}

// Reads the frames that a fetch has brought. False when enough has been read: whole transactions
// are shown, as by the server's functions.
bool ReadFetched(ReadableStream* stream, MemoryContext frame_context, int64_t changes_max,
                 Output* output) {
  for (uint64 i = 0; i < SPI_processed; ++i) {
    MemoryContext caller = MemoryContextSwitchTo(frame_context);
    bool is_null = false;
    HeapTuple tuple = SPI_tuptable->vals[i];
    XLogRecPtr lsn = DatumGetLSN(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &is_null));
    bytea* data = DatumGetByteaPP(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &is_null));
    std::string_view frame(VARDATA_ANY(data), static_cast<size_t>(VARSIZE_ANY_EXHDR(data)));
    ReadFrame(stream, frame, lsn, EmitRow, output);
    ++output->frame_count;
    MemoryContextSwitchTo(caller);
    MemoryContextReset(frame_context);
    if (stream->xid == 0 && output->change_count >= changes_max) return false;
  }
  return true;
}

// Reads what a peek of so many frames gives. False if there may be more, and more is wanted.
bool Peek(FunctionCallInfo fcinfo, int32 frames_max, Output* output) {
  int64_t changes_max = PG_ARGISNULL(2) ? PG_INT64_MAX : PG_GETARG_INT32(2);
  tuplestore_clear(output->rows);
  output->frame_count = output->change_count = 0;
  MemoryContext context =
      AllocSetContextCreate(CurrentMemoryContext, "towline changes", ALLOCSET_DEFAULT_SIZES);
  ReadableStream stream;
  InitReadableStream(&stream, context);
  MemoryContext frame_context =
      AllocSetContextCreate(context, "towline frame", ALLOCSET_DEFAULT_SIZES);
  Portal portal = OpenPeek(fcinfo, frames_max);
  bool wants_more = true;
  while (wants_more) {
    SPI_cursor_fetch(portal, true, kFramesPerFetch);
    if (SPI_processed == 0) break;
    wants_more = ReadFetched(&stream, frame_context, changes_max, output);
    SPI_freetuptable(SPI_tuptable);
  }
  SPI_cursor_close(portal);
  MemoryContextDelete(context);
  return !wants_more || frames_max == kAllFrames || output->frame_count < frames_max;
}

void ReadSlot(FunctionCallInfo fcinfo, ReturnSetInfo* result) {
  Output output;
  OpenOutput(fcinfo, result, &output);
  if (SPI_connect() != SPI_OK_CONNECT) elog(ERROR, "SPI_connect failed");
  CheckPlugin(fcinfo);
  // Mostly as many frames as changes are wanted hold at least that many changes. Frames without any
  // (of prepared transactions and their outcomes) may come between: then again, with more.
  int32 frames_max = PG_ARGISNULL(2) ? kAllFrames : PG_GETARG_INT32(2);
  while (!Peek(fcinfo, frames_max, &output)) {
    frames_max = frames_max > PG_INT32_MAX / 2 ? kAllFrames : 2 * frames_max;
  }
  SPI_finish();
}

// Where an error is caught in the session (PL/pgSQL's EXCEPTION), nothing of the server releases
// the slot: it would be refused to all other sessions until this one has its next error, or ends.
Datum Changes(FunctionCallInfo fcinfo) {
  ReturnSetInfo* result = CheckCaller(fcinfo);
  PG_TRY();
  { ReadSlot(fcinfo, result); }
  PG_CATCH();
  {
    LWLockReleaseAll();
    if (MyReplicationSlot != nullptr) ReplicationSlotRelease();
    PG_RE_THROW();
  }
  PG_END_TRY();
  return static_cast<Datum>(0);
}

}  // namespace
}  // namespace towline::plugin

Datum towline_changes(PG_FUNCTION_ARGS) { return towline::plugin::Changes(fcinfo); }
