#include "state/verify_record.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "nlohmann/json.hpp"
#include "pg/quoting.h"
#include "schema/array_literal.h"
#include "state/state_schema.h"
#include "state/task_row.h"

namespace towline {
namespace {

constexpr int kSinceVersion = 17;

constexpr char kAddRowSql[] =
    "INSERT INTO towline_state.verify_row (task, run, schema_name, table_name, kind, key_values, "
    "columns, repaired_at, replaced_values) VALUES ($1, $2::bigint, $3, $4, $5, $6, $7::text[], "
    "CASE WHEN $8::boolean THEN pg_catalog.clock_timestamp() END, nullif($9, ''))";

constexpr char kAddTableSql[] =
    "INSERT INTO towline_state.verify_result (task, run, schema_name, table_name, verdict, "
    "source_rows, destination_rows, ranges, missing, extra, different, undecided, repaired, "
    "seconds, note, form) VALUES ($1, $2::bigint, $3, $4, $5, $6::bigint, $7::bigint, $8::bigint, "
    "$9::bigint, $10::bigint, $11::bigint, $12::bigint, $13::bigint, $14::float8, $15, $16) "
    "ON CONFLICT DO NOTHING";

constexpr char kBeginProgressSql[] =
    "INSERT INTO towline_state.verify_progress (task, run, schema_name, table_name, ranges_done, "
    "source_rows, destination_rows, ranges, missing, extra, different, undecided, repaired, "
    "seconds, form, bounds, range_order, known_at) VALUES ($1, $2::bigint, $3, $4, $5::bigint, "
    "$6::bigint, $7::bigint, $8::bigint, $9::bigint, $10::bigint, $11::bigint, $12::bigint, "
    "$13::bigint, $14::float8, $15, $16::text[], $17::bigint[], nullif($18, '')::timestamptz)";

constexpr char kSaveProgressSql[] =
    "UPDATE towline_state.verify_progress SET ranges_done = $5::bigint, source_rows = $6::bigint, "
    "destination_rows = $7::bigint, ranges = $8::bigint, missing = $9::bigint, extra = "
    "$10::bigint, different = $11::bigint, undecided = $12::bigint, repaired = $13::bigint, "
    "seconds = $14::float8, saved_at = pg_catalog.clock_timestamp() "
    "WHERE task = $1 AND run = $2::bigint AND schema_name = $3 AND table_name = $4";

constexpr char kReadProgressSql[] =
    "SELECT schema_name, table_name, 'undecided', source_rows, destination_rows, ranges, missing, "
    "extra, different, undecided, repaired, '', seconds, ranges_done, form, "
    "pg_catalog.array_to_json(bounds), pg_catalog.array_to_json(range_order), known_at "
    "FROM towline_state.verify_progress WHERE task = $1 AND run = $2::bigint";

// The first thing of a run is its session, the last too: whoever has it is at work on the run.
constexpr char kLockRunSql[] =
    "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('towline verify ' || $1, "
    "$2::bigint))";
constexpr absl::Duration kLockWaitMax = absl::Seconds(5);  // for the session of one that was killed
constexpr absl::Duration kLockPause = absl::Milliseconds(100);

constexpr char kReadTablesSql[] =
    "SELECT schema_name, table_name, verdict, source_rows, destination_rows, ranges, missing, "
    "extra, different, undecided, repaired, note, seconds, form FROM towline_state.verify_result "
    "WHERE task = $1 AND run = $2::bigint";

constexpr char kReadRowsSql[] =
    "SELECT schema_name, table_name, kind, key_values, pg_catalog.array_to_json(columns), "
    "repaired_at IS NOT NULL FROM towline_state.verify_row WHERE task = $1 AND run = $2::bigint "
    "ORDER BY number";

absl::Status CheckVersion(Connection& session) {
  TOWLINE_ASSIGN_OR_RETURN(std::string version,
                           session.QueryValue("SELECT max(version) FROM towline_state.meta"));
  if (std::atoi(version.c_str()) >= kSinceVersion) return absl::OkStatus();
  return WithHint(absl::FailedPreconditionError(
                      absl::StrCat("the schema towline_state of the destination has "
                                   "version ",
                                   version, ", which does not keep all that verify finds")),
                  "Start `towline run` of this version once: it brings the schema up.");
}

template <typename Element>
std::vector<Element> ElementsOf(absl::string_view json) {
  nlohmann::json array = nlohmann::json::parse(json, nullptr, false);
  return array.is_array() ? array.get<std::vector<Element>>() : std::vector<Element>();
}

std::string ArrayOf(const std::vector<std::string>& texts) {
  ArrayLiteral array;
  for (const std::string& text : texts) array.Add(text);
  return array.ToString();
}

// Of kReadTablesSql or kReadProgressSql.
VerifiedTable GetTable(const Result& rows, int row) {
  VerifiedTable table;
  table.table = {rows.GetString(row, 0), rows.GetString(row, 1)};
  table.verdict = rows.GetString(row, 2);
  int column = 3;
  for (int64_t* count : {&table.source_rows, &table.destination_rows, &table.ranges, &table.missing,
                         &table.extra, &table.different, &table.undecided, &table.repaired}) {
    *count = rows.GetInt(row, column++);
  }
  table.note = rows.GetString(row, column);
  table.seconds = std::atof(rows.GetString(row, column + 1).c_str());
  return table;
}

}  // namespace

absl::StatusOr<std::unique_ptr<VerifyRecord>> VerifyRecord::Open(const Options& options,
                                                                 const Shutdown& shutdown) {
  Connection::Purpose purpose;
  purpose.application_name = "towline verify record";
  TOWLINE_ASSIGN_OR_RETURN(Connection session,
                           Connection::Open(options.destination, purpose, shutdown));
  TOWLINE_RETURN_IF_ERROR(CheckVersion(session));
  std::unique_ptr<VerifyRecord> record(new VerifyRecord(std::move(session), options));
  TOWLINE_RETURN_IF_ERROR(options.resumes ? record->Resume(options, shutdown)
                                          : record->Begin(options, shutdown));
  return record;
}

absl::Status VerifyRecord::LockRun(const Shutdown& shutdown) {
  const absl::Time deadline = SteadyNow() + kLockWaitMax;
  for (;;) {
    TOWLINE_ASSIGN_OR_RETURN(Result row,
                             session_.Query(kLockRunSql, {{task_, absl::StrCat(run_)}}));
    if (row.GetBool(0, 0)) return absl::OkStatus();
    if (SteadyNow() > deadline) {
      return WithHint(absl::UnavailableError(absl::StrCat("comparison ", run_, " of task ", task_,
                                                          " is going on in another process")),
                      "Leave --resume out.");
    }
    if (!shutdown.SleepFor(kLockPause)) return absl::CancelledError("shutting down");
  }
}

absl::Status VerifyRecord::Begin(const Options& options, const Shutdown& shutdown) {
  seed_ = options.seed;
  absl::MutexLock lock(&mutex_);
  TOWLINE_ASSIGN_OR_RETURN(
      Result row,
      session_.Query("INSERT INTO towline_state.verify_run (task, mode, seed) VALUES ($1, $2, "
                     "$3::numeric) RETURNING run",
                     {{task_, options.mode, seed_ ? Param(absl::StrCat(*seed_)) : Param()}}));
  run_ = row.GetInt(0, 0);
  TOWLINE_RETURN_IF_ERROR(LockRun(shutdown));
  return Prune();
}

// Rounds of continuous comparisons come one a minute, and must not take the place of others, nor
// those that found nothing that of those that did.
absl::Status VerifyRecord::Prune() {
  constexpr char kOldRuns[] =
      " WHERE task = $1 AND run IN (SELECT n.run FROM (SELECT r.run, pg_catalog.row_number() OVER "
      "(PARTITION BY CASE WHEN r.mode NOT LIKE $3 THEN 0 WHEN coalesce(r.verdict, 'equal') = "
      "'equal' THEN 1 ELSE 2 END ORDER BY r.run DESC) AS number FROM towline_state.verify_run r "
      "WHERE r.task = $1) AS n WHERE n.number > $2::bigint)";
  for (const char* table : {"verify_row", "verify_result", "verify_progress", "verify_run"}) {
    TOWLINE_RETURN_IF_ERROR(session_
                                .Query(absl::StrCat("DELETE FROM towline_state.", table, kOldRuns),
                                       std::vector<Param>{task_, absl::StrCat(kRunsKept),
                                                          absl::StrCat("%", kContinuousMode, "%")})
                                .status());
  }
  return absl::OkStatus();
}

absl::Status VerifyRecord::Resume(const Options& options, const Shutdown& shutdown) {
  TOWLINE_ASSIGN_OR_RETURN(const bool is_found, FindRun(options, shutdown));
  return is_found ? ReadDone() : Begin(options, shutdown);
}

absl::StatusOr<bool> VerifyRecord::FindRun(const Options& options, const Shutdown& shutdown) {
  absl::MutexLock lock(&mutex_);
  // A continuous comparison goes on whatever else was compared meanwhile.
  TOWLINE_ASSIGN_OR_RETURN(
      Result row,
      session_.Query(
          "SELECT run, mode, finished_at IS NOT NULL, seed FROM "
          "towline_state.verify_run WHERE task = $1 AND (mode = $2 OR NOT $3::boolean) "
          "ORDER BY run DESC LIMIT 1",
          std::vector<Param>{task_, options.mode, options.begins_if_none ? "true" : "false"}));
  if (row.row_count() == 0 || row.GetBool(0, 2) || row.Get(0, 1) != options.mode) {
    if (options.begins_if_none) return false;
    std::string why = row.row_count() == 0 ? "the task has none"
                      : row.GetBool(0, 2)
                          ? "the last one has come to its end"
                          : absl::StrCat("the last one was another: ", row.GetString(0, 1));
    return WithHint(absl::FailedPreconditionError(
                        absl::StrCat("there is no interrupted comparison to go on with: ", why)),
                    "Leave --resume out.");
  }
  run_ = row.GetInt(0, 0);
  TOWLINE_RETURN_IF_ERROR(LockRun(shutdown));
  uint64_t seed = 0;
  seed_ = options.seed;
  if (!row.IsNull(0, 3) && absl::SimpleAtoi(row.Get(0, 3), &seed)) seed_ = seed;
  return true;
}

absl::Status VerifyRecord::ReadDone() {
  absl::MutexLock lock(&mutex_);
  const std::vector<Param> params = {task_, absl::StrCat(run_)};
  TOWLINE_ASSIGN_OR_RETURN(Result rows, session_.Query(kReadRowsSql, params));
  std::map<TableName, std::vector<VerifiedRow>> rows_of;
  for (int i = 0; i < rows.row_count(); ++i) {
    VerifiedRow row{rows.GetString(i, 2), rows.GetString(i, 3), {}, rows.GetBool(i, 5), ""};
    row.columns = ElementsOf<std::string>(rows.Get(i, 4));
    rows_of[{rows.GetString(i, 0), rows.GetString(i, 1)}].push_back(std::move(row));
  }
  TOWLINE_ASSIGN_OR_RETURN(Result tables, session_.Query(kReadTablesSql, params));
  for (int i = 0; i < tables.row_count(); ++i) {
    VerifiedTable table = GetTable(tables, i);
    table.form = tables.GetString(i, 13);
    if (auto found = rows_of.extract(table.table)) table.rows = std::move(found.mapped());
    done_.push_back(std::move(table));
  }
  TOWLINE_RETURN_IF_ERROR(ReadBegun(params, std::move(rows_of)));
  absl::MutexLock count_lock(&count_mutex_);
  rows_ = rows.row_count();
  return absl::OkStatus();
}

absl::Status VerifyRecord::ReadBegun(const std::vector<Param>& params,
                                     std::map<TableName, std::vector<VerifiedRow>> rows_of) {
  TOWLINE_ASSIGN_OR_RETURN(Result rows, session_.Query(kReadProgressSql, params));
  for (int i = 0; i < rows.row_count(); ++i) {
    VerifyProgressRow progress{GetTable(rows, i), rows.GetString(i, 14),
                               ElementsOf<std::string>(rows.Get(i, 15)), rows.GetInt(i, 13),
                               ElementsOf<int64_t>(rows.Get(i, 16))};
    known_at_[progress.so_far.table] = rows.GetString(i, 17);
    if (auto found = rows_of.extract(progress.so_far.table)) {
      progress.so_far.rows = std::move(found.mapped());
    }
    begun_.push_back(std::move(progress));
  }
  for (auto& [table, found] : rows_of) {
    begun_.emplace_back();
    begun_.back().so_far.table = table;
    begun_.back().so_far.rows = std::move(found);
  }
  return absl::OkStatus();
}

std::vector<Param> VerifyRecord::TableParams(const TableName& table) const {
  return {task_, absl::StrCat(run_), table.schema, table.name};
}

absl::Status VerifyRecord::BeginTable(const TableName& table) {
  absl::MutexLock lock(&mutex_);
  known_at_.erase(table);
  TOWLINE_ASSIGN_OR_RETURN(std::string known_at, ReadKnownAt(session_, task_, table));
  known_at_[table] = std::move(known_at);
  return absl::OkStatus();
}

absl::Status VerifyRecord::ForgetTable(const TableName& table) {
  absl::MutexLock lock(&mutex_);
  return InTransaction(session_, [&]() -> absl::Status {
    mutex_.AssertHeld();
    constexpr char kOfTable[] =
        " WHERE task = $1 AND run = $2::bigint AND schema_name = $3 AND table_name = $4";
    TOWLINE_ASSIGN_OR_RETURN(
        Result deleted,
        session_.Query(absl::StrCat("WITH d AS (DELETE FROM towline_state.verify_row", kOfTable,
                                    " AND repaired_at IS NULL RETURNING 1) "
                                    "SELECT count(*) FROM d"),
                       TableParams(table)));
    absl::MutexLock count_lock(&count_mutex_);
    rows_ -= deleted.GetInt(0, 0);
    for (const char* found : {"verify_progress", "verify_result"}) {
      TOWLINE_RETURN_IF_ERROR(
          session_
              .Query(absl::StrCat("DELETE FROM towline_state.", found, kOfTable),
                     TableParams(table))
              .status());
    }
    return absl::OkStatus();
  });
}

absl::Status VerifyRecord::SaveProgress(const VerifyProgressRow& progress) {
  const VerifiedTable& table = progress.so_far;
  std::vector<Param> params = TableParams(table.table);
  for (int64_t count :
       {progress.ranges_done, table.source_rows, table.destination_rows, table.ranges,
        table.missing, table.extra, table.different, table.undecided, table.repaired}) {
    params.push_back(absl::StrCat(count));
  }
  params.push_back(absl::StrCat(table.seconds));
  const bool is_first = !progress.form.empty();
  absl::MutexLock lock(&mutex_);
  if (is_first) {
    params.push_back(progress.form);
    params.push_back(ArrayOf(progress.bounds));
    params.push_back(absl::StrCat("{", absl::StrJoin(progress.order, ","), "}"));
    params.push_back(known_at_[table.table]);
  }
  return InTransaction(session_, [&]() -> absl::Status {
    mutex_.AssertHeld();
    TOWLINE_RETURN_IF_ERROR(AddRowsNotRepaired(table));
    return session_.Query(is_first ? kBeginProgressSql : kSaveProgressSql, params).status();
  });
}

absl::Status VerifyRecord::AddRowsNotRepaired(const VerifiedTable& table) {
  std::vector<VerifiedRow> rows;
  std::copy_if(table.rows.begin(), table.rows.end(), std::back_inserter(rows),
               [](const VerifiedRow& row) { return !row.is_repaired; });
  return AddRows(session_, table.table, rows);
}

absl::Status VerifyRecord::AddRows(Connection& session, const TableName& table,
                                   const std::vector<VerifiedRow>& rows) {
  int64_t count = static_cast<int64_t>(rows.size());
  {
    absl::MutexLock lock(&count_mutex_);
    count = std::min(count, kRowsKept - rows_);
    rows_ += count;
  }
  for (int64_t i = 0; i < count; ++i) {
    const VerifiedRow& row = rows[static_cast<size_t>(i)];
    TOWLINE_RETURN_IF_ERROR(
        session
            .Query(kAddRowSql,
                   std::vector<Param>{task_, absl::StrCat(run_), table.schema, table.name, row.kind,
                                      row.key, ArrayOf(row.columns),
                                      row.is_repaired ? "true" : "false", row.replaced})
            .status());
  }
  return absl::OkStatus();
}

absl::Status VerifyRecord::AddTable(const VerifiedTable& table) {
  std::vector<Param> params = TableParams(table.table);
  params.push_back(table.verdict);
  for (int64_t count : {table.source_rows, table.destination_rows, table.ranges, table.missing,
                        table.extra, table.different, table.undecided, table.repaired}) {
    params.push_back(absl::StrCat(count));
  }
  params.push_back(absl::StrCat(table.seconds));
  params.push_back(table.note);
  params.push_back(table.form);
  absl::MutexLock lock(&mutex_);
  const auto begun = known_at_.extract(table.table);
  const std::string known_at = begun.empty() ? "" : begun.mapped();
  absl::Status noted;
  const absl::Status written = InTransaction(session_, [&]() -> absl::Status {
    mutex_.AssertHeld();
    TOWLINE_RETURN_IF_ERROR(AddRowsNotRepaired(table));
    TOWLINE_RETURN_IF_ERROR(
        session_
            .Query("DELETE FROM towline_state.verify_progress WHERE task = $1 AND run = $2::bigint "
                   "AND schema_name = $3 AND table_name = $4",
                   TableParams(table.table))
            .status());
    TOWLINE_RETURN_IF_ERROR(session_.Query(kAddTableSql, params).status());
    // A role may have been given rights on the tables of an older version, one by one.
    TOWLINE_RETURN_IF_ERROR(session_.Exec("SAVEPOINT towline_look").status());
    noted = NoteVerifyLook(session_, task_, table.table, LookOf(table), known_at);
    return noted.ok() ? absl::OkStatus()
                      : session_.Exec("ROLLBACK TO SAVEPOINT towline_look").status();
  });
  return written.ok() ? noted : written;
}

VerifyLook VerifyRecord::LookOf(const VerifiedTable& table) const {
  int64_t different = table.missing + table.extra + table.different;
  if (!repairs_into_file_) different = std::max<int64_t>(0, different - table.repaired);
  return {run_, mode_, repairs_into_file_ && different > 0 ? "different" : table.verdict,
          different};
}

absl::StatusOr<std::vector<TableName>> VerifyRecord::LookedAt() {
  absl::MutexLock lock(&mutex_);
  return ReadLookedAt(session_, task_);
}

absl::Status VerifyRecord::Forget(const std::vector<TableName>& gone) {
  absl::MutexLock lock(&mutex_);
  return ForgetLooks(session_, task_, gone);
}

absl::Status VerifyRecord::End(const std::string& verdict) {
  absl::MutexLock lock(&mutex_);
  return session_
      .Query(
          "UPDATE towline_state.verify_run SET verdict = $3, finished_at = "
          "pg_catalog.clock_timestamp() WHERE task = $1 AND run = $2::bigint",
          std::vector<Param>{task_, absl::StrCat(run_), verdict})
      .status();
}

}  // namespace towline
