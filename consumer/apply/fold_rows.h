// Folds the changes of a table whose rows are told apart by all their values (REPLICA IDENTITY FULL
// without a key): rows as a multiset. Each update is the delete of a row as it was and the insert
// of a row as it became; rows of the same bytes are the same.
//
// Pure. A delete takes away what came within the batch, if there is such a row; an insert takes no
// delete back, because the row that was to be deleted must be found (I5).
#pragma once

#include <cstdint>
#include <deque>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "apply/fold.h"
#include "model/change.h"

namespace towline {

class RowFolder {
 public:
  // As Folder's.
  bool Add(uint32_t index, const Change& change);
  bool is_empty() const { return rows_.empty(); }
  NetChanges TakeNet();  // equal deletes stand one behind the other

 private:
  struct Row {
    NetChange deleted;
    NetChange inserted;
    int64_t deletes = 0;
    int64_t inserts = 0;
  };

  Row& At(absl::string_view image);

  std::deque<Row> rows_;
  absl::flat_hash_map<absl::string_view, Row*> by_image_;
  MergedImages merged_;
};

}  // namespace towline
