#include "apply/batch_planner.h"

#include <algorithm>
#include <utility>

#include "apply/fold.h"
#include "apply/fold_rows.h"

namespace towline {
namespace {

Folder::Options FolderOptionsOf(const Target& target, bool replaces) {
  Folder::Options options;
  for (int index : target.match) {
    const TargetColumn& column = target.columns[static_cast<size_t>(index)];
    options.key.in_full.push_back(column.field);
    if (column.key_field >= 0) options.key.in_key.push_back(column.key_field);
  }
  if (options.key.in_key.size() != options.key.in_full.size()) options.key.in_key.clear();
  options.has_old_images = target.relation->replica_identity == ReplicaIdentity::kFull;
  options.replaces = replaces;
  options.keeps_rows = target.keeps_rows;
  return options;
}

// A change that cannot be joined with those before it is written behind them, and if it cannot be
// joined with anything, alone.
template <typename AnyFolder>
void PlanFolded(const Target& target, const Batch& batch, absl::Span<const uint32_t> changes,
                AnyFolder* folder, std::vector<PlannedWrite>* writes) {
  auto close = [&] { writes->push_back({&target, folder->TakeNet(), {}}); };
  for (const uint32_t index : changes) {
    const Change& change = batch.changes[index];
    if (folder->Add(index, change)) continue;
    if (!folder->is_empty()) {
      close();
      if (folder->Add(index, change)) continue;
    }
    writes->push_back({&target, {}, {index}});
  }
  if (!folder->is_empty()) close();
}

}  // namespace

std::optional<BatchPlan> BatchPlanner::Plan(const Batch& batch, size_t begin, size_t end) const {
  BatchPlan plan;
  plan.changes = batch.changes.data();
  plan.begin = begin;
  plan.end = end;
  plan.generation = generation_;
  std::vector<Gathered> tables;
  absl::flat_hash_map<Oid, size_t> numbers;
  const Target* target = nullptr;  // of the change before
  Gathered* gathered = nullptr;    // likewise; null: none yet
  for (size_t i = begin; i < end; ++i) {
    const Change& change = batch.changes[i];
    if (target == nullptr || target->relation != change.relation) {
      target = Find(change.relation);
      gathered = nullptr;
      if (target == nullptr) return std::nullopt;
    }
    const bool is_truncate = change.kind == ChangeKind::kTruncate;
    if (is_truncate && std::any_of(change.truncated->begin(), change.truncated->end(),
                                   [this](const Relation* one) { return Find(one) == nullptr; })) {
      return std::nullopt;
    }
    if (is_truncate || target->keeps_order) {
      PlanSegment(batch, &tables, &plan);
      plan.segments.back().barrier = i;
      tables.clear();
      numbers.clear();
      gathered = nullptr;
      continue;
    }
    if (gathered == nullptr) {
      auto [at, is_new] = numbers.try_emplace(target->table.oid, tables.size());
      if (is_new) tables.push_back({target->table.oid, {}});
      gathered = &tables[at->second];
    }
    gathered->changes.push_back(static_cast<uint32_t>(i));
    gathered->has_only_inserts &= change.kind == ChangeKind::kInsert;
  }
  if (!tables.empty()) PlanSegment(batch, &tables, &plan);
  return plan;
}

void BatchPlanner::PlanSegment(const Batch& batch, std::vector<Gathered>* tables,
                               BatchPlan* plan) const {
  PlannedSegment segment;
  segment.tables.reserve(tables->size());
  for (Gathered& gathered : *tables) {
    const Oid table = gathered.table;
    segment.tables.push_back({table, PlanTable(batch, std::move(gathered), plan)});
  }
  plan->segments.push_back(std::move(segment));
}

// A table that has been described anew is another target: what its rows mean before and after
// cannot be compared.
std::vector<PlannedWrite> BatchPlanner::PlanTable(const Batch& batch, Gathered gathered,
                                                  BatchPlan* plan) const {
  std::vector<PlannedWrite> writes;
  const absl::Span<const uint32_t> changes = gathered.changes;
  for (size_t begin = 0; begin < changes.size();) {
    const Target& target = *Find(batch.changes[changes[begin]].relation);
    size_t end = begin;
    while (end < changes.size() && batch.changes[changes[end]].relation == target.relation) ++end;
    const absl::Span<const uint32_t> same = changes.subspan(begin, end - begin);
    begin = end;
    const bool may_fold = !gathered.has_only_inserts && target.can_fold;
    const bool replaces = may_fold && Replaces(target, batch, same, plan);
    const bool folds = may_fold && !(replaces && target.keeps_rows);
    if (!folds || (target.matching == Matching::kExact && skips_locked_)) {
      if (same.size() < changes.size()) {
        writes.push_back({&target, {}, {same.begin(), same.end()}});
      } else {
        writes.push_back({&target, {}, std::move(gathered.changes)});
        break;
      }
    } else if (target.matching == Matching::kExact) {
      RowFolder folder;
      PlanFolded(target, batch, same, &folder, &writes);
    } else {
      Folder folder(FolderOptionsOf(target, replaces));
      PlanFolded(target, batch, same, &folder, &writes);
    }
  }
  return writes;
}

bool BatchPlanner::Replaces(const Target& target, const Batch& batch,
                            absl::Span<const uint32_t> changes, BatchPlan* plan) const {
  const Oid table = target.table.oid;
  if (!target.may_clash) return target.replaces;
  if (!replaces_ && !clashes_.HasClashed(table)) return false;
  if (changes.size() == 1) return false;  // in nobody's way
  const bool has_updates = std::any_of(changes.begin(), changes.end(), [&](uint32_t index) {
    return batch.changes[index].kind == ChangeKind::kUpdate;
  });
  if (!has_updates || replaces_) return has_updates;
  plan->replaces.emplace_back(table, clashes_.Replaces(table));
  return plan->replaces.back().second;
}

bool BatchPlanner::IsCurrent(const BatchPlan& plan, const Batch& batch, size_t begin,
                             size_t end) const {
  return plan.generation == generation_ && plan.changes == batch.changes.data() &&
         plan.begin == begin && plan.end == end;
}

void BatchPlanner::NoteWritten(const BatchPlan& plan) {
  ++generation_;
  for (const auto& [table, replaces] : plan.replaces) clashes_.NoteWritten(table, replaces);
}

const Target* BatchPlanner::Find(const Relation* relation) const {
  auto found = targets_.find(relation);
  return found == targets_.end() ? nullptr : found->second.get();
}

void BatchPlanner::Add(Target target) {
  ++generation_;
  const Relation* relation = target.relation;
  targets_[relation] = std::make_unique<const Target>(std::move(target));
}

void BatchPlanner::Forget(const Relation* relation) {
  ++generation_;
  targets_.erase(relation);
}

void BatchPlanner::ForgetAll() {
  ++generation_;
  targets_.clear();
}

void BatchPlanner::set_replaces(bool replaces) {
  ++generation_;
  replaces_ = replaces;
}

void BatchPlanner::set_skips_locked(bool skips_locked) {
  ++generation_;
  skips_locked_ = skips_locked;
}

void BatchPlanner::NoteClash(Oid table) {
  ++generation_;
  clashes_.NoteClash(table);
}

}  // namespace towline
