#include "base/status_macros.h"
#include "state/verify_record.h"

namespace towline {
namespace {

// Of two looks at a table the later counts, also of a comparison that is going on.
constexpr char kSummarySql[] = R"sql(
WITH ended AS (
  SELECT run, mode, verdict, finished_at FROM towline_state.verify_run
  WHERE task = $1 AND finished_at IS NOT NULL ORDER BY run DESC LIMIT 1
), looks AS (
  SELECT DISTINCT ON (r.schema_name, r.table_name) r.verdict,
         greatest(r.missing + r.extra + r.different - r.repaired, 0) AS left_over
  FROM towline_state.verify_result r, ended
  WHERE r.task = $1 AND r.run >= ended.run
  ORDER BY r.schema_name, r.table_name, r.run DESC
)
SELECT run, mode, coalesce(verdict, ''), pg_catalog.date_part('epoch', finished_at)::bigint,
       (SELECT count(*) FROM looks),
       (SELECT count(*) FROM looks WHERE verdict = 'different'),
       (SELECT count(*) FROM looks WHERE verdict = 'undecided'),
       (SELECT coalesce(pg_catalog.sum(left_over), 0)::bigint FROM looks)
FROM ended)sql";

}  // namespace

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
