// What the objects of a command depend on. A name in its text means at the destination what the
// search_path finds there, which may be another object of that name; the catalog there tells it
// then, by comparison with this.
#pragma once

#include "pg_compat.h"
#include "wire_writer.h"

namespace towline::plugin {

// At the end of a command, and of a table that is about to be rewritten, whose rows may need its
// new types before. Nothing of commands that only name what they are about, and of CREATE TABLE AS.
void ReadReferences(const Node* parsetree, DdlFields* ddl);

}  // namespace towline::plugin
