// The output plugin "towline": what the server looks for in the library. Decoded changes become
// frames of the wire format (proto/towline/v1/wire.proto, docs/protocol.md); docs/plugin.md tells
// how the parts work together.
//
// Rules for all of plugin/: the server reports errors by longjmp, so no object with a destructor
// lives across a call into it, memory comes from its contexts only, and no exception exists
// (-fno-exceptions). Callbacks keep the server's names.
#include "callbacks.h"

extern "C" {

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_output_plugin_init(OutputPluginCallbacks* callbacks) {
  callbacks->startup_cb = towline::plugin::towline_startup_cb;
  callbacks->begin_cb = towline::plugin::towline_begin_cb;
  callbacks->change_cb = towline::plugin::towline_change_cb;
  callbacks->truncate_cb = towline::plugin::towline_truncate_cb;
  callbacks->commit_cb = towline::plugin::towline_commit_cb;
  callbacks->message_cb = towline::plugin::towline_message_cb;
  callbacks->filter_by_origin_cb = towline::plugin::towline_filter_by_origin_cb;
  callbacks->shutdown_cb = towline::plugin::towline_shutdown_cb;

  towline::plugin::CallbacksSince14 since_14 = {};
  since_14.stream_start = towline::plugin::towline_stream_start_cb;
  since_14.stream_stop = towline::plugin::towline_stream_stop_cb;
  since_14.stream_abort = towline::plugin::towline_stream_abort_cb;
  since_14.stream_commit = towline::plugin::towline_stream_commit_cb;
  since_14.stream_change = towline::plugin::towline_stream_change_cb;
  since_14.stream_truncate = towline::plugin::towline_stream_truncate_cb;
  since_14.stream_message = towline::plugin::towline_stream_message_cb;
  since_14.stream_prepare = towline::plugin::towline_stream_prepare_cb;
  since_14.begin_prepare = towline::plugin::towline_begin_prepare_cb;
  since_14.prepare = towline::plugin::towline_prepare_cb;
  since_14.commit_prepared = towline::plugin::towline_commit_prepared_cb;
  since_14.rollback_prepared = towline::plugin::towline_rollback_prepared_cb;
  towline::plugin::SetCallbacks(callbacks, since_14);
}

}  // extern "C"
