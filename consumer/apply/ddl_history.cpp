#include "apply/ddl_history.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"

namespace towline {
namespace {

// A source that makes tables all day must not fill the destination. What is held stays. What is not
// as at the source is not pushed out by what is.
constexpr int64_t kHistoryRowsMax = 10'000;
constexpr int64_t kRowsBetweenDrops = 256;

constexpr char kDecisionSql[] =
    "SELECT decision FROM towline_state.ddl_history WHERE task = $1 AND end_lsn = $2::pg_lsn AND "
    "ordinal = $3::bigint";

// Microseconds.
constexpr char kHeldForSql[] =
    "SELECT (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - recorded_at) * "
    "1000000)::bigint, decision, reason FROM towline_state.ddl_history WHERE task = $1 AND "
    "end_lsn = $2::pg_lsn AND ordinal = $3::bigint AND fate = 'held' FOR UPDATE";

// Microseconds, and no more than $3 whatever the clock has been set to.
constexpr char kHoldLeftSql[] =
    "SELECT COALESCE(max(LEAST($3::bigint, $3::bigint - (pg_catalog.date_part('epoch', "
    "pg_catalog.clock_timestamp() - recorded_at) * 1000000)::bigint)), 0) FROM "
    "towline_state.ddl_history WHERE task = $1 AND number = $2::bigint AND fate = 'held' AND "
    "decision = ''";

constexpr char kNumberSql[] =
    "SELECT number FROM towline_state.ddl_history WHERE task = $1 AND end_lsn = $2::pg_lsn AND "
    "ordinal = $3::bigint";

constexpr char kRecordSql[] =
    "INSERT INTO towline_state.ddl_history AS h (task, end_lsn, ordinal, xid, tag, kind, "
    "statement, "
    "search_path, role, objects, fate, reason) "
    "VALUES ($1, $2::pg_lsn, $3::bigint, $4::numeric, $5, $6, $7, $8, $9, $10, $11, $12) "
    "ON CONFLICT (task, end_lsn, ordinal) DO UPDATE SET fate = EXCLUDED.fate, reason = "
    "EXCLUDED.reason, recorded_at = CASE WHEN h.fate = 'held' AND EXCLUDED.fate = 'held' AND "
    "h.decision = '' AND h.reason = EXCLUDED.reason THEN h.recorded_at ELSE "
    "pg_catalog.clock_timestamp() END, statement = EXCLUDED.statement, decision = CASE WHEN "
    "EXCLUDED.fate = 'held' AND h.decision = $13 THEN '' ELSE h.decision END RETURNING number";

constexpr char kHasHistorySql[] =
    "SELECT pg_catalog.to_regclass('towline_state.ddl_history') IS NOT NULL";

constexpr char kListSql[] =
    "SELECT number, end_lsn, ordinal, pg_catalog.date_trunc('second', recorded_at), tag, kind, "
    "statement, search_path, role, objects, fate, reason, decision FROM towline_state.ddl_history "
    "WHERE task = $1";

constexpr char kDropOldestSql[] =
    "DELETE FROM towline_state.ddl_history h USING (SELECT c.end_lsn, c.ordinal, "
    "pg_catalog.row_number() OVER (PARTITION BY c.fate IN ('parked', 'skipped') ORDER BY c.number "
    "DESC) AS age FROM towline_state.ddl_history c WHERE c.task = $1 AND c.fate <> 'held') o WHERE "
    "h.task = $1 AND h.end_lsn = o.end_lsn AND h.ordinal = o.ordinal AND o.age > $2::bigint";

}  // namespace

absl::StatusOr<std::string> DdlHistory::ReadDecision(const DdlPlace& place) {
  TOWLINE_ASSIGN_OR_RETURN(Result rows,
                           connection_->Query(kDecisionSql, {{claim_.task, place.end_lsn.ToString(),
                                                              absl::StrCat(place.ordinal)}}));
  return rows.row_count() == 0 ? std::string() : rows.GetString(0, 0);
}

absl::StatusOr<absl::Duration> DdlHistory::ReadHeldFor(const DdlPlace& place,
                                                       absl::string_view reason) {
  TOWLINE_ASSIGN_OR_RETURN(Result rows,
                           connection_->Query(kHeldForSql, {{claim_.task, place.end_lsn.ToString(),
                                                             absl::StrCat(place.ordinal)}}));
  if (rows.row_count() == 0) return absl::ZeroDuration();
  if (!rows.Get(0, 1).empty()) {
    return absl::AbortedError("a schema change that is held was decided about just now");
  }
  return rows.Get(0, 2) == reason ? absl::Microseconds(rows.GetInt(0, 0)) : absl::ZeroDuration();
}

absl::StatusOr<absl::Duration> ReadHoldLeft(Connection& destination, const std::string& task,
                                            int64_t number, absl::Duration hold_max) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result left,
      destination.Query(kHoldLeftSql, {{task, absl::StrCat(number),
                                        absl::StrCat(absl::ToInt64Microseconds(hold_max))}}));
  return absl::Microseconds(std::max<int64_t>(0, left.GetInt(0, 0)));
}

absl::StatusOr<int64_t> DdlHistory::ReadNumber(const DdlPlace& place) {
  TOWLINE_ASSIGN_OR_RETURN(Result rows,
                           connection_->Query(kNumberSql, {{claim_.task, place.end_lsn.ToString(),
                                                            absl::StrCat(place.ordinal)}}));
  return rows.row_count() == 0 ? 0 : rows.GetInt(0, 0);
}

absl::Status DdlHistory::Record(const DdlPlace& place, const DdlCommand& command,
                                absl::string_view kind, absl::string_view fate,
                                absl::string_view reason, absl::string_view decision) {
  std::string objects =
      absl::StrJoin(command.objects, ", ", [](std::string* out, const DdlObject& object) {
        absl::StrAppend(out, object.type, " ", object.identity);
      });
  TOWLINE_ASSIGN_OR_RETURN(
      Result recorded,
      connection_->Query(
          kRecordSql,
          std::vector<Param>{claim_.task, place.end_lsn.ToString(), absl::StrCat(place.ordinal),
                             absl::StrCat(place.xid), command.tag, std::string(kind),
                             command.statement, command.search_path, command.role, objects,
                             std::string(fate), std::string(reason), std::string(decision)}));
  if (recorded.GetInt(0, 0) % kRowsBetweenDrops != 0) return absl::OkStatus();
  return connection_
      ->Query(kDropOldestSql, std::vector<Param>{claim_.task, absl::StrCat(kHistoryRowsMax)})
      .status();
}

absl::StatusOr<std::vector<DdlRecord>> ListDdl(Connection& destination, const std::string& task,
                                               DdlRecords which) {
  std::vector<DdlRecord> records;
  TOWLINE_ASSIGN_OR_RETURN(std::string exists, destination.QueryValue(kHasHistorySql));
  if (exists != "t") return records;
  const char* condition = which == DdlRecords::kHeld ? " AND fate = 'held'"
                          : which == DdlRecords::kNotAsAtSource
                              ? " AND fate IN ('held', 'parked', 'skipped')"
                              : "";
  TOWLINE_ASSIGN_OR_RETURN(
      Result rows,
      destination.Query(absl::StrCat(kListSql, condition, " ORDER BY number"), {{task}}));
  for (int row = 0; row < rows.row_count(); ++row) {
    records.push_back({rows.GetInt(row, 0), rows.GetString(row, 1), rows.GetInt(row, 2),
                       rows.GetString(row, 3), rows.GetString(row, 4), rows.GetString(row, 5),
                       rows.GetString(row, 6), rows.GetString(row, 7), rows.GetString(row, 8),
                       rows.GetString(row, 9), rows.GetString(row, 10), rows.GetString(row, 11),
                       rows.GetString(row, 12)});
  }
  return records;
}

absl::Status DecideDdl(Connection& destination, const std::string& task, const DdlRecord& record,
                       const std::string& decision) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result decided,
      destination.Query("UPDATE towline_state.ddl_history SET decision = $4 WHERE task = $1 AND "
                        "end_lsn = $2::pg_lsn AND ordinal = $3::bigint AND fate = 'held'",
                        {{task, record.end_lsn, absl::StrCat(record.ordinal), decision}}));
  if (decided.affected_rows() == 1) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("schema change ", record.number, " of task ", task, " is not held any more"));
}

}  // namespace towline
