// Names of other tables in the text of a command get the schema that they mean here: of what
// depends on nothing afterwards (LIKE, DETACH PARTITION, GRANT) no reader could tell whether the
// destination has found the same.
#pragma once

#include "pg_compat.h"
#include "wire_writer.h"

namespace towline::plugin {

// In CREATE TABLE (LIKE, INHERITS, PARTITION OF, REFERENCES), ALTER TABLE (ATTACH and DETACH
// PARTITION, INHERIT, REFERENCES), GRANT and REVOKE, also within CREATE SCHEMA. `ddl` knows what
// the command has made.
const char* WithSchemas(const char* text, const Node* parsetree, const DdlFields& ddl);

// An object for each routine or type that GRANT or REVOKE names, in its order, as the parser does
// not keep their places: with the schema where it is named without one, and the identity of a
// routine unless its arguments are of types of extensions, which may be in another schema
// elsewhere. `named_schema` is that of all that are named without, if it is one.
void ReadGranted(const GrantStmt* grant, DdlFields* ddl);

}  // namespace towline::plugin
