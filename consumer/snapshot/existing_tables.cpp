#include "snapshot/existing_tables.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/table_fit.h"

namespace towline {
namespace {

// One statement asks so many tables whether they hold a row.
constexpr size_t kTablesPerQuery = 200;
// So many are named in an error; the rest is counted.
constexpr size_t kNamedMax = 20;

std::string Qualified(const Table& table) {
  return QuoteQualified(table.name.schema, table.name.name);
}

std::string NameSome(const std::vector<std::string>& lines) {
  std::vector<std::string> some(
      lines.begin(), lines.begin() + static_cast<long>(std::min(lines.size(), kNamedMax)));
  std::string text = absl::StrJoin(some, "\n");
  if (lines.size() > kNamedMax) absl::StrAppend(&text, "\nand ", lines.size() - kNamedMax, " more");
  return text;
}

// " WHERE ..." for the rows that count, of a table that holds others; empty: all do.
std::string WhoseRows(const ExtensionRows& own_rows, const TableName& table) {
  auto found = own_rows.find(table);
  return found == own_rows.end() ? "" : absl::StrCat(" WHERE ", AsOperand(found->second));
}

// Indexes of those that hold at least one row.
absl::StatusOr<std::vector<size_t>> FindFilled(Connection& session,
                                               const std::vector<Table>& tables,
                                               const std::vector<size_t>& asked,
                                               const ExtensionRows& own_rows) {
  std::vector<size_t> filled;
  for (size_t start = 0; start < asked.size(); start += kTablesPerQuery) {
    std::string sql;
    for (size_t i = start; i < std::min(asked.size(), start + kTablesPerQuery); ++i) {
      absl::StrAppend(&sql, i == start ? "" : " UNION ALL ", "SELECT ", asked[i],
                      " WHERE EXISTS (SELECT FROM ONLY ", Qualified(tables[asked[i]]),
                      WhoseRows(own_rows, tables[asked[i]].name), ")");
    }
    TOWLINE_ASSIGN_OR_RETURN(Result result, session.Query(sql));
    for (int row = 0; row < result.row_count(); ++row) {
      filled.push_back(static_cast<size_t>(result.GetInt(row, 0)));
    }
  }
  return filled;
}

// Of `tables` the oids that TRUNCATE would refuse: referred to from outside the list, or from a
// table that cannot be truncated itself.
absl::StatusOr<std::set<Oid>> FindReferenced(Connection& session,
                                             const std::vector<Table>& tables) {
  std::set<Oid> truncated;
  for (const Table& table : tables) truncated.insert(table.oid);
  TOWLINE_ASSIGN_OR_RETURN(Result keys, session.Query("SELECT conrelid, confrelid FROM "
                                                      "pg_catalog.pg_constraint "
                                                      "WHERE contype = 'f'"));
  std::set<Oid> deleted;
  for (bool has_changed = true; has_changed;) {
    has_changed = false;
    for (int row = 0; row < keys.row_count(); ++row) {
      Oid from = static_cast<Oid>(keys.GetInt(row, 0));
      Oid to = static_cast<Oid>(keys.GetInt(row, 1));
      if (truncated.contains(from) || !truncated.contains(to)) continue;
      truncated.erase(to);
      deleted.insert(to);
      has_changed = true;
    }
  }
  return deleted;
}

// Of $1: whether it may be filled and emptied, and who we are. $2: how it is emptied.
constexpr char kRightsSql[] = R"sql(
SELECT pg_catalog.has_any_column_privilege($1::bigint::oid, 'INSERT'),
       pg_catalog.has_table_privilege($1::bigint::oid, $2), pg_catalog.quote_ident(current_user)
)sql";

// The strongest first: a reader does not always stand in the way.
constexpr char kHoldersSql[] = R"sql(
SELECT l.pid, COALESCE(a.usename, ''), COALESCE(a.state, '')
FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.granted AND l.relation = $1::bigint::oid
  AND l.database = (SELECT oid FROM pg_catalog.pg_database
                    WHERE datname = pg_catalog.current_database())
  AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
GROUP BY 1, 2, 3 ORDER BY bool_and(l.mode = 'AccessShareLock'), 1 LIMIT 3
)sql";

}  // namespace

absl::Status CheckExistingRows(Connection& session, const std::vector<Table>& source,
                               const std::vector<Table>& destination, const ExistingCheck& check) {
  std::vector<size_t> asked;
  for (size_t i = 0; i < source.size(); ++i) {
    const TableName& name = source[i].name;
    const bool is_table = destination[i].oid != 0 && destination[i].kind == 'r';
    if (!is_table || check.ours.contains(name)) continue;
    const std::string policy = check.policy(source[i]);
    const bool may_keep_rows = policy == "append" && !check.streamed.contains(name);
    if (policy != "truncate" && !may_keep_rows) asked.push_back(i);
  }
  TOWLINE_ASSIGN_OR_RETURN(std::vector<size_t> filled,
                           FindFilled(session, destination, asked, check.own_rows));
  if (filled.empty()) return absl::OkStatus();
  std::vector<std::string> lines;
  size_t streamed = 0;
  for (size_t i : filled) {
    streamed += check.streamed.contains(source[i].name) ? 1 : 0;
    int64_t estimate = destination[i].estimated_rows;
    lines.push_back(absl::StrCat(Qualified(destination[i]), " (",
                                 estimate > 0
                                     ? absl::StrCat("about ", FormatCount(estimate), " rows")
                                     : std::string("at least one row"),
                                 ")"));
  }
  std::string first = Qualified(destination[filled[0]]);
  auto own = check.own_rows.find(destination[filled[0]].name);
  const std::string of_own =
      own == check.own_rows.end()
          ? ""
          : absl::StrCat(" Only rows of the task count, by hand: DELETE FROM ", first, " WHERE ",
                         own->second, ".");
  return WithHint(
      WithDetail(
          absl::FailedPreconditionError(
              lines.size() == 1
                  ? absl::StrCat("table ", first, " of the destination holds rows already")
                  : absl::StrCat(lines.size(), " tables of the destination hold rows already")),
          NameSome(lines)),
      streamed > 0
          ? absl::StrCat(streamed == filled.size() ? "These rows" : "Rows of some of these tables",
                         " were written by the interrupted copy's own stream, and cannot be kept: "
                         "empty the tables, or set existing: truncate for them.")
          : absl::StrCat("Run with ",
                         of_own.empty() ? "--existing append to keep the rows (those of the source "
                                          "are added, except where the key is taken), with "
                                        : "",
                         "--existing truncate to empty the tables first, or empty them yourself.",
                         of_own));
}

absl::Status CheckFit(const std::vector<Table>& source, const std::vector<Table>& destination,
                      bool all_exist) {
  std::vector<std::string> lines;
  std::vector<std::string> statements;
  for (size_t i = 0; i < source.size(); ++i) {
    if (destination[i].oid == 0) {
      if (all_exist) lines.push_back(absl::StrCat("table ", Qualified(source[i]), " is missing"));
      continue;
    }
    for (const std::string& misfit : DescribeMisfit(source[i], destination[i])) {
      lines.push_back(absl::StrCat("table ", Qualified(source[i]), ": ", misfit));
    }
    // Partitions share those of the table above them.
    for (std::string& statement : MendingStatements(source[i], destination[i])) {
      if (std::find(statements.begin(), statements.end(), statement) != statements.end()) continue;
      if (statements.size() < kNamedMax) statements.push_back(std::move(statement));
    }
  }
  if (lines.empty()) return absl::OkStatus();
  return WithHint(
      WithDetail(
          absl::FailedPreconditionError(
              lines.size() == 1 ? absl::StrCat("the destination does not fit: ", lines[0])
                                : "tables of the destination do not fit those of the source"),
          lines.size() == 1 ? "" : NameSome(lines)),
      absl::StrCat(
          "Change the destination's tables with ALTER TABLE, or drop them so that they are created "
          "as they are at the source. docs/types.md lists the types that are cast.",
          statements.empty() ? "" : " At the destination: ", absl::StrJoin(statements, " ")));
}

absl::StatusOr<TableName> FindEmptied(Connection& session, const std::vector<Table>& tables,
                                      const ExtensionRows& own_rows) {
  std::vector<size_t> all(tables.size());
  std::iota(all.begin(), all.end(), size_t{0});
  TOWLINE_ASSIGN_OR_RETURN(std::vector<size_t> filled, FindFilled(session, tables, all, own_rows));
  std::set<size_t> found(filled.begin(), filled.end());
  for (size_t i : all) {
    if (!found.contains(i)) return tables[i].name;
  }
  return TableName();
}

absl::StatusOr<bool> AreReferenced(Connection& session, const std::vector<Table>& tables) {
  TOWLINE_ASSIGN_OR_RETURN(std::set<Oid> referenced, FindReferenced(session, tables));
  return !referenced.empty();
}

absl::Status LockToEmpty(Connection& session, const Table& table, const ExtensionRows& own_rows) {
  const std::string name = Qualified(table);
  TOWLINE_ASSIGN_OR_RETURN(std::set<Oid> referenced, FindReferenced(session, {table}));
  const bool is_truncated = referenced.empty() && WhoseRows(own_rows, table.name).empty();
  const std::string emptying = is_truncated ? "TRUNCATE" : "DELETE";
  TOWLINE_ASSIGN_OR_RETURN(Result rights,
                           session.Query(kRightsSql, {{absl::StrCat(table.oid), emptying}}));
  std::vector<std::string> missing;
  if (!rights.GetBool(0, 0)) missing.emplace_back("INSERT");
  if (!rights.GetBool(0, 1)) missing.push_back(emptying);
  if (!missing.empty()) {
    const std::string list = absl::StrJoin(missing, ", ");
    return WithHint(absl::FailedPreconditionError(absl::StrCat(
                        "the destination's role has no right to ", list, " on table ", name)),
                    absl::StrCat("At the destination: GRANT ", list, " ON ", name, " TO ",
                                 rights.Get(0, 2), ";"));
  }
  return WithContext(
      session
          .Exec(absl::StrCat("LOCK TABLE ONLY ", name, " IN ",
                             is_truncated ? "ACCESS EXCLUSIVE" : "EXCLUSIVE", " MODE"))
          .status(),
      absl::StrCat("cannot lock table ", name, " of the destination"));
}

absl::StatusOr<std::string> DescribeHolders(Connection& session, const Table& table) {
  TOWLINE_ASSIGN_OR_RETURN(Result rows, session.Query(kHoldersSql, {{absl::StrCat(table.oid)}}));
  std::vector<std::string> holders;
  for (int row = 0; row < rows.row_count(); ++row) {
    holders.push_back(rows.IsNull(row, 0)
                          ? "a prepared transaction"
                          : absl::StrCat("pid ", rows.Get(row, 0), " (user ", rows.Get(row, 1),
                                         ", ", rows.Get(row, 2), ")"));
  }
  return holders.empty() ? "somebody" : absl::StrJoin(holders, ", ");
}

absl::Status EmptyTables(Connection& session, const std::vector<Table>& tables,
                         const ExtensionRows& own_rows) {
  std::vector<Table> emptied;
  for (const Table& table : tables) {
    if (table.oid != 0 && table.kind == 'r') emptied.push_back(table);
  }
  TOWLINE_ASSIGN_OR_RETURN(std::set<Oid> referenced, FindReferenced(session, emptied));
  std::vector<std::string> truncated;
  for (const Table& table : emptied) {
    std::string name = Qualified(table);
    std::string where = WhoseRows(own_rows, table.name);
    if (!referenced.contains(table.oid) && where.empty()) {
      truncated.push_back("ONLY " + name);
      continue;
    }
    if (where.empty())
      LogInfo("a table of the destination is emptied by DELETE, as others refer to it",
              {{"table", name}});
    TOWLINE_RETURN_IF_ERROR(
        WithContext(session.Exec(absl::StrCat("DELETE FROM ONLY ", name, where)).status(),
                    absl::StrCat("cannot empty table ", name)));
  }
  if (truncated.empty()) return absl::OkStatus();
  return WithContext(session.Exec("TRUNCATE " + absl::StrJoin(truncated, ", ")).status(),
                     "cannot empty the tables of the destination");
}

}  // namespace towline
