// The frame: several entries of one transaction in one CopyData. Entries are collected in a buffer
// of our own and handed to the server when the frame is full and when the transaction ends, so a
// frame never waits for something that happens later, and the position in a keepalive never runs
// ahead of data that was not sent.
#pragma once

#include "plugin_state.h"
#include "wire_writer.h"

namespace towline::plugin {

// No CopyData is larger than this (docs/protocol.md). One frame is at most: what was collected
// below frame_bytes (4 MiB at most), and one entry, whose inline values are bounded by the row
// encoder (8 MiB).
constexpr size_t kCopyDataBytesMax = 16 * 1024 * 1024;

// Memory with which a frame or row buffer begins; a buffer that a large row has made grow beyond
// kBufferBytesKept is given back.
constexpr size_t kBufferBytesKept = 1024 * 1024;
void InitBuffer(ByteBuffer* buffer, MemoryContext context, size_t capacity);
void EmptyBuffer(ByteBuffer* buffer, MemoryContext context);

// Called before an entry is written. The first writes Hello before all else; the second also opens
// the transaction if it has not been opened: one with nothing to send is never opened.
void PrepareFrame(PluginState* state);
void PrepareFrameIn(PluginState* state, ReorderBufferTXN* txn);
// Then, before a row: which (sub)transaction has written it, where readers are told. In a run
// PrepareFrameIn() does so.
void NameOwner(PluginState* state, const ReorderBufferChange* change);

// Called after an entry was written: sends the frame if it is full.
void FinishEntry(PluginState* state);
void SendFrame(PluginState* state);

// Tells the server from time to time that decoding is alive although nothing is sent.
void ReportProgress(PluginState* state);

uint64_t FullXid(TransactionId xid);
int64_t UnixMicroseconds(TimestampTz time);
// What the entries that open and close a transaction say of it.
TransactionFields TransactionOf(uint64_t xid, const ReorderBufferTXN* txn);
// Null for what was written on this server, else `origin`. Its name lives in the change context.
const OriginFields* OriginOf(PluginState* state, const ReorderBufferTXN* txn, OriginFields* origin);

}  // namespace towline::plugin
