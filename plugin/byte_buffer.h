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
