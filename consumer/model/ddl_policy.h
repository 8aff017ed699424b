// What is done with captured DDL, by kinds of commands.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

namespace towline {

enum class DdlAction : uint8_t {
  kApply,
  kHold,    // the task stops there until the operator has decided
  kIgnore,  // passed over, and recorded
};

enum class DdlKind : uint8_t {
  kTable,
  kDropTable,
  kIndex,
  kView,
  kMaterializedView,
  kRoutine,
  kType,
  kSequence,
  kSchema,
  kTrigger,
  kPolicy,
  kComment,
  kExtension,
  kGrant,
  kOwner,
  kReplication,
  kForeign,
  kOther,
};

struct DdlFacts {
  DdlKind kind;
  const char* name;
  DdlAction by_default;
};

// In the order of the enumerators.
inline constexpr DdlFacts kDdlFacts[] = {
    {DdlKind::kTable, "table", DdlAction::kApply},
    {DdlKind::kDropTable, "drop_table", DdlAction::kApply},
    {DdlKind::kIndex, "index", DdlAction::kApply},
    {DdlKind::kView, "view", DdlAction::kApply},
    {DdlKind::kMaterializedView, "materialized_view", DdlAction::kApply},
    {DdlKind::kRoutine, "routine", DdlAction::kApply},
    {DdlKind::kType, "type", DdlAction::kApply},
    {DdlKind::kSequence, "sequence", DdlAction::kApply},
    {DdlKind::kSchema, "schema", DdlAction::kApply},
    {DdlKind::kTrigger, "trigger", DdlAction::kApply},
    {DdlKind::kPolicy, "policy", DdlAction::kApply},
    {DdlKind::kComment, "comment", DdlAction::kApply},
    {DdlKind::kExtension, "extension", DdlAction::kApply},
    {DdlKind::kGrant, "grant", DdlAction::kIgnore},
    {DdlKind::kOwner, "owner", DdlAction::kIgnore},
    {DdlKind::kReplication, "replication", DdlAction::kIgnore},
    {DdlKind::kForeign, "foreign", DdlAction::kHold},
    {DdlKind::kOther, "other", DdlAction::kHold}};

constexpr const char* NameOf(DdlKind kind) { return kDdlFacts[static_cast<size_t>(kind)].name; }

struct DdlPolicy {
  bool is_on = false;
  std::array<std::optional<DdlAction>, std::size(kDdlFacts)> actions;

  DdlAction ActionFor(DdlKind kind) const {
    const auto index = static_cast<size_t>(kind);
    return actions[index].value_or(kDdlFacts[index].by_default);
  }
  // Whether such commands are run at the destination, be it only when the operator approves them.
  bool Runs(DdlKind kind) const { return is_on && ActionFor(kind) != DdlAction::kIgnore; }
  // Whether any are run that a server takes from a table's owner only.
  bool RunsOnTables() const {
    return Runs(DdlKind::kTable) || Runs(DdlKind::kDropTable) || Runs(DdlKind::kIndex) ||
           Runs(DdlKind::kTrigger) || Runs(DdlKind::kPolicy) || Runs(DdlKind::kComment);
  }
};

}  // namespace towline
