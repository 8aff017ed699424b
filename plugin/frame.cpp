#include "frame.h"

#include "streamed.h"
#include "text_encoding.h"

namespace towline::plugin {
namespace {

// As often as pgoutput: checking the clock for every change would show in the CPU time, and a
// hundred changes that are passed over take far less than wal_sender_timeout.
constexpr int kChangesBetweenProgress = 100;

constexpr int64_t kPostgresEpochInUnixUs =
    static_cast<int64_t>(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

uint32_t ServerVersionNum() {
  // Of the running server; the headers' may be another minor.
  const char* text = GetConfigOption("server_version_num", false, false);
  return static_cast<uint32_t>(pg_strtoint32(text));
}

// Apart from the test whether this is needed, which every change makes.
void OpenTransaction(PluginState* state, ReorderBufferTXN* txn) {
  PrepareFrame(state);
  if (state->run.streamed != nullptr) {
    OpenInRun(state);
  } else {
    state->xid = FullXid(txn->xid);
    state->change_count = 0;
    state->named_xid = txn->xid;
    OriginFields origin;
    WriteBegin(&state->frame, TransactionOf(state->xid, txn), OriginOf(state, txn, &origin));
  }
  state->is_open = true;
}

}  // namespace

void InitBuffer(ByteBuffer* buffer, MemoryContext context, size_t capacity) {
  *buffer = {static_cast<char*>(MemoryContextAlloc(context, capacity)), 0, capacity};
}

void EmptyBuffer(ByteBuffer* buffer, MemoryContext context) {
  buffer->size = 0;
  if (buffer->capacity > kBufferBytesKept) {
    pfree(buffer->data);
    InitBuffer(buffer, context, kBufferBytesKept / 8);
  }
}

// An xid as decoding gives it has 32 bits. It cannot be older than 2^31 (the slot's
// catalog_xmin keeps it from being frozen away) nor newer than the next xid, so the next xid's
// epoch, or the one before it, is its own.
uint64_t FullXid(TransactionId xid) {
  FullTransactionId next = ReadNextFullTransactionId();
  uint64_t epoch = EpochFromFullTransactionId(next);
  if (xid > XidFromFullTransactionId(next)) --epoch;
  return (epoch << 32) | xid;
}

int64_t UnixMicroseconds(TimestampTz time) { return time + kPostgresEpochInUnixUs; }

TransactionFields TransactionOf(uint64_t xid, const ReorderBufferTXN* txn) {
  return {xid, txn->final_lsn, txn->end_lsn, UnixMicroseconds(CommitTime(txn))};
}

// The end of a transaction that was sent in runs, or prepared, is told after the server has ended
// the transaction in which it decodes; only the SQL functions run in one of their own.
const OriginFields* OriginOf(PluginState* state, const ReorderBufferTXN* txn,
                             OriginFields* origin) {
  if (txn->origin_id == kNoOrigin) return nullptr;
  bool needs_transaction = !IsTransactionState();
  MemoryContext caller = CurrentMemoryContext;
  ResourceOwner owner = CurrentResourceOwner;
  if (needs_transaction) StartTransactionCommand();
  // An origin that was dropped since has no name; that the change is foreign is still said.
  char* name = nullptr;
  MemoryContextSwitchTo(state->change_context);
  (void)replorigin_by_oid(txn->origin_id, true, &name);
  if (needs_transaction) {
    CommitTransactionCommand();
    CurrentResourceOwner = owner;
  }
  // Origins belong to the cluster: a database of another encoding may have named it.
  MemoryContextSwitchTo(state->change_context);
  *origin = {name == nullptr ? std::string_view() : SentLabel(name), txn->origin_lsn};
  MemoryContextSwitchTo(caller);
  return origin;
}

void PrepareFrame(PluginState* state) {
  if (state->hello_sent) return;
  state->hello_sent = true;
  HelloFields hello{
      state->options.protocol_version, kPluginVersion,        ServerVersionNum(),
      GetDatabaseEncodingName(),       GetSystemIdentifier(), state->options.compression};
  WriteHello(&state->frame, hello);
}

void PrepareFrameIn(PluginState* state, ReorderBufferTXN* txn) {
  if (!state->is_open) OpenTransaction(state, txn);
}

void NameOwner(PluginState* state, const ReorderBufferChange* change) {
  if (!state->options.names_subtransactions || state->run.streamed != nullptr) return;
  const ReorderBufferTXN* owner = OwnerOf(change);
  if (owner == nullptr || owner->xid == state->named_xid) return;
  state->named_xid = owner->xid;
  WriteSubtransaction(&state->frame, FullXid(owner->xid));
}

void FinishEntry(PluginState* state) {
  if (state->frame.size >= state->options.frame_bytes) SendFrame(state);
}

void SendFrame(PluginState* state) {
  ByteBuffer* frame = &state->frame;
  if (frame->size == 0) return;
  if (frame->size > kCopyDataBytesMax) {
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("towline: a frame of %zu bytes exceeds the protocol's limit of %zu",
                           frame->size, kCopyDataBytesMax)));
  }
  std::string_view bytes(frame->data, frame->size);
  // Hello says how frames are compressed, so the one that begins with it is not.
  size_t block_size = state->first_frame_sent ? CompressBlock(&state->compressor, bytes) : 0;
  state->first_frame_sent = true;
  LogicalDecodingContext* ctx = state->ctx;
  OutputPluginPrepareWrite(ctx, true);
  if (block_size > 0) {
    char room[kCompressedFrameHeaderMax];
    ByteBuffer header = {room, 0, sizeof room};
    WriteCompressedFrame(&header, state->compressor.method, bytes.size(), block_size);
    appendBinaryStringInfo(ctx->out, header.data, static_cast<int>(header.size));
    bytes = {state->compressor.block, block_size};
  }
  appendBinaryStringInfo(ctx->out, bytes.data(), static_cast<int>(bytes.size()));
  OutputPluginWrite(ctx, true);
  EmptyBuffer(frame, state->session_context);
  state->changes_since_progress = 0;
}

void ReportProgress(PluginState* state) {
  if (kServerReportsProgressInTransactions) return;
  if (++state->changes_since_progress < kChangesBetweenProgress) return;
  state->changes_since_progress = 0;
  // Older minor releases do not look for them while changes are passed over.
  CHECK_FOR_INTERRUPTS();
  UpdateProgress(state->ctx, false);
}

}  // namespace towline::plugin
