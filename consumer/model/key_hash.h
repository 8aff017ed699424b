// 64-bit FNV-1a over a key's fields, hexadecimal: tells the same row in several messages without
// showing it.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "model/row_image.h"

namespace towline {

class KeyHash {
 public:
  void Add(const Field& field) {
    AddBytes(absl::StrCat(static_cast<int>(field.kind), ":", field.bytes.size(), ":"));
    AddBytes(field.bytes);
  }
  std::string Text() const { return absl::StrFormat("%016x", hash_); }

 private:
  void AddBytes(absl::string_view bytes) {
    for (char byte : bytes) hash_ = (hash_ ^ static_cast<uint8_t>(byte)) * 0x100000001b3;
  }
  uint64_t hash_ = 0xcbf29ce484222325;
};

}  // namespace towline
