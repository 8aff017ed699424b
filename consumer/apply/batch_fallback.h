// A batch that the destination has refused, written all the same where the operator's policies
// allow it (model/conflict_policy.h): by halves (fallback.h), each slice behind a savepoint of its
// own, down to the single changes in source order, which show whether there is a conflict at all.
// What is done about one:
//
//   skip       the change is passed over.
//   overwrite  insert_exists, update_exists, multiple_unique_conflicts: rows that have the new
//   row's
//              values in another unique key are deleted, the row of the same key becomes the new
//              one. update_missing: the new row is inserted, if the source has sent all of it; if
//              that meets another row, the policy of update_exists says what then. delete_missing:
//              nothing is left to do.
//   stop       everything is rolled back, and the task waits for the operator.
//
// Source order is what makes this exact: at each change the destination is what the source was, but
// for what had been refused or changed by others.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "apply/batch_writer.h"
#include "apply/conflict.h"
#include "apply/conflict_log.h"
#include "apply/fallback.h"
#include "apply/unique_keys.h"
#include "model/batch.h"
#include "model/conflict_policy.h"
#include "pg/connection.h"

namespace towline {

class BatchFallback : public SliceWriter {
 public:
  struct Stop {
    ApplyFailure failure;
    const Target* target = nullptr;
    std::optional<ConflictKind> kind;  // nothing: an error of another kind
    Param existing;
    std::string hint;  // in the place of the usual one
    bool is_session_usable = true;
  };
  struct Counts {
    int64_t slices = 0;     // written or refused
    int64_t singles = 0;    // the same of single changes
    int64_t conflicts = 0;  // skipped or overwritten
  };

  BatchFallback(Connection* connection, BatchWriter* writer, ConflictLog* log,
                const ConflictPolicies* policies, const Batch* batch)
      : connection_(connection), writer_(writer), log_(log), policies_(policies), batch_(batch) {}

  // The transaction is open and has nothing of the batch.
  absl::Status Run() { return WriteRefused(0, batch_->changes.size(), *this); }

  // After an error: the change that it is about; nothing: an error of another kind.
  const std::optional<Stop>& stop() const { return stop_; }
  const Counts& counts() const { return counts_; }

  absl::StatusOr<bool> WriteSlice(size_t begin, size_t end) override;
  absl::StatusOr<bool> WriteSingle(size_t change) override;

 private:
  // Nothing: written.
  absl::StatusOr<std::optional<Stop>> TryWrite(size_t begin, size_t end);
  template <typename Write>
  absl::StatusOr<std::optional<Stop>> Try(Write write);
  absl::Status Resolve(size_t change, Stop conflict, bool inserts);
  // `inserts`: the change is an INSERT, or an UPDATE whose row is missing.
  absl::Status Overwrite(size_t change, Stop conflict, bool inserts);
  absl::Status InsertMissing(size_t change, Stop conflict);
  absl::Status Record(const Stop& conflict, ConflictAction action);
  absl::Status StopAt(Stop conflict);
  absl::Status LookAtOccupants(size_t change, Stop* conflict);
  template <typename Ask>
  absl::Status Guarded(Ask ask);
  absl::StatusOr<const std::vector<UniqueKey>*> KeysOf(const Target& target);
  ConflictAction ActionOf(const Stop& conflict) const;

  Connection* connection_;
  BatchWriter* writer_;
  ConflictLog* log_;
  const ConflictPolicies* policies_;
  const Batch* batch_;
  absl::flat_hash_map<Oid, std::vector<UniqueKey>> keys_;
  std::optional<Stop> stop_;
  Counts counts_;
};

}  // namespace towline
