// Row changes and TRUNCATE.
#include "callbacks.h"
#include "error_context.h"
#include "frame.h"
#include "plugin_state.h"
#include "row_encoder.h"
#include "row_rules.h"
#include "wire_writer.h"

namespace towline::plugin {
namespace {

struct RowChange {
  PluginState* state;
  RelationEntry* entry;
  Relation relation;
  RowEncoder encoder;
  Operation operation;
  RowFate fate;
  RowValues old_row;  // without nulls if the WAL does not carry it
  RowValues new_row;
};

[[noreturn]] void RefuseMissingRow() {
  ereport(ERROR,
          (errcode(ERRCODE_DATA_CORRUPTED), errmsg("towline: the WAL does not carry the new row"),
           errdetail("The change was written while wal_level was below \"logical\", or by "
                     "something other than the server.")));
  pg_unreachable();
}

// The rows of the change, each taken apart once. An UPDATE or DELETE has an old row if the WAL has.
void TakeApart(RowChange* change, ReorderBufferChange* decoded) {
  RowSpace* rows = &change->state->relations.rows;
  HeapTuple old_tuple = TupleOf(decoded->data.tp.oldtuple);
  HeapTuple new_tuple = TupleOf(decoded->data.tp.newtuple);
  if (change->operation != kInsertOperation && old_tuple != nullptr) {
    change->old_row = Deform(change->relation, old_tuple, rows->old_values, rows->old_nulls);
  }
  if (change->operation == kDeleteOperation) return;
  if (new_tuple == nullptr) RefuseMissingRow();
  change->new_row = Deform(change->relation, new_tuple, rows->new_values, rows->new_nulls);
}

RowFate FateWithoutRules(Operation operation) {
  switch (operation) {
    case kInsertOperation:
      return RowFate::kInsert;
    case kUpdateOperation:
      return RowFate::kUpdate;
    default:
      return RowFate::kDelete;
  }
}

void EncodeNew(RowChange* change) {
  RowValues old = {nullptr, nullptr};
  if (change->entry->is_full_identity) old = change->old_row;
  change->encoder.Encode(ImagePart::kFull, change->new_row, old, &change->state->new_row);
}

// What the WAL carries of the old row is decided by the replica identity at the time of the change,
// and the relation is seen as it was then. Without an old row nothing is left out silently: the
// entry says NONE, and the reader decides what an unidentified UPDATE or DELETE means.
OldImageKind EncodeOld(RowChange* change) {
  const RelationEntry* entry = change->entry;
  RowValues row = change->old_row;
  // The key has not changed, so the new row has it; its image would lack the generated part.
  if (row.nulls == nullptr && change->operation == kUpdateOperation && entry->has_unsent_key) {
    row = change->new_row;
  }
  if (row.nulls == nullptr) return OldImageKind::kNone;
  ImagePart part = entry->is_full_identity ? ImagePart::kFull : ImagePart::kKey;
  change->encoder.Encode(part, row, {nullptr, nullptr}, &change->state->old_row);
  return entry->is_full_identity ? OldImageKind::kFull : OldImageKind::kKey;
}

std::string_view BytesOf(const ByteBuffer& buffer) { return {buffer.data, buffer.size}; }

void WriteChange(RowChange* change) {
  PluginState* state = change->state;
  uint32_t number = change->entry->number;
  // A change that an error has left half done (a rollback found while decoding) may have filled
  // them.
  state->new_row.size = 0;
  state->old_row.size = 0;
  switch (change->fate) {
    case RowFate::kInsert:
      EncodeNew(change);
      WriteInsert(&state->frame, number, BytesOf(state->new_row));
      break;
    case RowFate::kUpdate: {
      OldImageKind kind = EncodeOld(change);
      EncodeNew(change);
      WriteUpdate(&state->frame, number, BytesOf(state->new_row), kind, BytesOf(state->old_row));
      break;
    }
    default: {
      OldImageKind kind = EncodeOld(change);
      WriteDelete(&state->frame, number, kind, BytesOf(state->old_row));
      break;
    }
  }
  ++state->change_count;
  FinishEntry(state);
  EmptyBuffer(&state->new_row, state->session_context);
  EmptyBuffer(&state->old_row, state->session_context);
}

// The row holds the entry as it is sent (ddl_capture.cpp).
void SendDdl(PluginState* state, ReorderBufferTXN* txn, Relation relation,
             ReorderBufferChange* change) {
  constexpr int kEntryColumn = 1;
  HeapTuple row = TupleOf(change->data.tp.newtuple);
  if (row == nullptr) RefuseMissingRow();
  bool is_null = false;
  Datum stored = heap_getattr(row, kEntryColumn, RelationGetDescr(relation), &is_null);
  if (is_null) return;
  bytea* entry = DatumGetByteaPP(stored);
  PrepareFrameIn(state, txn);
  WriteDdl(&state->frame, {VARDATA_ANY(entry), static_cast<size_t>(VARSIZE_ANY_EXHDR(entry))});
  FinishEntry(state);
}

// By the first of its rows; the others are passed over.
void TellRewrite(PluginState* state, ReorderBufferTXN* txn, RelationEntry* entry) {
  if (entry->is_rewrite_told) return;
  entry->is_rewrite_told = true;
  PrepareFrameIn(state, txn);
  WriteRewrite(&state->frame, entry->rewrite);
  FinishEntry(state);
}

Operation OperationOf(const ReorderBufferChange* change) {
  switch (change->action) {
    case REORDER_BUFFER_CHANGE_INSERT:
      return kInsertOperation;
    case REORDER_BUFFER_CHANGE_UPDATE:
      return kUpdateOperation;
    case REORDER_BUFFER_CHANGE_DELETE:
      return kDeleteOperation;
    default:
      break;
  }
  ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
                  errmsg("towline: unknown change %d from logical decoding",
                         static_cast<int>(change->action))));
  pg_unreachable();
}

const char* NameOf(Operation operation) {
  switch (operation) {
    case kInsertOperation:
      return "INSERT";
    case kUpdateOperation:
      return "UPDATE";
    default:
      return "DELETE";
  }
}

// In root mode a partition tree that is truncated as a whole is named once, by its root. The leaves
// of a part of the tree are named themselves, so that a reader can tell them from the whole: the
// description of a leaf has another oid than root_oid. In leaf mode the leaves stand for the tree,
// because one of them may not be selected.
bool IsTruncateTarget(const PluginState* state, Relation relation, const RelationEntry* entry,
                      bool root_is_sent) {
  if (!entry->is_selected || (entry->operations & kTruncateOperation) == 0) return false;
  bool is_partitioned = relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
  if (state->options.partitions == PublishPartitions::kLeaf) return !is_partitioned;
  if (entry->root_oid == entry->oid) return true;
  return !is_partitioned && !root_is_sent;
}

// Whether the tree under `root_oid` is truncated as a whole and its root stands for it: the root
// may be truncated and not be selected, when the selection names only partitions.
bool IsRootSent(PluginState* state, Relation relations[], int count, Oid root_oid) {
  for (int i = 0; i < count; ++i) {
    if (RelationGetRelid(relations[i]) == root_oid) {
      const RelationEntry* root = LookUpRelation(state, relations[i]);
      return root->is_selected && (root->operations & kTruncateOperation) != 0;
    }
  }
  return false;
}

}  // namespace

void towline_change_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, Relation relation,
                       ReorderBufferChange* change) {
  PluginState* state = StateOf(ctx);
  Operation operation = OperationOf(change);
  ReportProgress(state);
  ChangeErrorContext error_context;
  PushErrorContext(&error_context, NameOf(operation), txn->xid);
  error_context.relation_name = RelationGetRelationName(relation);
  MemoryContext caller = MemoryContextSwitchTo(state->change_context);

  RelationEntry* entry = LookUpRelation(state, relation);
  if (entry->is_ddl_log) {
    // Its DELETE, which follows, says nothing.
    if (state->options.sends_ddl && operation == kInsertOperation) {
      SendDdl(state, txn, relation, change);
    }
  } else if (entry->is_rewrite) {
    TellRewrite(state, txn, entry);
  } else if (entry->is_selected && (entry->operations & operation) != 0) {
    error_context.relation_name = entry->display_name;
    // Until the change is done: what the types' functions and the rule's expressions keep from row
    // to row is half made after an error, and the session goes on after some (relation_cache.h).
    entry->is_valid = false;
    RowChange row_change{state,
                         entry,
                         relation,
                         RowEncoder(state, entry, &error_context.column_name),
                         operation,
                         FateWithoutRules(operation),
                         {nullptr, nullptr},
                         {nullptr, nullptr}};
    TakeApart(&row_change, change);
    if (entry->rules != nullptr) {
      row_change.fate =
          ApplyRowRules(state, entry, operation, row_change.old_row, row_change.new_row);
    }
    if (row_change.fate != RowFate::kDropped) {
      PrepareFrameIn(state, txn);
      NameOwner(state, change);
      DescribeRelation(state, entry);
      WriteChange(&row_change);
    }
    entry->is_valid = !entry->is_outdated;
  }

  MemoryContextSwitchTo(caller);
  MemoryContextReset(state->change_context);
  PopErrorContext(&error_context);
}

void towline_truncate_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, int relation_count,
                         Relation relations[], ReorderBufferChange* change) {
  PluginState* state = StateOf(ctx);
  ReportProgress(state);
  ChangeErrorContext error_context;
  PushErrorContext(&error_context, "TRUNCATE", txn->xid);
  MemoryContext caller = MemoryContextSwitchTo(state->change_context);

  auto* numbers = static_cast<uint32_t*>(
      palloc(static_cast<size_t>(Max(relation_count, 1)) * sizeof(uint32_t)));
  size_t count = 0;
  for (int i = 0; i < relation_count; ++i) {
    error_context.relation_name = RelationGetRelationName(relations[i]);
    Oid root_oid = LookUpRelation(state, relations[i])->root_oid;
    bool root_is_sent = IsRootSent(state, relations, relation_count, root_oid);
    // Looked up again: the root's entry may have taken the place of one that is no longer valid.
    RelationEntry* entry = LookUpRelation(state, relations[i]);
    if (!IsTruncateTarget(state, relations[i], entry, root_is_sent)) continue;
    PrepareFrameIn(state, txn);
    DescribeRelation(state, entry);
    numbers[count++] = entry->number;
  }
  if (count > 0) {
    WriteTruncate(&state->frame, numbers, count, change->data.truncate.cascade,
                  change->data.truncate.restart_seqs);
    ++state->change_count;
    FinishEntry(state);
  }

  MemoryContextSwitchTo(caller);
  MemoryContextReset(state->change_context);
  PopErrorContext(&error_context);
}

}  // namespace towline::plugin
