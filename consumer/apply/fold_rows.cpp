#include "apply/fold_rows.h"

#include <memory>
#include <string>
#include <utility>

namespace towline {
namespace {

// As in fold.cpp.
constexpr size_t kFoldedBytesMax = 1 << 20;

}  // namespace

RowFolder::Row& RowFolder::At(absl::string_view image) {
  Row*& row = by_image_[image];
  if (row == nullptr) {
    rows_.emplace_back();
    row = &rows_.back();
  }
  return *row;
}

bool RowFolder::Add(uint32_t index, const Change& change) {
  if (change.new_row.size() + change.old_row.size() > kFoldedBytesMax) return false;
  const bool has_old = change.kind != ChangeKind::kInsert;
  if (change.kind == ChangeKind::kTruncate) return false;
  if (has_old && change.old_image != OldImage::kFull) return false;
  NetChange now{change, index};
  if (change.has_unchanged_toast) {
    MergedImage whole = MergeUnchanged(change.new_row, change.old_row);
    if (whole.has_unchanged_toast) return false;
    merged_.push_back(std::make_unique<const std::string>(std::move(whole.image)));
    now.change.new_row = *merged_.back();
    now.change.has_unchanged_toast = false;
  }
  if (has_old) {
    Row& row = At(change.old_row);
    if (row.inserts > 0) {
      --row.inserts;
    } else {
      ++row.deletes;
      row.deleted = {change, index};
      row.deleted.change.kind = ChangeKind::kDelete;
      row.deleted.change.new_row = {};
      row.deleted.change.has_unchanged_toast = false;
    }
  }
  if (change.kind == ChangeKind::kDelete) return true;
  now.change.kind = ChangeKind::kInsert;
  now.change.old_image = OldImage::kNone;
  now.change.old_row = {};
  Row& row = At(now.change.new_row);
  ++row.inserts;
  row.inserted = now;
  return true;
}

NetChanges RowFolder::TakeNet() {
  NetChanges net;
  for (const Row& row : rows_) {
    net.deletes.insert(net.deletes.end(), static_cast<size_t>(row.deletes), row.deleted);
    net.inserts.insert(net.inserts.end(), static_cast<size_t>(row.inserts), row.inserted);
  }
  net.images = Share(std::move(merged_));
  by_image_.clear();
  rows_.clear();
  merged_.clear();
  return net;
}

}  // namespace towline
