// numeric as a key (key_value.h): bytes whose order is the order of the numbers. 1.0 and 1.00 are
// the same key, as they are for the server; NaN is equal to itself and above all others.
#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace towline {

// What numeric_send and numeric_out write; none for anything else.
std::optional<std::string> OrderedNumericFromBinary(absl::string_view bytes);
std::optional<std::string> OrderedNumericFromText(absl::string_view text);

}  // namespace towline
