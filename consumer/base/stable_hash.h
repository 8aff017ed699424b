// FNV-1a: the same in every build and on every machine, which absl::Hash and std::hash do not
// promise. For what is stored and for names; nothing that an enemy may choose.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace towline {

inline uint64_t StableHash(absl::string_view text) {
  uint64_t hash = 14695981039346656037u;
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

}  // namespace towline
