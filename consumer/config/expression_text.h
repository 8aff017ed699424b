// SQL expressions that the user gives are put into statements of ours, so each must be a whole:
// what ends it may only be what we write behind it.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace towline {

// kInvalidArgument unless the text, between parentheses and with a line break behind it, can be
// nothing but what stands between these parentheses: no statement's end, every parenthesis, quote
// and comment closed. Whether it is a valid expression only the source can say.
absl::Status CheckExpressionText(absl::string_view text);

// What the text stands for if it is a string in plain quotes or an integer, with or without a cast
// to a type without a modifier ('eu'::text, 7); else none. Whether the cast keeps the value only a
// server can say.
std::optional<std::string> LiteralValue(absl::string_view text);

}  // namespace towline
