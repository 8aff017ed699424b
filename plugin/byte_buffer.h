// A growing run of bytes: what frames and row images are written into. Plain data without
// constructor or destructor, because a server error leaves C++ frames by longjmp and would skip
// them. Knows no server header, so the unit tests use the writers on malloc'ed memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace towline::plugin {

struct ByteBuffer {
  char* data;
  size_t size;
  size_t capacity;
};

// Makes room for `bytes` more. Defined by the program that links the writers: byte_buffer.cpp in
// the plugin (palloc; raises the server's error when there is no memory).
void GrowByteBuffer(ByteBuffer* buffer, size_t bytes);

// Room for `bytes` at the end; the caller adds what it has written to `size`.
inline char* Reserve(ByteBuffer* buffer, size_t bytes) {
  if (__builtin_expect(buffer->capacity - buffer->size < bytes, 0)) GrowByteBuffer(buffer, bytes);
  return buffer->data + buffer->size;
}

inline void AppendBytes(ByteBuffer* buffer, const void* bytes, size_t size) {
  char* at = Reserve(buffer, size);
  if (size > 0) std::memcpy(at, bytes, size);
  buffer->size += size;
}

inline void AppendBytes(ByteBuffer* buffer, std::string_view bytes) {
  AppendBytes(buffer, bytes.data(), bytes.size());
}

// For the short values that rows consist of. A compiler that knows how short they are makes `rep
// movs` of memcpy(), which begins so slowly that it took half of the encoder's time.
inline void CopyShort(char* to, const char* from, size_t size) {
  if (size >= 16) {
    char* const last = to + size - 16;
    const char* const from_last = from + size - 16;
    for (; to < last; to += 16, from += 16) std::memcpy(to, from, 16);
    std::memcpy(last, from_last, 16);
  } else if (size >= 8) {
    std::memcpy(to, from, 8);
    std::memcpy(to + size - 8, from + size - 8, 8);
  } else if (size >= 4) {
    std::memcpy(to, from, 4);
    std::memcpy(to + size - 4, from + size - 4, 4);
  } else if (size > 0) {
    to[0] = from[0];
    to[size / 2] = from[size / 2];
    to[size - 1] = from[size - 1];
  }
}

// Network byte order, as in COPY BINARY.
inline void StoreBigEndian16(char* at, uint16_t value) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  value = __builtin_bswap16(value);
#endif
  std::memcpy(at, &value, sizeof value);
}
inline void StoreBigEndian32(char* at, uint32_t value) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  value = __builtin_bswap32(value);
#endif
  std::memcpy(at, &value, sizeof value);
}
inline void StoreBigEndian64(char* at, uint64_t value) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  value = __builtin_bswap64(value);
#endif
  std::memcpy(at, &value, sizeof value);
}

}  // namespace towline::plugin
