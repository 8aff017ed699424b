// What must survive us, in the destination's schema towline_state (I1). Every table has a task
// column, so that several tasks and both ends of a cascade live side by side.
//
// The store owns one session with the destination, which also holds the advisory lock that refuses
// a second consumer politely. The lock is only for the message: what keeps two writers apart is the
// compare-and-set of the position with the epoch (position.h), used by every writing transaction.
// One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "base/lsn.h"
#include "base/shutdown.h"
#include "model/failed_table.h"
#include "model/key_field.h"
#include "model/key_ranges.h"
#include "model/name.h"
#include "pg/connection.h"
#include "state/position.h"
#include "state/task_state.h"

namespace towline {

// Who a server is: compared at every start, so that another server behind a URI, a failed-over or
// restored one stops us (I2, B2).
struct ServerIdentity {
  uint64_t system_identifier = 0;
  uint32_t timeline = 0;
  uint32_t database_oid = 0;
  std::string database;

  friend bool operator==(const ServerIdentity&, const ServerIdentity&) = default;
};

// Reads it by functions that every role may call unless an administrator took the right away. A
// system identifier that may not be read is 0, "unknown", and is then left out of comparisons.
absl::StatusOr<ServerIdentity> ReadServerIdentity(Connection& connection);
// The same for a source, whose role may also ask IDENTIFY_SYSTEM: its identifier is always known.
absl::StatusOr<ServerIdentity> ReadSourceIdentity(Connection& connection,
                                                  const ConnectOptions& options,
                                                  const Shutdown& shutdown);
// Whether the server is in recovery from the source's log and has its database: OK, or kDataLoss
// that says what it is instead, a server that was promoted, say, whose log is another one since.
absl::Status CheckIsStandbyOf(const ServerIdentity& source, Connection& standby,
                              const ConnectOptions& options, const Shutdown& shutdown);

// One row of towline_state.task.
struct TaskRow {
  std::string task;
  int64_t epoch = 0;
  Lsn position;  // invalid: no slot yet
  TaskState state = TaskState::kNew;
  TaskState phase = TaskState::kNew;  // equal to state, or the phase that the state interrupts
  ServerIdentity source;
  ServerIdentity destination;
  std::string slot;  // its name, stored before it is created
  bool is_slot_created = false;
  bool is_slot_on_standby = false;  // of the source; else at the source itself
  std::string plugin_version;
  // The greatest of the copy's snapshots (of ranges: once all are copied); invalid once the
  // position has passed it, and with it all of them (hazards A11).
  Lsn lsn_after = {};
  std::string error;  // of the last stop, empty: none
  std::string host;   // where the consumer runs or ran
  int pid = 0;
};

// What the task row says of the slot.
struct SlotNote {
  std::string name;
  bool is_on_standby = false;
  Lsn position;  // where it stands
  bool is_created = false;
  std::string plugin_version = "";  // of the extension, once it is created
};

// One row of towline_state.piece: a table of the copy.
struct PieceRow {
  TableName table;
  uint32_t source_oid = 0;
  std::string existing;     // stop, append, truncate: what was asked for
  std::string state;        // docs/state.md
  int64_t bytes_total = 0;  // heap and TOAST at planning
  int64_t rows_done = 0;
  int64_t bytes_done = 0;       // read only: marks and NotePieces() write it
  std::string rule = "";        // under which it was copied (schema/table_rules.h); empty: none
  int snapshot_number = 0;      // under which it is copied (SnapshotRow); 0: none, it was not there
  std::optional<ChunkKey> key;  // it is copied in ranges of it, each under a snapshot of its own
  std::string source_form = "";  // of a table with range rows when that was decided (range_plan.h)
  bool is_added = false;         // not by the configuration's selection, but by towline table add
  std::string reason = "";       // why it is parked, or copied again
  bool was_empty = false;        // when it was added, and none of our rows may be in it yet
  bool has_left = false;         // the selection, for a time at least: it is to be parked

  // It has range rows: those of its key, or one without bounds.
  bool has_own_snapshots() const { return !source_form.empty(); }
  // Whole, under a snapshot of its own or of its group.
  bool is_own_piece() const { return has_own_snapshots() && !key.has_value(); }
  // Nothing of it is applied: parked, removed, or about to be copied anew.
  bool is_out_of_stream() const {
    return state == "parked" || state == "removed" || state == "joining";
  }
};

// One row of towline_state.range: what is copied under a snapshot of its own. A range of a table's
// key; or a whole table, without bounds.
struct RangeRow {
  TableName table;
  int64_t ordinal = 0;  // from 1, in the order of the keys
  KeyRange keys = {};
  std::string state;  // pending, copying, copied
  int64_t rows_done = 0;
  std::string snapshot = "";  // under which it is read, of the last try; empty: not begun
  Lsn lsn_after = {};
};

// How far a piece is that is being copied, for people: nothing depends on it.
struct PieceProgress {
  TableName table;
  int64_t rows_done = 0;
  int64_t bytes_done = 0;
};

// One row of towline_state.snapshot.
struct SnapshotRow {
  int number = 0;    // from 1, in the order in which they were taken
  std::string text;  // as pg_current_snapshot() printed it
  Lsn lsn_after = {};
  std::string shape;          // of all selected tables (snapshot/copy_start.h); empty: not known
  std::string catalogs = "";  // schema/catalog_fingerprint.h, where captured commands follow
};

// What a heal has found, all of it mended.
struct HealTotals {
  int64_t verify_run = 0;  // of towline_state.verify_run: the tables and rows
  int64_t tables = 0;
  int64_t missing = 0;    // rows that were brought
  int64_t extra = 0;      // rows that were taken back
  int64_t different = 0;  // rows that were changed
};

// A statement of the schema dump, kept until it has run.
struct SchemaStatement {
  std::string section;  // pre, post
  int64_t ordinal = 0;
  bool is_setting = false;  // SET and set_config: run again in each session
  std::string statement;
  bool is_done = false;
};

class StateStore {
 public:
  struct Options {
    ConnectOptions destination;
    std::string task;
    std::string run_id;  // of this process, random: tells our own stale sessions from others'
  };

  // Connects and brings the schema towline_state up to our version (creates it if missing). A newer
  // schema than ours is kFailedPrecondition, naming both versions.
  static absl::StatusOr<StateStore> Open(const Options& options, const Shutdown& shutdown);

  // Takes the task over: advisory lock (waits a few seconds for a dying predecessor, then
  // kFailedPrecondition naming pid, host and since when), epoch + 1, the predecessor's destination
  // sessions (towline_state.session) terminated and gone. Creates the row in state kNew if there is
  // none.
  absl::StatusOr<TaskRow> TakeOver(const ServerIdentity& source, const ServerIdentity& destination);

  absl::StatusOr<TaskRow> ReadTask();
  // Each checks the epoch; kAborted if another consumer has taken over.
  absl::Status SetState(TaskState state, absl::string_view error = "");
  absl::Status SetSlot(const SlotNote& slot);
  // A destination's timeline may grow (a failover that lost nothing): the new one is remembered.
  absl::Status SetTimelines(const ServerIdentity& source, const ServerIdentity& destination);
  // Replaces all pieces, snapshots and schema statements (a copy that starts, or starts again) and
  // sets the state, in one transaction. Without a snapshot: the schema alone.
  absl::Status StartCopy(const std::vector<PieceRow>& pieces,
                         const std::vector<SchemaStatement>& statements,
                         const std::optional<SnapshotRow>& snapshot, TaskState state);
  // From now on the pieces that are not copied belong to this snapshot; one that no piece belongs
  // to any more is forgotten. Durable when it returns: before the first row is read under it.
  absl::Status ResumeCopy(const SnapshotRow& snapshot);
  // A copy goes on with these tables alone, its schema is made anew, and all other tables are
  // copied again. First: nothing relies on the others any more, which are about to be emptied.
  absl::Status ForgetPieces(const std::set<TableName>& kept);
  // Then, as StartCopy() and ResumeCopy() do: `pieces` take the others' place.
  absl::Status RestartCopy(const std::set<TableName>& kept, const std::vector<PieceRow>& pieces,
                           const std::vector<SchemaStatement>& statements,
                           const SnapshotRow& snapshot);
  // What tables were at the source when the destination's were made for them (copy_start.h), of
  // tables of which it is not known yet. A copy that goes on keeps no others.
  absl::Status AddShapes(const std::map<TableName, std::string>& shapes);
  absl::StatusOr<std::map<TableName, std::string>> ReadShapes();
  absl::StatusOr<std::vector<SnapshotRow>> ReadSnapshots();  // in order
  // The position has passed the last of them, those of ranges included.
  absl::Status ForgetSnapshots();
  // The ranges of tables that have none, all pending.
  absl::Status AddRanges(const std::map<TableName, std::vector<KeyRange>>& ranges);
  absl::StatusOr<std::vector<RangeRow>> ReadRanges();  // by table, in order
  // All rows are copied: the task's lsn_after is behind the snapshots of ranges as well, and its
  // state is indexing.
  absl::Status EndRows();
  // The table is to be copied once more, whole, and the task is in the state copying again. Its
  // rows at the destination are emptied by the copy that follows. `why`: for people.
  absl::Status CopyAgain(Oid table, absl::string_view why);
  // The table leaves the stream (state parked): nothing of it is applied or kept any more. One that
  // has no piece yet gets one, with `rule` (RuleText).
  absl::Status ParkTable(const FailedTable& table, const std::string& rule,
                         const std::string& reason);
  // It cannot be parked yet, and is not exact any more.
  absl::Status NoteLeft(const TableName& table);
  // The task's position, and what its copy was, do not count any more: it is in the phase healing
  // until EndHeal(). What it has prepared is given up. One that has begun already begins again.
  absl::Status StartHeal(const std::string& reason, Lsn position_before);
  // The destination holds what `snapshot` shows, of these tables: they are its pieces from now on,
  // the servers are these, and the stream goes on from the slot's begin (phase catching_up).
  absl::Status EndHeal(const std::vector<PieceRow>& pieces, const SnapshotRow& snapshot,
                       const ServerIdentity& source, const ServerIdentity& destination,
                       const HealTotals& totals);
  absl::StatusOr<std::vector<PieceRow>> ReadPieces();
  // The rules that count from now on.
  absl::Status SetPieceRules(const std::vector<PieceRow>& pieces);
  absl::StatusOr<std::vector<SchemaStatement>> ReadSchemaStatements(const std::string& section);

  // Called after each state that was stored, whoever of us stored it: what people see follows what
  // is durable.
  void set_on_state(std::function<void(TaskState)> on_state) { on_state_ = std::move(on_state); }

  // Registers a session of ours so that a successor can end it (B9). Call right after opening it.
  absl::Status AddSession(const Connection& session, const std::string& purpose);

  // The owner's sign of life: a successor ends sessions whose last one is older than 30 s. On any
  // session, so that it goes on while the store's is busy. kAborted if another has taken over.
  static absl::Status TouchSessions(Connection& session, const TaskClaim& claim);
  // What SQL can ask of a copy that runs, on a session that is not the copy's. A piece whose row
  // the copy holds just now is left for the next time: nobody waits.
  static absl::Status NotePieces(Connection& session, const TaskClaim& claim,
                                 const std::vector<PieceProgress>& pieces);
  static absl::StatusOr<std::vector<PieceRow>> ReadPieces(Connection& session,
                                                          const std::string& task);
  // Why the task stopped, for the next `status`; on a session of its own, as the store's may be
  // what failed.
  static absl::Status RecordStop(Connection& session, const TaskClaim& claim, TaskState state,
                                 absl::string_view error);

  // Removes every row of the task (drop) and rolls back what it has prepared; kFailedPrecondition
  // while a consumer runs it. Drops the schema when it was the last task.
  static absl::Status RemoveTask(Connection& destination, const std::string& task,
                                 absl::FunctionRef<void(const std::string& gid)> on_rolled_back);
  // All tasks in this destination, or none if there is no schema.
  static absl::StatusOr<std::vector<TaskRow>> ListTasks(Connection& destination);

  Connection& connection() { return connection_; }
  const std::string& task() const { return options_.task; }
  int64_t epoch() const { return epoch_; }
  TaskClaim claim() const { return {options_.task, epoch_}; }

 private:
  StateStore(Options options, Connection connection, const Shutdown& shutdown);
  // One UPDATE of our row; `assignments` may use $3 and on.
  absl::Status UpdateTask(absl::string_view assignments, std::vector<Param> values);
  absl::Status InsertSnapshot(const SnapshotRow& snapshot);  // and the task's lsn_after
  absl::Status InsertPieces(const std::vector<PieceRow>& pieces);
  absl::Status InsertStatements(const std::vector<SchemaStatement>& statements);
  // The part of ResumeCopy() that is about pieces and the snapshots that none belongs to.
  absl::Status MovePieces(int snapshot_number);
  absl::Status DeleteRows(std::initializer_list<const char*> tables);
  std::vector<Param> OtherThan(const std::set<TableName>& tables) const;  // of copy_state.cpp

  Options options_;
  Connection connection_;
  const Shutdown* shutdown_;  // outlives the store
  int64_t epoch_ = 0;
  std::function<void(TaskState)> on_state_ = [](TaskState) {};
};

}  // namespace towline
