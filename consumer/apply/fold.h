// Folds the changes of a batch to one net change per key, so that a row that is written a thousand
// times in a batch (a counter, a balance) is written once, and so that deletes, updates and inserts
// of a table can be written as a set each, in this order.
//
// Pure. What is folded is the same as the changes one by one, for what becomes of a key's row does
// not depend on other keys. Where rows of different keys look at each other (a unique index beside
// the key), an update may be refused because of a row that is still to be updated. Where all that
// is written goes as "deletes, then inserts" (Options::replaces) no constraint can be violated in
// between that holds before and after: batch_writer.h tells when which is done. Keys are compared
// by their bytes: a row always travels with the bytes that it has, and a change of these is a
// change of the key.
//
// What the destination must hold before the batch follows from the first change of each key, and is
// checked by the number of rows of the sets (C5). A row that comes and goes within the batch leaves
// nothing, and nothing is checked for it.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "model/change.h"

namespace towline {

// A change as if the source had made only this one.
struct NetChange {
  Change change;
  uint32_t index = 0;  // of the last change of the batch that is in it, for messages
};

// Images that were put together, at addresses that stay.
using MergedImages = std::vector<std::unique_ptr<const std::string>>;

// Of every key at most one delete, and at most one of update and insert. To be written in this
// order.
struct NetChanges {
  std::vector<NetChange> deletes;  // by the bytes of their keys
  std::vector<NetChange> updates;  // likewise; their keys stay
  std::vector<NetChange> inserts;  // as they came
  // Of the changes' images those that the batch does not own; null: there are none. Shared, so that
  // the changes can be divided.
  std::shared_ptr<const MergedImages> images;
};

std::shared_ptr<const MergedImages> Share(MergedImages images);

// Where the key columns stand in the images of a relation, in one order for both.
struct KeyFields {
  std::vector<int> in_full;
  std::vector<int> in_key;  // empty: the relation sends no key images
};

// `image` with the values of `before` where it has unchanged TOAST values.
struct MergedImage {
  std::string image;
  bool has_unchanged_toast = false;  // `before` had no value either
};
MergedImage MergeUnchanged(absl::string_view image, absl::string_view before);

class Folder {
 public:
  struct Options {
    KeyFields key;
    bool has_old_images = false;  // REPLICA IDENTITY FULL: of every update
    bool replaces = false;        // updates become delete and insert
    bool keeps_rows = false;  // rows hold more than the images: a moved row is not made anew (C4)
  };
  explicit Folder(Options options) : options_(std::move(options)) {}
  Folder(Folder&&) = delete;

  // Call for changes of one relation in order, except TRUNCATE. False: the change cannot be joined
  // with what has been added, which is to be written first; if there is nothing, it goes alone.
  // Images must live as long as the net changes.
  bool Add(uint32_t index, const Change& change);

  bool is_empty() const { return rows_.empty(); }
  // Of all that was added, and forgets it.
  NetChanges TakeNet();

 private:
  struct Row {
    std::string key;
    bool was_there = false;  // before the batch, under this key
    bool is_there = false;
    bool is_new = false;                  // the row that is there is another one than before
    NetChange removal;                    // if the one that was there is gone
    NetChange written;                    // if is_there: update, or insert if is_new
    std::unique_ptr<std::string> merged;  // the image of `written`, if it was put together
  };

  std::optional<absl::string_view> Key(absl::string_view image, const std::vector<int>& fields);
  std::optional<absl::string_view> OldKey(const Change& change);
  Row* Find(absl::string_view key);
  Row* Insert(absl::string_view key);
  bool AddInsert(uint32_t index, const Change& change);
  bool AddDelete(uint32_t index, const Change& change);
  bool AddUpdate(uint32_t index, const Change& change);
  bool AddMove(uint32_t index, const Change& change, absl::string_view from, absl::string_view to);
  NetChange Removal(const NetChange& update, absl::string_view full_image);
  static void Remove(Row* row, const NetChange& removal);
  static void Place(Row* row, const NetChange& inserted, std::unique_ptr<std::string> merged);
  absl::string_view KeyImage(absl::string_view image);

  const Options options_;
  std::deque<Row> rows_;                                 // in the order of their keys' first change
  absl::flat_hash_map<absl::string_view, Row*> by_key_;  // keys point into the rows
  std::string key_;                                      // of several columns, of the last Key()
  MergedImages key_images_;
};

}  // namespace towline
