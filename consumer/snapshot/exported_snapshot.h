// The one snapshot that the copy's sessions and pg_dump share. It lives as long as this session's
// transaction, which also holds ACCESS SHARE on every selected table: taken before the snapshot, so
// that no TRUNCATE or rewrite, which are not MVCC-safe, comes between the two (DESIGN 4, I4).
#pragma once

#include <cstdint>
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
  // The marker wait is the caller's. kAborted if a table was dropped while it was being locked.
  static absl::StatusOr<ExportedSnapshot> Take(const ConnectOptions& source,
                                               const TableSelection& selection,
                                               const std::string& application_name,
                                               const Shutdown& shutdown);

  // The selected tables as the snapshot sees them.
  const std::vector<Table>& tables() const { return tables_; }
  const std::string& name() const { return name_; }  // for SET TRANSACTION SNAPSHOT
  const std::string& text() const { return text_; }  // pg_current_snapshot()
  Lsn lsn_after() const { return lsn_after_; }
  // An advisory lock that the transaction holds: who could take it knows that the table locks are
  // gone.
  int64_t lock_key() const { return lock_key_; }
  Connection& connection() { return connection_; }

  // kUnavailable once the session, and with it locks and snapshot, is gone.
  absl::Status CheckAlive();

 private:
  explicit ExportedSnapshot(Connection connection) : connection_(std::move(connection)) {}
  absl::Status LockAndExport(const TableSelection& selection);
  absl::Status TakeLockKey();

  Connection connection_;
  std::vector<Table> tables_;
  std::string name_;
  std::string text_;
  Lsn lsn_after_;
  int64_t lock_key_ = 0;
};

}  // namespace towline
