// psql's patterns for tables (psql manual, "Patterns"), as regular expressions that the server
// evaluates with its own ~ operator, as psql has it do: so * ? quotes, dots and the regular
// expression notations mean here exactly what they mean there.
//
// Two differences, shared with the plugin's options: a pattern without a dot names tables of that
// name in every schema, not those that the search_path finds, because a task must not change its
// meaning with a role's setting; and a comma stands between patterns, so one is refused here.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace towline {

struct TablePattern {
  std::string text;          // as given
  std::string schema_regex;  // "^(...)$"
  std::string name_regex;
};

// kInvalidArgument: empty, a quote that is not closed, more than one dot, a comma outside quotes.
absl::StatusOr<TablePattern> ParseTablePattern(absl::string_view text);

// Of Towline's own schemas alone, which are no part of the user's.
bool IsOfOwnSchema(const TablePattern& pattern);

// The pattern, quoted, that matches exactly this name and nothing else.
std::string ExactPattern(absl::string_view name);

}  // namespace towline
