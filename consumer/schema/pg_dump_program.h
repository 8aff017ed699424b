// Finds a pg_dump that can read the source: it refuses servers of a newer major version than its
// own.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/shutdown.h"

namespace towline {

// `chosen` if it is not empty; else, of those in the usual directories and in PATH, the one with
// the lowest major version that is not below the server's: the nearer the version, the surer the
// destination understands what it writes. kFailedPrecondition names what was found.
absl::StatusOr<std::string> FindPgDump(const std::string& chosen, int server_version,
                                       const Shutdown& shutdown);

// "pg_dump (PostgreSQL) 15.20 (Debian ...)" gives 15; 0 if it is something else.
int ParsePgDumpVersion(const std::string& text);

}  // namespace towline
