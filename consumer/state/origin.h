// Replication origins: the mark in the destination's log by which whoever replicates from there
// tells what we wrote from what was written there itself. Without it a loop a→b→a would go round
// for ever, and a task with origin: none at b's other side would echo.
//
// An origin is active in one session at a time (hazards B12), so each session that writes rows of
// users has its own: "towline_<task>_<OID of the database>_<number>", 0 the applier's, the others
// those of the copy, which are dropped when the copy is complete. The OID, as origins are the
// server's and a task's name is the database's.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "pg/connection.h"

namespace towline {

// Marks what the session writes from now on, creating the origin if there is none. Where that is
// not possible: an error if it is required, else a line of the log.
absl::Status TakeOrigin(Connection& session, const std::string& task, int number, bool is_required);

// SQL that finds all of them by roname, also those of older releases, whose names had no database
// in them ("towline_<task>", "towline_<task>_<number>"). `task`: a literal or parameter.
std::string OriginsCondition(const std::string& task);

// Drops what nobody uses of the task's origins: those of the copy, the applier's of an older
// release, or all. Dropping is a right of
// its own, and an origin that stays harms nobody: nothing is reported.
void DropCopyOrigins(Connection& session, const std::string& task);
// Another database's task may still use it, or make it again: no harm is done to either.
void DropOldOrigin(Connection& session, const std::string& task);
void DropOrigins(Connection& session, const std::string& task);

}  // namespace towline
