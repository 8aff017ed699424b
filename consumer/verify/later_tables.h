// Tables that are selected and came after a comparison was planned: what it has not looked at.
#pragma once

#include <set>
#include <vector>

#include "absl/status/statusor.h"
#include "model/name.h"
#include "pg/connection.h"
#include "schema/catalog_reader.h"

namespace towline {

// `planned`: what the comparison looked at. In order of name.
absl::StatusOr<std::vector<TableName>> FindLaterTables(Connection& source,
                                                       const TableSelection& selection,
                                                       const std::set<TableName>& planned);

}  // namespace towline
