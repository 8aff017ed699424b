// Splits a pg_dump script into statements where psql would: quotes, E'' strings and their
// continuation lines, dollar quotes, nested comments, parentheses and BEGIN ATOMIC bodies hide
// semicolons. psql's \restrict and \unrestrict lines are dropped.
//
// The script must be read under standard_conforming_strings = on, which pg_dump sets.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace towline {

// The statements without the semicolon and without comments and blanks around them. kDataLoss if
// the script ends within a statement (a dump that was cut off), kUnimplemented for another psql
// command.
absl::StatusOr<std::vector<std::string>> SplitScript(absl::string_view script);

}  // namespace towline
