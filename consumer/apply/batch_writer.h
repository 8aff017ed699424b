// The changes of a batch, written inside the transaction that the caller has opened, in two steps:
// they are planned (batch_planner.h), which needs no server, and the plan is written. Grouped by
// table: rows of different tables do not look at each other under the replica role. TRUNCATE is a
// barrier, because it is one statement for several tables.
//
// A table with triggers or rules that fire for us (Target::keeps_order) is not grouped: its changes
// are barriers for all tables, so that what fires finds the others as they were at the source.
//
// Of a table whose changes can be folded, the net changes are written: deletes, updates, inserts,
// each as a set if it is large enough. A change that cannot be joined with those before it is a
// barrier within the table. A set that the destination does not take does not tell which change it
// is: batch_fallback.h writes smaller slices, in the end single changes, which never go as a set.
//
// Where rows may clash (clash_memory.h) the order of these three is not the source's, and within
// the updates there is none. It is exact all the same. What each statement does to a row follows
// from the row's key and its own values alone: no index changes what is written, it can only
// refuse. So if everything passes and every count of rows is right, the rows are what the net
// changes say, whatever the order. What is refused is rolled back with the batch. Only updates can
// be refused for the order's sake:
//
//   Deletes violate nothing. Inserts come when every other row is as it will be, so one that is
//   refused clashes in the end as well: that is a conflict, in whatever order.
//   Updates meet rows that have been deleted no longer and those to be inserted not yet, so a value
//   that passes from a row that goes, or to one that comes, is free. A value that passes from
//   updated row to updated row (swaps, chains) may be free or not, as the rows happen to come: they
//   pass, or are refused at once, for such an index is looked at row by row.
//
// A batch that was refused so is written once more with deletes and inserts instead of updates. In
// this form it is refused only if its rows clash in the end, or clashed at the source where a
// change has to be written alone, which a deferrable constraint allows there. So both ways together
// refuse nothing that the second alone would take.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "apply/batch_plan.h"
#include "apply/batch_planner.h"
#include "apply/copy_in.h"
#include "apply/fold.h"
#include "apply/net_writer.h"
#include "apply/pipeline.h"
#include "apply/row_writer.h"
#include "apply/target.h"
#include "apply/target_shapes.h"
#include "base/stage_clock.h"
#include "model/batch.h"
#include "observe/task_status.h"
#include "pg/connection.h"
#include "state/position.h"

namespace towline {

class BatchWriter {
 public:
  struct Counts {
    int64_t inserted = 0;
    int64_t updated = 0;
    int64_t deleted = 0;
    int64_t truncated = 0;
    int64_t missed = 0;  // append tables: rows that a change did not find
  };

  struct Options {
    TaskClaim claim;
    TargetPolicies policies;
    std::map<TableName, Oid> source_oids;
    int64_t statement_bytes_max = 0;
    int64_t set_rows_min = 2;
    absl::Duration round_trip;    // to the destination
    StageClock* clock = nullptr;  // borrowed; may be null
  };
  BatchWriter(Connection* connection, Options options);

  // Before the transaction that the batch is for, while the destination may still work on the one
  // before: its plan, for Write(). Nothing: ReadTargetsOf() has to read of its tables first.
  std::optional<BatchPlan> PlanAhead(const Batch& batch) const;
  // First, in the transaction that Write() is for: reads what is not known yet of the batch's
  // tables.
  absl::Status ReadTargetsOf(const Batch& batch);
  // Plans the changes [begin, end) and sends them, or an error. Answers may still be missing: see
  // Drain(). Slices of a batch may be written one after another.
  absl::Status Write(const Batch& batch, size_t begin, size_t end);
  // The whole batch; a plan that does not hold any more is made again. Stops in front of a COPY
  // that would have to wait for long until its turn comes: WriteRest() goes on there.
  absl::Status Write(const Batch& batch, std::optional<BatchPlan> ahead);
  // What Write() has left of the same batch, if anything.
  absl::Status WriteRest(const Batch& batch);
  bool has_rest() const { return rest_.has_value(); }
  // Before COMMIT or PREPARE TRANSACTION, when all is sent that the transaction holds: queues a
  // check that its tables are still what they were taken for, see TargetShapes::Check().
  void CheckShapes();
  // Those tables. For an error of the same session, before anything is read anew.
  std::vector<const Target*> Touched() const;
  // When all of the batch is written.
  void Count(const Batch& batch);

  // What a change that the destination has refused may be written as instead.
  RowWriter& row_writer() { return row_writer_; }
  Pipeline& pipeline() { return pipeline_; }
  absl::Status Drain() { return pipeline_.Drain(); }
  const Target& TargetOf(const Change& change);

  // A schema change has been run: what was read of the destination's tables is read again.
  absl::Status Renew();
  // A table of the source is gone, or has another name; or has just been made. In the open
  // transaction.
  absl::Status ForgetTable(const TableName& table);
  absl::Status RenameTable(Oid source_oid, const TableName& now);
  // The same for all tables of a schema.
  absl::Status RenameSchema(const std::string& before, const std::string& now);
  // 0: no row of it has come yet, nor was it copied.
  Oid SourceOidOf(const TableName& table) const;
  void ExpectTable(Oid source_oid) { expected_.insert(source_oid); }

  // After TakeFailure(), when what the last Write() has done is rolled back, up to the savepoint
  // or with its transaction: the session can be used again.
  absl::Status Forget();
  // The transaction was rolled back with what ReadTargetsOf() has noted in it.
  void ForgetNewTargets();

  // After Write() or another way of writing failed: the change that the destination did not take,
  // with its target, if it was that. Nothing: an error of another kind.
  struct Failed {
    ApplyFailure failure;
    const Target* target = nullptr;
    bool is_session_usable = false;  // for ROLLBACK and more
  };
  std::optional<Failed> TakeFailure(const Batch& batch);

  // Whether it may be that rows only clash while the batch is written so: then it passes, but for
  // what else is wrong with it, while set_replaces(true) holds.
  bool MayBeClash(const Batch& batch, const Failed& failed) const;
  // Updates of the table go as deletes and inserts for a while.
  void NoteClash(Oid table) { planner_.NoteClash(table); }
  // Updates go as deletes and inserts in every table whose rows may clash.
  void set_replaces(bool replaces) { planner_.set_replaces(replaces); }

  const Counts& counts() const { return counts_; }
  // Of what was counted since the last call.
  std::vector<TableChanges> TakeTableChanges();
  void set_skips_locked(bool skips_locked) {
    planner_.set_skips_locked(skips_locked);
    row_writer_.set_skips_locked(skips_locked);
  }
  // Whether the transaction is to be prepared.
  void set_is_prepared(bool is_prepared) { row_writer_.set_is_prepared(is_prepared); }

 private:
  // What is not written yet of a plan begins here.
  struct Rest {
    BatchPlan plan;
    size_t segment = 0;
    size_t table = 0;
    size_t write = 0;
  };

  absl::Status CheckIsCopied(const Relation& relation) const;
  static absl::Status CheckRewrite(const Target& target);
  absl::Status CheckIsShared(const Relation& relation, const Table& table) const;
  absl::Status NoteNewTable(const Relation& relation, const Table& table);
  void Touch(const Relation* relation);
  BatchPlan Plan(const Batch& batch, size_t begin, size_t end) const;
  absl::Status WritePlan(const Batch& batch, BatchPlan plan, bool may_stop);
  absl::Status WriteOn(const Batch& batch, Rest rest, bool may_stop);
  absl::StatusOr<bool> WriteChanges(const Batch& batch, PlannedWrite* write, bool may_stop);
  absl::Status WriteBarrier(const Batch& batch, size_t index);
  absl::Status WriteInOrder(const Batch& batch, const Target& target,
                            absl::Span<const uint32_t> changes);
  absl::Status WriteTruncate(const Change& change);
  struct Run {
    size_t end = 0;  // behind its last change
    bool has_large_row = false;
  };
  static Run FindRun(const Batch& batch, absl::Span<const uint32_t> changes, size_t first);

  Connection* connection_;
  Options options_;
  Pipeline pipeline_;
  RowWriter row_writer_;
  NetWriter net_writer_;
  TargetShapes shapes_;
  BatchPlanner planner_;
  std::vector<const Relation*> touched_;  // by the open transaction
  absl::flat_hash_set<const Relation*> is_touched_;
  std::vector<const Relation*> new_targets_;        // of the last batch
  std::set<Oid> expected_;                          // tables that captured DDL has made
  std::vector<TableName> noted_;                    // tables that it has brought
  std::map<TableName, const Relation*> described_;  // the last description of each table
  const Target* last_target_ = nullptr;             // changes come in runs of one relation
  int64_t missed_before_ = 0;
  Counts counts_;
  absl::flat_hash_map<const Relation*, TableChanges> table_changes_;

  std::optional<Rest> rest_;    // where Write() has stopped; never after an error
  size_t unanswered_rows_ = 0;  // sent since the last COPY, in statements

  // Of the run being written.
  std::vector<CopyRow> copied_;
  std::vector<NetChange> inserts_;
};

}  // namespace towline
