#include "precheck/finding.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "base/log.h"
#include "nlohmann/json.hpp"

namespace towline {
namespace {

constexpr size_t kStatementLinesMax = 10;  // of one finding, on a terminal; JSON has all

const char* LevelWord(FindingLevel level) {
  switch (level) {
    case FindingLevel::kPass:
      return "pass";
    case FindingLevel::kWarn:
      return "warn";
    case FindingLevel::kFail:
      return "fail";
  }
  return "";
}

const char* Colour(FindingLevel level) {
  switch (level) {
    case FindingLevel::kPass:
      return "\033[32m";
    case FindingLevel::kWarn:
      return "\033[33m";
    case FindingLevel::kFail:
      return "\033[31m";
  }
  return "";
}

std::string GroupOf(const Finding& finding) { return finding.id.substr(0, finding.id.find('.')); }

std::string AfterStatement(const std::string& needs) {
  if (needs == "reload") return "then: SELECT pg_catalog.pg_reload_conf();";
  if (needs == "restart") return "then: restart the server";
  return "";
}

bool IsStatementAlone(const Finding& finding) {
  return !finding.statement.empty() && finding.mend == MendByStatement(finding);
}

void AppendMend(const Finding& finding, std::string& out) {
  constexpr char kIndent[] = "         ";
  if (!finding.why.empty()) absl::StrAppend(&out, kIndent, finding.why, "\n");
  if (!finding.mend.empty() && !IsStatementAlone(finding)) {
    absl::StrAppend(&out, kIndent, "-> ", finding.mend, "\n");
  }
  if (finding.statement.empty()) return;
  std::vector<std::string> lines = absl::StrSplit(finding.statement, '\n');
  for (size_t i = 0; i < lines.size() && i < kStatementLinesMax; ++i) {
    absl::StrAppend(&out, kIndent, i == 0 ? "-> " : "   ", lines[i], "\n");
  }
  if (lines.size() > kStatementLinesMax) {
    absl::StrAppend(&out, kIndent, "   ... and ", lines.size() - kStatementLinesMax,
                    " more (all of them: towline check --json, or towline init)\n");
  }
  if (std::string after = AfterStatement(finding.needs); !after.empty()) {
    absl::StrAppend(&out, kIndent, "   ", after, "\n");
  }
}

}  // namespace

bool HasBrokenName(absl::string_view statement) {
  char quote = '\0';  // a doubled one closes and opens again
  for (char c : statement) {
    if (c == '\r' || (c == '\n' && quote != '\0')) return true;
    if (quote == '\0' && (c == '"' || c == '\'')) {
      quote = c;
    } else if (c == quote) {
      quote = '\0';
    }
  }
  return false;
}

std::string MendByStatement(const Finding& finding) {
  std::string after = AfterStatement(finding.needs);
  return absl::StrCat(finding.statement, after.empty() ? "" : " ", after);
}

int CheckReport::Count(FindingLevel level) const {
  int count = 0;
  for (const Finding& finding : findings) {
    count += finding.level == level && !finding.is_accepted ? 1 : 0;
  }
  return count;
}

int CheckReport::CountAccepted() const {
  int count = 0;
  for (const Finding& finding : findings) count += finding.is_accepted ? 1 : 0;
  return count;
}

absl::Status CheckReport::ToStatus() const {
  if (!connection.ok()) return connection;
  std::vector<std::string> details;
  std::vector<std::string> hints;
  for (const Finding& finding : findings) {
    if (finding.level != FindingLevel::kFail) continue;
    details.push_back(absl::StrCat(finding.id, ": ", finding.found, "."));
    std::string hint = finding.statement.empty() ? finding.mend : finding.statement;
    std::string after = AfterStatement(finding.needs);
    hints.push_back(
        absl::StrCat("at the ", finding.where, ": ", hint, after.empty() ? "" : " ", after));
  }
  if (details.empty()) return absl::OkStatus();
  absl::Status status = absl::FailedPreconditionError(
      absl::StrCat(details.size(), details.size() == 1 ? " check" : " checks", " failed"));
  return WithHint(WithDetail(status, absl::StrJoin(details, "\n")), absl::StrJoin(hints, "\n"));
}

void LogWarnings(const CheckReport& report) {
  for (const Finding& finding : report.findings) {
    if (finding.level != FindingLevel::kWarn || finding.is_accepted) continue;
    // Several statements come one a line; a line of the log is one message.
    std::string mend = absl::StrReplaceAll(finding.mend, {{"\n", " "}});
    LogWarning(absl::StrCat(finding.found, ": ", finding.why),
               {{"check", finding.id}, {"mend", mend}});
  }
}

std::string FormatReport(const CheckReport& report, bool use_colour, bool verbose) {
  std::string out;
  std::string group;
  for (const Finding& finding : report.findings) {
    if (GroupOf(finding) != group) {
      group = GroupOf(finding);
      absl::StrAppend(&out, group, "\n");
    }
    absl::StrAppend(&out, "  ", use_colour ? Colour(finding.level) : "", LevelWord(finding.level),
                    use_colour ? "\033[0m" : "", "  ", finding.id);
    bool is_shown = verbose || finding.level != FindingLevel::kPass;
    absl::StrAppend(&out, finding.is_accepted ? " (accepted)" : "", is_shown ? ": " : "",
                    is_shown ? finding.found : "", "\n");
    if (!finding.is_accepted) AppendMend(finding, out);
  }
  int failed = report.Count(FindingLevel::kFail);
  int accepted = report.CountAccepted();
  absl::StrAppend(&out, "\n", report.Count(FindingLevel::kPass), " passed, ",
                  report.Count(FindingLevel::kWarn), " warned, ",
                  accepted > 0 ? absl::StrCat(accepted, " accepted, ") : "", failed, " failed",
                  failed == 0 ? ": towline run can start" : "", "\n");
  return out;
}

std::string ReportToJson(const CheckReport& report) {
  nlohmann::ordered_json findings = nlohmann::ordered_json::array();
  for (const Finding& finding : report.findings) {
    findings.push_back({{"id", finding.id},
                        {"group", GroupOf(finding)},
                        {"level", LevelWord(finding.level)},
                        {"accepted", finding.is_accepted},
                        {"found", finding.found},
                        {"why", finding.why},
                        {"mend", finding.mend},
                        {"statement", finding.statement},
                        {"where", finding.where},
                        {"needs", finding.needs}});
  }
  nlohmann::ordered_json json = {{"passed", report.Count(FindingLevel::kFail) == 0},
                                 {"findings", findings},
                                 {"counts",
                                  {{"pass", report.Count(FindingLevel::kPass)},
                                   {"warn", report.Count(FindingLevel::kWarn)},
                                   {"fail", report.Count(FindingLevel::kFail)},
                                   {"accepted", report.CountAccepted()}}}};
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace towline
