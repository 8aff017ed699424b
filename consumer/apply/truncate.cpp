#include "apply/truncate.h"

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"

namespace towline {
namespace {

// $1: the tables. Partitions go with their root.
constexpr char kReferencedSql[] = R"(
WITH RECURSIVE emptied(oid) AS (
  SELECT t FROM pg_catalog.unnest($1::pg_catalog.oid[]) t
  UNION
  SELECT i.inhrelid FROM emptied e
  JOIN pg_catalog.pg_class c ON c.oid = e.oid AND c.relkind = 'p'
  JOIN pg_catalog.pg_inherits i ON i.inhparent = e.oid)
SELECT EXISTS (
  SELECT 1 FROM pg_catalog.pg_constraint k
  WHERE k.contype = 'f' AND k.confrelid IN (SELECT oid FROM emptied)
    AND k.conrelid NOT IN (SELECT oid FROM emptied)))";

// What RESTART IDENTITY does: sequences of serial ('a') and identity ('i') columns.
constexpr char kSequencesSql[] = R"(
SELECT pg_catalog.format('ALTER SEQUENCE %I.%I RESTART', n.nspname, s.relname)
FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
  AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
  AND d.refobjid = ANY ($1::pg_catalog.oid[]) AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i'))";

absl::Status RestartSequences(Connection& connection, const Param& tables) {
  TOWLINE_ASSIGN_OR_RETURN(Result sequences, connection.Query(kSequencesSql, {tables}));
  for (int row = 0; row < sequences.row_count(); ++row) {
    TOWLINE_RETURN_IF_ERROR(connection.Exec(sequences.Get(row, 0)).status());
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status TruncateTables(Connection& connection, absl::Span<const Target* const> targets,
                            bool restarts_identity) {
  std::set<std::string> names;  // leaves published as their root name it more than once
  std::vector<Oid> oids;
  for (const Target* target : targets) {
    if (!target->shared.empty()) {
      TOWLINE_RETURN_IF_ERROR(connection
                                  .Exec(absl::StrCat("DELETE FROM ", target->only, target->sql_name,
                                                     " WHERE true", target->AndOwn()))
                                  .status());
      continue;
    }
    names.insert(target->only + target->sql_name);
    oids.push_back(target->table.oid);
  }
  if (names.empty()) return absl::OkStatus();
  Param tables = absl::StrCat("{", absl::StrJoin(oids, ","), "}");
  TOWLINE_ASSIGN_OR_RETURN(Result referenced, connection.Query(kReferencedSql, {tables}));
  if (!referenced.GetBool(0, 0)) {
    return connection
        .Exec(absl::StrCat("TRUNCATE ", absl::StrJoin(names, ", "),
                           restarts_identity ? " RESTART IDENTITY" : ""))
        .status();
  }
  for (const std::string& name : names) {
    TOWLINE_RETURN_IF_ERROR(connection.Exec(absl::StrCat("DELETE FROM ", name)).status());
  }
  return restarts_identity ? RestartSequences(connection, tables) : absl::OkStatus();
}

}  // namespace towline
