// Conflicts: changes that the destination does not take as they come, because its rows are not
// those of the source or a constraint of its own stands against them. Which kinds there are, under
// the names that PostgreSQL 18 has for those of subscriptions, and what the operator wants done.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "model/name.h"

namespace towline {

enum class ConflictKind : uint8_t {
  kInsertExists,
  kUpdateExists,
  kMultipleUnique,
  kUpdateMissing,
  kDeleteMissing,
  kForeignKey,
  kCheck,
  kNotNull,
  kExclusion,
  // From here on: always a stop.
  kOtherConstraint,
  kValueRefused,
  kRowCount,
};

enum class ConflictAction : uint8_t { kStop, kOverwrite, kSkip };

struct ConflictFacts {
  ConflictKind kind;
  const char* name;
  bool may_skip = true;
  bool may_overwrite = false;
};

// In the order of the enumerators.
inline constexpr ConflictFacts kConflictFacts[] = {
    {ConflictKind::kInsertExists, "insert_exists", true, true},
    {ConflictKind::kUpdateExists, "update_exists", true, true},
    {ConflictKind::kMultipleUnique, "multiple_unique_conflicts", true, true},
    {ConflictKind::kUpdateMissing, "update_missing", true, true},
    {ConflictKind::kDeleteMissing, "delete_missing", true, true},
    {ConflictKind::kForeignKey, "foreign_key_violation"},
    {ConflictKind::kCheck, "check_violation"},
    {ConflictKind::kNotNull, "not_null_violation"},
    {ConflictKind::kExclusion, "exclusion_violation"},
    {ConflictKind::kOtherConstraint, "constraint_violation", false},
    {ConflictKind::kValueRefused, "value_refused", false},
    {ConflictKind::kRowCount, "row_count", false}};

constexpr const ConflictFacts& FactsOf(ConflictKind kind) {
  return kConflictFacts[static_cast<size_t>(kind)];
}

constexpr const char* NameOf(ConflictAction action) {
  switch (action) {
    case ConflictAction::kStop:
      return "stop";
    case ConflictAction::kOverwrite:
      return "overwrite";
    case ConflictAction::kSkip:
      return "skip";
  }
  return "";
}

// What is said of each kind, by its number; nothing: look further.
struct ConflictPolicy {
  std::array<std::optional<ConflictAction>, std::size(kConflictFacts)> actions;
};

struct ConflictPolicies {
  ConflictPolicy task;
  std::map<TableName, ConflictPolicy> tables;  // by their names at the source
};

// The table's own word, else that of the nearest table above it in a partition tree that has one,
// else the task's. What can be neither written over nor passed over stops.
inline ConflictAction ActionFor(const ConflictPolicies& policies, const TableName& table,
                                const std::vector<TableName>& ancestors, ConflictKind kind) {
  std::optional<ConflictAction> action;
  auto look_at = [&](const TableName& name) {
    auto found = policies.tables.find(name);
    if (action.has_value() || found == policies.tables.end()) return;
    action = found->second.actions[static_cast<size_t>(kind)];
  };
  look_at(table);
  for (const TableName& ancestor : ancestors) look_at(ancestor);
  if (!action.has_value()) action = policies.task.actions[static_cast<size_t>(kind)];
  const ConflictFacts& facts = FactsOf(kind);
  const bool is_possible = (action == ConflictAction::kOverwrite && facts.may_overwrite) ||
                           (action == ConflictAction::kSkip && facts.may_skip);
  return is_possible ? *action : ConflictAction::kStop;
}

}  // namespace towline
