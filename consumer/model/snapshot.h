// A source snapshot as pg_current_snapshot() prints it ("xmin:xmax:xip,xip"), 64-bit ids, and the
// rule I4 that decides which streamed transactions a copied piece already holds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/lsn.h"
#include "model/key_field.h"
#include "model/key_ranges.h"
#include "model/name.h"
#include "model/oid.h"

namespace towline {

class Snapshot {
 public:
  static absl::StatusOr<Snapshot> Parse(absl::string_view text);

  // Whether the top-level transaction had committed (or aborted) for this snapshot.
  bool IsVisible(uint64_t xid) const;
  uint64_t xmin() const { return xmin_; }
  uint64_t xmax() const { return xmax_; }
  std::string ToString() const;

 private:
  uint64_t xmin_ = 0;
  uint64_t xmax_ = 0;
  std::vector<uint64_t> running_;  // sorted
};

// A snapshot under which tables were copied. Beyond lsn_after no streamed transaction can be
// visible in it, so it may be forgotten.
struct CopySnapshot {
  Snapshot snapshot;
  Lsn lsn_after;

  bool Holds(uint64_t xid, Lsn commit_lsn) const {
    return commit_lsn < lsn_after && snapshot.IsVisible(xid);
  }
};

// A table that is copied in ranges of its key, each under a snapshot of its own.
struct RangedTable {
  ChunkKey key;
  KeyRanges ranges;
  // Of each range: index into CopyBoundary::snapshots, or its piece of CopyBoundary::live.
  std::vector<size_t> snapshots;

  size_t SnapshotOf(const KeyValue& value) const { return snapshots[ranges.Find(value)]; }
};

class LiveCopy;

// Where the copy ends and the stream begins. Most tables have one snapshot, whole: what holds
// within one (its unique constraints) holds at every moment of catching up. What holds between
// tables, or between the ranges of one, does so again when the position has passed the last
// lsn_after.
struct CopyBoundary {
  // At least one: those of ranges and of tables that have one to themselves, then those that tables
  // share, in the order in which they were taken.
  std::vector<CopySnapshot> snapshots;
  // Source OID to index. A table that is not here was in no snapshot: it follows the last, under
  // which the tables to copy were looked up. If that holds a transaction that changed it, it was
  // gone again by then; if not, it came later, and all its changes are taken.
  absl::flat_hash_map<Oid, size_t> of_table;
  absl::flat_hash_map<Oid, RangedTable> ranged = {};  // by source OID; not in of_table
  // The copy of the ranged tables and of those in live_tables goes on, and says of each piece how
  // far it is; outlives this. Null: it is complete.
  LiveCopy* live = nullptr;
  // Of whole tables, by source OID: the piece of `live`; not in of_table.
  absl::flat_hash_map<Oid, size_t> live_tables = {};
  // The live ones are copied by themselves behind the first copy: their rows, and no schema. So no
  // snapshot holds a schema change: each is run where it comes, before the rows are copied by it.
  bool is_of_joined = false;
  absl::flat_hash_map<Oid, TableName> names = {};  // of those in live_tables, for people

  size_t SnapshotOf(Oid table) const {
    auto found = of_table.find(table);
    return found == of_table.end() ? snapshots.size() - 1 : found->second;
  }
};

}  // namespace towline
