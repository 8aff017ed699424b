// Whether the process that left a session behind is still there. Only a process of the same
// machine, boot and pid namespace can be judged; of all others we know nothing but their signs of
// life.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace towline {

enum class ProcessFate { kAlive, kDead, kUnknown };

// "boot id/pid namespace/pid/start time": no two processes share one, whatever pids are used again.
// Empty where the system does not say (/proc is missing).
std::string OwnProcessIdentity();
ProcessFate FateOfProcess(absl::string_view identity);

}  // namespace towline
