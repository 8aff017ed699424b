// The changes of a batch, written inside the transaction that the caller has opened. Grouped by
// table: rows of different tables do not look at each other under the replica role. TRUNCATE is a
// barrier, because it is one statement for several tables.
//
// Of a table whose changes can be folded, the net changes are written: deletes, updates, inserts,
// each as a set if it is large enough. A change that cannot be joined with those before it is a
// barrier within the table. If the destination does not take a set, all is taken back and written
// one by one and in order, which shows the change that fails.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "apply/copy_in.h"
#include "apply/fold.h"
#include "apply/net_writer.h"
#include "apply/pipeline.h"
#include "apply/row_writer.h"
#include "apply/target.h"
#include "model/batch.h"
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
    int64_t missed = 0;        // append tables: rows that a change did not find
    int64_t refused_sets = 0;  // for which a batch was written once more, row by row
  };

  struct Options {
    TaskClaim claim;
    TargetPolicies policies;
    std::map<TableName, Oid> source_oids;
    int64_t statement_bytes_max = 0;
    int64_t set_rows_min = 2;
  };
  BatchWriter(Connection* connection, Options options);

  absl::Status Write(const Batch& batch);

  // After Write() failed: the change that the destination did not take, with its target, if it was
  // that. Nothing: an error of another kind.
  struct Failed {
    ApplyFailure failure;
    const Target* target = nullptr;
    bool is_session_usable = false;  // for ROLLBACK and more
  };
  std::optional<Failed> TakeFailure(const Batch& batch);

  const Counts& counts() const { return counts_; }
  void set_skips_locked(bool skips_locked) {
    skips_locked_ = skips_locked;
    row_writer_.set_skips_locked(skips_locked);
  }

 private:
  struct TableWork {
    std::vector<uint32_t> changes;  // indexes into the batch
    bool has_only_inserts = true;
  };

  absl::Status ReadNewTargets(const Batch& batch);
  absl::Status CheckIsCopied(const Relation& relation) const;
  absl::Status NoteNewTable(const Relation& relation, const Table& table);
  const Target& TargetOf(const Change& change);
  bool IsFailedSet() const;
  absl::Status WriteAgain(const Batch& batch);
  absl::Status WriteChanges(const Batch& batch);
  absl::Status WriteSegment(const Batch& batch, size_t begin, size_t end);
  void Gather(const Batch& batch, size_t begin, size_t end);
  absl::Status WriteTable(const Batch& batch, const TableWork& work);
  template <typename AnyFolder>
  absl::Status WriteFolded(const Batch& batch, absl::Span<const uint32_t> changes,
                           AnyFolder* folder);
  absl::Status WriteInOrder(const Batch& batch, absl::Span<const uint32_t> changes);
  absl::Status WriteTruncate(const Change& change);
  struct Run {
    size_t end = 0;  // behind its last change
    bool has_large_row = false;
  };
  Run FindRun(const Batch& batch, absl::Span<const uint32_t> changes, size_t first) const;
  void Count(const Batch& batch);

  Connection* connection_;
  Options options_;
  Pipeline pipeline_;
  RowWriter row_writer_;
  NetWriter net_writer_;
  absl::flat_hash_map<const Relation*, std::unique_ptr<const Target>> targets_;
  std::map<TableName, const Relation*> described_;  // the last description of each table
  const Target* last_target_ = nullptr;             // changes come in runs of one relation
  bool skips_locked_ = false;
  bool writes_in_order_ = false;  // and nothing as a set
  Counts counts_;

  // Of the segment being written.
  std::vector<TableWork> tables_;
  absl::flat_hash_map<Oid, size_t> table_numbers_;
  std::vector<CopyRow> copied_;  // by the next COPY
};

}  // namespace towline
