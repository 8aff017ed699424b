// Names and literals for the few places where SQL must be put together as text.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace towline {

// Always in double quotes, so that no list of reserved words is needed.
std::string QuoteIdentifier(absl::string_view name);
std::string QuoteQualified(absl::string_view schema, absl::string_view name);
// '...' with quotes doubled, or E'...' if there is a backslash: right under either setting of
// standard_conforming_strings. Valid only for bytes of an ASCII-safe encoding (ours is UTF-8).
std::string QuoteLiteral(absl::string_view text);

}  // namespace towline
