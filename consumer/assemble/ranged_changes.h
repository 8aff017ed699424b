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
// a large one that was not changed does not come. Then the row is left out: until the transaction's
// end the destination lacks it, and what changes it meanwhile is judged as if it came out of a
// range that is held. So it may yet come whole, go, or move on; what is left out at the end is the
// row as the transaction leaves it, which the source can be asked for by its key and the
// transaction's id (model/moved_row.h). Filled in at once it would not do: the source shows the
// last of the versions that a transaction has written, or another row that has taken the key.
//
// A table is copied again (copy_again.h) when such a row cannot be had, and when its key is not
// what it was.
//
// A TRUNCATE that lies between two ranges' snapshots cannot come here: it gives the table another
// file, which the second of them has seen under its lock (snapshot/range_copier.h), and so the
// table was begun again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/change.h"
#include "model/key_field.h"
#include "model/moved_row.h"
#include "model/relation.h"
#include "model/snapshot.h"

namespace towline {

// CopyAgainError() with the table's name before `why`.
absl::Status CopyTableAgain(const Relation& relation, absl::string_view why);

class RangedChanges {
 public:
  // Rows that one transaction may leave out at a time; one may be as large as rows get. Each is
  // asked for by itself: beyond so many copying the table is the shorter way.
  static constexpr size_t kLeftOutRowsMax = 10'000;
  static constexpr size_t kLeftOutBytesMax = 16 << 20;

  // Whether the snapshot of that index (RangedTable::snapshots) holds the transaction.
  using Holds = absl::FunctionRef<absl::StatusOr<bool>(size_t snapshot)>;

  // False: nothing is left of the change, or its row is left out. It may have become an insert or a
  // delete.
  absl::StatusOr<bool> Keep(const RangedTable& table, Holds holds, Change* change);

  // The (sub)transaction that makes the changes which follow.
  void set_writer(uint64_t xid) { writer_ = xid; }

  // At the end of the transaction: what is left out, to be inserted now. Without its xid.
  bool has_left_out() const { return !left_out_.empty(); }
  std::vector<MovedRow> TakeLeftOut();

  // Whether the ranges hold a TRUNCATE of the relation; CopyAgainError() if they disagree.
  absl::StatusOr<bool> HoldTruncate(const RangedTable& table, Holds holds,
                                    const Relation& relation) const;

 private:
  using RowKey = std::pair<Oid, KeyValue>;  // by the table's oid

  absl::StatusOr<const KeyField*> FieldOf(const Relation& relation, const ChunkKey& key);
  absl::Status LeaveOut(const RangedTable& table, RowKey key, const Change& change);
  bool ForgetLeftOut(const RowKey& key);

  absl::flat_hash_map<const Relation*, KeyField> fields_;
  std::map<RowKey, MovedRow> left_out_;  // by the open transaction
  size_t left_out_bytes_ = 0;
  uint64_t writer_ = 0;
};

}  // namespace towline
