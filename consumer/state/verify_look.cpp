#include "state/verify_look.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "schema/array_literal.h"

namespace towline {
namespace {

constexpr char kKnownSql[] =
    "SELECT run, mode, verdict, rows_different, looked_at, "
    "coalesce(looked_at = nullif($4, '')::timestamptz, false) FROM towline_state.verify_look "
    "WHERE task = $1 AND schema_name = $2 AND table_name = $3";

constexpr char kFirstSql[] =
    "INSERT INTO towline_state.verify_look (task, schema_name, table_name, run, mode, verdict, "
    "rows_different) VALUES ($1, $2, $3, $4::bigint, $5, $6, $7::bigint) ON CONFLICT DO NOTHING";

constexpr char kMergedSql[] =
    "UPDATE towline_state.verify_look SET run = $4::bigint, mode = $5, verdict = $6, "
    "rows_different = $7::bigint, looked_at = pg_catalog.clock_timestamp() "
    "WHERE task = $1 AND schema_name = $2 AND table_name = $3";

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

constexpr char kEqual[] = "equal";
constexpr char kDifferent[] = "different";

bool IsCount(const VerifyLook& look) { return absl::StartsWith(look.mode, "counts"); }
bool IsSample(const VerifyLook& look) { return absl::StrContains(look.mode, "sample"); }
bool IsOfAllRows(const VerifyLook& look) { return !IsCount(look) && !IsSample(look); }

// What it takes to take back what a look has found: any other what a part of the rows has left
// undecided; a count what a count has found; of the rest only a look at all rows.
int WeightOf(const VerifyLook& look) {
  if (look.verdict == kEqual) return 0;
  if (IsOfAllRows(look)) return 3;
  if (look.verdict != kDifferent) return 0;
  return IsSample(look) ? 2 : 1;
}

// The heaviest that is taken back by such a look.
int ReachOf(const VerifyLook& look) {
  if (IsOfAllRows(look)) return 3;
  return IsCount(look) ? 1 : 0;
}

}  // namespace

std::optional<VerifyLook> MergeLooks(const VerifyLook& known, const VerifyLook& now,
                                     bool is_later) {
  if (known.verdict == kEqual) return now;
  const bool takes_back = is_later && WeightOf(known) <= ReachOf(now);
  if (now.verdict == kEqual) return takes_back ? std::optional(now) : std::nullopt;
  VerifyLook merged = known;
  if (WeightOf(now) >= WeightOf(known)) {
    merged.run = now.run;
    merged.mode = now.mode;
  }
  if (known.verdict == kDifferent && now.verdict != kDifferent) {
    // Only what it takes to take both back is new.
    return WeightOf(now) > WeightOf(known) ? std::optional(merged) : std::nullopt;
  }
  merged.verdict = now.verdict;
  merged.rows_different =
      takes_back ? now.rows_different : std::max(known.rows_different, now.rows_different);
  return merged;
}

absl::StatusOr<std::string> ReadKnownAt(Connection& session, const std::string& task,
                                        const TableName& table) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result row, session.Query(kKnownSql, std::vector<Param>{task, table.schema, table.name, ""}));
  return row.row_count() == 0 ? "" : row.GetString(0, 4);
}

absl::Status NoteVerifyLook(Connection& session, const std::string& task, const TableName& table,
                            const VerifyLook& look, const std::string& known_at) {
  auto write = [&](const char* sql, const VerifyLook& written) {
    return session.Query(
        sql,
        std::vector<Param>{task, table.schema, table.name, absl::StrCat(written.run), written.mode,
                           written.verdict, absl::StrCat(written.rows_different)});
  };
  for (;;) {
    TOWLINE_ASSIGN_OR_RETURN(
        Result row, session.Query(absl::StrCat(kKnownSql, " FOR UPDATE"),
                                  std::vector<Param>{task, table.schema, table.name, known_at}));
    if (row.row_count() > 0) {
      const VerifyLook known{row.GetInt(0, 0), row.GetString(0, 1), row.GetString(0, 2),
                             row.GetInt(0, 3)};
      const std::optional<VerifyLook> merged = MergeLooks(known, look, row.GetBool(0, 5));
      return merged.has_value() ? write(kMergedSql, *merged).status() : absl::OkStatus();
    }
    TOWLINE_ASSIGN_OR_RETURN(Result first, write(kFirstSql, look));
    if (first.affected_rows() > 0) return absl::OkStatus();
  }
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
