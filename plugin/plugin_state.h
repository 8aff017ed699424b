// What the plugin knows during one decoding session (one START_REPLICATION, or one call of
// pg_logical_slot_peek_binary_changes). All of it lives in the decoding context's memory and goes
// with it.
#pragma once

#include "byte_buffer.h"
#include "options.h"
#include "pg_compat.h"
#include "relation_cache.h"

namespace towline::plugin {

struct PluginState {
  LogicalDecodingContext* ctx;
  MemoryContext session_context;  // as long as this struct
  MemoryContext change_context;   // reset after every callback that used it
  Options options;
  int settings_nest_level;
  RelationCache relations;

  // The frame being filled: entries of one transaction that have not been sent.
  ByteBuffer frame;
  bool hello_sent;

  // Scratch for the row images of one change.
  ByteBuffer new_row;
  ByteBuffer old_row;

  // The transaction that is being decoded.
  bool begin_sent;
  uint64_t xid;           // 64 bits; valid when begin_sent
  uint64_t change_count;  // sent so far
  int changes_since_progress;
};

inline PluginState* StateOf(LogicalDecodingContext* ctx) {
  return static_cast<PluginState*>(ctx->output_plugin_private);
}

}  // namespace towline::plugin
