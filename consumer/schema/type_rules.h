// Which types travel in binary between servers, in the copy and (by the same rule,
// docs/protocol.md) in the stream: those whose typsend output holds nothing that differs between
// two servers. What differs are object identifiers: of user-defined types inside arrays and
// composites, and of the objects that reg* types name. Everything else goes as text.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "model/oid.h"

namespace towline {

// A row of pg_type with what the rules ask.
struct TypeFacts {
  std::string name;
  bool is_in_pg_catalog = false;
  char kind = 'b';           // typtype
  bool is_array = false;     // a true array: its element names it in typarray
  Oid element = 0;           // of an array
  Oid base = 0;              // of a domain
  Oid subtype = 0;           // of a range; of a multirange its range
  std::vector<Oid> members;  // of a composite, dropped columns left out
  bool has_send_and_receive = false;
  bool has_operator_class = false;  // a default btree or hash one takes this very type
};

using TypeCatalog = std::map<Oid, TypeFacts>;

// A type that is not in the catalog is not portable.
bool IsPortableBinary(const TypeCatalog& types, Oid oid);

// Whether = can compare two values as GROUP BY and EXCEPT do.
bool HasEquality(const TypeCatalog& types, Oid oid);

}  // namespace towline
