// Makes the plan of a batch (batch_plan.h), and holds all that a plan depends on beside the batch:
// how the stream's relations are written at the destination, which tables' updates have clashed,
// and how the batch is to be written. Asks nobody, so it can be made while the destination works on
// the batch before.
//
// What that batch's answers bring may change what was planned: a batch that was refused and rolled
// back takes Targets with it, a clash says that updates go as deletes and inserts. So each change
// of what plans depend on begins a new generation here, and a plan of an older one is not written
// but made again. That holds by construction: Plan() is const, and every function that is not
// begins one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "apply/batch_plan.h"
#include "apply/clash_memory.h"
#include "apply/target.h"
#include "model/batch.h"
#include "model/relation.h"

namespace towline {

class BatchPlanner {
 public:
  // Of the changes [begin, end). Nothing: the Target of a relation is not known.
  std::optional<BatchPlan> Plan(const Batch& batch, size_t begin, size_t end) const;
  // Whether the plan was made of these changes, and would be made so again.
  bool IsCurrent(const BatchPlan& plan, const Batch& batch, size_t begin, size_t end) const;
  // It is about to be written.
  void NoteWritten(const BatchPlan& plan);

  // Null: not known. Until it is forgotten.
  const Target* Find(const Relation* relation) const;
  void Add(Target target);
  void Forget(const Relation* relation);
  void ForgetAll();

  // Updates go as deletes and inserts in every table whose rows may clash.
  void set_replaces(bool replaces);
  // Rows without key are written one by one, passing over those that are locked.
  void set_skips_locked(bool skips_locked);
  // Updates of the table go as deletes and inserts for a while.
  void NoteClash(Oid table);
  // Whether the updates of the table that were written last went so.
  bool HasReplaced(Oid table) const { return clashes_.HasReplaced(table); }

 private:
  struct Gathered {  // of one table
    Oid table = 0;
    std::vector<uint32_t> changes;
    bool has_only_inserts = true;
  };

  void PlanSegment(const Batch& batch, std::vector<Gathered>* tables, BatchPlan* plan) const;
  std::vector<PlannedWrite> PlanTable(const Batch& batch, Gathered gathered, BatchPlan* plan) const;
  bool Replaces(const Target& target, const Batch& batch, absl::Span<const uint32_t> changes,
                BatchPlan* plan) const;

  absl::flat_hash_map<const Relation*, std::unique_ptr<const Target>> targets_;
  ClashMemory clashes_;
  bool replaces_ = false;
  bool skips_locked_ = false;
  uint64_t generation_ = 0;
};

}  // namespace towline
