#include "apply/fold.h"

#include <algorithm>

#include "model/row_image.h"

namespace towline {

// The bytes of the key's fields with their lengths; nothing if a field has no value.
std::optional<absl::string_view> Folder::Key(absl::string_view image,
                                             const std::vector<int>& fields) {
  if (fields.empty()) return std::nullopt;
  constexpr int kLengthBytes = 4;
  std::vector<absl::string_view> found(fields.size());
  int last = *std::max_element(fields.begin(), fields.end());
  RowReader reader(image);
  for (int field = 0; field <= last; ++field) {
    Field value = reader.Next();
    for (size_t i = 0; i < fields.size(); ++i) {
      if (fields[i] != field) continue;
      if (value.kind != FieldKind::kValue) return std::nullopt;
      found[i] = {value.bytes.data() - kLengthBytes, value.bytes.size() + kLengthBytes};
    }
  }
  if (found.size() == 1) return found[0];
  std::string joined;
  for (absl::string_view part : found) joined.append(part.data(), part.size());
  joined_keys_.push_back(std::move(joined));
  return joined_keys_.back();
}

// A key that cannot be told may be any.
void Folder::Forget(const std::optional<absl::string_view>& key) {
  if (key.has_value()) {
    last_update_.erase(*key);
  } else {
    last_update_.clear();
  }
}

int Folder::Add(int index, const Change& change) {
  auto old_key = [&]() {
    return Key(change.old_row,
               change.old_image == OldImage::kKey ? fields_.in_key : fields_.in_full);
  };
  if (change.kind == ChangeKind::kDelete) {
    Forget(change.old_image == OldImage::kNone ? std::nullopt : old_key());
    return -1;
  }
  std::optional<absl::string_view> new_key = Key(change.new_row, fields_.in_full);
  if (change.kind != ChangeKind::kUpdate) {
    Forget(new_key);
    return -1;
  }
  if (change.old_image != OldImage::kNone) {
    std::optional<absl::string_view> key = old_key();
    if (!key.has_value() || key != new_key) {
      Forget(key);
      Forget(new_key);
      return -1;
    }
  }
  if (!new_key.has_value()) {
    Forget(new_key);
    return -1;
  }
  auto [at, is_first] = last_update_.try_emplace(*new_key, index);
  if (is_first) return -1;
  int earlier = at->second;
  at->second = index;
  // What a later update leaves unchanged, an earlier one may have written.
  return change.has_unchanged_toast ? -1 : earlier;
}

}  // namespace towline
