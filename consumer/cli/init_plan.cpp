#include "cli/init_plan.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace towline {
namespace {

// Statements that give rights, change settings or create what towline needs. Everything else
// touches a user's tables, ends his sessions or gives away more than he may want.
bool IsSafe(const std::string& statement) {
  for (const char* begin :
       {"ALTER SYSTEM SET ", "GRANT ", "CREATE ROLE ", "CREATE SCHEMA IF NOT EXISTS ",
        "CREATE EXTENSION ", "ALTER EXTENSION "}) {
    if (absl::StartsWith(statement, begin)) return true;
  }
  return absl::StartsWith(statement, "ALTER ROLE ") &&
         (absl::EndsWith(statement, " REPLICATION;") || absl::EndsWith(statement, " BYPASSRLS;"));
}

// A warning about a setting is a matter of choice (how much disk may a slot take?); a grant is not.
bool IsWanted(const Finding& finding, const std::string& statement) {
  return finding.level == FindingLevel::kFail || absl::StartsWith(statement, "GRANT ");
}

void AddFinding(const Finding& finding, InitSide& side) {
  bool has_words = finding.mend != MendByStatement(finding);
  std::vector<std::string> by_hand;
  for (absl::string_view view : absl::StrSplit(finding.statement, '\n', absl::SkipEmpty())) {
    std::string statement(view);
    if (IsSafe(statement) && IsWanted(finding, statement)) {
      // Two checks may ask for one grant.
      if (std::find(side.statements.begin(), side.statements.end(), statement) ==
          side.statements.end()) {
        side.statements.push_back(statement);
      }
      side.needs_reload = side.needs_reload || finding.needs == "reload";
      side.needs_restart = side.needs_restart || finding.needs == "restart";
    } else {
      by_hand.push_back(statement);
    }
  }
  if (by_hand.empty() && !has_words) return;
  side.by_hand.push_back(absl::StrCat(finding.id, ": ", finding.found, ".",
                                      has_words ? absl::StrCat(" ", finding.mend) : "",
                                      by_hand.empty() ? "" : "\n", absl::StrJoin(by_hand, "\n")));
}

std::string Commented(absl::string_view text) {
  return absl::StrCat("-- ", absl::StrReplaceAll(text, {{"\n", "\n--   "}, {"\r", "\n--   "}}),
                      "\n");
}

}  // namespace

bool InitPlan::is_empty() const {
  auto is_nothing = [](const InitSide& side) {
    return side.statements.empty() && side.by_hand.empty();
  };
  return is_nothing(source) && is_nothing(standby) && is_nothing(destination);
}

InitPlan MakeInitPlan(const CheckReport& report) {
  InitPlan plan;
  plan.source.where = "source";
  plan.standby.where = "standby";
  plan.destination.where = "destination";
  for (const Finding& finding : report.findings) {
    if (finding.level == FindingLevel::kPass || finding.is_accepted) continue;
    AddFinding(finding, finding.where == "source"    ? plan.source
                        : finding.where == "standby" ? plan.standby
                                                     : plan.destination);
  }
  return plan;
}

std::string FormatInitSide(const InitSide& side, const std::string& server,
                           const std::string& pg_hba) {
  std::string out = Commented(absl::StrCat("At the ", side.where, " (", server, ")"));
  if (side.statements.empty() && side.by_hand.empty())
    absl::StrAppend(&out, "-- nothing is missing\n");
  for (const std::string& statement : side.statements) absl::StrAppend(&out, statement, "\n");
  if (side.needs_reload || side.needs_restart) {
    absl::StrAppend(&out, "SELECT pg_catalog.pg_reload_conf();\n");
  }
  if (side.needs_restart) absl::StrAppend(&out, "-- Then restart this server.\n");
  if (!pg_hba.empty()) {
    absl::StrAppend(
        &out, Commented(absl::StrCat("pg_hba.conf, if no line lets towline in yet (then reload):\n",
                                     pg_hba)));
  }
  if (!side.by_hand.empty()) absl::StrAppend(&out, "-- To be decided or done by hand:\n");
  for (const std::string& item : side.by_hand) absl::StrAppend(&out, Commented(item));
  return out;
}

std::string PgHbaLine(const std::string& database, const std::string& role,
                      const std::string& address, bool has_tls) {
  // A name that is a keyword there ("all", "replication") or has blanks must stand in quotes.
  auto quoted = [](const std::string& name) {
    return absl::StrCat("\"", absl::StrReplaceAll(name, {{"\"", "\"\""}}), "\"");
  };
  std::string names = absl::StrCat(quoted(database), "  ", quoted(role));
  if (address.empty()) return absl::StrCat("local  ", names, "  scram-sha-256");
  const char* bits = absl::StrContains(address, ':') ? "/128" : "/32";
  return absl::StrCat(has_tls ? "hostssl" : "host", "  ", names, "  ", address, bits,
                      "  scram-sha-256");
}

}  // namespace towline
