// What dividing a table by its key needs from the source: what the catalog says of its keys, and
// bounds that make ranges of about equal size, without reading the table.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/key_field.h"
#include "model/table.h"
#include "pg/connection.h"
#include "snapshot/key_choice.h"

namespace towline {

// Of every table with these oids the columns that have a unique index of their own.
absl::StatusOr<std::map<Oid, std::vector<KeyCandidate>>> ReadKeyCandidates(
    Connection& source, const std::vector<Oid>& tables);

// Bounds of about `range_count` ranges with about as many rows each, strictly ascending; fewer
// where there are not as many keys to be found. They come from a sample of the table's pages, of
// limited size, so they need no statistics. Where rows are added or removed meanwhile, ranges
// become uneven and nothing else.
absl::StatusOr<std::vector<std::string>> ReadKeyBounds(Connection& source, const Table& table,
                                                       const ChunkKey& key, int64_t range_count);

}  // namespace towline
