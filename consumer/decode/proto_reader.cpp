#include "decode/proto_reader.h"

namespace towline {

bool ProtoReader::ReadLongVarint(uint64_t* value) {
  uint64_t result = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    if (next_ == end_) return false;
    auto byte = static_cast<uint8_t>(*next_++);
    // The tenth byte has room for one bit.
    if (shift == 63 && byte > 1) return false;
    result |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) {
      *value = result;
      return true;
    }
  }
  return false;
}

bool ProtoReader::ReadScalar(uint32_t wire_type) {
  constexpr uint32_t kVarint = 0;
  constexpr uint32_t kFixed64 = 1;
  constexpr uint32_t kFixed32 = 5;
  has_bytes_ = false;
  has_varint_ = wire_type == kVarint;
  if (wire_type == kVarint) return ReadVarint(&varint_) || Fail();
  int width = wire_type == kFixed64 ? 8 : wire_type == kFixed32 ? 4 : 0;
  if (width == 0 || end_ - next_ < width) return Fail();
  next_ += width;
  return true;
}

}  // namespace towline
