#include "assemble/ranged_changes.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/copy_again.h"

namespace towline {

absl::Status CopyTableAgain(const Relation& relation, absl::string_view why) {
  return CopyAgainError(relation.oid, absl::StrCat("table ", relation.name.schema, ".",
                                                   relation.name.name, " is copied again: ", why));
}

// Relations live as long as the connection's decoder, and so do we.
absl::StatusOr<const KeyField*> RangedChanges::FieldOf(const Relation& relation,
                                                       const ChunkKey& key) {
  auto known = fields_.find(&relation);
  if (known != fields_.end()) return &known->second;
  absl::StatusOr<KeyField> field = KeyField::Find(relation, key);
  if (!field.ok()) return CopyTableAgain(relation, field.status().message());
  return &fields_.emplace(&relation, *std::move(field)).first->second;
}

absl::StatusOr<bool> RangedChanges::Keep(const RangedTable& table, Holds holds, Change* change) {
  TOWLINE_ASSIGN_OR_RETURN(const KeyField* field, FieldOf(*change->relation, table.key));
  TOWLINE_ASSIGN_OR_RETURN(ChangedKeys keys, field->KeysOf(*change));
  const Oid oid = change->relation->oid;
  bool was_there = false;  // at the destination
  if (keys.before.has_value()) {
    TOWLINE_ASSIGN_OR_RETURN(const bool is_held, holds(table.SnapshotOf(*keys.before)));
    was_there = !is_held && !ForgetLeftOut({oid, *keys.before});
  }
  if (!keys.after.has_value()) return was_there;
  TOWLINE_ASSIGN_OR_RETURN(const bool is_held, holds(table.SnapshotOf(*keys.after)));
  if (left_out_.contains({oid, *keys.after})) {
    return CopyTableAgain(*change->relation, "two of its rows have had the same key at a time");
  }
  if (!keys.before.has_value()) return !is_held;
  if (is_held) {
    if (!was_there) return false;
    // The keys differ, so there is an old image.
    change->kind = ChangeKind::kDelete;
    change->new_row = {};
    change->has_unchanged_toast = false;
    return true;
  }
  if (was_there) return true;
  if (change->has_unchanged_toast) {
    TOWLINE_RETURN_IF_ERROR(LeaveOut(table, {oid, *std::move(keys.after)}, *change));
    return false;
  }
  change->kind = ChangeKind::kInsert;
  change->old_image = OldImage::kNone;
  change->old_row = {};
  return true;
}

absl::Status RangedChanges::LeaveOut(const RangedTable& table, RowKey key, const Change& change) {
  left_out_bytes_ += change.new_row.size();
  left_out_.emplace(std::move(key), MovedRow{.writer = writer_,
                                             .relation = change.relation,
                                             .key_column = table.key.column,
                                             .row = std::string(change.new_row)});
  const bool are_few = left_out_.size() <= kLeftOutRowsMax && left_out_bytes_ <= kLeftOutBytesMax;
  if (are_few || left_out_.size() == 1) return absl::OkStatus();
  return CopyTableAgain(
      *change.relation,
      "too many rows have moved between ranges without their large values in one transaction");
}

bool RangedChanges::ForgetLeftOut(const RowKey& key) {
  auto found = left_out_.find(key);
  if (found == left_out_.end()) return false;
  left_out_bytes_ -= found->second.row.size();
  left_out_.erase(found);
  return true;
}

std::vector<MovedRow> RangedChanges::TakeLeftOut() {
  std::vector<MovedRow> rows;
  for (auto& [key, row] : left_out_) rows.push_back(std::move(row));
  left_out_.clear();
  left_out_bytes_ = 0;
  return rows;
}

absl::StatusOr<bool> RangedChanges::HoldTruncate(const RangedTable& table, Holds holds,
                                                 const Relation& relation) const {
  TOWLINE_ASSIGN_OR_RETURN(const bool is_held, holds(table.snapshots.front()));
  for (size_t snapshot : table.snapshots) {
    TOWLINE_ASSIGN_OR_RETURN(const bool is_held_here, holds(snapshot));
    if (is_held_here != is_held) {
      return CopyTableAgain(relation, "it was emptied while its ranges were copied");
    }
  }
  return is_held;
}

}  // namespace towline
