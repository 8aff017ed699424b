// Walks the fields of one protobuf message in place. Only what rows and their entries need: varints
// and length-delimited fields are given out, fixed ones stepped over. Nothing is copied.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace towline {

class ProtoReader {
 public:
  explicit ProtoReader(absl::string_view message)
      : next_(message.data()), end_(message.data() + message.size()) {}

  // The next field; false at the end of the message or where its bytes make no sense (is_bad()).
  bool Next() {
    if (next_ == end_) return false;
    uint64_t tag = 0;
    if (!ReadVarint(&tag) || tag > UINT32_MAX || (tag >> 3) == 0) return Fail();
    field_ = static_cast<uint32_t>(tag >> 3);
    return (tag & 7) == kBytes ? ReadBytes() : ReadScalar(static_cast<uint32_t>(tag & 7));
  }

  bool is_bad() const { return is_bad_; }
  uint32_t field() const { return field_; }
  // Which of the two the field holds is a matter of its wire type, which the sender decides.
  bool has_bytes() const { return has_bytes_; }
  bool has_varint() const { return has_varint_; }
  absl::string_view bytes() const { return bytes_; }
  uint64_t varint() const { return varint_; }

 private:
  static constexpr uint32_t kBytes = 2;

  bool Fail() {
    is_bad_ = true;
    return false;
  }

  bool ReadVarint(uint64_t* value) {
    if (next_ != end_ && static_cast<uint8_t>(*next_) < 0x80) {
      *value = static_cast<uint8_t>(*next_++);
      return true;
    }
    return ReadLongVarint(value);
  }

  bool ReadBytes() {
    uint64_t length = 0;
    if (!ReadVarint(&length) || length > static_cast<uint64_t>(end_ - next_)) return Fail();
    bytes_ = {next_, static_cast<size_t>(length)};
    next_ += length;
    has_bytes_ = true;
    has_varint_ = false;
    return true;
  }

  bool ReadLongVarint(uint64_t* value);
  bool ReadScalar(uint32_t wire_type);

  const char* next_;
  const char* end_;
  uint32_t field_ = 0;
  bool is_bad_ = false;
  bool has_bytes_ = false;
  bool has_varint_ = false;
  absl::string_view bytes_;
  uint64_t varint_ = 0;
};

}  // namespace towline
