#include "pg/sqlstate.h"

#include "absl/strings/match.h"
#include "base/error.h"

namespace towline {

absl::StatusCode CodeOfSqlState(absl::string_view sqlstate) {
  // Classes of errors: PostgreSQL manual, appendix A.
  if (sqlstate == "40001" || sqlstate == "40P01" || sqlstate == "55P03" || sqlstate == "57014") {
    return absl::StatusCode::kAborted;
  }
  // The server went away, goes away or is not up yet; too many connections.
  if (absl::StartsWith(sqlstate, "08") || sqlstate == "57P01" || sqlstate == "57P02" ||
      sqlstate == "57P03" || sqlstate == "57P05" || sqlstate == "53300") {
    return absl::StatusCode::kUnavailable;
  }
  if (absl::StartsWith(sqlstate, "53")) return absl::StatusCode::kResourceExhausted;
  if (sqlstate == "55006") return absl::StatusCode::kAborted;  // object in use: slot is active
  if (absl::StartsWith(sqlstate, "28")) return absl::StatusCode::kUnauthenticated;
  if (sqlstate == "42501") return absl::StatusCode::kPermissionDenied;
  if (sqlstate == "3D000") return absl::StatusCode::kFailedPrecondition;
  if (sqlstate == "25006") return absl::StatusCode::kFailedPrecondition;  // read-only
  if (absl::StartsWith(sqlstate, "55") || absl::StartsWith(sqlstate, "42")) {
    return absl::StatusCode::kFailedPrecondition;
  }
  if (absl::StartsWith(sqlstate, "XX")) return absl::StatusCode::kUnknown;
  return absl::StatusCode::kUnknown;
}

bool IsTooLarge(const absl::Status& status) {
  const std::string sqlstate = GetSqlState(status);
  // program_limit_exceeded; of an allocation that is too large the server makes an internal error,
  // whose text is not translated.
  return sqlstate == "54000" ||
         (sqlstate == "XX000" &&
          absl::StrContains(status.message(), "invalid memory alloc request size"));
}

}  // namespace towline
