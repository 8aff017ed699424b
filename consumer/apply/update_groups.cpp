#include "apply/update_groups.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "apply/set_statement.h"
#include "model/row_image.h"

namespace towline {
namespace {

using Columns = std::vector<bool>;  // of target.written; empty: none

struct Unchanged {
  Columns not_sent;
  Columns all;             // with those that are equal to the old row's
  size_t equal_bytes = 0;  // of the latter
};

// A row that a change has passed over is not the old image's.
bool Compares(const Target& target, const Change& change) {
  return !target.may_differ && change.old_image == OldImage::kFull &&
         change.new_row.size() >= kEqualBytesMin;
}

bool MayLeaveColumns(const Target& target, const NetChange& update) {
  return update.change.has_unchanged_toast || Compares(target, update.change);
}

void ReadFields(absl::string_view image, std::vector<Field>* fields) {
  RowReader reader(image);
  fields->resize(static_cast<size_t>(reader.field_count()));
  for (Field& field : *fields) field = reader.Next();
}

void ClearIfNone(Columns* columns) {
  if (std::find(columns->begin(), columns->end(), true) == columns->end()) columns->clear();
}

class Comparer {
 public:
  explicit Comparer(const Target& target) : target_(target) {}

  Unchanged Compare(const Change& change) {
    Unchanged unchanged;
    const bool compares = Compares(target_, change);
    ReadFields(change.new_row, &now_);
    if (compares) ReadFields(change.old_row, &before_);
    for (int index : target_.written) {
      const auto field = static_cast<size_t>(target_.columns[static_cast<size_t>(index)].field);
      const Field& now = now_[field];
      const bool is_not_sent = now.kind == FieldKind::kUnchangedToast;
      const bool is_equal = compares && now.bytes.size() >= kEqualBytesMin &&
                            before_[field].kind == FieldKind::kValue &&
                            now.bytes == before_[field].bytes;
      unchanged.not_sent.push_back(is_not_sent);
      unchanged.all.push_back(is_not_sent || is_equal);
      if (is_equal) unchanged.equal_bytes += now.bytes.size();
    }
    ClearIfNone(&unchanged.not_sent);
    ClearIfNone(&unchanged.all);
    return unchanged;
  }

 private:
  const Target& target_;
  std::vector<Field> now_;
  std::vector<Field> before_;
};

// Those that are worth a group, by what they save.
std::set<Columns> ChooseSaving(const Target& target, const std::vector<Unchanged>& updates,
                               size_t set_rows_min) {
  struct Saving {
    size_t bytes = 0;
    size_t rows = 0;
  };
  std::map<Columns, Saving> savings;
  for (const Unchanged& unchanged : updates) {
    if (unchanged.equal_bytes == 0) continue;
    Saving& saving = savings[unchanged.all];
    saving.bytes += unchanged.equal_bytes;
    ++saving.rows;
  }
  std::vector<std::pair<size_t, Columns>> worth;
  for (const auto& [columns, saving] : savings) {
    const bool is_set = saving.rows > 1 && saving.rows >= set_rows_min;
    if (is_set && saving.bytes >= kSavedBytesMin && CanUpdateSet(target, columns)) {
      worth.emplace_back(saving.bytes, columns);
    }
  }
  std::sort(worth.begin(), worth.end(),
            [](const auto& a, const auto& b) { return a.first > b.first; });
  if (worth.size() > kSavingGroupsMax) worth.resize(kSavingGroupsMax);
  std::set<Columns> chosen;
  for (auto& [bytes, columns] : worth) chosen.insert(std::move(columns));
  return chosen;
}

}  // namespace

std::vector<UpdateGroup> GroupUpdates(const Target& target, std::vector<NetChange> updates,
                                      size_t set_rows_min) {
  std::vector<UpdateGroup> groups;
  auto may_leave = [&](const NetChange& update) { return MayLeaveColumns(target, update); };
  if (std::none_of(updates.begin(), updates.end(), may_leave)) {
    if (!updates.empty()) groups.push_back({{}, std::move(updates)});
    return groups;
  }
  Comparer comparer(target);
  std::vector<Unchanged> unchanged;
  unchanged.reserve(updates.size());
  for (const NetChange& update : updates) {
    unchanged.push_back(may_leave(update) ? comparer.Compare(update.change) : Unchanged{});
  }
  const std::set<Columns> saving = ChooseSaving(target, unchanged, set_rows_min);
  std::map<Columns, std::vector<NetChange>> by_columns;
  for (size_t i = 0; i < updates.size(); ++i) {
    Unchanged& left = unchanged[i];
    Columns& columns = saving.contains(left.all) ? left.all : left.not_sent;
    by_columns[std::move(columns)].push_back(std::move(updates[i]));
  }
  for (auto& [columns, group] : by_columns) groups.push_back({columns, std::move(group)});
  return groups;
}

}  // namespace towline
