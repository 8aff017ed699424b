// Passwords in the command line can be read by every user of the machine (ps) as long as they stand
// in argv's memory.
#pragma once

namespace towline {

// Overwrites the secrets of connection strings in argv with '*'. Call it after copying the
// arguments.
void WipeSecrets(int argc, char** argv);

}  // namespace towline
