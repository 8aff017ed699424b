// How the values of a source's column get into a destination's column of another type. The list is
// in docs/types.md; what is not on it is refused. Pure.
//
// What arrives is what PostgreSQL's own cast makes of the value (`column::type`), as ALTER TABLE
// ... ALTER COLUMN ... TYPE would have: the copy casts at the source, the stream's statements at
// the destination. Only casts that keep apart what differs are on the list, as keys may be cast.
// A domain passes as what it is over, an array as its elements do.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/strings/string_view.h"
#include "model/relation.h"
#include "model/table.h"

namespace towline {

enum class Passage : uint8_t {
  kNone,  // refused
  kAsIs,  // the same bytes and texts mean the same: no cast
  kCast,  // value::type
};

// What the rules ask of a column's type.
struct ColumnType {
  absl::string_view schema;
  absl::string_view name;  // pg_type.typname
  char kind = 'b';         // pg_type.typtype
  int32_t typmod = -1;
  const DomainBase* base = nullptr;  // of a domain, if it is known; borrowed
};

Passage FindPassage(const ColumnType& source, const ColumnType& destination);

// The source's domains by their object identifiers, as the stream names them.
using DomainBases = std::map<Oid, DomainBase>;

// The results borrow the arguments.
ColumnType TypeOf(const Column& column, const DomainBases& domains);
ColumnType TypeOf(const TableColumn& column);

// What a value is cast to at the source, where the destination's domains need not be: a domain's
// constraints are checked where the value arrives.
const std::string& CastTypeText(const TableColumn& destination);

}  // namespace towline
