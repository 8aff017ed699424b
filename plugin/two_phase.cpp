// Prepared transactions, sent at PREPARE (option two_phase). Every one that the server decodes is
// sent, also one that has nothing to send: at COMMIT PREPARED, perhaps in another connection,
// nobody knows any more whether the reader was told of it.
#include "callbacks.h"
#include "frame.h"
#include "streamed.h"
#include "text_encoding.h"
#include "wire_writer.h"

namespace towline::plugin {
namespace {

std::string_view SentGid(PluginState* state, const ReorderBufferTXN* txn) {
  MemoryContext caller = MemoryContextSwitchTo(state->change_context);
  std::string_view gid = SentLabel(GidOf(txn));
  MemoryContextSwitchTo(caller);
  return gid;
}

// The server decodes no PREPARE of a transaction that has changed no row (only locked some, or
// taken numbers from sequences). Older minor releases tell of its outcome all the same.
bool WasPrepared(const ReorderBufferTXN* txn) { return txn->base_snapshot != nullptr; }

void WriteBeginPrepareOf(PluginState* state, ReorderBufferTXN* txn) {
  PrepareFrame(state);
  OriginFields origin;
  WriteBeginPrepare(&state->frame, TransactionOf(state->xid, txn), SentGid(state, txn),
                    OriginOf(state, txn, &origin));
}

void FinishPrepare(PluginState* state) {
  SendFrame(state);
  UpdateProgress(state->ctx, false);
  MemoryContextReset(state->change_context);
}

}  // namespace

void towline_begin_prepare_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn) {
  PluginState* state = StateOf(ctx);
  state->xid = FullXid(txn->xid);
  state->change_count = 0;
  state->named_xid = txn->xid;
  WriteBeginPrepareOf(state, txn);
  state->is_open = true;
}

// Also called when the server finds in the middle that the transaction has been rolled back:
// ROLLBACK PREPARED comes later and needs something to roll back.
void towline_prepare_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, XLogRecPtr) {
  PluginState* state = StateOf(ctx);
  WritePrepare(&state->frame, TransactionOf(state->xid, txn), state->change_count);
  state->is_open = false;
  FinishPrepare(state);
}

void towline_stream_prepare_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, XLogRecPtr) {
  PluginState* state = StateOf(ctx);
  StreamedTransaction* streamed = StreamedOf(txn);
  if (streamed != nullptr && streamed->is_sent) {
    OriginFields origin;
    PrepareFrame(state);
    WriteStreamPrepare(&state->frame, TransactionOf(streamed->xid, txn), streamed->change_count,
                       SentGid(state, txn), OriginOf(state, txn, &origin));
  } else {
    // No run had anything to send: an empty one, as if it had never been streamed.
    state->xid = FullXid(txn->xid);
    WriteBeginPrepareOf(state, txn);
    WritePrepare(&state->frame, TransactionOf(state->xid, txn), 0);
  }
  ForgetStreamed(state, txn);
  FinishPrepare(state);
}

void towline_commit_prepared_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, XLogRecPtr) {
  if (!WasPrepared(txn)) return UpdateProgress(ctx, true);
  PluginState* state = StateOf(ctx);
  OriginFields origin;
  PrepareFrame(state);
  WriteCommitPrepared(&state->frame, TransactionOf(FullXid(txn->xid), txn), SentGid(state, txn),
                      OriginOf(state, txn, &origin));
  FinishPrepare(state);
}

void towline_rollback_prepared_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn,
                                  XLogRecPtr prepare_end_lsn, TimestampTz) {
  if (!WasPrepared(txn)) return UpdateProgress(ctx, true);
  PluginState* state = StateOf(ctx);
  PrepareFrame(state);
  TransactionFields fields = TransactionOf(FullXid(txn->xid), txn);
  fields.commit_lsn = prepare_end_lsn;
  WriteRollbackPrepared(&state->frame, fields, SentGid(state, txn));
  FinishPrepare(state);
}

}  // namespace towline::plugin
