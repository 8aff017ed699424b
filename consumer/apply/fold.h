// Finds updates whose whole effect a later update of the same row replaces, so that a row that is
// written a thousand times in a batch (a counter, a balance) costs one write instead of a chain of
// a thousand dead versions in one destination transaction.
//
// Pure. Sound where rows of different keys do not look at each other: one unique key, which is the
// one given here, no exclusion constraint, no trigger that fires for us. Then only what touches the
// same key matters: an earlier update goes if a later one of the same key brings every column and
// nothing but plain updates of that key lies between. The later one keeps its place and its check
// that the row is there (C5). Keys are compared by their bytes: a row always travels with the bytes
// that it has, and a change of these is a change of the key.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "model/change.h"

namespace towline {

// Where the key columns stand in the images of a relation, in one order for both.
struct KeyFields {
  std::vector<int> in_full;
  std::vector<int> in_key;  // empty: the relation sends no key images
};

class Folder {
 public:
  explicit Folder(const KeyFields& fields) : fields_(fields) {}

  // Call for every change of the table that is not a TRUNCATE, in order; all of one relation.
  // Returns the index of the earlier change that is not needed any more, or -1. The images must
  // live as long as the folder.
  int Add(int index, const Change& change);

 private:
  std::optional<absl::string_view> Key(absl::string_view image, const std::vector<int>& fields);
  void Forget(const std::optional<absl::string_view>& key);

  const KeyFields fields_;
  absl::flat_hash_map<absl::string_view, int> last_update_;  // since anything else touched the key
  std::deque<std::string> joined_keys_;  // what keys of several columns point to
};

}  // namespace towline
