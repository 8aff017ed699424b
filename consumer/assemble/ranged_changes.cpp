#include "assemble/ranged_changes.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/copy_again.h"

namespace towline {
namespace {

absl::Status CopyAgain(const Relation& relation, absl::string_view why) {
  return CopyAgainError(relation.oid, absl::StrCat("table ", relation.name.schema, ".",
                                                   relation.name.name, " is copied again: ", why));
}

}  // namespace

// Relations live as long as the connection's decoder, and so do we.
absl::StatusOr<const KeyField*> RangedChanges::FieldOf(const Relation& relation,
                                                       const ChunkKey& key) {
  auto known = fields_.find(&relation);
  if (known != fields_.end()) return &known->second;
  absl::StatusOr<KeyField> field = KeyField::Find(relation, key);
  if (!field.ok()) return CopyAgain(relation, field.status().message());
  return &fields_.emplace(&relation, *std::move(field)).first->second;
}

absl::StatusOr<bool> RangedChanges::Keep(const RangedTable& table, Holds holds, Change* change) {
  TOWLINE_ASSIGN_OR_RETURN(const KeyField* field, FieldOf(*change->relation, table.key));
  TOWLINE_ASSIGN_OR_RETURN(ChangedKeys keys, field->KeysOf(*change));
  auto is_held = [&](const KeyValue& key) { return holds(table.SnapshotOf(key)); };
  if (!keys.before.has_value() || !keys.after.has_value()) {
    TOWLINE_ASSIGN_OR_RETURN(bool is_only_held,
                             is_held(keys.after.has_value() ? *keys.after : *keys.before));
    return !is_only_held;
  }
  TOWLINE_ASSIGN_OR_RETURN(const bool before, is_held(*keys.before));
  TOWLINE_ASSIGN_OR_RETURN(const bool after, is_held(*keys.after));
  if (before == after) return !before;
  if (before) {
    if (change->has_unchanged_toast) {
      return CopyAgain(*change->relation,
                       "a row has moved between ranges without its large values");
    }
    change->kind = ChangeKind::kInsert;
    change->old_image = OldImage::kNone;
    change->old_row = {};
    return true;
  }
  // The keys differ, so there is an old image.
  change->kind = ChangeKind::kDelete;
  change->new_row = {};
  change->has_unchanged_toast = false;
  return true;
}

absl::StatusOr<bool> RangedChanges::HoldTruncate(const RangedTable& table, Holds holds,
                                                 const Relation& relation) const {
  TOWLINE_ASSIGN_OR_RETURN(const bool is_held, holds(table.snapshots.front()));
  for (size_t snapshot : table.snapshots) {
    TOWLINE_ASSIGN_OR_RETURN(const bool is_held_here, holds(snapshot));
    if (is_held_here != is_held) {
      return CopyAgain(relation, "it was emptied while its ranges were copied");
    }
  }
  return is_held;
}

}  // namespace towline
