#include "wire_reader.h"

namespace towline::plugin {
namespace {

bool ReadFixed(std::string_view* bytes, size_t size, uint64_t* value) {
  if (bytes->size() < size) return false;
  *value = 0;
  for (size_t i = 0; i < size; ++i) {
    *value |= static_cast<uint64_t>(static_cast<unsigned char>((*bytes)[i])) << (8 * i);
  }
  bytes->remove_prefix(size);
  return true;
}

}  // namespace

bool ReadVarint(std::string_view* bytes, uint64_t* value) {
  *value = 0;
  for (unsigned shift = 0; shift < 64 && !bytes->empty(); shift += 7) {
    auto byte = static_cast<unsigned char>(bytes->front());
    bytes->remove_prefix(1);
    *value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) return true;
  }
  return false;
}

ReadResult ReadField(std::string_view* message, WireField* field) {
  if (message->empty()) return ReadResult::kEnd;
  uint64_t tag = 0;
  if (!ReadVarint(message, &tag)) return ReadResult::kMalformed;
  *field = {static_cast<uint32_t>(tag >> 3), static_cast<wire::WireType>(tag & 7), 0, {}};
  switch (field->type) {
    case wire::WireType::kVarint:
      return ReadVarint(message, &field->value) ? ReadResult::kField : ReadResult::kMalformed;
    case wire::WireType::kFixed64:
      return ReadFixed(message, 8, &field->value) ? ReadResult::kField : ReadResult::kMalformed;
    case wire::WireType::kFixed32:
      return ReadFixed(message, 4, &field->value) ? ReadResult::kField : ReadResult::kMalformed;
    case wire::WireType::kBytes: {
      uint64_t size = 0;
      if (!ReadVarint(message, &size) || size > message->size()) return ReadResult::kMalformed;
      field->bytes = message->substr(0, size);
      message->remove_prefix(size);
      return ReadResult::kField;
    }
  }
  return ReadResult::kMalformed;
}

}  // namespace towline::plugin
