// What the output of a table's values depends on besides the table and its lock: labels of enums
// and attributes of composite types; and by which names table and types are found. All of that COPY
// reads as it is at that moment, whatever its snapshot sees, and altering a type, or renaming it or
// a schema, locks no table that uses it.
#pragma once

#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "model/oid.h"
#include "pg/connection.h"

namespace towline {

using ValueTypes = std::set<std::string>;

// Of the table, the types that it uses, and those within them, as the session's transaction sees
// them.
absl::StatusOr<ValueTypes> ReadValueTypes(Connection& session, Oid table);

// Whether values that were read between the two mean what they did at `before`. An enum may have
// got labels.
bool MeanTheSame(const ValueTypes& before, const ValueTypes& after);

}  // namespace towline
