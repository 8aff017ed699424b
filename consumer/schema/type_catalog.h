// Reads pg_type as the type rules want it: one query for all types of a database.
#pragma once

#include "absl/status/statusor.h"
#include "pg/connection.h"
#include "schema/type_rules.h"

namespace towline {

// All types but the row types of tables and what is built on those.
absl::StatusOr<TypeCatalog> ReadTypeCatalog(Connection& connection);

}  // namespace towline
