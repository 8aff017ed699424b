// Reads the wire format inside the backend, for towline.changes(). Only what that needs: the
// service reads frames with its own decoder.
#pragma once

#include <cstdint>
#include <string_view>

#include "wire_fields.h"

namespace towline::plugin {

// One field of a message. Borrowed: `bytes` points into the message.
struct WireField {
  uint32_t number;
  wire::WireType type;
  uint64_t value;          // kVarint, kFixed64, kFixed32
  std::string_view bytes;  // kBytes
};

enum class ReadResult { kField, kEnd, kMalformed };

// Takes the next field off the front of `message`.
ReadResult ReadField(std::string_view* message, WireField* field);

// Takes a varint off the front; false if there is none.
bool ReadVarint(std::string_view* bytes, uint64_t* value);

}  // namespace towline::plugin
