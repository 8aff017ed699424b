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
}

}  // extern "C"
