#include "snapshot/exported_snapshot.h"

#include <algorithm>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// One LOCK TABLE statement; its text stays small.
constexpr size_t kLocksPerStatement = 500;

// Tables that appear between the list and the locks are rare; a source that makes them faster than
// we can lock is told so.
constexpr int kTriesMax = 10;

absl::Status LockTables(Connection& connection, const std::vector<Table>& tables) {
  for (size_t start = 0; start < tables.size(); start += kLocksPerStatement) {
    std::string sql = "LOCK TABLE ";
    size_t end = std::min(tables.size(), start + kLocksPerStatement);
    for (size_t i = start; i < end; ++i) {
      absl::StrAppend(&sql, i == start ? "ONLY " : ", ONLY ",
                      QuoteQualified(tables[i].name.schema, tables[i].name.name));
    }
    sql.append(" IN ACCESS SHARE MODE");
    absl::Status status = connection.Exec(sql).status();
    if (status.ok()) continue;
    std::string sqlstate = GetSqlState(status);
    status = WithContext(status, "cannot lock the tables for the copy");
    if (sqlstate == "42P01" || sqlstate == "3F000") {
      return WithCode(WithContext(status, "a table was dropped while the copy began"),
                      absl::StatusCode::kAborted);
    }
    if (sqlstate != "42501") return status;
    return WithHint(status,
                    "GRANT USAGE ON the schemas and SELECT ON the tables that are copied to "
                    "the source's role; `towline check` prints the statements.");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ExportedSnapshot> ExportedSnapshot::Take(const ConnectOptions& source,
                                                        const TableSelection& selection,
                                                        const std::string& application_name,
                                                        const Shutdown& shutdown) {
  Connection::Purpose purpose;
  purpose.application_name = absl::StrCat(application_name, " snapshot");
  TOWLINE_ASSIGN_OR_RETURN(Connection connection, Connection::Open(source, purpose, shutdown));
  ExportedSnapshot snapshot(std::move(connection));
  TOWLINE_RETURN_IF_ERROR(snapshot.LockAndExport(selection));
  return snapshot;
}

absl::Status ExportedSnapshot::LockAndExport(const TableSelection& selection) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> listed, ReadTables(connection_, selection));
  for (int tries = 0; tries < kTriesMax; ++tries) {
    std::set<Oid> locked;
    for (const Table& table : listed) locked.insert(table.oid);
    TOWLINE_RETURN_IF_ERROR(
        connection_.Exec("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").status());
    TOWLINE_RETURN_IF_ERROR(LockTables(connection_, listed));
    // The first query: it takes the transaction's snapshot.
    TOWLINE_ASSIGN_OR_RETURN(Result exported,
                             connection_.Query("SELECT pg_catalog.pg_export_snapshot(), "
                                               "pg_catalog.pg_current_snapshot()"));
    TOWLINE_ASSIGN_OR_RETURN(
        std::string lsn, connection_.QueryValue("SELECT pg_catalog.pg_current_wal_insert_lsn()"));
    TOWLINE_RETURN_IF_ERROR(TakeLockKey());
    TOWLINE_ASSIGN_OR_RETURN(tables_, ReadTables(connection_, selection));
    bool is_complete = std::all_of(tables_.begin(), tables_.end(), [&locked](const Table& table) {
      return locked.contains(table.oid);
    });
    if (is_complete) {
      name_ = exported.GetString(0, 0);
      text_ = exported.GetString(0, 1);
      TOWLINE_ASSIGN_OR_RETURN(lsn_after_, Lsn::Parse(lsn));
      return absl::OkStatus();
    }
    TOWLINE_RETURN_IF_ERROR(connection_.Exec("ROLLBACK").status());
    listed = std::move(tables_);
  }
  return absl::AbortedError("new tables keep appearing on the source while the copy begins");
}

absl::Status ExportedSnapshot::TakeLockKey() {
  // Random, so that neither another task nor the user's programs use the same.
  std::random_device random;
  lock_key_ = static_cast<int64_t>((static_cast<uint64_t>(random()) << 32) | random());
  return connection_
      .Query("SELECT pg_catalog.pg_advisory_xact_lock($1::bigint)", {{absl::StrCat(lock_key_)}})
      .status();
}

absl::Status ExportedSnapshot::CheckAlive() {
  absl::Status status = connection_.Exec("SELECT 1").status();
  return WithContext(status, "the snapshot of the copy is lost");
}

}  // namespace towline
