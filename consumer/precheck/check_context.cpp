#include "precheck/check_context.h"

#include <algorithm>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/error.h"
#include "pg/quoting.h"
#include "precheck/check_catalog.h"
#include "schema/array_literal.h"

namespace towline {

Connection* CheckContext::stream_server() {
  std::optional<Connection>& server = options.source_standby ? standby : source;
  return server.has_value() ? &*server : nullptr;
}

const ServerFacts& CheckContext::stream_facts() const {
  return options.source_standby ? standby_facts : source_facts;
}

bool CheckContext::IsAccepted(const char* id) const {
  return std::find(options.accept.begin(), options.accept.end(), id) != options.accept.end();
}

void CheckContext::Add(const char* id, FindingLevel level, std::string found, Mend mend) {
  Finding finding;
  finding.id = id;
  finding.level = level;
  finding.found = std::move(found);
  finding.is_accepted = level == FindingLevel::kWarn && IsAccepted(id);
  const CheckInfo& info = FindCheck(id);  // also for a pass: every id is in the catalog
  if (level != FindingLevel::kPass) {
    finding.why = info.why;
    if (HasBrokenName(mend.statement)) {
      mend.text = absl::StrCat(mend.text.empty() ? info.mend : mend.text,
                               " By hand: a name contains a line break, so no statement is given.");
    } else {
      finding.statement = std::move(mend.statement);
    }
    finding.needs = finding.statement.empty() ? "" : std::move(mend.needs);
    finding.mend = !mend.text.empty()          ? std::move(mend.text)
                   : finding.statement.empty() ? std::string(info.mend)
                                               : MendByStatement(finding);
  }
  // Checks of the task speak of the slot, which is the source's, or of rows at the destination;
  // those of capacity of the source's log or the destination's disk.
  bool is_at_source = absl::StartsWith(id, "source.") || absl::string_view(id) == "task.slot" ||
                      absl::string_view(id) == "capacity.wal_kept";
  finding.where = mend.where != nullptr ? mend.where : is_at_source ? "source" : "destination";
  report.findings.push_back(std::move(finding));
}

void CheckContext::Pass(const char* id, std::string found) {
  Add(id, FindingLevel::kPass, std::move(found), {});
}
void CheckContext::Warn(const char* id, std::string found, Mend mend) {
  Add(id, FindingLevel::kWarn, std::move(found), std::move(mend));
}
void CheckContext::Fail(const char* id, std::string found, Mend mend) {
  Add(id, FindingLevel::kFail, std::move(found), std::move(mend));
}
void CheckContext::FailUnlessAccepted(const char* id, std::string found, Mend mend) {
  Add(id, IsAccepted(id) ? FindingLevel::kWarn : FindingLevel::kFail, std::move(found),
      std::move(mend));
}

void CheckContext::FailBy(const char* id, const absl::Status& status) {
  std::string found(status.message());
  if (std::string detail = GetDetail(status); !detail.empty()) {
    absl::StrAppend(&found, " (", detail, ")");
  }
  // libpq's messages have several lines; a finding has one.
  absl::StrReplaceAll({{"\n\t", " "}, {"\n", " "}}, &found);
  // A connection that is lost in the middle of the checks is a matter for the supervisor.
  if (absl::IsUnavailable(status) || absl::IsCancelled(status)) report.connection.Update(status);
  Fail(id, std::move(found), {.text = GetHint(status)});
}

void CheckContext::WarnOf(const char* id, const std::vector<std::string>& names,
                          absl::string_view noun, absl::string_view what, std::string pass,
                          Mend mend) {
  if (names.empty()) {
    Pass(id, std::move(pass));
  } else {
    Warn(id, absl::StrCat(Counted(names.size(), noun), " ", what, ": ", ListNames(names)),
         std::move(mend));
  }
}

std::optional<Result> CheckContext::Ask(const char* id, Connection& connection,
                                        absl::string_view sql, absl::Span<const Param> params) {
  absl::StatusOr<Result> result = connection.Query(sql, params);
  if (result.ok()) return *std::move(result);
  FailBy(id, result.status());
  return std::nullopt;
}

std::string ListNames(const std::vector<std::string>& names, size_t shown_max) {
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), shown_max); ++i) {
    absl::StrAppend(&text, i == 0 ? "" : ", ", names[i]);
  }
  if (names.size() > shown_max) absl::StrAppend(&text, " and ", names.size() - shown_max, " more");
  return text;
}

std::string OidsOf(const std::vector<Table>& tables) {
  ArrayLiteral oids;
  for (const Table& table : tables) oids.Add(absl::StrCat(table.oid));
  return oids.ToString();
}

int64_t NumberOf(const ServerFacts& facts, const std::string& setting) {
  int64_t value = 0;
  return absl::SimpleAtoi(facts.Value(setting), &value) ? value : 0;
}

std::optional<int64_t> CountClients(CheckContext& context, const char* id, Connection& connection) {
  // Without pg_read_all_stats other roles' sessions have no backend_type. Walsenders have room of
  // their own; processes of the server itself belong to no role or no database.
  std::optional<Result> result = context.Ask(
      id, connection,
      "SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a WHERE a.backend_type = "
      "'client "
      "backend' OR a.backend_type IS NULL AND a.usesysid IS NOT NULL AND a.datid IS NOT NULL "
      "AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_stat_replication r WHERE r.pid = a.pid)");
  if (!result) return std::nullopt;
  return result->GetInt(0, 0);
}

std::string QuotedName(const TableName& name) { return QuoteQualified(name.schema, name.name); }

std::string Counted(size_t count, absl::string_view noun) {
  return absl::StrCat(count, " ", noun, count == 1 ? "" : "s");
}

Mend AlterSystem(const ServerFacts& facts, const std::string& name, const std::string& value) {
  auto found = facts.settings.find(name);
  const Setting setting = found == facts.settings.end() ? Setting() : found->second;
  const std::string role = absl::StrCat("ROLE ", facts.QuotedRole());
  const std::string database = absl::StrCat("DATABASE ", QuoteIdentifier(facts.database));
  const std::map<std::string, std::string> owners = {
      {"user", role},
      {"database", database},
      {"database user", absl::StrCat(role, " IN ", database)}};
  auto owner = owners.find(setting.source);
  std::string assignment = absl::StrCat(" SET ", name, " = ", QuoteLiteral(value), ";");
  if (owner != owners.end())
    return {.statement = absl::StrCat("ALTER ", owner->second, assignment)};
  return {.statement = absl::StrCat("ALTER SYSTEM", assignment),
          .needs = setting.is_reload ? "reload" : "restart",
          .text = setting.is_pending ? "A change of it waits for a restart of the server." : "",
          .where = facts.is_source_standby ? "standby" : nullptr};
}

}  // namespace towline
