// Transactions that are prepared at the source and held prepared at the destination.
//
// A prepared transaction cannot hold the position's row: it would stay locked until its COMMIT
// PREPARED, which comes behind it in the same stream (hazards B4). So its state is two things, its
// gid in pg_prepared_xacts and a row of towline_state.prepared that is written and removed together
// with a move of the position:
//
//   gid   row   what has happened, and what a Prepare or an end of it that comes (again) meets
//   no    no    nothing, or all: it has not come, or it has ended
//   yes   no    PREPARE TRANSACTION, and a crash before the position moved: the row is missing
//   yes   yes   prepared
//   no    yes   it was ended here, and a crash came before the position moved. How it ended
//               pg_xact_status() knows by the row's destination_xid: as the source says, or
//               somebody else did it, and then we stop
//
// COMMIT PREPARED is run only when the row is there, and a Prepare without any change for us leaves
// a row too (without destination_xid). So "neither gid nor row" means at a Prepare that it was
// never written: whatever is confirmed has its row. At a COMMIT PREPARED it cannot be, because the
// source sends every Prepare, late ones right before it: we stop. (With origin: none a Prepare may
// have been left out for its origin. And a ROLLBACK PREPARED may come without one.)
//
// Two writers (B1). The compare-and-set cannot be the first statement of such a transaction, and a
// row lock on the task would outlive the session that has it. Instead the writer holds an advisory
// lock of its session, shared, from before it looks at epoch and position until after PREPARE or
// COMMIT PREPARED. Whoever takes the task over changes the epoch and then takes the same lock
// exclusively once: when he has had it, every earlier writer has either finished, and he sees the
// gid, or will find another epoch. The lock belongs to the very session that writes, so it cannot
// be lost without it. That the gid is unique in the whole server is a second fence.
//
// Durability (I2): PREPARE TRANSACTION and COMMIT PREPARED are always flushed, but what counts is
// the position's move, and that is confirmed when it is durable, as always.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/lsn.h"
#include "model/change.h"
#include "pg/connection.h"
#include "state/position.h"

namespace towline {

// "towline_<task>_<OID of this database>_<xid>": gids are unique in a whole server, so tasks of the
// same name in two databases of it must not meet. At most 103 bytes; the server takes 199.
std::string PreparedGid(const TaskClaim& claim, const std::string& database_oid, uint64_t xid);

// The lock described above. Shared by a writer, from before ReadPreparedState().
absl::Status LockPrepares(Connection& session, const TaskClaim& claim);
absl::Status UnlockPrepares(Connection& session, const TaskClaim& claim);
// Nobody else's until the transaction ends: nothing is prepared or ended meanwhile.
absl::Status LockOutPrepares(Connection& session, const std::string& task);
// Waits until nobody holds it. After the epoch was moved.
absl::Status WaitForPrepares(Connection& session, const std::string& task);

struct PreparedState {
  bool exists = false;      // in pg_prepared_xacts
  bool has_row = false;     // in towline_state.prepared
  bool is_empty = false;    // with a row: nothing was written
  std::string xact_status;  // with a row: "in progress", "committed", "aborted"; empty: too old
};

// kAborted if epoch or position are not ours any more.
absl::StatusOr<PreparedState> ReadPreparedState(Connection& session, const TaskClaim& claim,
                                                Lsn position, const std::string& gid, uint64_t xid);

// For a row without gid: OK if it ended as the source says or was empty, kDataLoss otherwise.
absl::Status CheckPreparedFate(const PreparedState& state, const std::string& gid,
                               PreparedFate fate);

// In the transaction that has moved the position. kAborted if the gid is gone. An empty one has no
// gid.
absl::Status AddPreparedRow(Connection& session, const TaskClaim& claim, const std::string& gid,
                            uint64_t xid, const std::string& source_gid, bool is_empty);
absl::Status RemovePreparedRow(Connection& session, const TaskClaim& claim, uint64_t xid);

struct PreparedTransaction {
  std::string gid;
  std::string source_gid;  // empty: not known
  int64_t age_seconds = 0;
  bool has_row = false;
};
// Those of the task in this database, oldest first, whether they have a row or not.
absl::StatusOr<std::vector<PreparedTransaction>> ListPrepared(Connection& session,
                                                              const std::string& task);

// Rolls back those without a row. For a source whose log has another timeline now: there the xid
// may become that of another transaction, and one that is still prepared comes again, since no
// position has passed it. Only while nobody else prepares for the task.
absl::Status RollBackWithoutRow(Connection& session, const std::string& task);

}  // namespace towline
