#include "byte_buffer.h"

#include "pg_headers.h"

namespace towline::plugin {

void GrowByteBuffer(ByteBuffer* buffer, size_t bytes) {
  size_t needed = buffer->size + bytes;
  if (needed > MaxAllocSize) {
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("towline: an output buffer of %zu bytes exceeds the server's limit of "
                           "%zu bytes",
                           needed, static_cast<size_t>(MaxAllocSize))));
  }
  size_t capacity = Max(buffer->capacity * 2, static_cast<size_t>(1024));
  while (capacity < needed) capacity *= 2;
  if (capacity > MaxAllocSize) capacity = MaxAllocSize;
  // repalloc keeps the buffer in the context it was first made in.
  buffer->data = static_cast<char*>(repalloc(buffer->data, capacity));
  buffer->capacity = capacity;
}

}  // namespace towline::plugin
