// Which types travel as typsend's bytes and which as text. One rule, documented in docs/protocol.md
// and mirrored by the consumer for the initial copy: binary where the bytes mean the same on any
// server, so never where they hold OIDs that differ between servers, or depend on the database's
// encoding.
#pragma once

#include "options.h"
#include "pg_headers.h"

namespace towline::plugin {

// Reads the catalogs under the snapshot in force (the historic one while decoding).
bool TravelsAsBinary(Oid type_oid, BinaryTypes wanted);

// What the answer, and a type's name, depend on: the user-defined types that the type is made of
// (itself, element, base type, subtype), and the relations of composite types.
struct TypeVisitor {
  void (*visit_type)(Oid type_oid, void* arg);
  void (*visit_relation)(Oid relation_oid, void* arg);
  void* arg;
};
void VisitUserTypes(Oid type_oid, const TypeVisitor& visitor);

}  // namespace towline::plugin
