// The plugin's writer and reader, compiled into the test on malloc'ed memory: they know no server
// header.
#include <cstdlib>

#include "table_patterns.cpp"
#include "wire_reader.cpp"
#include "wire_writer.cpp"

namespace towline::plugin {

void GrowByteBuffer(ByteBuffer* buffer, size_t bytes) {
  size_t capacity = 2 * (buffer->size + bytes);
  buffer->data = static_cast<char*>(std::realloc(buffer->data, capacity));
  if (buffer->data == nullptr) std::abort();
  buffer->capacity = capacity;
}

}  // namespace towline::plugin
