// For fuzz targets: a check that also holds in optimised builds, and ends the run with the input;
// and choices made by the input's bytes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

inline void Check(bool holds) {
  if (!holds) std::abort();
}

// Reads the input from its front. Behind its end all choices are 0 and all texts are empty.
class FuzzInput {
 public:
  FuzzInput(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  bool is_empty() const { return rest_.empty(); }

  // 0 to limit - 1; limit is 1 to 65536. Takes one byte, two for a limit above 256.
  size_t Below(size_t limit) {
    size_t value = 0;
    for (size_t bytes = limit > 256 ? 2 : 1; bytes > 0 && !rest_.empty(); --bytes) {
      value = value << 8 | static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
    }
    return value % limit;
  }

  template <typename T>
  T Integer() {
    uint64_t value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) value = value << 8 | Below(256);
    return static_cast<T>(value);
  }

  // So many, or as many as there are.
  std::string Bytes(size_t count) {
    std::string bytes(rest_.substr(0, count));
    rest_.remove_prefix(bytes.size());
    return bytes;
  }

  std::string Rest() { return Bytes(rest_.size()); }

 private:
  std::string_view rest_;
};
