// Where in a transaction's log each subtransaction begins, so that an aborted one can be cut off.
// Cutting at its first entry is right because of the savepoint discipline: from there on everything
// is its own, its children's, or was written after its end by an ancestor that is then aborted too.
//
// Bounded: with too many subtransactions the older half is forgotten, and one that may be among
// them must be looked for in the log itself.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace towline {

class SubtransactionIndex {
 public:
  // A place in the log: everything before it, and how many changes that is.
  struct Mark {
    uint64_t offset = 0;
    uint64_t changes = 0;
  };

  explicit SubtransactionIndex(size_t size_max) : size_max_(size_max) {}

  // Entries of `xid` follow. Only the first mark of each counts.
  void Add(uint64_t xid, Mark mark);
  std::optional<Mark> Find(uint64_t xid) const;
  // It has no mark here, and may have been forgotten.
  bool MayHaveForgotten(uint64_t xid) const { return xid <= forgotten_max_ && !Find(xid); }

  // The log was cut: what began there or later is gone.
  void Cut(uint64_t offset);
  // After a look at the log: no forgotten one is higher than this.
  void SetForgottenMax(uint64_t xid) { forgotten_max_ = xid; }

  size_t size() const { return marks_.size(); }

 private:
  const size_t size_max_;
  absl::flat_hash_map<uint64_t, Mark> marks_;
  std::vector<uint64_t> order_;  // xids of marks_, offsets rising
  uint64_t forgotten_max_ = 0;   // xids above it were never forgotten
};

}  // namespace towline
