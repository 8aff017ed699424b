#include "apply/session.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "state/origin.h"
#include "state/task_name.h"

namespace towline {
namespace {

absl::Status TakeReplicaRole(Connection& connection) {
  absl::Status status = connection.Exec("SET session_replication_role = replica").status();
  if (!absl::IsPermissionDenied(status)) return status;
  absl::StatusOr<std::string> role = connection.QueryValue("SELECT current_user");
  std::string quoted = role.ok() ? QuoteIdentifier(*role) : "the role";
  constexpr int kHasParameterGrants = 150000;
  return WithHint(
      WithContext(status, "the destination's role may not switch off triggers and foreign keys"),
      connection.server_version() >= kHasParameterGrants
          ? absl::StrCat("GRANT SET ON PARAMETER session_replication_role TO ", quoted, ";")
          : absl::StrCat("ALTER ROLE ", quoted,
                         " SUPERUSER; (before version 15 only superusers may "
                         "set session_replication_role)"));
}

}  // namespace

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
