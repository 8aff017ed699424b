#include "apply/net_writer.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "apply/update_groups.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "model/row_image.h"

namespace towline {
namespace {

// Below, kCopyRowsMin is what was measured.
constexpr absl::Duration kNearRoundTrip = absl::Milliseconds(1);

// Which of the fields of a full old image are NULL; empty: none.
std::vector<bool> NullsOf(const Change& change) {
  std::vector<bool> nulls;
  bool has_any = false;
  RowReader reader(change.old_row);
  for (int i = 0; i < reader.field_count(); ++i) {
    nulls.push_back(reader.Next().kind == FieldKind::kNull);
    has_any |= nulls.back();
  }
  if (!has_any) nulls.clear();
  return nulls;
}

}  // namespace

bool NetWriter::IsSet(size_t changes) const { return changes > 1 && changes >= set_rows_min_; }

absl::Status NetWriter::WriteDeletesAndUpdates(const Target& target, NetChanges* net) {
  std::vector<NetChange> deletes = std::exchange(net->deletes, {});
  TOWLINE_RETURN_IF_ERROR(target.matching == Matching::kExact ? WriteEqualDeletes(target, &deletes)
                                                              : WriteDeletes(target, deletes));
  for (const UpdateGroup& group :
       GroupUpdates(target, std::exchange(net->updates, {}), set_rows_min_)) {
    TOWLINE_RETURN_IF_ERROR(WriteUpdates(target, group.is_unchanged, group.updates));
  }
  return absl::OkStatus();
}

absl::Status NetWriter::WriteDeletes(const Target& target, absl::Span<const NetChange> deletes) {
  if (!IsSet(deletes.size()) || !CanDeleteSet(target)) return WriteOneByOne(target, deletes);
  // All in one form: under FULL every old image is full, else it is the key's.
  SetShape shape;
  shape.kind = ChangeKind::kDelete;
  return set_writer_.Write(target, shape, deletes);
}

// Those of the same columns that are NULL together: each pass over the table is for one kind of
// them.
absl::Status NetWriter::WriteEqualDeletes(const Target& target, std::vector<NetChange>* deletes) {
  std::map<std::vector<bool>, std::vector<NetChange>> groups;
  for (NetChange& deleted : *deletes) groups[NullsOf(deleted.change)].push_back(deleted);
  for (auto& [is_null, group] : groups) {
    if (!IsSet(group.size()) || !CanDeleteEqualRows(target, is_null)) {
      TOWLINE_RETURN_IF_ERROR(WriteOneByOne(target, group));
      continue;
    }
    SetShape shape;
    shape.kind = ChangeKind::kDelete;
    shape.is_null = is_null;
    TOWLINE_RETURN_IF_ERROR(set_writer_.DeleteEqualRows(target, shape, group));
  }
  return absl::OkStatus();
}

absl::Status NetWriter::WriteUpdates(const Target& target, const std::vector<bool>& is_unchanged,
                                     absl::Span<const NetChange> updates) {
  if (!IsSet(updates.size()) || !CanUpdateSet(target, is_unchanged)) {
    return WriteOneByOne(target, updates);
  }
  SetShape shape;
  shape.kind = ChangeKind::kUpdate;
  shape.is_unchanged = is_unchanged;
  return set_writer_.Write(target, shape, updates);
}

bool NetWriter::IsCopy(const Target& target, size_t inserts) const {
  if (!target.can_copy || inserts < kCopyRowsMin) return false;
  const bool is_set = IsSet(inserts) && CanInsertSet(target);
  const absl::Duration gain = is_set ? kCopyGainOnSet : kCopyGainOnStatement;
  return gain * static_cast<int64_t>(inserts) >= round_trip_ || round_trip_ < kNearRoundTrip;
}

absl::Status NetWriter::WriteInserts(const Target& target, absl::Span<const NetChange> inserts) {
  if (IsCopy(target, inserts.size())) {
    copied_.clear();
    for (const NetChange& insert : inserts) {
      copied_.push_back({insert.change.new_row, insert.index});
    }
    return Copy(target, copied_);
  }
  if (!IsSet(inserts.size()) || !CanInsertSet(target)) return WriteOneByOne(target, inserts);
  return set_writer_.Write(target, SetShape{}, inserts);
}

absl::Status NetWriter::WriteOneByOne(const Target& target, absl::Span<const NetChange> changes) {
  for (const NetChange& net : changes) {
    TOWLINE_RETURN_IF_ERROR(row_writer_->Write(target, net.change, net.index));
  }
  return absl::OkStatus();
}

absl::Status NetWriter::Copy(const Target& target, absl::Span<const CopyRow> rows) {
  absl::Status copied = CopyRows(*connection_, *pipeline_, target, rows);
  return copied.ok() ? copied : WithContext(copied, absl::StrCat("table ", target.label));
}

}  // namespace towline
