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
  int64_t increment = 1;  // negative: descending
  int64_t min_value = 1;
  int64_t max_value = INT64_MAX;
  bool does_cycle = false;
};

// Whose sequences: those that the selected tables own or use in a default, wherever they are, and
// those that no table owns, of these tables' schemas or of all. Of an extension those that it marks
// as configuration (pg_extension_config_dump()), where tables of it are selected: the others are
// its own, as CREATE EXTENSION makes them.
struct SequenceSelection {
  bool is_all = true;  // schemas
  std::vector<TableName> tables;
  bool is_every = false;  // all there are, whosever
};

// Whatever our role may do with them; without their values.
absl::StatusOr<std::vector<SequenceValue>> FindSequences(Connection& source,
                                                         const SequenceSelection& selection);

// As they stand now. Those that our role may not read are left out and named in `unreadable`.
absl::StatusOr<std::vector<SequenceValue>> ReadSequences(Connection& source,
                                                         const SequenceSelection& selection,
                                                         std::vector<TableName>* unreadable);

struct SequencesSet {
  int64_t count = 0;
  std::vector<SequenceValue> missing;  // not at the destination
};

// Sets those that exist at the destination. With `never_back` a sequence that is further on already
// (ascending or descending) stays, unless it cycles.
absl::StatusOr<SequencesSet> SetSequences(Connection& destination,
                                          const std::vector<SequenceValue>& values,
                                          bool never_back);

// "a, b, c and 7 more", for the log; empty if there are none.
std::string NameSequences(const std::vector<SequenceValue>& sequences);

}  // namespace towline
