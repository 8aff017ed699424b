// The rules of single tables (where, columns, operations) against today's catalog. Names are bound
// again in the stream, under the catalog of each change's time.
#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "precheck/check_context.h"
#include "schema/table_rules.h"

namespace towline {
namespace {

constexpr char kId[] = "source.table_rules";
constexpr char kIdentityId[] = "source.table_rules_identity";
constexpr char kEnteringId[] = "source.table_rules_entering";

// Expressions are bound in a session of its own: with the plugin's search_path, unable to write,
// and without patience for locks.
std::optional<Connection> OpenSession(CheckContext& context) {
  Connection::Purpose purpose;
  purpose.application_name = "towline check";
  purpose.settings = {kRuleSearchPathSql, "SET default_transaction_read_only = on",
                      "SET lock_timeout = '2s'"};
  absl::StatusOr<Connection> opened =
      Connection::Open(context.options.source, purpose, context.shutdown);
  if (opened.ok()) return *std::move(opened);
  context.FailBy(kId, opened.status());
  return std::nullopt;
}

// What the plugin says itself.
struct PluginFacts {
  bool is_too_old = false;     // its library knows no rules
  bool has_function = false;   // towline.check_table_rules()
  bool has_extension = false;  // of any version
};

std::optional<PluginFacts> ReadPluginFacts(CheckContext& context, Connection& session) {
  std::optional<Result> result = context.Ask(
      kId, session,
      "SELECT (SELECT pg_catalog.bool_and(pg_catalog.string_to_array(v.version, '.')::integer[] < "
      "'{0,2}') FROM pg_catalog.pg_available_extension_versions v WHERE v.name = 'towline' AND "
      "v.version ~ '^[0-9.]+$'), "
      "EXISTS (SELECT 1 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = "
      "p.pronamespace WHERE n.nspname = 'towline' AND p.proname = 'check_table_rules' AND "
      "pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND "
      "pg_catalog.has_function_privilege(p.oid, 'EXECUTE')) AND (SELECT rolreplication OR rolsuper "
      "FROM pg_catalog.pg_roles WHERE rolname = current_user), "
      "EXISTS (SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'towline')");
  if (!result) return std::nullopt;
  return PluginFacts{result->GetBool(0, 0), result->GetBool(0, 1), result->GetBool(0, 2)};
}

std::string FullIdentity(const Table& table) {
  return absl::StrCat("ALTER TABLE ", QuotedName(table.name), " REPLICA IDENTITY FULL;");
}

struct Problems {
  std::vector<std::string> found;
  std::vector<std::string> mends;
  std::set<TableName> tables;

  void Add(const TableName& table, std::string text, std::string mend) {
    found.push_back(std::move(text));
    bool is_new = std::find(mends.begin(), mends.end(), mend) == mends.end();
    if (!mend.empty() && is_new) mends.push_back(std::move(mend));
    tables.insert(table);
  }
};

// By the code that decodes.
bool AskPlugin(CheckContext& context, Connection& session, const TableRules& rules,
               Problems& problems) {
  std::optional<Result> result =
      context.Ask(kId, session,
                  "SELECT schema_name, table_name, COALESCE(item, ''), COALESCE(error, ''), "
                  "COALESCE(hint, '') FROM towline.check_table_rules($1)",
                  {{RulesJson(rules)}});
  if (!result) return false;
  for (int row = 0; row < result->row_count(); ++row) {
    TableName name = {result->GetString(row, 0), result->GetString(row, 1)};
    absl::string_view item = result->Get(row, 2);
    problems.Add(
        name,
        absl::StrCat(QuotedName(name), item.empty() ? "" : ", ", item, ": ", result->Get(row, 3)),
        result->GetString(row, 4));
  }
  return true;
}

// As the copy will: each table on its own, so that everything that is wrong is seen at once.
bool BindAll(CheckContext& context, Connection& session, Problems& problems) {
  context.published = context.tables;
  for (Table& table : context.published) {
    const TableRule* rule = FindRule(context.options.rules, table);
    if (rule == nullptr) continue;
    absl::StatusOr<std::vector<Table>> published =
        PublishTables(session, context.options.rules, {table}, AssignmentCheck::kAsk);
    if (published.ok()) {
      table = std::move((*published)[0]);
      continue;
    }
    if (!absl::IsFailedPrecondition(published.status())) {
      context.FailBy(kId, published.status());
      return false;
    }
    if (problems.tables.contains(rule->table)) continue;  // said already
    problems.Add(rule->table, std::string(published.status().message()),
                 GetHint(published.status()));
  }
  return true;
}

std::vector<std::string> IdentityOf(const Table& table) {
  for (const UniqueIndex& index : table.unique_indexes) {
    bool is_meant = table.replica_identity == ReplicaIdentity::kIndex
                        ? index.is_replica_identity
                        : table.replica_identity == ReplicaIdentity::kDefault && index.is_primary;
    if (is_meant) return index.columns;
  }
  return {};
}

// Whether the expression reads nothing but these columns: it is bound to a row of them alone.
absl::StatusOr<bool> NeedsOnly(Connection& session, const Table& table,
                               const std::vector<std::string>& columns,
                               const std::string& expression) {
  std::vector<std::string> names;
  for (const std::string& column : columns) names.push_back(QuoteIdentifier(column));
  absl::Status bound =
      session
          .Exec(absl::StrCat("SELECT ", AsOperand(expression), " FROM (SELECT ",
                             absl::StrJoin(names, ", "), " FROM ONLY ", QuotedName(table.name),
                             ") AS ", QuoteIdentifier(table.name.name), " LIMIT 0"))
          .status();
  if (bound.ok()) return true;
  // undefined_column, undefined_table ("s.t.column").
  if (GetSqlState(bound) == "42703" || GetSqlState(bound) == "42P01") return false;
  return bound;
}

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool AsksForOldRows(const TableRule& rule, const Table& table) {
  return table.kind == 'r' && table.replica_identity != ReplicaIdentity::kFull &&
         (rule.operations.has_update || rule.operations.has_delete);
}

// An old row holds the replica identity only. For sources whose plugin cannot be asked.
absl::Status CheckIdentity(Connection& session, const TableRule& rule, const Table& table,
                           Problems& problems) {
  std::vector<std::string> identity = IdentityOf(table);
  for (const std::string& column : identity) {
    const RuleColumn* listed = rule.FindColumn(column);
    if (!rule.has_columns || (listed != nullptr && !listed->expression.has_value())) continue;
    problems.Add(table.name,
                 absl::StrCat(QuotedName(table.name), ": column ", QuoteIdentifier(column),
                              " of its replica identity must be listed as it is"),
                 FullIdentity(table));
  }
  if (rule.where.empty()) return absl::OkStatus();
  absl::StatusOr<bool> is_enough = NeedsOnly(session, table, identity, rule.where);
  if (!is_enough.ok()) return is_enough.status();
  if (!*is_enough) {
    problems.Add(table.name,
                 absl::StrCat(QuotedName(table.name),
                              ": its filter looks at columns outside of its replica identity"),
                 FullIdentity(table));
  }
  return absl::OkStatus();
}

// Where a table has no place for values out of line, every row is whole in the log.
absl::StatusOr<bool> StoresOutOfLine(Connection& session, const Table& table) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result result,
      session.Query("SELECT reltoastrelid <> 0 FROM pg_catalog.pg_class WHERE oid = $1::oid",
                    {{absl::StrCat(table.oid)}}));
  return result.row_count() > 0 && result.GetBool(0, 0);
}

// Of what the rule sends, the columns whose value may be missing where a row enters: stored out of
// line and not of the key, or told from such a value.
absl::StatusOr<std::vector<std::string>> ColumnsThatMayLack(Connection& session,
                                                            const TableRule& rule,
                                                            const Table& table) {
  std::vector<std::string> identity = IdentityOf(table);
  std::vector<std::string> there;  // in any case
  std::vector<std::string> lacking;
  for (const TableColumn& column : table.columns) {
    bool is_there = !column.is_toastable || Contains(identity, column.name);
    if (is_there) there.push_back(column.name);
    const RuleColumn* listed = rule.FindColumn(column.name);
    bool is_sent = !rule.has_columns || (listed != nullptr && !listed->expression.has_value());
    if (!is_there && is_sent && column.generated == '\0') lacking.push_back(column.name);
  }
  for (const RuleColumn& column : rule.columns) {
    if (!column.expression.has_value()) continue;
    TOWLINE_ASSIGN_OR_RETURN(bool is_there, NeedsOnly(session, table, there, *column.expression));
    if (!is_there) lacking.push_back(column.name);
  }
  return lacking;
}

// A row that a new key brings into the filter arrives whole, but an unchanged value that is stored
// out of line is not in the log (hazards A13).
absl::Status CheckEntering(Connection& session, const TableRule& rule, const Table& table,
                           Problems& problems) {
  if (rule.where.empty() || !rule.operations.has_update) return absl::OkStatus();
  TOWLINE_ASSIGN_OR_RETURN(bool stores_out_of_line, StoresOutOfLine(session, table));
  if (!stores_out_of_line) return absl::OkStatus();
  TOWLINE_ASSIGN_OR_RETURN(std::vector<std::string> lacking,
                           ColumnsThatMayLack(session, rule, table));
  if (lacking.empty()) return absl::OkStatus();
  problems.Add(table.name,
               absl::StrCat(QuotedName(table.name),
                            ": a row that a changed key brings into its filter may come without "
                            "column ",
                            QuoteIdentifier(lacking[0]), ", which stops the stream"),
               FullIdentity(table));
  return absl::OkStatus();
}

void ReportEntering(CheckContext& context, const Problems& own, const Problems& of_extensions) {
  auto statements = [](const Problems& problems) {
    return Mend{.statement = absl::StrJoin(problems.mends, "\n")};
  };
  if (!own.found.empty()) {
    context.FailUnlessAccepted(kEnteringId, ListNames(own.found, 10), statements(own));
  }
  // Nobody wrote that rule, and keys of such rows hardly change.
  if (!of_extensions.found.empty()) {
    context.Warn(kEnteringId, ListNames(of_extensions.found, 10), statements(of_extensions));
  }
  if (own.found.empty() && of_extensions.found.empty()) {
    context.Pass(kEnteringId, "rows that enter a filter are whole in the log");
  }
}

void CheckIdentities(CheckContext& context, Connection& session, const Problems& bound,
                     bool has_asked_plugin) {
  Problems problems;
  Problems entering;
  Problems entering_of_extensions;
  for (const Table& table : context.tables) {
    const TableRule* rule = FindRule(context.options.rules, table);
    if (rule == nullptr || bound.tables.contains(rule->table) ||
        bound.tables.contains(table.name) || !AsksForOldRows(*rule, table)) {
      continue;
    }
    if (!has_asked_plugin) {
      absl::Status checked = CheckIdentity(session, *rule, table, problems);
      if (!checked.ok()) return context.FailBy(kIdentityId, checked);
    }
    if (problems.tables.contains(table.name)) continue;
    bool is_of_extension = context.options.extension_rows.contains(table.name);
    absl::Status checked =
        CheckEntering(session, *rule, table, is_of_extension ? entering_of_extensions : entering);
    if (!checked.ok()) return context.FailBy(kEnteringId, checked);
  }
  if (problems.found.empty()) {
    context.Pass(kIdentityId, "old rows hold what the rules look at");
  } else {
    context.Fail(kIdentityId, ListNames(problems.found, 10),
                 {.statement = absl::StrJoin(problems.mends, "\n")});
  }
  ReportEntering(context, entering, entering_of_extensions);
}

}  // namespace

void CheckTableRules(CheckContext& context) {
  context.published = context.tables;
  TableRules rules;  // of what is selected; of the others task.table_options speaks
  for (const Table& table : context.tables) {
    const TableRule* rule = FindRule(context.options.rules, table);
    if (rule != nullptr) rules[rule->table] = *rule;
  }
  if (rules.empty()) return;
  std::optional<Connection> session = OpenSession(context);
  if (!session) return;
  std::optional<PluginFacts> plugin = ReadPluginFacts(context, *session);
  if (!plugin) return;
  if (plugin->is_too_old) {
    context.Fail(
        kId, "the plugin on the source's host is older than 0.2 and knows no rules",
        {.text = "Install this version's plugin on the source's host (./dev install there, "
                 "or the package)."});
    return;
  }
  Problems problems;
  if (plugin->has_function && !AskPlugin(context, *session, rules, problems)) return;
  if (!BindAll(context, *session, problems)) return;
  if (!problems.found.empty()) {
    Mend mend = {.text = absl::StrJoin(problems.mends, " ")};
    if (context.is_rule_change) {
      context.FailUnlessAccepted(kId, ListNames(problems.found, 10), std::move(mend));
    } else {
      context.Fail(kId, ListNames(problems.found, 10), std::move(mend));
    }
  } else if (plugin->has_function) {
    context.Pass(kId, absl::StrCat(Counted(rules.size(), "rule"), " that the source understands"));
  } else {
    context.Warn(kId,
                 absl::StrCat("the expressions of ", Counted(rules.size(), "rule"),
                              " have their names, but whether the plugin takes them is asked only "
                              "when the stream starts"),
                 {.statement = plugin->has_extension ? "ALTER EXTENSION towline UPDATE;"
                                                     : "CREATE EXTENSION towline;"});
  }
  CheckIdentities(context, *session, problems, plugin->has_function);
}

}  // namespace towline
