// How the values of a source's column get into a destination's column of another type. The list is
// in docs/types.md; what is not on it is refused. Pure.
//
// What arrives is what PostgreSQL's own cast makes of the value (`column::type`), as ALTER TABLE
// ... ALTER COLUMN ... TYPE would have: the copy casts at the source, the stream's statements at
// the destination. Only casts that keep apart what differs are on the list, as keys may be cast.
#pragma once

#include <cstdint>

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
};

Passage FindPassage(const ColumnType& source, const ColumnType& destination);

ColumnType TypeOf(const Column& column);
ColumnType TypeOf(const TableColumn& column);

}  // namespace towline
