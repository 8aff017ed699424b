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

// streamed.cpp
void towline_stream_start_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn);
void towline_stream_stop_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn);
void towline_stream_abort_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn,
                             XLogRecPtr abort_lsn);
void towline_stream_commit_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn,
                              XLogRecPtr commit_lsn);
void towline_stream_change_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, Relation relation,
                              ReorderBufferChange* change);
void towline_stream_truncate_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn,
                                int relation_count, Relation relations[],
                                ReorderBufferChange* change);
void towline_stream_message_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn,
                               XLogRecPtr message_lsn, bool transactional, const char* prefix,
                               Size size, const char* content);

// two_phase.cpp
void towline_begin_prepare_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn);
void towline_prepare_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, XLogRecPtr prepare_lsn);
void towline_stream_prepare_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn,
                               XLogRecPtr prepare_lsn);
void towline_commit_prepared_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn,
                                XLogRecPtr commit_lsn);
void towline_rollback_prepared_cb(LogicalDecodingContext* ctx, ReorderBufferTXN* txn,
                                  XLogRecPtr prepare_end_lsn, TimestampTz prepare_time);

}  // namespace towline::plugin
