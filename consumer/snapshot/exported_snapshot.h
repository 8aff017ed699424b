// The one snapshot that the copy's sessions share. It lives as long as this session's transaction,
// which also holds ACCESS SHARE on every selected table: taken before the snapshot, so that no
// TRUNCATE or rewrite, which are not MVCC-safe, comes between the two (DESIGN 4, I4).
//
// Whoever reads under it must hold its own locks before the rows are begun: a user's TRUNCATE that
// waits for this session would let nobody else's ACCESS SHARE pass, and nobody would see the
// deadlock, since this session waits for its readers outside the server. So exporter and readers
// take all locks at once and wait for each only briefly; if one cannot be had, all are given up
// (which lets the user's statement pass) and the caller begins again. pg_dump, which takes its time
// before it locks, therefore works under a snapshot without table locks of ours, as long as the
// schema stands still for it (docs/decisions/001).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/lsn.h"
#include "base/shutdown.h"
#include "model/table.h"
#include "pg/connection.h"
#include "schema/catalog_reader.h"

namespace towline {

class ExportedSnapshot {
 public:
  struct Options {
    ConnectOptions source;
    TableSelection selection;
    std::string task;
    int readers = 0;
    bool locks_tables = true;  // not for a schema dump, which brings its own locks
    // These, as they are given here; none: those that are selected.
    std::vector<Table> tables = {};
    // They are locked by this session, and the snapshot is taken next; also at Retake().
    std::function<void()> on_locked = [] {};
  };

  // The marker wait is the caller's. IsLockRefused() if somebody holds a table, or waits for one
  // that we hold; kAborted if a table was dropped while it was being locked.
  static absl::StatusOr<ExportedSnapshot> Take(const Options& options, const Shutdown& shutdown);

  // Lets go of locks and snapshot and takes them anew, by the same sessions. As Take(); after an
  // error the sessions are of no use any more. Before TakeReaders().
  absl::Status Retake(const Options& options);

  // The selected tables as the snapshot sees them.
  const std::vector<Table>& tables() const { return tables_; }
  const std::string& name() const { return name_; }  // for SET TRANSACTION SNAPSHOT
  const std::string& text() const { return text_; }  // pg_current_snapshot()
  Lsn lsn_after() const { return lsn_after_; }
  // An advisory lock that the transaction holds: who could take it knows that the table locks are
  // gone.
  int64_t lock_key() const { return lock_key_; }
  Connection& connection() { return connection_; }

  // Sessions under this snapshot with locks of their own on all tables; given away once.
  std::vector<Connection> TakeReaders() { return std::move(readers_); }

  // Lets go of snapshot and locks.
  absl::Status Release() { return connection_.Exec("COMMIT").status(); }

  // kUnavailable once the session, and with it locks and snapshot, is gone.
  absl::Status CheckAlive();

 private:
  explicit ExportedSnapshot(Connection connection) : connection_(std::move(connection)) {}
  absl::Status LockAndExport(const Options& options);
  absl::Status Export(const Options& options, const std::vector<Table>& listed);
  absl::Status TakeLockKey();
  absl::Status Rollback();

  Connection connection_;
  std::vector<Connection> readers_;
  std::vector<Table> tables_;
  std::string name_;
  std::string text_;
  Lsn lsn_after_;
  int64_t lock_key_ = 0;
};

// A lock could not be had in the short time that we wait for one.
bool IsLockRefused(const absl::Status& status);

// Whose locks, held or wished for, keep readers out of tables: "pid 123 (user app, ...)"; empty:
// nobody's any more.
absl::StatusOr<std::string> DescribeLockHolders(Connection& source);

}  // namespace towline
