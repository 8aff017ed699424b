// What is told about a change that the destination did not take: the error for the operator,
// without values, and texts with them, for towline_state.conflict (conflict_log.h) alone.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "apply/pipeline.h"
#include "apply/target.h"
#include "model/batch.h"
#include "model/conflict_policy.h"
#include "pg/connection.h"

namespace towline {

struct FailedChange {
  const Batch* batch = nullptr;
  const Target* target = nullptr;
  const ApplyFailure* failure = nullptr;
};

// Nothing: an error of another kind. Whether more than one unique key is violated is seen only by
// looking (kMultipleUnique).
std::optional<ConflictKind> ConflictKindOf(ChangeKind kind, const ApplyFailure& failure);

// An answer to a set of changes, of which any may be the one that it is about: it is looked for in
// smaller slices. What other sessions or missing resources have stopped is not.
bool IsHiddenInSet(const ApplyFailure& failure);

// A unique index or an exclusion constraint has met another row.
bool IsClashError(const absl::Status& status);

// Of the row that the change is about (model/key_hash.h).
std::string KeyHashOf(const Target& target, const Change& change);

// Where in the source's history a change of the batch stands.
const TransactionMark& TransactionOf(const Batch& batch, size_t change);

// kUnimplemented (waits for the operator) for a conflict, else the server's error with the place.
absl::Status ExplainFailure(const FailedChange& failed, std::optional<ConflictKind> kind,
                            const std::string& task);

// For people: "touched 2 rows and not the number it should", or what the server said.
std::string MessageOf(const FailedChange& failed);

// "(id, kind)=(12, NULL)" by the server's own text functions, of the key and of the new row.
absl::StatusOr<Param> KeyText(Connection& connection, const Target& target, const Change& change);
absl::StatusOr<Param> NewRowText(Connection& connection, const Target& target,
                                 const Change& change);

}  // namespace towline
