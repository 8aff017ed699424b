#include "apply/session.h"

#include <utility>

#include "base/status_macros.h"
#include "state/origin.h"
#include "state/replica_role.h"
#include "state/task_name.h"

namespace towline {
absl::StatusOr<Connection> OpenApplySession(const ConnectOptions& destination,
                                            const std::string& task, bool requires_origin,
                                            const Shutdown& shutdown) {
  Connection::Purpose purpose;
  purpose.application_name = DestinationApplication(task, "apply");
  purpose.settings = {
      // Durability is made at intervals: Applier::MakeDurable.
      "SET synchronous_commit = off",
      // A lock that is not to be had in this time ends the attempt, which is tried again for
      // retry.other and then stops: it may be held by what stands behind us in the stream.
      "SET lock_timeout = '60s'",
      // Plans are made once per statement, perhaps while a table is still empty. A sequential scan
      // that was right then would be ruinous later, and no statistics may come to correct it.
      "SET plan_cache_mode = force_generic_plan", "SET enable_seqscan = off",
      // How texts of these types are read.
      "SET xmloption = content", "SET array_nulls = on"};
  TOWLINE_ASSIGN_OR_RETURN(Connection connection, Connection::Open(destination, purpose, shutdown));
  TOWLINE_RETURN_IF_ERROR(TakeReplicaRole(connection));
  TOWLINE_RETURN_IF_ERROR(TakeOrigin(connection, task, 0, requires_origin));
  return connection;
}

}  // namespace towline
