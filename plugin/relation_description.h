// Reads a relation from the catalogs, as they were at the moment of the change, into what the wire
// says of it and what the row encoder needs.
#pragma once

#include "relation_cache.h"

namespace towline::plugin {

struct PluginState;

// Fills everything below entry->context (and is_selected, is_full_identity, root_oid). The current
// memory context is for scratch; what stays goes to entry->context. Returns the description, in
// scratch memory, with number 0.
RelationFields ReadRelation(PluginState* state, Relation relation, RelationEntry* entry);

}  // namespace towline::plugin
