#include "apply/ddl_executor.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "absl/strings/str_cat.h"
#include "apply/ddl_names.h"
#include "apply/ddl_text.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// Who waits for an ACCESS EXCLUSIVE lock has everybody else wait behind him (hazards D6). The
// attempt is tried again.
constexpr char kLockTimeout[] = "5s";

constexpr char kIsReferencedSql[] =
    "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint WHERE contype = 'f' AND confrelid = "
    "pg_catalog.to_regclass($1) AND conrelid <> confrelid)";

// 0: it is not there. One that is dropped and added under the same name has another number.
constexpr char kColumnNumberSql[] =
    "SELECT coalesce((SELECT attnum FROM pg_catalog.pg_attribute WHERE attrelid = "
    "pg_catalog.to_regclass($1) AND attname = $2 AND NOT attisdropped), 0)";

// With the table above it.
constexpr char kBoundsSql[] =
    "SELECT pg_catalog.pg_get_expr(c.relpartbound, c.oid), pg_catalog.format('%I.%I', n.nspname, "
    "p.relname) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid "
    "JOIN pg_catalog.pg_class p ON p.oid = i.inhparent JOIN pg_catalog.pg_namespace n ON n.oid = "
    "p.relnamespace WHERE c.oid = pg_catalog.to_regclass($1) AND c.relispartition";

constexpr char kDependentObjects[] = "2BP01";

bool IsOneOf(const std::string& tag, std::initializer_list<const char*> tags) {
  return std::find(tags.begin(), tags.end(), tag) != tags.end();
}

bool IsOfTable(const DdlCommand& command) {
  return IsOneOf(command.tag, {"CREATE TABLE", "CREATE TABLE AS", "SELECT INTO"});
}

std::string TextToRun(const DdlCommand& command) {
  if (command.phase == DdlPhase::kStart && !command.structure.empty()) {
    return WithoutIfNotExists(command.structure);
  }
  std::string text = WithWholeName(command);
  if (IsOfTable(command)) text = WithoutIfNotExists(text);
  if (command.tag == "SELECT INTO") text = AsCreateTable(text);
  if (command.phase == DdlPhase::kStart) text = WithNoData(text);
  if (IsOneOf(command.tag, {"CREATE INDEX", "DROP INDEX", "ALTER TABLE"})) {
    text = WithoutConcurrently(text);
  }
  if (IsOfTable(command) ||
      IsOneOf(command.tag, {"CREATE INDEX", "CREATE MATERIALIZED VIEW", "ALTER TABLE"})) {
    text = WithoutTablespace(text);
  }
  return text;
}

std::string Sql(const TableName& table) { return QuoteQualified(table.schema, table.name); }

}  // namespace

absl::Status DdlExecutor::Execute(const DdlCommand& command) {
  TOWLINE_RETURN_IF_ERROR(RunUnderSettings(command, TextToRun(command)));
  // What was known of tables may be true no more.
  return writer_->Renew();
}

// As one statement: the protocol for parameters takes no second one. The settings are put back at
// once, because the values of rows, and what the source has computed, are read under those of the
// session.
absl::Status DdlExecutor::RunUnderSettings(const DdlCommand& command,
                                           const std::string& statement) {
  std::vector<std::string> numbers;  // of the columns to fill, as they are before
  for (const DdlFill& fill : command.fills) {
    TOWLINE_ASSIGN_OR_RETURN(
        std::string number,
        connection_->QueryValue(kColumnNumberSql, {{Sql(fill.table), fill.column}}));
    numbers.push_back(std::move(number));
  }
  std::vector<std::pair<std::string, std::string>> settings = command.settings;
  settings.emplace_back("search_path", command.search_path);
  settings.emplace_back("check_function_bodies", "off");
  settings.emplace_back("enable_seqscan", "on");
  if (!role_.empty()) settings.emplace_back("role", role_);
  TOWLINE_ASSIGN_OR_RETURN(const std::string lock_timeout,
                           ReplaceSetting("lock_timeout", kLockTimeout));
  for (auto& [name, value] : settings) {
    TOWLINE_ASSIGN_OR_RETURN(value, ReplaceSetting(name, value));
  }
  TOWLINE_RETURN_IF_ERROR(connection_->Query(statement).status());
  for (const auto& [name, value] : settings) {
    TOWLINE_RETURN_IF_ERROR(ReplaceSetting(name, value).status());
  }
  TOWLINE_RETURN_IF_ERROR(FillColumns(command, numbers));
  TOWLINE_RETURN_IF_ERROR(SetBounds(command));
  return ReplaceSetting("lock_timeout", lock_timeout).status();
}

absl::StatusOr<std::string> DdlExecutor::ReplaceSetting(const std::string& name,
                                                        const std::string& value) {
  TOWLINE_ASSIGN_OR_RETURN(Result rows, connection_->Query("SELECT pg_catalog.current_setting($1), "
                                                           "pg_catalog.set_config($1, $2, true)",
                                                           {{name, value}}));
  return rows.GetString(0, 0);
}

// Of a new partition, where the statement computes them (now()).
absl::Status DdlExecutor::SetBounds(const DdlCommand& command) {
  if (command.phase != DdlPhase::kEnd || command.structure.empty()) return absl::OkStatus();
  for (const DdlObject& object : command.objects) {
    if (object.type != "table") continue;
    const std::string table = Sql(object.table);
    TOWLINE_ASSIGN_OR_RETURN(Result found, connection_->Query(kBoundsSql, {{table}}));
    if (found.row_count() == 0 || found.GetString(0, 0) == command.structure) continue;
    const std::string alter = absl::StrCat("ALTER TABLE ", found.GetString(0, 1));
    TOWLINE_RETURN_IF_ERROR(
        connection_->Query(absl::StrCat(alter, " DETACH PARTITION ", table)).status());
    TOWLINE_RETURN_IF_ERROR(
        connection_->Query(absl::StrCat(alter, " ATTACH PARTITION ", table, " ", command.structure))
            .status());
  }
  return absl::OkStatus();
}

// Only what the command has made: a column that was there before has values of its own.
absl::Status DdlExecutor::FillColumns(const DdlCommand& command,
                                      const std::vector<std::string>& numbers_before) {
  for (size_t i = 0; i < command.fills.size(); ++i) {
    const DdlFill& fill = command.fills[i];
    TOWLINE_ASSIGN_OR_RETURN(bool is_selected, selection_->IsSelected(fill.table));
    if (!is_selected) continue;
    TOWLINE_ASSIGN_OR_RETURN(
        std::string number,
        connection_->QueryValue(kColumnNumberSql, {{Sql(fill.table), fill.column}}));
    if (number == numbers_before[i]) continue;
    TOWLINE_ASSIGN_OR_RETURN(
        std::string type,
        connection_->QueryValue("SELECT pg_catalog.format_type(atttypid, atttypmod) FROM "
                                "pg_catalog.pg_attribute WHERE attrelid = "
                                "$1::pg_catalog.regclass AND attname = $2 AND NOT attisdropped",
                                {{Sql(fill.table), fill.column}}));
    const std::string column = QuoteIdentifier(fill.column);
    // Most often the default gave the same here. Compared as texts: not every type has equality.
    TOWLINE_RETURN_IF_ERROR(
        connection_
            ->Query(absl::StrCat(
                        "UPDATE ONLY ", Sql(fill.table), " SET ", column, " = $1::", type,
                        " WHERE ", column,
                        "::pg_catalog.text COLLATE pg_catalog.\"C\" IS DISTINCT FROM ($1::", type,
                        ")::pg_catalog.text"),
                    {{fill.value}})
            .status());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> DdlExecutor::Empty(const DdlCommand& command) {
  for (const DdlObject& object : command.objects) {
    if (object.type == "materialized view") continue;  // the command itself fills it again
    TOWLINE_ASSIGN_OR_RETURN(bool is_selected, selection_->IsSelected(object.table));
    if (!is_selected) continue;
    TOWLINE_ASSIGN_OR_RETURN(bool has_own_rules, selection_->HasOwnRules(object.table));
    if (has_own_rules) {
      return absl::StrCat("it rewrites ", Sql(object.table),
                          ", which has a rule or rows of its own (where, columns, operations, "
                          "existing: append) and must not be emptied; 'approve' does not help");
    }
    TOWLINE_ASSIGN_OR_RETURN(std::string why_not, EmptyTable(object.table));
    if (!why_not.empty()) return why_not;
  }
  return std::string();
}

absl::StatusOr<bool> DdlExecutor::IsReferenced(const DdlCommand& command) {
  for (const DdlObject& object : command.objects) {
    TOWLINE_ASSIGN_OR_RETURN(Result found,
                             connection_->Query(kIsReferencedSql, {{Sql(object.table)}}));
    if (found.GetBool(0, 0)) return true;
  }
  return false;
}

absl::Status DdlExecutor::DropAll(std::vector<std::string> statements) {
  TOWLINE_ASSIGN_OR_RETURN(const std::string lock_timeout,
                           ReplaceSetting("lock_timeout", kLockTimeout));
  std::string own_role;
  if (!role_.empty()) {
    TOWLINE_ASSIGN_OR_RETURN(own_role, ReplaceSetting("role", role_));
  }
  while (!statements.empty()) {
    std::vector<std::string> left;
    absl::Status last;
    for (const std::string& statement : statements) {
      TOWLINE_RETURN_IF_ERROR(connection_->Exec("SAVEPOINT towline_drop").status());
      last = connection_->Query(statement).status();
      if (!last.ok() && GetSqlState(last) != kDependentObjects) return last;
      const char* end = last.ok() ? "RELEASE SAVEPOINT towline_drop"
                                  : "ROLLBACK TO SAVEPOINT towline_drop; "
                                    "RELEASE SAVEPOINT towline_drop";
      if (!last.ok()) left.push_back(statement);
      TOWLINE_RETURN_IF_ERROR(connection_->Exec(end).status());
    }
    if (left.size() == statements.size()) return last;
    statements = std::move(left);
  }
  if (!role_.empty()) TOWLINE_RETURN_IF_ERROR(ReplaceSetting("role", own_role).status());
  TOWLINE_RETURN_IF_ERROR(ReplaceSetting("lock_timeout", lock_timeout).status());
  return writer_->Renew();
}

// TRUNCATE is refused for what a foreign key of another table names, also under the replica role;
// without that role DELETE would take the rows that refer to it.
absl::StatusOr<std::string> DdlExecutor::EmptyTable(const TableName& table) {
  TOWLINE_ASSIGN_OR_RETURN(Result found, connection_->Query(kIsReferencedSql, {{Sql(table)}}));
  const bool is_referenced = found.GetBool(0, 0);
  if (is_referenced) {
    TOWLINE_ASSIGN_OR_RETURN(
        std::string role,
        connection_->QueryValue("SELECT pg_catalog.current_setting('session_replication_role')"));
    if (role != "replica") {
      return absl::StrCat("its rows are written anew, others refer to ", Sql(table),
                          ", and the role may not set session_replication_role");
    }
  }
  TOWLINE_ASSIGN_OR_RETURN(const std::string lock_timeout,
                           ReplaceSetting("lock_timeout", kLockTimeout));
  TOWLINE_RETURN_IF_ERROR(
      connection_
          ->Query(absl::StrCat(is_referenced ? "DELETE FROM ONLY " : "TRUNCATE ONLY ", Sql(table)))
          .status());
  TOWLINE_RETURN_IF_ERROR(ReplaceSetting("lock_timeout", lock_timeout).status());
  return std::string();
}

}  // namespace towline
