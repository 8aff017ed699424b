// Which types travel in binary between servers, in the copy and (by the same rule,
// docs/protocol.md) in the stream: those whose typsend output holds nothing that differs between
// two servers. What differs are object identifiers: of user-defined types inside arrays and
// composites, and of the objects that reg* types name; and what a database's encoding goes into.
// Everything else goes as text. Where the destination is older than the source, or texts are
// converted, only the basic types are left.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/oid.h"
#include "model/table.h"

namespace towline {

// A row of pg_type with what the rules ask.
struct TypeFacts {
  std::string schema;
  std::string name;
  bool is_in_pg_catalog = false;
  char kind = 'b';           // typtype
  bool is_array = false;     // a true array: its element names it in typarray
  Oid element = 0;           // of an array
  Oid base = 0;              // of a domain
  int32_t base_typmod = -1;  // that it gives to it
  std::string base_text;     // format_type() of it
  Oid subtype = 0;           // of a range; of a multirange its range
  std::vector<Oid> members;  // of a composite, dropped columns left out
  bool has_send_and_receive = false;
  bool is_bound_to_encoding = false;  // its bytes depend on the encoding of this database
  bool has_operator_class = false;    // a default btree or hash one takes this very type
};

using TypeCatalog = std::map<Oid, TypeFacts>;

// A type that is not in the catalog is not portable.
bool IsPortableBinary(const TypeCatalog& types, Oid oid);

// Whether a base type's bytes and the values that it knows are the same in every version from 13
// on.
bool IsBasicType(Oid oid);

// What a domain is over, by however many domains; any other type is its own.
Oid BaseTypeOf(const TypeCatalog& types, Oid oid);
// The same with what a cast has to know; none of a type that is no domain.
std::optional<DomainBase> DomainBaseOf(const TypeCatalog& types, Oid oid);
// Of all domains.
std::map<Oid, DomainBase> DomainBasesOf(const TypeCatalog& types);

// What two servers have in common, as far as it decides how values travel between them.
struct ServerPair {
  bool is_destination_older = false;  // by its major version
  bool encodings_differ = false;
  std::string destination_encoding = "UTF8";

  // Versions and encodings that do not change what bytes mean. hstore_send, for one, is wrong where
  // texts are converted: it writes lengths as they were before. What other extensions do nobody
  // knows.
  bool AllowsBasicTypesOnly() const {
    bool is_converted =
        encodings_differ || (destination_encoding != "UTF8" && destination_encoding != "SQL_ASCII");
    return is_destination_older || is_converted;
  }
};

ServerPair MakePair(int source_version, const std::string& source_encoding, int destination_version,
                    const std::string& destination_encoding);

// Whether = can compare two values as GROUP BY and EXCEPT do.
bool HasEquality(const TypeCatalog& types, Oid oid);

}  // namespace towline
