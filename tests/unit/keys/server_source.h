// The server that the tests of this directory read from: TOWLINE_TEST_SOURCE, a URI; without it
// they are skipped.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/error.h"

namespace towline {

inline std::vector<std::string> Sources() {
  const char* uri = std::getenv("TOWLINE_TEST_SOURCE");
  return uri != nullptr ? std::vector<std::string>{uri} : std::vector<std::string>{};
}

// Where nothing can go on without it.
template <typename T>
T Need(absl::StatusOr<T> value, const std::string& what) {
  if (!value.ok()) {
    ADD_FAILURE() << what << ": " << Describe(value.status());
    std::abort();
  }
  return *std::move(value);
}

}  // namespace towline
