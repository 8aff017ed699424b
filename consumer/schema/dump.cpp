#include "schema/dump.h"

#include <libpq-fe.h>

#include <map>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/error.h"
#include "base/linked_shutdown.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/child_process.h"
#include "schema/pg_dump_program.h"
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

// Not what --verbose tells of its progress: "pg_dump: reading ...".
bool IsMessage(absl::string_view line) {
  size_t colon = line.find(": ");
  if (colon == absl::string_view::npos || !absl::StartsWith(line, "pg_dump")) return true;
  line.remove_prefix(colon + 2);
  for (absl::string_view kind : {"warning: ", "error: ", "detail: ", "hint: ", "fatal: "}) {
    if (absl::StartsWith(line, kind)) return true;
  }
  return false;
}

absl::StatusOr<std::string> RunPgDump(const std::string& program, const DumpOptions& options,
                                      absl::string_view section, const Shutdown& shutdown) {
  ChildProcess child;
  child.output_bytes_max = kDumpBytesMax;
  child.is_error = IsMessage;
  child.arguments = {program, "--schema-only", absl::StrCat("--section=", section),
                     absl::StrCat("--snapshot=", options.snapshot_name), "--no-publications",
                     "--no-subscriptions", "--no-tablespaces", "--no-password",
                     absl::StrCat("--lock-wait-timeout=", kLockWait), "--quote-all-identifiers",
                     // As in our sessions: what nobody knows the meaning of is not converted.
                     options.encoding == "SQL_ASCII" ? "--encoding=SQL_ASCII" : "--encoding=UTF8",
                     "--exclude-schema=towline", "--exclude-schema=towline_state"};
  if (!options.schema.with_owners) child.arguments.push_back("--no-owner");
  if (!options.schema.with_privileges) child.arguments.push_back("--no-privileges");
  // It says then which object each statement is about; nothing else is worth its many lines.
  if (!options.excluded.objects.empty()) child.arguments.push_back("--verbose");
  for (std::string& argument : ExcludeArguments(options.excluded.tables)) {
    child.arguments.push_back(std::move(argument));
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

absl::StatusOr<SchemaDump> DumpSchema(const DumpOptions& options, const Shutdown& shutdown) {
  TOWLINE_ASSIGN_OR_RETURN(std::string program,
                           FindPgDump(options.schema.pg_dump, options.server_version, shutdown));
  // Both at once: a change of the user's that waits for the first one's locks would be in the way
  // of a second one that comes after it (docs/decisions/001). When one fails the other's locks go
  // too.
  LinkedShutdown stop(shutdown);
  absl::StatusOr<std::string> pre_script = absl::UnknownError("not run");
  absl::StatusOr<std::string> post_script = absl::UnknownError("not run");
  auto run = [&](absl::string_view section, absl::StatusOr<std::string>* script) {
    *script = RunPgDump(program, options, section, stop.shutdown());
    if (!script->ok()) stop.Request();
  };
  std::thread post([&] { run("post-data", &post_script); });
  run("pre-data", &pre_script);
  post.join();
  // The other one was only stopped for it.
  if (absl::IsCancelled(pre_script.status())) TOWLINE_RETURN_IF_ERROR(post_script.status());
  SchemaDump dump;
  auto add = [&](const absl::StatusOr<std::string>& script,
                 std::vector<DumpStatement>* into) -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(script.status());
    TOWLINE_ASSIGN_OR_RETURN(DumpScript parsed, ParseDumpScript(*script, options.excluded));
    *into = std::move(parsed.statements);
    dump.left_out.insert(dump.left_out.end(), parsed.left_out.begin(), parsed.left_out.end());
    return absl::OkStatus();
  };
  TOWLINE_RETURN_IF_ERROR(add(pre_script, &dump.pre));
  TOWLINE_RETURN_IF_ERROR(add(post_script, &dump.post));
  return dump;
}

}  // namespace towline
