// Which types travel as typsend's bytes and which as text. One rule, documented in docs/protocol.md
// and mirrored by the consumer for the initial copy: binary where the bytes mean the same on any
// server, so never where they hold OIDs that differ between servers.
#pragma once

#include "pg_headers.h"

namespace towline {

// Reads the catalogs under the snapshot in force (the historic one while decoding).
bool TypeIsPortableAsBinary(Oid type_oid);

// The type and those it is made of (element, base type, subtype) are visited; for what a
// description depends on.
void VisitUserTypes(Oid type_oid, void (*visit)(Oid type_oid, void* arg), void* arg);

}  // namespace towline
