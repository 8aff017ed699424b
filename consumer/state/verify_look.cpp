#include "state/verify_look.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "schema/array_literal.h"

namespace towline {
namespace {

// Whether a look is one at all rows is told by its mode (verify/comparison.cpp).
constexpr char kNoteSql[] = R"sql(
INSERT INTO towline_state.verify_look AS known
  (task, schema_name, table_name, run, mode, verdict, rows_different)
SELECT task, $3, $4, run, mode, $5, $6::bigint FROM towline_state.verify_run
WHERE task = $1 AND run = $2::bigint
ON CONFLICT (task, schema_name, table_name) DO UPDATE
SET run = EXCLUDED.run, mode = EXCLUDED.mode, verdict = EXCLUDED.verdict,
    rows_different = EXCLUDED.rows_different, looked_at = EXCLUDED.looked_at
WHERE known.verdict = 'equal'
   OR EXCLUDED.verdict = 'different'
      AND (EXCLUDED.mode NOT LIKE 'counts%' AND EXCLUDED.mode NOT LIKE '%sample%'
           OR known.verdict <> 'different' OR EXCLUDED.rows_different >= known.rows_different)
   OR EXCLUDED.verdict = 'undecided' AND known.verdict = 'undecided'
   OR EXCLUDED.verdict = 'equal'
      AND (EXCLUDED.mode NOT LIKE 'counts%' AND EXCLUDED.mode NOT LIKE '%sample%'
           OR EXCLUDED.mode LIKE 'counts%' AND known.mode LIKE 'counts%'
           OR known.verdict = 'undecided'
              AND (known.mode LIKE 'counts%' OR known.mode LIKE '%sample%'))
)sql";

// Also of tables that the destination lacks. Those that the source has no more are forgotten by the
// comparisons.
constexpr char kSummarySql[] = R"sql(
WITH ended AS (
  SELECT run, mode, verdict, finished_at FROM towline_state.verify_run
  WHERE task = $1 AND finished_at IS NOT NULL ORDER BY run DESC LIMIT 1
), looks AS (
  SELECT l.verdict, l.rows_different FROM towline_state.verify_look l
  WHERE l.task = $1
    AND NOT EXISTS (SELECT FROM towline_state.piece p WHERE p.task = l.task
                    AND p.schema_name = l.schema_name AND p.table_name = l.table_name
                    AND p.state = 'removed')
)
SELECT run, mode, coalesce(verdict, ''), pg_catalog.date_part('epoch', finished_at)::bigint,
       (SELECT count(*) FROM looks),
       (SELECT count(*) FROM looks WHERE verdict = 'different'),
       (SELECT count(*) FROM looks WHERE verdict = 'undecided'),
       (SELECT coalesce(pg_catalog.sum(rows_different), 0)::bigint FROM looks)
FROM ended)sql";

}  // namespace

absl::Status NoteVerifyLook(Connection& session, const std::string& task, int64_t run,
                            const VerifyLook& look) {
  return session
      .Query(kNoteSql,
             std::vector<Param>{task, absl::StrCat(run), look.table.schema, look.table.name,
                                look.verdict, absl::StrCat(look.rows_different)})
      .status();
}

absl::StatusOr<std::vector<TableName>> ReadLookedAt(Connection& session, const std::string& task) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result rows,
      session.Query("SELECT schema_name, table_name FROM towline_state.verify_look WHERE task = $1",
                    {{task}}));
  std::vector<TableName> tables;
  for (int row = 0; row < rows.row_count(); ++row) {
    tables.push_back({rows.GetString(row, 0), rows.GetString(row, 1)});
  }
  return tables;
}

absl::Status ForgetLooks(Connection& session, const std::string& task,
                         const std::vector<TableName>& tables) {
  if (tables.empty()) return absl::OkStatus();
  ArrayLiteral schemas;
  ArrayLiteral names;
  for (const TableName& table : tables) {
    schemas.Add(table.schema);
    names.Add(table.name);
  }
  return session
      .Query(
          "DELETE FROM towline_state.verify_look WHERE task = $1 AND (schema_name, table_name) IN "
          "(SELECT * FROM unnest($2::text[], $3::text[]))",
          std::vector<Param>{task, schemas.ToString(), names.ToString()})
      .status();
}

absl::StatusOr<VerifySummary> ReadVerifySummary(Connection& session, const std::string& task) {
  VerifySummary summary;
  TOWLINE_ASSIGN_OR_RETURN(Result row, session.Query(kSummarySql, {{task}}));
  if (row.row_count() == 0) return summary;
  summary.mode = row.GetString(0, 1);
  summary.verdict = row.GetString(0, 2);
  int column = 3;
  for (int64_t* count : {&summary.finished_at_s, &summary.tables, &summary.tables_different,
                         &summary.tables_undecided, &summary.rows_different}) {
    *count = row.GetInt(0, column++);
  }
  summary.run = row.GetInt(0, 0);
  return summary;
}

}  // namespace towline
