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

// The subtransaction of that xid, else the top level itself. The changes of one follow each other,
// and subtransactions stand in the order in which they began, so the search begins at that of the
// change before.
ReorderBufferTXN* FindOwner(const RunState& run, ReorderBufferTXN* top, TransactionId xid) {
  if (!TransactionIdIsValid(xid) || xid == top->xid) return top;
  if (run.change_txn->xid == xid) return run.change_txn;
  // The server's macros for this are C only.
  const dlist_node* head = &top->subtxns.head;
  const dlist_node* start = run.change_txn == top ? head : &run.change_txn->node;
  for (const dlist_node* at = start->next; at != start; at = at->next) {
    if (at == head) continue;
    auto address = reinterpret_cast<uintptr_t>(at) - offsetof(ReorderBufferTXN, node);
    auto* subtransaction = reinterpret_cast<ReorderBufferTXN*>(address);
    if (subtransaction->xid == xid) return subtransaction;
  }
  return top;
}

}  // namespace

StreamedTransaction* StreamedOf(ReorderBufferTXN* txn) {
  return static_cast<StreamedTransaction*>(PrivateOf(txn));
}

void ForgetStreamed(ReorderBufferTXN* txn) {
  StreamedTransaction* streamed = StreamedOf(txn);
  if (streamed == nullptr) return;
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
void towline_stream_stop_cb(LogicalDecodingContext* ctx, ReorderBufferTXN*) {
  PluginState* state = StateOf(ctx);
  if (state->run.is_started) {
    WriteStreamStop(&state->frame, state->xid);
    SendFrame(state);
  }
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
  if (TopOf(txn) == txn) ForgetStreamed(txn);
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
  ForgetStreamed(txn);
  UpdateProgress(ctx, is_skipped);
  MemoryContextReset(state->change_context);
}

}  // namespace towline::plugin
