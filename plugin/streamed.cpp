#include "streamed.h"

#include "callbacks.h"
#include "frame.h"
#include "wire_writer.h"

namespace towline::plugin {
namespace {

// The caches hold the catalogs as the transaction decoded last saw them. The server discards what
// a run has put there when the run ends, so that its uncommitted DDL does not reach others, but not
// at the start of the next run, which must see that DDL again. Relations are then described anew.
void DiscardCachesOfOthers(ReorderBufferTXN* txn) {
  for (uint32 i = 0; i < txn->ninvalidations; ++i) {
    LocalExecuteInvalidationMessage(&txn->invalidations[i]);
  }
}

// The change that comes belongs to the (sub)transaction `owner`. Nothing is written before
// something of it is sent.
void EnterChange(PluginState* state, ReorderBufferTXN* owner) {
  RunState* run = &state->run;
  run->change_txn = owner;
  state->is_open = run->is_started && run->named_xid == owner->xid;
}

// The server's macros for this are C only.
ReorderBufferTXN* SubtransactionAt(const dlist_node* node) {
  auto address = reinterpret_cast<uintptr_t>(node) - offsetof(ReorderBufferTXN, node);
  return reinterpret_cast<ReorderBufferTXN*>(address);
}

// The subtransaction of that xid, else the top level itself. The changes of one follow each other,
// and subtransactions stand in the order in which they began, so the search begins at that of the
// change before.
ReorderBufferTXN* FindOwner(const RunState& run, ReorderBufferTXN* top, TransactionId xid) {
  if (!TransactionIdIsValid(xid) || xid == top->xid) return top;
  if (run.change_txn->xid == xid) return run.change_txn;
  const dlist_node* head = &top->subtxns.head;
  const dlist_node* start = run.change_txn == top ? head : &run.change_txn->node;
  for (const dlist_node* at = start->next; at != start; at = at->next) {
    if (at == head) continue;
    ReorderBufferTXN* subtransaction = SubtransactionAt(at);
    if (subtransaction->xid == xid) return subtransaction;
  }
  return top;
}

// A run that meets a change of a rolled back subtransaction is cut short: the server drops the rest
// of what it had for it. That is all of that subtransaction, as long as only this transaction's own
// changes are counted; but the view of the catalogs that it gets whenever another transaction has
// changed them waits there as well, and without it later rows are read by the columns that a table
// had before: a column added since would be lost without a word (seen with 15).
//
// The server keeps such a subtransaction until it reads of its end, and takes in nothing more of
// it, so each cuts one run short: whose that was is noted.
bool IsCutShort(ReorderBufferTXN* txn, StreamedTransaction* streamed) {
  bool is_found = false;
  const dlist_node* head = &txn->subtxns.head;
  for (const dlist_node* at = head->next; at != head; at = at->next) {
    ReorderBufferTXN* subtransaction = SubtransactionAt(at);
    if (!IsFoundAborted(subtransaction) || PrivateOf(subtransaction) != nullptr) continue;
    SetPrivate(subtransaction, streamed);
    is_found = true;
  }
  return is_found;
}

// It cannot be handed over right here, where the server is about to forget the transaction's
// changes: only before the next record is decoded (GiveSnapshots).
void NoteMissingSnapshot(PluginState* state, StreamedTransaction* streamed) {
  if (streamed->lacks_snapshot) return;
  streamed->lacks_snapshot = true;
  streamed->next_without = state->without_snapshot;
  state->without_snapshot = streamed;
  state->ctx->callbacks.filter_by_origin_cb = &towline_filter_by_origin_cb;
}

void NoteSnapshotGiven(PluginState* state, StreamedTransaction* streamed) {
  if (!streamed->lacks_snapshot) return;
  StreamedTransaction** at = &state->without_snapshot;
  while (*at != streamed) at = &(*at)->next_without;
  *at = streamed->next_without;
  streamed->lacks_snapshot = false;
}

}  // namespace

// The server adds these itself in the same way when a transaction that has changed the catalogs
// commits. Its caches it has cleared when it cut the run short.
void GiveSnapshots(PluginState* state) {
  while (StreamedTransaction* streamed = state->without_snapshot) {
    // First, because a queue that becomes too large is decoded at once.
    NoteSnapshotGiven(state, streamed);
    Snapshot snapshot = CurrentCatalogSnapshot(state->ctx);
    ++snapshot->active_count;  // the queue's, which counts it down
    ReorderBufferAddSnapshot(state->ctx->reorder, static_cast<TransactionId>(streamed->xid),
                             state->ctx->reader->ReadRecPtr, snapshot);
  }
}

StreamedTransaction* StreamedOf(ReorderBufferTXN* txn) {
  return static_cast<StreamedTransaction*>(PrivateOf(txn));
}

void ForgetStreamed(PluginState* state, ReorderBufferTXN* txn) {
  StreamedTransaction* streamed = StreamedOf(txn);
  if (streamed == nullptr) return;
  NoteSnapshotGiven(state, streamed);
  pfree(streamed);
  SetPrivate(txn, nullptr);
}

void OpenInRun(PluginState* state) {
  RunState* run = &state->run;
  if (!run->is_started) {
    WriteStreamStart(&state->frame, state->xid, !run->streamed->is_sent);
    run->is_started = true;
    run->streamed->is_sent = true;
  }
  TransactionId xid = run->change_txn->xid;
  if (run->named_xid == xid) return;
  if (TopOf(run->change_txn) != run->change_txn) MarkSubtransactionSent(run->change_txn);
  WriteSubtransaction(&state->frame, FullXid(xid));
  run->named_xid = xid;
}

void towline_stream_start_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn) {
  PluginState* state = StateOf(ctx);
  StreamedTransaction* streamed = StreamedOf(txn);
  if (streamed == nullptr) {
    streamed = static_cast<StreamedTransaction*>(
        MemoryContextAllocZero(state->session_context, sizeof(StreamedTransaction)));
    streamed->xid = FullXid(txn->xid);
    SetPrivate(txn, streamed);
  } else {
    DiscardCachesOfOthers(txn);
  }
  state->is_open = false;
  state->xid = streamed->xid;
  state->change_count = streamed->change_count;
  state->run = {streamed, false, txn, txn->xid};
}

// Also called when the server finds that what it decodes has been rolled back meanwhile and leaves
// a change half done: parts of a value may then have been sent whose row never comes.
void towline_stream_stop_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn) {
  PluginState* state = StateOf(ctx);
  if (state->run.is_started) {
    WriteStreamStop(&state->frame, state->xid);
    SendFrame(state);
  }
  if (IsCutShort(txn, state->run.streamed)) NoteMissingSnapshot(state, state->run.streamed);
  state->run.streamed->change_count = state->change_count;
  state->run = {};
  state->is_open = false;
  MemoryContextReset(state->change_context);
}

void towline_stream_change_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, Relation relation,
                              ReorderBufferChange* change) {
  EnterChange(StateOf(ctx), OwnerOf(change));
  towline_change_cb(ctx, txn, relation, change);
}

void towline_stream_truncate_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn,
                                int relation_count, Relation relations[],
                                ReorderBufferChange* change) {
  EnterChange(StateOf(ctx), OwnerOf(change));
  towline_truncate_cb(ctx, txn, relation_count, relations, change);
}

void towline_stream_message_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn,
                               XLogRecPtr message_lsn, bool transactional, const char* prefix,
                               Size size, const char* content) {
  // The server does not hand out the change, but it has noted whose it is to learn of a rollback.
  // What has committed can only be kept, so there the top level will do.
  EnterChange(StateOf(ctx), FindOwner(StateOf(ctx)->run, txn, XidOfLiveChange()));
  towline_message_cb(ctx, txn, message_lsn, transactional, prefix, size, content);
}

void towline_stream_abort_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn,
                             XLogRecPtr abort_lsn) {
  PluginState* state = StateOf(ctx);
  StreamedTransaction* streamed = StreamedOf(TopOf(txn));
  // The server calls for each subtransaction of which it has streamed anything, and for the whole;
  // a reader to whom nothing was sent does not know of it.
  if (streamed != nullptr && streamed->is_sent) {
    TimestampTz time = AbortTime(txn);
    PrepareFrame(state);
    WriteStreamAbort(&state->frame, {streamed->xid, FullXid(txn->xid), abort_lsn,
                                     time == 0 ? 0 : UnixMicroseconds(time)});
    SendFrame(state);
  }
  if (TopOf(txn) == txn) ForgetStreamed(state, txn);
}

void towline_stream_commit_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, XLogRecPtr) {
  PluginState* state = StateOf(ctx);
  StreamedTransaction* streamed = StreamedOf(txn);
  bool is_skipped = streamed == nullptr || !streamed->is_sent;
  if (!is_skipped) {
    OriginFields origin;
    PrepareFrame(state);
    WriteStreamCommit(&state->frame, TransactionOf(streamed->xid, txn), streamed->change_count,
                      OriginOf(state, txn, &origin));
    SendFrame(state);
  }
  ForgetStreamed(state, txn);
  UpdateProgress(ctx, is_skipped);
  MemoryContextReset(state->change_context);
}

}  // namespace towline::plugin
