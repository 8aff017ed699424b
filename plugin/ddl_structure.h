// The table that CREATE TABLE AS makes, as a statement that needs nothing of what its query reads:
// temporary tables and prepared statements are at the source only.
#pragma once

#include "pg_headers.h"

namespace towline::plugin {

// Null: it cannot be told. `name` is quoted.
const char* StructureOf(const CreateTableAsStmt* command, const char* name);

// "FOR VALUES ..." as they have been computed. Null: it is no partition.
const char* BoundsOf(Oid table);

}  // namespace towline::plugin
