#include "schema/role_fit.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// Since 16 a member may be one that may not SET ROLE.
constexpr int kSetPrivilegeVersionMin = 160000;

// What it makes is written by us, with the rights that we inherit.
constexpr char kRoleSql[] =
    "SELECT rolsuper, pg_catalog.pg_has_role($2::name, oid, $3), "
    "pg_catalog.pg_has_role($2::name, oid, 'USAGE') FROM pg_catalog.pg_roles WHERE rolname = "
    "$1::name";

}  // namespace

absl::StatusOr<std::string> WhyRoleUnfit(Connection& destination, const std::string& role,
                                         const std::string& ours) {
  const bool has_set = destination.server_version() >= kSetPrivilegeVersionMin;
  TOWLINE_ASSIGN_OR_RETURN(Result found,
                           destination.Query(kRoleSql, {{role, ours, has_set ? "SET" : "MEMBER"}}));
  const std::string label = absl::StrCat("role ", QuoteIdentifier(role), " of ddl_role");
  if (found.row_count() == 0) return absl::StrCat(label, " is not at the destination");
  if (found.GetBool(0, 0)) return absl::StrCat(label, " is a superuser");
  if (!found.GetBool(0, 1)) {
    return absl::StrCat(label, " is none that ", QuoteIdentifier(ours), " may act as");
  }
  if (!found.GetBool(0, 2)) {
    return absl::StrCat(label, " has rights that ", QuoteIdentifier(ours), " does not inherit");
  }
  return std::string();
}

}  // namespace towline
