// Flags and subcommands to an exit status (base/error.h lists them).
#pragma once

namespace towline {

// The whole program. Overwrites passwords found in argv.
int RunCommandLine(int argc, char** argv);

}  // namespace towline
