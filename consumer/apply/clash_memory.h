// Which tables' updates are written as deletes and inserts for a while.
//
// Where a table has a unique index beside its key, or an exclusion constraint, rows that are no
// conflict before and after a batch may clash while it is written: two that swap their values, or
// one that takes the value of a row whose update comes behind its own. The destination refuses
// such updates, and takes the same rows as deletes and inserts. It is told only by trying, since
// the old values are mostly not known; a try that fails costs the batch once more. So a table that
// was refused is not tried for a number of batches, which doubles as long as clashes go on.
#pragma once

#include "absl/container/flat_hash_map.h"
#include "model/oid.h"

namespace towline {

// At most one of so many batches is written twice, whatever the tables' changes are like.
inline constexpr int kClashPauseMin = 16;
inline constexpr int kClashPauseMax = 1024;
// A clash after so many updates without one is taken for a rare event.
inline constexpr int kClashTriesMin = 64;

class ClashMemory {
 public:
  // Whether updates of it were ever refused.
  bool HasClashed(Oid table) const { return tables_.contains(table); }
  // Whether the next updates of it are to be written as deletes and inserts.
  bool Replaces(Oid table) const;
  // Updates of a batch are about to be written, as Replaces() has said when it was asked for them.
  void NoteWritten(Oid table, bool replaces);
  // What was said of those that were written last.
  bool HasReplaced(Oid table) const;
  // They were refused as updates, and are tried as deletes and inserts. If that is refused too
  // there is a conflict, and perhaps a clash beside it.
  void NoteClash(Oid table);

 private:
  struct Clashes {
    int pause = 0;  // after the last one
    int left = 0;   // of it
    int tries = 0;  // since
    bool has_replaced = false;
  };
  absl::flat_hash_map<Oid, Clashes> tables_;  // that have clashed
};

}  // namespace towline
