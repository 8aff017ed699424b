#pragma once

#include "config/config.h"
#include "precheck/precheck.h"

namespace towline {

// What the checks are to know of the configuration. Which task it is, and what of it there is, is
// left to the caller.
CheckOptions CheckOptionsOf(const Config& config);

}  // namespace towline
