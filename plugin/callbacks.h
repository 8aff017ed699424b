// The callbacks that the server calls while it decodes; plugin.cpp puts them into its table.
#pragma once

#include "pg_compat.h"

namespace towline::plugin {

// session.cpp
void towline_startup_cb(LogicalDecodingContext* ctx, OutputPluginOptions* options, bool is_init);
void towline_shutdown_cb(LogicalDecodingContext* ctx);
bool towline_filter_by_origin_cb(LogicalDecodingContext* ctx, OriginId origin_id);

// transaction.cpp
void towline_begin_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn);
void towline_commit_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, XLogRecPtr commit_lsn);
void towline_message_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, XLogRecPtr message_lsn,
                        bool transactional, const char* prefix, Size size, const char* content);

// change.cpp
void towline_change_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, Relation relation,
                       ReorderBufferChange* change);
void towline_truncate_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, int relation_count,
                         Relation relations[], ReorderBufferChange* change);

}  // namespace towline::plugin
