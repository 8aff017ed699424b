// What the objects of a command depend on. A name in its text means at the destination what the
// search_path finds there, which may be another object of that name; the catalog there tells it
// then, by comparison with this.
#pragma once

#include "pg_compat.h"
#include "wire_writer.h"

namespace towline::plugin {

// Nothing of commands that only name what they are about.
void ReadReferences(const Node* parsetree, DdlFields* ddl);

}  // namespace towline::plugin
