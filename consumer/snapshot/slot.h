// Everything about the source's slot: creation (after which the marker wait makes a snapshot safe),
// the look at it before each start, waits with names, removal.
#pragma once

#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/lsn.h"
#include "base/shutdown.h"
#include "pg/connection.h"

namespace towline {

struct SlotInfo {
  std::string plugin;
  std::string database;
  bool is_active = false;
  int active_pid = 0;
  std::string active_application;  // of active_pid, empty if it cannot be seen
  Lsn confirmed_flush_lsn;
  Lsn restart_lsn;
  std::string wal_status;           // reserved, extended, unreserved, lost; empty before 13
  int64_t safe_wal_bytes = -1;      // -1: unlimited
  int64_t retained_bytes = 0;       // WAL that the slot keeps on the source
  bool is_two_phase = false;        // prepared transactions are sent at their PREPARE
  bool is_failover = false;         // standbys may keep it synchronised
  bool is_synced = false;           // it came here from a primary, before a promotion
  std::string invalidation_reason;  // as the server says, empty: none, or before 16
  bool is_synchronous = false;      // its reader may be waited for (synchronous_standby_names)
};

// Called after a second of a wait, then about every ten, with what is waited for ("transaction of
// pid 123 (user app, idle in transaction for 5m03s)").
using WaitNotice = absl::FunctionRef<void(const std::string&)>;

absl::StatusOr<std::optional<SlotInfo>> ReadSlot(Connection& source, const std::string& slot);

// Creates the slot. First as a temporary one, which a crash takes with it, under a name of the
// session's; its consistent point (confirmed_flush_lsn) is given to `on_position` to be stored, and
// only then is it copied to its name. So whoever finds a slot of that name knows by its position
// whether it is the one that was meant. Waits at most `wait_max` for older transactions, naming
// them; then kDeadlineExceeded that names them ("waits for the operator").
absl::Status CreateSlot(const ConnectOptions& primary, const ConnectOptions& server,
                        const std::string& slot, absl::Duration wait_max, const Shutdown& shutdown,
                        WaitNotice on_wait, absl::FunctionRef<absl::Status(Lsn)> on_position);

// I4: takes an xid X in a transaction of its own and waits until every snapshot sees all
// transactions up to X as ended. Same wait rules.
absl::Status WaitForMarker(Connection& source, absl::Duration wait_max, const Shutdown& shutdown,
                           WaitNotice on_wait);

// Of a new slot, before a snapshot is taken: the position from which on the server decodes what is
// committed by the catalogs as they were. Between the slot's own and this one it may not
// (docs/plugin.md); a snapshot that is taken later has all of that. Same wait rules.
absl::StatusOr<Lsn> SettleSlot(Connection& primary, absl::Duration wait_max,
                               const Shutdown& shutdown, WaitNotice on_wait);

// Ends the walsender that still holds the slot if it is a predecessor of ours (its application name
// is ours) and waits until the slot is free; kFailedPrecondition naming pid and application if it
// is somebody else's.
absl::Status FreeSlot(Connection& source, const std::string& slot,
                      const std::string& application_name, absl::Duration wait_max,
                      const Shutdown& shutdown);

absl::Status DropSlot(Connection& source, const std::string& slot);

}  // namespace towline
