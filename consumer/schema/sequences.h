// Sequence values: the log does not carry them in a form that could be applied, so they are read
// from the source and set at the destination once the rows are there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/name.h"
#include "pg/connection.h"

namespace towline {

struct SequenceValue {
  TableName name;
  int64_t last_value = 0;
  bool is_called = false;
};

// The user's sequences in these schemas (all schemas if there are none), as they stand now. One
// that our role may not read is left out with a warning.
absl::StatusOr<std::vector<SequenceValue>> ReadSequences(Connection& source,
                                                         const std::vector<std::string>& schemas);

// Sets those that exist at the destination; gives how many. With `never_back` a sequence that is
// further on already (ascending or descending) stays, for tables that keep rows of their own.
absl::StatusOr<int64_t> SetSequences(Connection& destination,
                                     const std::vector<SequenceValue>& values, bool never_back);

}  // namespace towline
