// The only place that maps SQLSTATEs to status codes (base/error.h says what each code means).
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace towline {

absl::StatusCode CodeOfSqlState(absl::string_view sqlstate);

// A server's limits of size: a value or row that it cannot put together (1 GB of memory in one
// piece), whatever is tried again.
bool IsTooLarge(const absl::Status& status);

}  // namespace towline
