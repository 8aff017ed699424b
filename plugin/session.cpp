// Begin and end of a decoding session.
#include "callbacks.h"
#include "frame.h"
#include "plugin_state.h"
#include "session_settings.h"
#include "streamed.h"
#include "text_encoding.h"

namespace towline::plugin {
namespace {

[[noreturn]] void RefuseOption(const char* option) {
  ereport(ERROR,
          (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
           errmsg("output plugin option \"%s\" needs PostgreSQL 14 or newer", option),
           errhint("Switch the option off: transactions are then sent whole when they commit.")));
  pg_unreachable();
}

// A walsender may make its slot one that decodes prepared transactions, which it then stays. The
// SQL functions do not: whoever looks into a slot must not change what its reader will get.
void CheckSlotIsTwoPhase(LogicalDecodingContext* ctx) {
  bool can_switch_on = SetTwoPhaseGiven(ctx, am_walsender) && am_walsender;
  if (can_switch_on || IsTwoPhase(ctx->slot->data)) return;
  ereport(ERROR,
          (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
           errmsg("replication slot \"%s\" does not decode prepared transactions",
                  NameStr(ctx->slot->data.name)),
           errhint("Create the slot with two_phase, or leave the option \"two_phase\" off.")));
}

// Without its option a feature is not requested, whatever the slot was made for: prepared
// transactions are then sent when they commit.
void RequestFeatures(LogicalDecodingContext* ctx, bool is_streaming, bool is_two_phase) {
  if (!SetStreaming(ctx, is_streaming)) RefuseOption("streaming");
  if (!SetTwoPhase(ctx, is_two_phase)) RefuseOption("two_phase");
  if (is_two_phase) {
    CheckSlotIsTwoPhase(ctx);
  } else {
    (void)SetTwoPhaseGiven(ctx, false);
  }
}

// After the session's settings are pinned: they decide what a text means.
void OpenRules(PluginState* state) {
  if (state->options.table_rules == nullptr) return;
  MemoryContext caller = MemoryContextSwitchTo(state->session_context);
  ParseTableRules(state->options.table_rules, &state->rules);
  CheckRulesSyntax(state->rules);
  auto* context = makeNode(ExprContext);
  context->ecxt_per_query_memory = state->session_context;
  context->ecxt_per_tuple_memory = state->change_context;
  state->expression_context = context;
  MemoryContextSwitchTo(caller);
}

}  // namespace

void towline_startup_cb(LogicalDecodingContext* ctx, OutputPluginOptions* options, bool is_init) {
  options->output_type = OUTPUT_PLUGIN_BINARY_OUTPUT;
  // The rows of a rewritten table are no changes of it: only where they are asked for.
  options->receive_rewrites = false;
  CheckEncoding();
  // A slot that is being created sends nothing.
  if (is_init) {
    RequestFeatures(ctx, false, false);
    return;
  }

  MemoryContext session =
      AllocSetContextCreate(ctx->context, "towline session", ALLOCSET_DEFAULT_SIZES);
  MemoryContext caller = MemoryContextSwitchTo(session);
  auto* state = static_cast<PluginState*>(palloc0(sizeof(PluginState)));
  state->ctx = ctx;
  state->session_context = session;
  state->change_context = AllocSetContextCreate(session, "towline change", ALLOCSET_DEFAULT_SIZES);
  ParseOptions(ctx->output_plugin_options, &state->options);
  RequestFeatures(ctx, state->options.is_streaming, state->options.is_two_phase);
  // Rows that ALTER TABLE has computed at the source come as they are, random() included. Without
  // ddl the first of them tells that there are any, which nothing else does.
  options->receive_rewrites = state->options.sends_ddl || state->options.tells_rewrites;
  // The server asks it for every record; without it there is nothing to ask (until a run is cut
  // short).
  if (state->options.sends_foreign_origins) ctx->callbacks.filter_by_origin_cb = nullptr;
  constexpr size_t kRowBytes = 8192;
  InitBuffer(&state->frame, session, state->options.frame_bytes + kRowBytes);
  InitBuffer(&state->new_row, session, kRowBytes);
  InitBuffer(&state->old_row, session, kRowBytes);
  OpenCompressor(&state->compressor, state->options.compression, session);
  OpenRelationCache(state);
  MemoryContextSwitchTo(caller);
  state->settings_nest_level = PinSessionSettings();
  OpenRules(state);
  ctx->output_plugin_private = state;
}

void towline_shutdown_cb(LogicalDecodingContext* ctx) {
  CloseRelationCache();
  PluginState* state = StateOf(ctx);
  if (state == nullptr) return;
  RestoreSessionSettings(state->settings_nest_level);
  ctx->output_plugin_private = nullptr;
}

bool towline_filter_by_origin_cb(LogicalDecodingContext* ctx, OriginId origin_id) {
  PluginState* state = StateOf(ctx);
  if (state == nullptr) return false;
  if (state->without_snapshot != nullptr) GiveSnapshots(state);
  if (!state->options.sends_foreign_origins) return origin_id != kNoOrigin;
  ctx->callbacks.filter_by_origin_cb = nullptr;
  return false;
}

}  // namespace towline::plugin
