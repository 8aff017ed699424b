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

}  // namespace towline::plugin
