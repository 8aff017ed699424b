// Table patterns as psql's \d takes them (psql manual, "Patterns"): `schema.table`, * and ? as
// wildcards, unquoted letters folded to lower case, "double quotes" taking everything literally (""
// is a quote), other notations of regular expressions with their own meaning. They become regular
// expressions for the server's own ~ operator, as in psql and in the service's selection. Two
// differences: a pattern without a dot matches the table's name in every schema, and a comma
// outside of quotes separates patterns.
//
// Knows no server header, so that the unit tests can use it; table_selection.cpp does the matching.
#pragma once

#include <cstddef>
#include <string_view>

#include "byte_buffer.h"

namespace towline::plugin {

enum class PatternError {
  kNone,
  kEmpty,         // nothing between two commas or beside a dot
  kTooManyParts,  // a.b.c: a database cannot be named
  kUnclosedQuote,
};

// Reads patterns one after the other from a list.
struct PatternReader {
  std::string_view list;
  size_t at;  // where an error was seen, counted from 0
};

// Appends the regular expressions of the next pattern to the buffers; `schema_regex` stays empty
// for a pattern without a dot. Moves behind the comma that follows; is_last says that there is
// none.
PatternError ReadPattern(PatternReader* reader, ByteBuffer* schema_regex, ByteBuffer* name_regex,
                         bool* is_last);

// Appends the one name that a regular expression of ReadPattern() matches. False, with something
// appended all the same, if it may match others.
bool ReadLiteral(std::string_view regex, ByteBuffer* name);

}  // namespace towline::plugin
