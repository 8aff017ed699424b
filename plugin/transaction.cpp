// Begin and commit of transactions, and logical messages.
#include "callbacks.h"
#include "error_context.h"
#include "frame.h"
#include "plugin_state.h"
#include "row_encoder.h"
#include "text_encoding.h"
#include "wire_writer.h"

namespace towline::plugin {
namespace {

// A prefix names a program, so this is more than any needs. Longer ones are cut: anybody may emit a
// message, and a prefix of hundreds of megabytes must not be able to stop the slot.
constexpr size_t kPrefixBytesMax = 64 * 1024;

std::string_view BoundedPrefix(const char* prefix) {
  size_t size = strnlen(prefix, kPrefixBytesMax + 1);
  if (size > kPrefixBytesMax) {
    size = static_cast<size_t>(
        pg_mbcliplen(prefix, static_cast<int>(size), static_cast<int>(kPrefixBytesMax)));
  }
  return SentLabel({prefix, size});
}

}  // namespace

void towline_begin_cb(LogicalDecodingContext* ctx, ReorderBufferTXN*) {
  PluginState* state = StateOf(ctx);
  // The transaction is opened by its first entry; see PrepareFrameIn().
  state->is_open = false;
  state->change_count = 0;
}

void towline_commit_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, XLogRecPtr) {
  PluginState* state = StateOf(ctx);
  bool is_skipped = !state->is_open;
  if (!is_skipped) {
    WriteCommit(&state->frame, TransactionOf(state->xid, txn), state->change_count);
    SendFrame(state);
    state->is_open = false;
  }
  // A transaction that was passed over moves the reader's position all the same: the server reports
  // it in the next keepalive.
  UpdateProgress(ctx, is_skipped);
  MemoryContextReset(state->change_context);
}

void towline_message_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, XLogRecPtr message_lsn,
                        bool transactional, const char* prefix, Size size, const char* content) {
  PluginState* state = StateOf(ctx);
  ReportProgress(state);
  if (!state->options.sends_messages) return;
  ChangeErrorContext error_context;
  PushErrorContext(&error_context, "logical message",
                   txn == nullptr ? InvalidTransactionId : txn->xid);
  if (transactional) {
    PrepareFrameIn(state, txn);
  } else {
    // Decoded where it stands in the WAL, never between the changes of a transaction: the frame is
    // empty here.
    PrepareFrame(state);
  }
  MemoryContext caller = MemoryContextSwitchTo(state->change_context);
  MessageFields message{transactional, BoundedPrefix(prefix), {content, size}, message_lsn, false};
  if (size > kValuePartBytes) {
    SendValueParts(state, message.content);
    message.content = {};
    message.content_in_parts = true;
  }
  WriteMessage(&state->frame, message);
  if (transactional) {
    FinishEntry(state);
  } else {
    SendFrame(state);
  }
  MemoryContextSwitchTo(caller);
  MemoryContextReset(state->change_context);
  PopErrorContext(&error_context);
}

}  // namespace towline::plugin
