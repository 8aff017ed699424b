// Named places where the tests make the service fail. FaultPoint() is an empty function in the
// program that users get and obeys TOWLINE_FAULT in the test program (towline-faults):
//   TOWLINE_FAULT=name:action[:n]    at the n-th passage (1 if not given)
//   action: kill (SIGKILL to itself), stop (SIGSTOP to itself)
// Several are separated by commas. Names are listed in tests/e2e/test_kills.py.
#pragma once

namespace towline {

void FaultPoint(const char* name);

}  // namespace towline
