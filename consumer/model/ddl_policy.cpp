#include "model/ddl_policy.h"

#include <algorithm>

namespace towline {
namespace {

bool RunsSome(const DdlActions& actions, DdlKind kind) {
  const std::optional<DdlAction>& action = actions[static_cast<size_t>(kind)];
  return action.has_value() && *action != DdlAction::kIgnore;
}

DdlWord Said(DdlAction action, DdlKind kind, const std::string& place) {
  return {action, true, "ddl" + place + " says " + NameOf(action) + " for " + NameOf(kind)};
}

}  // namespace

DdlWord DdlPolicy::WordFor(DdlKind kind, const DdlSubject& subject) const {
  const auto index = static_cast<size_t>(kind);
  for (const TableName& table : subject.tables) {
    auto own = tables.find(table);
    if (own == tables.end() || !own->second[index].has_value()) continue;
    return Said(*own->second[index], kind, " of table " + table.schema + "." + table.name);
  }
  auto own = schemas.find(subject.schema);
  if (own != schemas.end() && own->second[index].has_value()) {
    return Said(*own->second[index], kind, " of schema " + subject.schema);
  }
  DdlWord word = Said(ActionFor(kind), kind, "");
  word.is_said = actions[index].has_value();
  return word;
}

bool DdlPolicy::Runs(DdlKind kind) const {
  auto runs = [kind](const auto& entry) { return RunsSome(entry.second, kind); };
  return is_on && (ActionFor(kind) != DdlAction::kIgnore ||
                   std::any_of(tables.begin(), tables.end(), runs) ||
                   std::any_of(schemas.begin(), schemas.end(), runs));
}

}  // namespace towline
