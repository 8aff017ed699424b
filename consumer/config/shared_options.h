// The tables of the configuration that several tasks write (TableRule::shared).
#pragma once

#include "absl/status/status.h"
#include "config/config.h"

namespace towline {

// Takes the value of each such rule from its columns. kInvalidArgument if it has none.
absl::Status ReadSharedValues(Config& config);

// What `towline run` may not do with such a table. kInvalidArgument.
absl::Status CheckSharedRun(const Config& config);

}  // namespace towline
