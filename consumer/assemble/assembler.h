// Gathers whole transactions into batches, bounded in bytes and rows. A transaction too large for a
// batch passes in parts. Also the place of rule I4 (what a table's snapshot holds already is
// dropped) and of the rule that a transaction whose end is not beyond the position was applied
// before (hazards B10). One thread: the applier's.
//
// I4 with several snapshots: a transaction that all of them hold is dropped whole, one that none
// holds passes whole, and only between the two each change is looked at, by the snapshot of its
// table. A snapshot sees all of a transaction or nothing of it, however long that lasted and from
// whichever moment its changes are, so the xid alone decides. TRUNCATE goes on for those tables
// whose snapshot does not hold it: they are at the destination as they were before it. It names
// each table (the log does, also for CASCADE and for partitions), so none needs to be inferred.
// Within a table that was copied in ranges the row's key decides (ranged_changes.h). While such a
// table, or one that has a snapshot to itself, is still being copied (model/live_copy.h) a change
// may have to wait for it: what is whole before it is cut off, so that it can be applied meanwhile.
// A row that has moved between ranges without its large values is inserted behind all else of its
// transaction, read again at the source; where it cannot be had the transaction fails before it is
// whole, so nothing of it is committed.
// Positions and counts do not know the difference: whatever was dropped of it, a transaction is
// done when its end has been passed.
//
// Transactions that come while in progress are none of ours until their commit: decode keeps them
// and begins them here then, so both rules are decided by the commit's xid and LSNs. Until then
// they count as nothing pending, and the position may pass their runs. That is right because of
// what a position means to the source: "all transactions whose commit record ends at or before it
// are done". A keepalive says that the source has sent all that was committed before wal_end; the
// commit record of a transaction still in progress comes behind it. When the source starts again
// from there it still decodes such a transaction from its first record (restart_lsn stays before
// the oldest one running) and sends it again whole, because its commit lies beyond the position. So
// nothing that a spool holds is needed for what has been confirmed, and a spool may be lost at any
// time.
//
// A DDL command goes by I4 as a whole: a snapshot shows the catalogs as it shows the rows. But
// tables that join later are copied without a schema, so all commands are run where they come; one
// that a table's snapshot may lack waits until its rows are there, as a change of it would: they
// fit what the table was before the command. docs/decisions/019.
//
// A DDL command is a part of its own: rows before it are written as the tables were, those behind
// it as they are then. So a transaction with one always comes in parts. Parts that are cut within a
// frame point into it; the frame goes with a later part of the transaction, and parts are applied
// and forgotten in order, so it lives long enough.
//
// A prepared transaction is alone in its batch or its parts, and its end is a batch without
// changes, in the order of the stream. It is never dropped by its LSNs: one that was prepared
// before two-phase decoding was switched on comes at its COMMIT PREPARED, with the LSNs of a
// PREPARE long passed, directly before that end. Whether it is at the destination already the
// applier finds there.
//
// Use, per frame of the stream (a frame never holds two transactions):
//   decoder.Decode(frame, assembler); assembler.AddFrame(std::move(frame));
// then Take() while it gives batches: with `is_idle` (nothing more has arrived) whatever is whole,
// otherwise only what is full.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "assemble/ranged_changes.h"
#include "base/lsn.h"
#include "model/batch.h"
#include "model/change_sink.h"
#include "model/frame.h"
#include "model/moved_row.h"
#include "model/name.h"
#include "model/relation.h"
#include "model/snapshot.h"

namespace towline {

class Assembler final : public ChangeSink {
 public:
  struct Options {
    int64_t batch_bytes_max = 0;
    int64_t batch_rows_max = 0;
    Lsn position;                          // the resume point
    std::optional<CopyBoundary> boundary;  // none: nothing to filter by I4
    // With boundary->live, at a change that has to wait for this table: waits until it may answer
    // otherwise, or for a while, and has applied by then what Take() gives; an error ends the
    // decoding.
    std::function<absl::Status(const TableName&)> await_copy;
    // The image of a row with all its values, as its transaction has left it; none: the source does
    // not have that any more. May wait, and lets what Take() gives be applied; an error ends the
    // decoding. Without this, no such row can be had.
    std::function<absl::StatusOr<std::optional<std::string>>(const MovedRow& moved)> read_moved;
    // A table that the destination has was rewritten by a transaction that is about to be applied;
    // said again if that is sent again. None: nobody needs to know.
    std::function<void(const TableName& table)> on_rewrite;
  };
  explicit Assembler(Options options);

  absl::Status OnBegin(const TransactionHeader& header) override;
  void OnSubtransaction(uint64_t xid) override { ranged_.set_writer(xid); }
  absl::Status OnChange(Change change) override;
  absl::Status OnDdl(DdlCommand command) override;
  absl::Status OnRewrite(const TableName& table, Oid source_oid) override;
  absl::string_view KeepSplicedRow(std::string spliced) override;
  absl::Status OnCommit(const TransactionHeader& header) override;
  absl::Status OnPreparedEnd(const TransactionHeader& header, PreparedFate fate) override;

  // Takes over the buffer of the frame that was just decoded.
  void AddFrame(Frame frame);

  // The source has sent all before `wal_end`. Between transactions the position may move there.
  void OnProgress(Lsn wal_end);

  // The next batch, if one is due. An empty batch (no changes) only moves the position: to the end
  // of dropped transactions or to a progress point.
  std::optional<Batch> Take(bool is_idle);

  bool is_inside_transaction() const { return is_inside_; }
  // Commit time of the oldest transaction gathered and not yet taken; 0: none.
  int64_t oldest_commit_time_us() const;

 private:
  void LookAtSnapshots(const TransactionHeader& header);
  bool is_live() const { return options_.boundary->live != nullptr; }
  absl::StatusOr<bool> IsHeldByPiece(size_t piece, const TableName& table);
  absl::StatusOr<bool> IsHeldByRange(size_t snapshot, const Relation& relation);
  absl::StatusOr<bool> IsHeldWhole(const Relation& relation);
  absl::StatusOr<bool> IsTruncateCopied(const Relation& relation);
  absl::StatusOr<bool> KeepsNew(Change* change);
  absl::Status AwaitJoining();
  void DropChange();
  void Gather(Change change);
  absl::Status InsertMoved();
  absl::Status CheckOrder(const TransactionHeader& header) const;
  absl::Status BeginPrepared();
  void LookAtRelation(const Relation* relation);
  bool is_prepared() const { return !header_.gid.empty(); }
  bool IsFull() const;
  // How much of gathered_ belongs to whole transactions; the rest to the open one.
  struct Extent {
    size_t changes = 0;
    size_t frames = 0;
    size_t spliced_rows = 0;
    size_t bytes = 0;
    size_t transactions = 0;
  };
  Extent AllGathered() const;
  void CutWhole();
  void CutAllBefore();
  void CutPart(BatchPart part);

  Options options_;
  Lsn copied_until_;  // no snapshot holds what was committed from there on
  RangedChanges ranged_;
  std::deque<Batch> ready_;  // full ones
  Batch gathered_;           // whole transactions, then what has come of the open one
  Extent whole_;
  Lsn whole_end_lsn_;         // position once the whole transactions are applied
  Lsn taken_lsn_;             // position after the batches in ready_ and those taken
  TransactionHeader header_;  // of the open transaction
  bool is_inside_ = false;
  bool is_dropped_ = false;     // the open transaction is not to be applied
  bool is_mixed_ = false;       // some snapshots hold it, others do not (or may not)
  std::vector<bool> holds_;     // which do, by the boundary's index; meant while is_mixed_
  size_t loose_rows_ = 0;       // the last of gathered_.spliced_rows, whose change is about to come
  bool is_in_parts_ = false;    // a part of the open transaction has been cut off already
  bool has_last_part_ = false;  // it has ended; its last frame is about to come
  uint64_t late_prepared_ = 0;  // xid whose end must come next
  bool is_frame_used_ = false;  // changes point into the frame being decoded
  const Relation* last_relation_ = nullptr;
  absl::flat_hash_set<const Relation*> relations_;  // that have been seen
  std::map<TableName, const Relation*> described_;  // the last of each name
  std::string dropped_row_;  // what changes of a dropped transaction point into
};

}  // namespace towline
