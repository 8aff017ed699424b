#include "snapshot/exported_snapshot.h"

#include <algorithm>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/table_rules.h"
#include "state/task_name.h"

namespace towline {
namespace {

// One LOCK TABLE statement; its text stays small.
constexpr size_t kLocksPerStatement = 500;

// Tables that appear between the list and the locks are rare; a source that makes them faster than
// we can lock is told so.
constexpr int kTriesMax = 10;

// Below the default deadlock_timeout, so that in a deadlock with us it is never the user's
// transaction that is ended. Also for looking at a table's size, which locks it as well.
constexpr char kLockTimeoutSql[] = "SET lock_timeout = '500ms'";
// Once all tables are locked: what is left are locks on indexes and TOAST tables.
constexpr char kNoLockTimeoutSql[] = "SET lock_timeout = 0";
constexpr char kLockNotAvailable[] = "55P03";

constexpr char kHoldersSql[] = R"sql(
SELECT DISTINCT l.pid, COALESCE(a.usename, ''), COALESCE(a.state, '')
FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
  AND l.database = (SELECT oid FROM pg_catalog.pg_database
                    WHERE datname = pg_catalog.current_database())
  AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
ORDER BY 1 LIMIT 3
)sql";

absl::StatusOr<Connection> Open(const ExportedSnapshot::Options& options, absl::string_view word,
                                const Shutdown& shutdown) {
  Connection::Purpose purpose;
  purpose.application_name = SourceApplication(options.task, word);
  purpose.settings = {kLockTimeoutSql, kRuleSearchPathSql};
  return Connection::Open(options.source, purpose, shutdown);
}

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

absl::Status JoinSnapshot(Connection& reader, const std::string& snapshot,
                          const std::vector<Table>& tables) {
  TOWLINE_RETURN_IF_ERROR(reader
                              .Exec(absl::StrCat("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
                                                 "SET TRANSACTION SNAPSHOT ",
                                                 QuoteLiteral(snapshot)))
                              .status());
  TOWLINE_RETURN_IF_ERROR(LockTables(reader, tables));
  return reader.Exec(kNoLockTimeoutSql).status();
}

}  // namespace

absl::StatusOr<ExportedSnapshot> ExportedSnapshot::Take(const Options& options,
                                                        const Shutdown& shutdown) {
  TOWLINE_ASSIGN_OR_RETURN(Connection connection, Open(options, "snapshot", shutdown));
  ExportedSnapshot snapshot(std::move(connection));
  // Connected before anything is locked, so that they follow the exporter at once.
  for (int i = 0; i < options.readers; ++i) {
    TOWLINE_ASSIGN_OR_RETURN(Connection reader, Open(options, "copy", shutdown));
    snapshot.readers_.push_back(std::move(reader));
  }
  TOWLINE_RETURN_IF_ERROR(snapshot.LockAndExport(options));
  return snapshot;
}

absl::Status ExportedSnapshot::Retake(const Options& options) {
  TOWLINE_RETURN_IF_ERROR(Rollback());
  return LockAndExport(options);
}

absl::Status ExportedSnapshot::LockAndExport(const Options& options) {
  if (!options.tables.empty()) {
    tables_ = options.tables;
    return Export(options, options.tables);
  }
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> listed, ReadTables(connection_, options.selection));
  for (int tries = 0; tries < kTriesMax; ++tries) {
    TOWLINE_RETURN_IF_ERROR(Export(options, listed));
    TOWLINE_ASSIGN_OR_RETURN(tables_, ReadTables(connection_, options.selection));
    std::set<Oid> locked;
    for (const Table& table : listed) locked.insert(table.oid);
    bool is_complete = std::all_of(tables_.begin(), tables_.end(), [&locked](const Table& table) {
      return locked.contains(table.oid);
    });
    if (is_complete || !options.locks_tables) return absl::OkStatus();
    TOWLINE_RETURN_IF_ERROR(Rollback());
    listed = std::move(tables_);
  }
  return absl::AbortedError("new tables keep appearing on the source while the copy begins");
}

absl::Status ExportedSnapshot::Export(const Options& options, const std::vector<Table>& listed) {
  TOWLINE_RETURN_IF_ERROR(
      connection_.Exec("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").status());
  if (options.locks_tables) TOWLINE_RETURN_IF_ERROR(LockTables(connection_, listed));
  options.on_locked();
  // The first query: it takes the transaction's snapshot.
  TOWLINE_ASSIGN_OR_RETURN(Result exported,
                           connection_.Query("SELECT pg_catalog.pg_export_snapshot(), "
                                             "pg_catalog.pg_current_snapshot()"));
  name_ = exported.GetString(0, 0);
  text_ = exported.GetString(0, 1);
  for (Connection& reader : readers_) {
    TOWLINE_RETURN_IF_ERROR(JoinSnapshot(reader, name_, listed));
  }
  TOWLINE_RETURN_IF_ERROR(TakeLockKey());
  TOWLINE_ASSIGN_OR_RETURN(std::string lsn,
                           connection_.QueryValue("SELECT pg_catalog.pg_current_wal_insert_lsn()"));
  TOWLINE_ASSIGN_OR_RETURN(lsn_after_, Lsn::Parse(lsn));
  return absl::OkStatus();
}

absl::Status ExportedSnapshot::TakeLockKey() {
  // Random, so that neither another task nor the user's programs use the same.
  std::random_device random;
  lock_key_ = static_cast<int64_t>((static_cast<uint64_t>(random()) << 32) | random());
  return connection_
      .Query("SELECT pg_catalog.pg_advisory_xact_lock($1::bigint)", {{absl::StrCat(lock_key_)}})
      .status();
}

absl::Status ExportedSnapshot::Rollback() {
  TOWLINE_RETURN_IF_ERROR(connection_.Exec("ROLLBACK").status());
  for (Connection& reader : readers_) {
    // Settings of the transaction go with it, so the short lock_timeout is back.
    TOWLINE_RETURN_IF_ERROR(reader.Exec("ROLLBACK").status());
  }
  return absl::OkStatus();
}

absl::Status ExportedSnapshot::CheckAlive() {
  absl::Status status = connection_.Exec("SELECT 1").status();
  return WithContext(status, "the snapshot of the copy is lost");
}

bool IsLockRefused(const absl::Status& status) { return GetSqlState(status) == kLockNotAvailable; }

absl::StatusOr<std::string> DescribeLockHolders(Connection& source) {
  TOWLINE_ASSIGN_OR_RETURN(Result rows, source.Exec(kHoldersSql));
  std::vector<std::string> holders;
  for (int row = 0; row < rows.row_count(); ++row) {
    std::string facts = absl::StrCat("user ", rows.Get(row, 1), ", ", rows.Get(row, 2));
    holders.push_back(rows.IsNull(row, 0)
                          ? std::string("a prepared transaction")
                          : absl::StrCat("pid ", rows.Get(row, 0), " (", facts, ")"));
  }
  return absl::StrJoin(holders, ", ");
}

}  // namespace towline
