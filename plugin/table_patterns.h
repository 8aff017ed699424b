// Table patterns as psql's \d takes them: `schema.table` with * and ?, unquoted letters folded to
// lower case, "double quotes" taking everything literally ("" is a quote). A pattern without a
// dot matches the table's name in every schema. A list is separated by commas.
//
// Knows no server header: parsing works in place on memory that the caller gives.
#pragma once

#include <cstddef>
#include <string_view>

namespace towline {

struct NamePattern {
  // Bytes of the name; where `is_special` is set the byte is the wildcard * or ?, else itself.
  const char* bytes;
  const bool* is_special;
  size_t size;
};

struct TablePattern {
  bool has_schema;
  NamePattern schema;
  NamePattern name;
};

enum class PatternError {
  kNone,
  kEmpty,             // nothing between two commas or beside a dot
  kTooManyParts,      // a.b.c: a database cannot be named
  kUnclosedQuote,
  kSpecialCharacter,  // psql would read it as part of a regular expression
};

// The most patterns that a list of `size` bytes can hold, so that the caller can make room.
inline size_t TablePatternsMax(size_t size) { return size / 2 + 1; }

// Parses `list` into `patterns` (room for TablePatternsMax()). `bytes` and `is_special` have room
// for list.size() elements and must live as long as the patterns. Returns the error and in
// *error_at the position in `list` where it was seen.
PatternError ParseTablePatterns(std::string_view list, TablePattern* patterns, size_t* count,
                                char* bytes, bool* is_special, size_t* error_at);

bool Matches(const NamePattern& pattern, std::string_view name);
bool Matches(const TablePattern& pattern, std::string_view schema, std::string_view name);

}  // namespace towline
