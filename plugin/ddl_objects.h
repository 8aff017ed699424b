// What a command has touched, as the server tells its event triggers. All texts live in the current
// memory context, in UTF-8.
#pragma once

#include "pg_compat.h"
#include "wire_writer.h"

namespace towline::plugin {

// In UTF-8. Raises an error for what cannot be.
std::string_view DdlText(const char* stored);

// Of a relation that the command has locked, by the search_path of its session.
std::string_view SchemaOfNamed(const RangeVar* name);

enum class ObjectsFound {
  kNone,
  kOnlyTemporary,
  kOwn,  // the extension towline itself
  kSome,
};
// What it has made or altered, and which schema SET SCHEMA has taken it out of.
ObjectsFound ReadObjects(DdlFields* ddl);
// What it has dropped, of temporary things abstained. False: nothing else.
bool ReadDroppedObjects(DdlFields* ddl);
// The table that is about to be rewritten, and the schema of the one that the command names. False:
// a temporary one.
bool ReadRewrittenTable(const Node* parsetree, DdlFields* ddl);

// What kinds of change an ALTER consists of, so that nobody else needs its tree.
void ReadActions(const Node* parsetree, DdlFields* ddl);

// The values that columns added by the command have in rows that were there, where the destination
// would compute others.
void ReadFills(const Node* parsetree, DdlFields* ddl);

}  // namespace towline::plugin
