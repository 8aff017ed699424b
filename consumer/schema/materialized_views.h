// Materialized views carry no rows in the copy: those that are populated at the source are
// refreshed at the destination, each after those it reads.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "pg/connection.h"
#include "schema/excluded_objects.h"

namespace towline {

// REFRESH statements in an order that works, without the views that are left out. (pg_dump has them
// too, but only in a dump with data, for which it asks the source for every sequence's value.)
absl::StatusOr<std::vector<std::string>> ReadRefreshStatements(Connection& source,
                                                               const ExcludedObjects& excluded);

}  // namespace towline
