// Whether schema changes can be run as another role of the destination.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "pg/connection.h"

namespace towline {

// `ours`: the role that Towline connects as. Empty: they can.
absl::StatusOr<std::string> WhyRoleUnfit(Connection& destination, const std::string& role,
                                         const std::string& ours);

}  // namespace towline
