// A transaction that the destination refuses at its end, COMMIT or PREPARE TRANSACTION. Deferred
// triggers run there, and of those only what is ENABLE ALWAYS or REPLICA runs for us: constraint
// triggers, or a foreign key whose own triggers were made so.
//
// Such a refusal belongs to no statement, and nothing finds the change that it is about: what is
// deferred may be wrong in the midst of a transaction and right at its end, so smaller pieces would
// be refused that are good. No policy can pass a change over, then. But the table can be told,
// often by the server's error, else by which of the tables has such a trigger: enough to stop with
// it, or to park it.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "apply/target.h"
#include "base/lsn.h"
#include "pg/connection.h"

namespace towline {

struct EndedTransaction {
  std::vector<const Target*> targets;  // tables that it has written
  Lsn end_lsn;
};

// False: another session, missing room or a lost connection; it is tried again as it is.
bool IsRefusal(const absl::Status& status);

// The server's error with the table, if it is known, and what mends it. kUnimplemented for a
// violated constraint, else under its own code. The session is usable, in no transaction.
absl::Status ExplainRefusedCommit(Connection& connection, const absl::Status& refused,
                                  const EndedTransaction& ended);

}  // namespace towline
