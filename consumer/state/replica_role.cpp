#include "state/replica_role.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "pg/quoting.h"

namespace towline {

absl::Status TakeReplicaRole(Connection& session) {
  absl::Status status = session.Exec("SET session_replication_role = replica").status();
  if (!absl::IsPermissionDenied(status)) return status;
  absl::StatusOr<std::string> role = session.QueryValue("SELECT current_user");
  std::string quoted = role.ok() ? QuoteIdentifier(*role) : "the role";
  constexpr int kHasParameterGrants = 150000;
  return WithHint(
      WithContext(status, "the destination's role may not switch off triggers and foreign keys"),
      session.server_version() >= kHasParameterGrants
          ? absl::StrCat("GRANT SET ON PARAMETER session_replication_role TO ", quoted, ";")
          : absl::StrCat("ALTER ROLE ", quoted,
                         " SUPERUSER; (before version 15 only superusers may "
                         "set session_replication_role)"));
}

}  // namespace towline
