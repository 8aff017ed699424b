#include "apply/fold.h"

#include <algorithm>
#include <utility>

#include "model/row_image.h"

namespace towline {
namespace {

// Putting together and holding images so large would cost more than it saves.
constexpr size_t kFoldedBytesMax = 1 << 20;

absl::string_view WithLength(const Field& field) {
  constexpr size_t kLengthBytes = 4;
  return {field.bytes.data() - kLengthBytes, field.bytes.size() + kLengthBytes};
}

// Gives the change the values of `before`. What it then points to; null: nothing was needed.
std::unique_ptr<std::string> Merge(absl::string_view before, Change* change) {
  if (!change->has_unchanged_toast) return nullptr;
  MergedImage whole = MergeUnchanged(change->new_row, before);
  auto image = std::make_unique<std::string>(std::move(whole.image));
  change->new_row = *image;
  change->has_unchanged_toast = whole.has_unchanged_toast;
  return image;
}

}  // namespace

std::shared_ptr<const MergedImages> Share(MergedImages images) {
  if (images.empty()) return nullptr;
  return std::make_shared<const MergedImages>(std::move(images));
}

MergedImage MergeUnchanged(absl::string_view image, absl::string_view before) {
  MergedImage merged;
  RowReader now(image);
  RowReader then(before);
  AppendFieldCount(now.field_count(), &merged.image);
  for (int i = 0; i < now.field_count(); ++i) {
    Field field = now.Next();
    Field old_field = then.Next();
    if (field.kind == FieldKind::kUnchangedToast) field = old_field;
    merged.has_unchanged_toast |= field.kind == FieldKind::kUnchangedToast;
    AppendField(field, &merged.image);
  }
  return merged;
}

// The bytes of the key's fields with their lengths, until the next call; nothing if a field has no
// value.
std::optional<absl::string_view> Folder::Key(absl::string_view image,
                                             const std::vector<int>& fields) {
  if (fields.empty()) return std::nullopt;
  if (fields.size() == 1) {
    RowReader reader(image);
    Field value = reader.Next();
    for (int field = 0; field < fields[0]; ++field) value = reader.Next();
    if (value.kind != FieldKind::kValue) return std::nullopt;
    return WithLength(value);
  }
  key_.clear();
  for (int wanted : fields) {
    RowReader reader(image);
    Field value = reader.Next();
    for (int field = 0; field < wanted; ++field) value = reader.Next();
    if (value.kind != FieldKind::kValue) return std::nullopt;
    absl::string_view bytes = WithLength(value);
    key_.append(bytes.data(), bytes.size());
  }
  return key_;
}

std::optional<absl::string_view> Folder::OldKey(const Change& change) {
  if (change.old_image == OldImage::kNone) return std::nullopt;
  return Key(change.old_row,
             change.old_image == OldImage::kKey ? options_.key.in_key : options_.key.in_full);
}

Folder::Row* Folder::Find(absl::string_view key) {
  auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : found->second;
}

Folder::Row* Folder::Insert(absl::string_view key) {
  rows_.emplace_back();
  Row& row = rows_.back();
  row.key.assign(key.data(), key.size());
  by_key_[row.key] = &row;
  return &row;
}

bool Folder::Add(uint32_t index, const Change& change) {
  if (change.new_row.size() + change.old_row.size() > kFoldedBytesMax) return false;
  switch (change.kind) {
    case ChangeKind::kInsert:
      return AddInsert(index, change);
    case ChangeKind::kUpdate:
      return AddUpdate(index, change);
    case ChangeKind::kDelete:
      return AddDelete(index, change);
    case ChangeKind::kTruncate:
      return false;
  }
  return false;
}

bool Folder::AddInsert(uint32_t index, const Change& change) {
  std::optional<absl::string_view> key = Key(change.new_row, options_.key.in_full);
  if (!key.has_value()) return false;
  Row* row = Find(*key);
  if (row != nullptr && row->is_there) return false;  // the destination will say what is wrong
  Place(row != nullptr ? row : Insert(*key), {change, index}, nullptr);
  return true;
}

void Folder::Place(Row* row, const NetChange& inserted, std::unique_ptr<std::string> merged) {
  row->is_there = true;
  row->is_new = true;
  row->written = inserted;
  row->written.change.kind = ChangeKind::kInsert;
  row->written.change.old_image = OldImage::kNone;
  row->written.change.old_row = {};
  row->merged = std::move(merged);
}

void Folder::Remove(Row* row, const NetChange& removal) {
  if (!row->is_there) row->was_there = true;  // first seen as it goes
  if (!row->is_new) row->removal = removal;
  row->is_there = false;
  row->is_new = true;  // whatever comes
}

bool Folder::AddDelete(uint32_t index, const Change& change) {
  std::optional<absl::string_view> key = OldKey(change);
  if (!key.has_value()) return false;
  Row* row = Find(*key);
  if (row != nullptr && !row->is_there) return false;
  if (row == nullptr) row = Insert(*key);
  Remove(row, {change, index});
  return true;
}

// The key of a full image as the image of a key.
absl::string_view Folder::KeyImage(absl::string_view image) {
  std::string key;
  AppendFieldCount(static_cast<int>(options_.key.in_full.size()), &key);
  for (int wanted : options_.key.in_full) {
    RowReader reader(image);
    Field value = reader.Next();
    for (int field = 0; field < wanted; ++field) value = reader.Next();
    AppendField(value, &key);
  }
  key_images_.push_back(std::make_unique<const std::string>(std::move(key)));
  return *key_images_.back();
}

bool Folder::AddUpdate(uint32_t index, const Change& change) {
  if (change.old_image == OldImage::kNone && options_.has_old_images) return false;
  std::optional<absl::string_view> key = Key(change.new_row, options_.key.in_full);
  if (!key.has_value()) return false;
  std::string kept;  // Key() is called again
  if (change.old_image != OldImage::kNone) {
    kept.assign(key->data(), key->size());
    key = OldKey(change);
    if (!key.has_value()) return false;
    if (*key != kept) return AddMove(index, change, std::string(*key), kept);
  }
  Row* row = Find(*key);
  if (row != nullptr && !row->is_there) return false;
  const bool is_full = change.old_image == OldImage::kFull;
  NetChange now{change, index};
  std::unique_ptr<std::string> merged;
  if (row != nullptr) {
    merged = Merge(row->written.change.new_row, &now.change);
  } else if (is_full && options_.replaces) {
    merged = Merge(change.old_row, &now.change);
  }
  if (options_.replaces && now.change.has_unchanged_toast) return false;
  if (row == nullptr) {
    row = Insert(*key);
    row->is_there = true;
    row->was_there = true;
    if (options_.replaces)
      Remove(row, Removal(now, is_full ? change.old_row : absl::string_view()));
  } else if (!row->is_new) {
    // What the destination holds is what was before the first of the updates.
    now.change.old_image = row->written.change.old_image;
    now.change.old_row = row->written.change.old_row;
  }
  if (row->is_new) {
    Place(row, now, std::move(merged));
    return true;
  }
  row->written = now;
  row->merged = std::move(merged);
  return true;
}

// The delete of the row that an update of it finds.
NetChange Folder::Removal(const NetChange& update, absl::string_view full_image) {
  NetChange removal = update;
  removal.change.kind = ChangeKind::kDelete;
  removal.change.new_row = {};
  removal.change.has_unchanged_toast = false;
  if (!full_image.empty()) {
    removal.change.old_image = OldImage::kFull;
    removal.change.old_row = full_image;
  } else if (removal.change.old_image == OldImage::kNone) {
    removal.change.old_image = OldImage::kKey;
    removal.change.old_row = KeyImage(update.change.new_row);
  }
  return removal;
}

bool Folder::AddMove(uint32_t index, const Change& change, absl::string_view from,
                     absl::string_view to) {
  if (options_.keeps_rows) return false;
  Row* old_place = Find(from);
  Row* new_place = Find(to);
  if (old_place != nullptr && !old_place->is_there) return false;
  if (new_place != nullptr && new_place->is_there) return false;
  const NetChange removal = Removal({change, index}, {});
  NetChange now{change, index};
  std::unique_ptr<std::string> merged;
  if (change.old_image == OldImage::kFull) {
    merged = Merge(change.old_row, &now.change);
  } else if (old_place != nullptr) {
    merged = Merge(old_place->written.change.new_row, &now.change);
  }
  if (now.change.has_unchanged_toast) return false;
  Remove(old_place != nullptr ? old_place : Insert(from), removal);
  Place(new_place != nullptr ? new_place : Insert(to), now, std::move(merged));
  return true;
}

NetChanges Folder::TakeNet() {
  std::vector<Row*> deleted;
  std::vector<Row*> updated;
  NetChanges net;
  MergedImages images = std::move(key_images_);
  for (Row& row : rows_) {
    if (row.was_there && row.is_new) deleted.push_back(&row);
    if (!row.is_there) continue;
    if (row.merged != nullptr) images.push_back(std::move(row.merged));
    if (row.is_new) {
      net.inserts.push_back(std::move(row.written));
    } else {
      updated.push_back(&row);
    }
  }
  // The destination finds rows that lie side by side in its index and table for a quarter less.
  auto by_key = [](const Row* a, const Row* b) { return a->key < b->key; };
  std::sort(deleted.begin(), deleted.end(), by_key);
  std::sort(updated.begin(), updated.end(), by_key);
  net.deletes.reserve(deleted.size());
  for (Row* row : deleted) net.deletes.push_back(std::move(row->removal));
  net.updates.reserve(updated.size());
  for (Row* row : updated) net.updates.push_back(std::move(row->written));
  net.images = Share(std::move(images));
  by_key_.clear();
  rows_.clear();
  key_images_.clear();
  return net;
}

}  // namespace towline
