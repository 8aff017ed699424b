// Turns the entries of a stream's frames into readable rows, for people and for pg_regress. Not an
// exact form: whoever wants one reads the frames.
#pragma once

#include "pg_headers.h"

namespace towline::plugin {

// One row of towline.changes(); null pointers are SQL nulls.
struct ReadableEntry {
  XLogRecPtr lsn;
  uint64_t xid;  // 0: belongs to no transaction
  const char* kind;
  const char* relation;
  const char* old_image;
  const char* old_row;
  const char* new_row;
  const char* detail;
  bool has_commit_time;
  TimestampTz commit_time;
};

struct ReadableRelation;

// What is known from earlier frames of the same stream.
struct ReadableStream {
  MemoryContext context;         // as long as the stream is read
  ReadableRelation** relations;  // by number
  size_t relation_capacity;
  uint64_t xid;        // of the open transaction, 0 if there is none
  XLogRecPtr end_lsn;  // of the open transaction; invalid in a run
};

void InitReadableStream(ReadableStream* stream, MemoryContext context);

using EmitEntry = void (*)(const ReadableEntry& entry, void* arg);

// Calls `emit` for each entry of the frame, which was sent at `lsn`. The strings live in the
// current memory context. Raises an error for bytes that it does not understand.
void ReadFrame(ReadableStream* stream, std::string_view frame, XLogRecPtr lsn, EmitEntry emit,
               void* arg);

}  // namespace towline::plugin
