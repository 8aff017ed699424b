// Sources: plugin/wire_reader.cpp
//
// The wire format as towline.changes() reads it: whatever the bytes, every field lies within them
// and reading ends.
#include "fuzz.h"
#include "wire_reader.h"

namespace towline::plugin {
namespace {

constexpr int kDepthMax = 8;

void ReadMessage(std::string_view message, int depth) {
  while (true) {
    std::string_view before = message;
    WireField field;
    ReadResult result = ReadField(&message, &field);
    Check(message.size() <= before.size() &&
          message.data() + message.size() == before.data() + before.size());
    if (result != ReadResult::kField) {
      Check(result == ReadResult::kMalformed || before.empty());
      return;
    }
    Check(message.size() < before.size());
    if (field.type != wire::WireType::kBytes) continue;
    Check(field.bytes.data() >= before.data() &&
          field.bytes.data() + field.bytes.size() <= message.data());
    if (depth < kDepthMax) ReadMessage(field.bytes, depth + 1);
  }
}

}  // namespace
}  // namespace towline::plugin

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  towline::plugin::ReadMessage({reinterpret_cast<const char*>(data), size}, 0);
  return 0;
}
