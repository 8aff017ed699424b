// Names of other tables in the text of a command get the schema that they mean here: of what
// depends on nothing afterwards (LIKE, DETACH PARTITION, GRANT) no reader could tell whether the
// destination has found the same.
#pragma once

#include "pg_compat.h"
#include "wire_writer.h"

namespace towline::plugin {

// In CREATE TABLE (LIKE, INHERITS, PARTITION OF, REFERENCES), ALTER TABLE (ATTACH and DETACH
// PARTITION, INHERIT, REFERENCES), GRANT and REVOKE. `ddl` knows what the command has made.
const char* WithSchemas(const char* text, const Node* parsetree, const DdlFields& ddl);

// Of the routines or types that GRANT or REVOKE names without one, whose places the parser does not
// keep. Empty: there are none, or they are in several.
std::string_view SchemaOfGranted(const GrantStmt* grant);

}  // namespace towline::plugin
