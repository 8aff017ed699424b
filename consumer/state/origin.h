// Replication origins: the mark in the destination's log by which whoever replicates from there
// tells what we wrote from what was written there itself. Without it a loop a→b→a would go round
// for ever, and a task with origin: none at b's other side would echo.
//
// An origin is active in one session at a time (hazards B12), so each session that writes rows of
// users has its own: "towline_<task>" the applier, "towline_<task>_<n>" those of the copy, which
// are dropped when the copy is complete.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "pg/connection.h"

namespace towline {

// number 0: "towline_<task>".
std::string OriginName(const std::string& task, int number);

// Marks what the session writes from now on, creating the origin if there is none. Where that is
// not possible: an error if it is required, else a line of the log.
absl::Status TakeOrigin(Connection& session, const std::string& name, bool is_required);

// SQL that finds all of them by roname. `task`: a literal or parameter.
std::string OriginsCondition(const std::string& task);

// Drops what nobody uses of the task's origins: those of the copy, or all. Dropping is a right of
// its own, and an origin that stays harms nobody: nothing is reported.
void DropCopyOrigins(Connection& session, const std::string& task);
void DropOrigins(Connection& session, const std::string& task);

}  // namespace towline
