// Which columns of the old row the WAL carries for UPDATE and DELETE.
#pragma once

#include "pg_compat.h"
#include "wire_writer.h"

namespace towline::plugin {

// Columns by attribute number from 1, in the current memory context.
struct Identity {
  IdentityKind kind;
  bool* is_key;
  // What tells rows apart for people: the key or, under FULL, the primary key if there is one.
  bool* names_row;
};

Identity ReadIdentity(Relation relation);

}  // namespace towline::plugin
