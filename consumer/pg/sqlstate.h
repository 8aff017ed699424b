// The only place that maps SQLSTATEs to status codes (base/error.h says what each code means).
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace towline {

absl::StatusCode CodeOfSqlState(absl::string_view sqlstate);

}  // namespace towline
