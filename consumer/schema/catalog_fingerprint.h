// Whether two snapshots of the source show the same schema: a short text that differs when anything
// that pg_dump writes has been made, altered or dropped between them.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "pg/connection.h"

namespace towline {

// Of the database as the session's transaction, which is REPEATABLE READ, sees it. Temporary
// objects, rows and statistics count for nothing; what is altered and put back counts.
absl::StatusOr<std::string> ReadCatalogFingerprint(Connection& source);

}  // namespace towline
