// What check and init ask the checks for, and what they make of the answer.
#pragma once

#include "config/config.h"
#include "precheck/precheck.h"

namespace towline {

// With the task that the servers have of it, if they have one.
CheckOptions CheckOptionsOfTask(const Config& config);

// 0 passed, 1 something failed; a server that could not be reached: as its error says (2, 3).
int CheckExitStatus(const CheckReport& report);

}  // namespace towline
