// What one check found out: level, what was seen, why it matters, how to mend it. The mend is an
// action; `statement` holds the SQL to execute where SQL mends it, exactly as it can be executed
// (several statements: one a line).
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace towline {

enum class FindingLevel { kPass, kWarn, kFail };

struct Finding {
  std::string id;  // "source.wal_level": stable, docs/checks.md lists all
  FindingLevel level = FindingLevel::kPass;
  bool is_accepted = false;  // a warning that the configuration accepts by its id
  std::string found;         // what is there: "wal_level is replica"
  std::string why;           // one sentence; empty for a pass
  std::string
      mend;  // the action in words, or the statement and what must follow it; empty for a pass
  std::string statement;  // SQL, empty if none mends it
  std::string where;      // "source", "standby", "destination": where the statement belongs
  std::string needs;      // "nothing", "reload" or "restart" after the statement
};

// Whether a name or a literal in it breaks its line: whoever takes the statements line by line
// would take the rest of a name, which anybody may have chosen, for a statement.
bool HasBrokenName(absl::string_view statement);

// The statement with what must follow it: "ALTER SYSTEM ...; then: restart the server".
std::string MendByStatement(const Finding& finding);

struct CheckReport {
  std::vector<Finding> findings;
  // Not OK when a server could not be reached or refused us: the error of that attempt. The
  // findings hold it too, as source.connection or destination.connection.
  absl::Status connection;

  int Count(FindingLevel level) const;  // accepted warnings are counted apart
  int CountAccepted() const;
  // OK if nothing failed. Else the connection's error, with its code, so that a supervisor may
  // retry, or kFailedPrecondition whose detail and hint carry every failed finding.
  absl::Status ToStatus() const;
};

// For the log of `run`: the warnings that are not accepted.
void LogWarnings(const CheckReport& report);

// For people: groups, one line a finding, mends below. ANSI colours only if asked. `verbose` shows
// passes in full.
std::string FormatReport(const CheckReport& report, bool use_colour, bool verbose);
// {"passed":bool,"findings":[{"id","group","level","accepted","found","why","mend","statement",
// "where","needs"}],"counts":{"pass","warn","fail","accepted"}}
std::string ReportToJson(const CheckReport& report);

}  // namespace towline
