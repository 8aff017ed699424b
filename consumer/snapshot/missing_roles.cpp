#include "snapshot/missing_roles.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/array_literal.h"

namespace towline {
namespace {

constexpr char kMissingSql[] = R"sql(
SELECT DISTINCT named.role FROM pg_catalog.unnest($1::text[]) AS named(role)
WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles r WHERE r.rolname = named.role)
)sql";

// A policy for a missing role is none of these: left out it would change who sees what.
std::vector<std::string> NamedRoles(const DumpStatement& statement) {
  bool can_be_left_out =
      IsAboutRights(statement.text) || absl::StartsWith(statement.text, "CREATE USER MAPPING ");
  return can_be_left_out ? RolesOf(statement.text) : std::vector<std::string>();
}

}  // namespace

absl::Status LeaveOutMissingRoles(Connection& destination, SchemaDump* dump) {
  std::map<std::string, int64_t> named;  // role -> statements
  for (const auto* statements : {&dump->pre, &dump->post}) {
    for (const DumpStatement& statement : *statements) {
      for (const std::string& role : NamedRoles(statement)) ++named[role];
    }
  }
  if (named.empty()) return absl::OkStatus();
  ArrayLiteral roles;
  for (const auto& [role, count] : named) roles.Add(role);
  TOWLINE_ASSIGN_OR_RETURN(Result found, destination.Query(kMissingSql, {{roles.ToString()}}));
  std::map<std::string, int64_t> missing;
  for (int row = 0; row < found.row_count(); ++row) {
    std::string role = found.GetString(row, 0);
    LogWarning(
        "a role of the source does not exist at the destination; what it owns belongs to the role "
        "that makes it there, and its rights are left out",
        {{"role", QuoteIdentifier(role)}, {"statements", absl::StrCat(named[role])}});
    missing[role] = named[role];
  }
  if (missing.empty()) return absl::OkStatus();
  auto is_left_out = [&missing](const DumpStatement& statement) {
    for (const std::string& role : NamedRoles(statement)) {
      if (missing.contains(role)) return true;
    }
    return false;
  };
  std::erase_if(dump->pre, is_left_out);
  std::erase_if(dump->post, is_left_out);
  return absl::OkStatus();
}

}  // namespace towline
