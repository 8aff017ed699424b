/* An output plugin that writes nothing: what reading the WAL and putting transactions together cost.
 * decode.py builds it for the server that is measured. */
#include "postgres.h"

#include "fmgr.h"
#include "replication/logical.h"
#include "replication/output_plugin.h"

PG_MODULE_MAGIC;

static void startup(LogicalDecodingContext* ctx, OutputPluginOptions* options, bool is_init) {
  options->output_type = OUTPUT_PLUGIN_BINARY_OUTPUT;
}
static void begin(LogicalDecodingContext* ctx, ReorderBufferTXN* txn) {}
static void change(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, Relation relation,
                   ReorderBufferChange* decoded) {}
static void commit(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, XLogRecPtr lsn) {}

extern PGDLLEXPORT void _PG_output_plugin_init(OutputPluginCallbacks* callbacks);

void _PG_output_plugin_init(OutputPluginCallbacks* callbacks) {
  callbacks->startup_cb = startup;
  callbacks->begin_cb = begin;
  callbacks->change_cb = change;
  callbacks->commit_cb = commit;
}
