// A name without schema means what the search_path finds, which is another object here where the
// source's is missing, or where one of its name stands in an earlier schema. So commands name what
// they are about with the schema that it has at the source. Pure.
#pragma once

#include <optional>
#include <string>

#include "model/ddl.h"
#include "model/name.h"

namespace towline {

// The arguments of a routine that is altered are named by their types at the source, too.
//
// The statement of ALTER, REFRESH, COMMENT, CREATE TABLE PARTITION OF, of CREATE INDEX, TRIGGER,
// RULE, POLICY or STATISTICS, or of a GRANT for routines and types, with the schema before the name
// of what it alters, or of the table that it is about; and without ALTER's IF EXISTS, as it did
// exist. As it came where the name has a schema, or is not found.
std::string WithWholeName(const DdlCommand& command);

// The table that an ALTER TABLE is about, by the name that it had before; of CREATE TABLE PARTITION
// OF the one above. Nothing where that cannot be read.
std::optional<TableName> NamedTable(const DdlCommand& command);

// That ATTACH or DETACH PARTITION names, likewise.
std::optional<TableName> NamedPartition(const DdlCommand& command);

// Schema and name in "schema.name", "schema.name(integer)", "schema.table.column".
std::optional<TableName> NameInIdentity(const std::string& identity);

}  // namespace towline
