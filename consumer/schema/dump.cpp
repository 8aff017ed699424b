#include "schema/dump.h"

#include <libpq-fe.h>

#include <map>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/error.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/child_process.h"
#include "schema/pg_dump_program.h"
#include "schema/script_splitter.h"
#include "schema/table_patterns.h"

namespace towline {
namespace {

// A schema of 10,000 tables is some 30 MB; what is larger than this is no schema.
constexpr size_t kDumpBytesMax = size_t{512} << 20;

// The server's regular expressions grow with their length; an argument of this size holds some
// hundred names and stays far below what the server and the kernel (128 KiB) allow.
constexpr size_t kPatternBytesMax = 4096;

// pg_dump locks all tables. Below the default deadlock_timeout, so that in a deadlock with it it is
// never the user's transaction that is ended; the caller tries again.
constexpr char kLockWait[] = "500ms";

// The connection as pg_dump's arguments and environment: secrets go into the latter only.
absl::Status AddConnection(const ConnectOptions& source, ChildProcess* child) {
  char* message = nullptr;
  std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> parsed(
      PQconninfoParse(source.conninfo().c_str(), &message), &PQconninfoFree);
  PQfreemem(message);
  if (parsed == nullptr) return absl::InvalidArgumentError("invalid source URI");
  std::string conninfo;
  for (const PQconninfoOption* option = parsed.get(); option->keyword != nullptr; ++option) {
    if (option->val == nullptr) continue;
    absl::string_view keyword = option->keyword;
    if (keyword == "password") {
      child->environment.emplace_back("PGPASSWORD", option->val);
    } else if (keyword == "sslpassword") {
      return WithHint(absl::UnimplementedError("a source URI with sslpassword cannot be dumped"),
                      "Use a key file without a password for the source.");
    } else if (keyword != "application_name" && keyword != "replication") {
      absl::StrAppend(&conninfo, conninfo.empty() ? "" : " ", keyword, "='",
                      absl::StrReplaceAll(option->val, {{"\\", "\\\\"}, {"'", "\\'"}}), "'");
    }
  }
  child->arguments.push_back(absl::StrCat("--dbname=", conninfo));
  return absl::OkStatus();
}

absl::StatusOr<std::string> RunPgDump(const std::string& program, const DumpOptions& options,
                                      absl::string_view section, const Shutdown& shutdown) {
  ChildProcess child;
  child.output_bytes_max = kDumpBytesMax;
  child.arguments = {program, "--schema-only", absl::StrCat("--section=", section),
                     absl::StrCat("--snapshot=", options.snapshot_name), "--no-owner",
                     "--no-privileges", "--no-publications", "--no-subscriptions",
                     "--no-tablespaces", "--no-password",
                     absl::StrCat("--lock-wait-timeout=", kLockWait), "--quote-all-identifiers",
                     // As in our sessions: what nobody knows the meaning of is not converted.
                     options.encoding == "SQL_ASCII" ? "--encoding=SQL_ASCII" : "--encoding=UTF8",
                     "--exclude-schema=towline", "--exclude-schema=towline_state"};
  for (const auto* names : {&options.excluded.tables, &options.excluded.views}) {
    for (std::string& argument : ExcludeArguments(*names)) {
      child.arguments.push_back(std::move(argument));
    }
  }
  TOWLINE_RETURN_IF_ERROR(AddConnection(options.source, &child));
  child.environment.emplace_back("PGAPPNAME", options.application_name);
  child.environment.emplace_back("LC_ALL", "C");  // its own messages are looked at
  TOWLINE_ASSIGN_OR_RETURN(ChildResult result, RunChildProcess(child, shutdown));
  if (result.exit_status != 0) {
    std::string role =
        options.source.user().empty() ? "the role" : QuoteIdentifier(options.source.user());
    if (absl::StrContains(result.errors, "LOCK TABLE") &&
        !absl::StrContains(result.errors, "permission denied")) {
      return WithSqlState(
          WithDetail(absl::AbortedError("pg_dump could not lock the tables in time"),
                     absl::StripAsciiWhitespace(result.errors)),
          "55P03");
    }
    // Mostly a missing right, which no new try mends; a connection that failed may come back.
    bool is_lost = absl::StrContains(result.errors, "connection to server") ||
                   absl::StrContains(result.errors, "server closed the connection");
    absl::Status status(
        is_lost ? absl::StatusCode::kUnavailable : absl::StatusCode::kFailedPrecondition,
        absl::StrCat(program, " failed with status ", result.exit_status));
    if (absl::StrContains(result.errors, "permission denied")) {
      status = WithHint(
          status, absl::StrCat("For every schema of the source: GRANT USAGE ON SCHEMA s TO ", role,
                               "; GRANT SELECT ON ALL TABLES IN SCHEMA s TO ", role, ";"));
    }
    return WithDetail(status, absl::StripAsciiWhitespace(result.errors));
  }
  if (!result.errors.empty()) {
    LogWarning("pg_dump warns", {{"text", std::string(absl::StripAsciiWhitespace(result.errors))}});
  }
  return std::move(result.output);
}

bool IsSetting(const std::string& text) {
  return absl::StartsWith(text, "SET ") || absl::StartsWith(text, "SELECT pg_catalog.set_config(");
}

// Sessions pin their timeouts themselves, and an older destination does not know all of these.
bool IsTimeout(const std::string& text) {
  for (absl::string_view name : {"statement_timeout", "lock_timeout", "transaction_timeout",
                                 "idle_in_transaction_session_timeout"}) {
    if (absl::StartsWith(text, absl::StrCat("SET ", name, " "))) return true;
  }
  return false;
}

// The extension is the source's: at the destination its event triggers would capture our own DDL.
bool IsAboutTowline(const std::string& text) {
  return absl::StartsWith(text, "CREATE EXTENSION IF NOT EXISTS \"towline\"") ||
         absl::StartsWith(text, "CREATE EXTENSION \"towline\"") ||
         absl::StartsWith(text, "COMMENT ON EXTENSION \"towline\"");
}

// ALTER TABLE [ONLY] "s"."t" ADD CONSTRAINT "name" FOREIGN KEY, and the comment on it.
bool IsAboutForeignKey(const std::string& text, const ForeignKey& key) {
  std::string table = QuoteQualified(key.table.schema, key.table.name);
  std::string name = QuoteIdentifier(key.name);
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "ALTER TABLE ")) {
    absl::ConsumePrefix(&rest, "ONLY ");
    if (!absl::ConsumePrefix(&rest, table)) return false;
    rest = absl::StripLeadingAsciiWhitespace(rest);
    return absl::StartsWith(rest, absl::StrCat("ADD CONSTRAINT ", name, " FOREIGN KEY"));
  }
  return absl::StartsWith(text, absl::StrCat("COMMENT ON CONSTRAINT ", name, " ON ", table, " "));
}

void LogExcluded(const ExcludedObjects& excluded) {
  if (!excluded.tables.empty()) {
    LogInfo("tables that are not selected stay behind",
            {{"count", absl::StrCat(excluded.tables.size())}});
  }
  for (const TableName& view : excluded.views) {
    LogWarning("a view needs a table that is not selected and is left out",
               {{"view", QuoteQualified(view.schema, view.name)}});
  }
  for (const ForeignKey& key : excluded.foreign_keys) {
    LogWarning("a foreign key refers to a table that is not selected and is left out",
               {{"table", QuoteQualified(key.table.schema, key.table.name)},
                {"constraint", key.name},
                {"referenced", QuoteQualified(key.referenced.schema, key.referenced.name)}});
  }
}

}  // namespace

std::vector<std::string> ExcludeArguments(const std::vector<TableName>& names) {
  // Outside quotes psql's patterns are regular expressions, so ("a"|"b") is an alternative.
  std::map<std::string, std::string> open;  // schema -> alternatives so far
  std::vector<std::string> arguments;
  auto close = [&arguments](const std::string& schema, const std::string& alternatives) {
    arguments.push_back(
        absl::StrCat("--exclude-table=", ExactPattern(schema), ".(", alternatives, ")"));
  };
  for (const TableName& name : names) {
    std::string& alternatives = open[name.schema];
    std::string pattern = ExactPattern(name.name);
    if (!alternatives.empty() && alternatives.size() + pattern.size() > kPatternBytesMax) {
      close(name.schema, alternatives);
      alternatives.clear();
    }
    absl::StrAppend(&alternatives, alternatives.empty() ? "" : "|", pattern);
  }
  for (const auto& [schema, alternatives] : open) close(schema, alternatives);
  return arguments;
}

absl::StatusOr<std::vector<DumpStatement>> ParseDump(const std::string& script,
                                                     const std::vector<ForeignKey>& left_out) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<std::string> texts, SplitScript(script));
  std::vector<DumpStatement> statements;
  for (std::string& text : texts) {
    bool is_left_out = IsAboutTowline(text) || IsTimeout(text);
    // Foreign keys are few among the statements and far fewer are left out.
    if (!is_left_out && (absl::StrContains(text, "FOREIGN KEY") ||
                         absl::StartsWith(text, "COMMENT ON CONSTRAINT"))) {
      for (const ForeignKey& key : left_out) {
        is_left_out = is_left_out || IsAboutForeignKey(text, key);
      }
    }
    if (is_left_out) continue;
    bool is_setting = IsSetting(text);
    statements.push_back({std::move(text), is_setting});
  }
  return statements;
}

absl::StatusOr<SchemaDump> DumpSchema(const DumpOptions& options, const Shutdown& shutdown) {
  LogExcluded(options.excluded);
  TOWLINE_ASSIGN_OR_RETURN(std::string program, FindPgDump(options.server_version, shutdown));
  SchemaDump dump;
  TOWLINE_ASSIGN_OR_RETURN(std::string pre, RunPgDump(program, options, "pre-data", shutdown));
  TOWLINE_ASSIGN_OR_RETURN(dump.pre, ParseDump(pre, options.excluded.foreign_keys));
  TOWLINE_ASSIGN_OR_RETURN(std::string post, RunPgDump(program, options, "post-data", shutdown));
  TOWLINE_ASSIGN_OR_RETURN(dump.post, ParseDump(post, options.excluded.foreign_keys));
  return dump;
}

}  // namespace towline
