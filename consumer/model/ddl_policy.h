// What is done with captured DDL, by kinds of commands, and by the tables and schemas they are of.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/name.h"

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

// What is said of each kind, by its number; nothing: look further.
using DdlActions = std::array<std::optional<DdlAction>, std::size(kDdlFacts)>;

// What a command is about, as far as a policy goes by it.
struct DdlSubject {
  std::string schema;             // of it or of its table, at the source; empty: it has none
  std::vector<TableName> tables;  // it, or the one it belongs to, then those above, the nearest
                                  // first; none: it is of no table
};

struct DdlWord {
  DdlAction action = DdlAction::kApply;
  bool is_said = false;  // by the operator, not by default
  std::string reason;    // "ddl of table a.t says hold for index"
};

constexpr const char* NameOf(DdlAction action) {
  switch (action) {
    case DdlAction::kApply:
      return "apply";
    case DdlAction::kHold:
      return "hold";
    case DdlAction::kIgnore:
      return "ignore";
  }
  return "";
}

struct DdlPolicy {
  bool is_on = false;
  DdlActions actions;
  // Kinds that these do not name are as the next of table, table above, schema and task has them.
  // By names at the source.
  std::map<TableName, DdlActions> tables;
  std::map<std::string, DdlActions> schemas;

  DdlAction ActionFor(DdlKind kind) const {
    const auto index = static_cast<size_t>(kind);
    return actions[index].value_or(kDdlFacts[index].by_default);
  }
  DdlWord WordFor(DdlKind kind, const DdlSubject& subject) const;
  bool GoesBySubject() const { return !tables.empty() || !schemas.empty(); }
  // Whether such commands are run at the destination, be it only when the operator approves them,
  // or only of some tables.
  bool Runs(DdlKind kind) const;
  // Whether any are run that a server takes from a table's owner only.
  bool RunsOnTables() const {
    return Runs(DdlKind::kTable) || Runs(DdlKind::kDropTable) || Runs(DdlKind::kIndex) ||
           Runs(DdlKind::kTrigger) || Runs(DdlKind::kPolicy) || Runs(DdlKind::kComment);
  }
};

}  // namespace towline
