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

struct ScriptStatement {
  std::string text;     // without the semicolon and without comments and blanks around it
  std::string heading;  // the lines of "--" comments before it, each with its line break
};

// kDataLoss if the script ends within a statement (a dump that was cut off), kUnimplemented for
// another psql command.
absl::StatusOr<std::vector<ScriptStatement>> SplitScript(absl::string_view script);

}  // namespace towline
