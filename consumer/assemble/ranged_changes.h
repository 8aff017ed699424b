// I4 for a table that is copied in ranges of its key, each under a snapshot of its own. Of a
// transaction that some of them hold and others do not, each change is judged by the ranges of the
// row's key before it and after it:
//
//   before  after
//   held    held      the copy has it all: nothing is left
//   new     new       as it came
//   held    new       the row had left the one range when that was copied, and was not in the other
//                     yet: it is in neither, so it is inserted whole
//   new     held      it is in both: the old one is deleted
//
// An insert has no before, a delete no after. Inserted whole it can be only if all its values came;
// a large one that was not changed does not come. Then the table is copied again (copy_again.h), as
// it is when its key is not what it was.
//
// A TRUNCATE that lies between two ranges' snapshots cannot come here: it gives the table another
// file, which the second of them has seen under its lock (snapshot/range_copier.h), and so the
// table was begun again.
#pragma once

#include <cstddef>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "model/change.h"
#include "model/key_field.h"
#include "model/relation.h"
#include "model/snapshot.h"

namespace towline {

class RangedChanges {
 public:
  // Whether the snapshot of that index (RangedTable::snapshots) holds the transaction.
  using Holds = absl::FunctionRef<absl::StatusOr<bool>(size_t snapshot)>;

  // False: nothing is left of the change. It may have become an insert or a delete.
  absl::StatusOr<bool> Keep(const RangedTable& table, Holds holds, Change* change);

  // Whether the ranges hold a TRUNCATE of the relation; CopyAgainError() if they disagree.
  absl::StatusOr<bool> HoldTruncate(const RangedTable& table, Holds holds,
                                    const Relation& relation) const;

 private:
  absl::StatusOr<const KeyField*> FieldOf(const Relation& relation, const ChunkKey& key);

  absl::flat_hash_map<const Relation*, KeyField> fields_;
};

}  // namespace towline
