// What the plugin knows during one decoding session (one START_REPLICATION, or one call of
// pg_logical_slot_peek_binary_changes). All of it lives in the decoding context's memory and goes
// with it.
#pragma once

#include "byte_buffer.h"
#include "compression.h"
#include "options.h"
#include "pg_compat.h"
#include "relation_cache.h"
#include "table_rules.h"

namespace towline::plugin {

// The run of a transaction in progress that is being decoded; streamed.cpp keeps it.
struct StreamedTransaction;

struct RunState {
  StreamedTransaction* streamed;  // null: a whole transaction is being decoded
  bool is_started;                // StreamStart has been written
  ReorderBufferTXN* change_txn;   // the (sub)transaction that the change at hand belongs to
  TransactionId named_xid;        // of the one that the entries written last belong to
};

struct PluginState {
  LogicalDecodingContext* ctx;
  MemoryContext session_context;  // as long as this struct
  MemoryContext change_context;   // reset after every callback that used it
  Options options;
  TableRules rules;
  ExprContext* expression_context;  // for the rules' expressions
  int settings_nest_level;
  RelationCache relations;

  // The frame being filled: entries of one transaction that have not been sent.
  ByteBuffer frame;
  bool hello_sent;
  bool first_frame_sent;
  Compressor compressor;

  // Scratch for the row images of one change.
  ByteBuffer new_row;
  ByteBuffer old_row;

  // What is being decoded: a whole transaction, or a run of one in progress.
  bool is_open;             // its entries may be added; in a run: those of the transaction at hand
  uint64_t xid;             // 64 bits; valid once it has been opened
  uint64_t change_count;    // of the transaction, sent so far
  TransactionId named_xid;  // of a whole one: as RunState::named_xid
  RunState run;
  StreamedTransaction* without_snapshot;  // the first of those whose last run was cut short
  int changes_since_progress;
};

inline PluginState* StateOf(LogicalDecodingContext* ctx) {
  return static_cast<PluginState*>(ctx->output_plugin_private);
}

}  // namespace towline::plugin
