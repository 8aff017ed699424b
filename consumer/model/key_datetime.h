// Texts of dates and timestamps as keys (key_value.h), as the server writes them under DateStyle
// 'ISO, YMD' and TimeZone 'UTC', to the numbers that it stores.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"

namespace towline {

// Days since 2000-01-01; the infinities are the ends of the type.
std::optional<int32_t> DaysFromText(absl::string_view text);

// Microseconds since 2000-01-01 00:00:00; with a zone the text says +00, always.
std::optional<int64_t> MicrosecondsFromText(absl::string_view text, bool has_zone);

}  // namespace towline
