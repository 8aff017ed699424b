#include "config/existing_policy.h"

namespace towline {

ExistingTables ExistingPolicy::For(const TableName& table,
                                   const std::vector<TableName>& ancestors) const {
  if (auto own = by_table.find(table); own != by_table.end()) return own->second;
  for (const TableName& ancestor : ancestors) {
    if (auto above = by_table.find(ancestor); above != by_table.end()) return above->second;
  }
  return of_task;
}

ExistingPolicy ExistingPolicyOf(const Config& config) {
  return {config.existing, config.existing_by_table};
}

std::string ExistingName(ExistingTables existing) {
  switch (existing) {
    case ExistingTables::kStop:
      return "stop";
    case ExistingTables::kAppend:
      return "append";
    case ExistingTables::kTruncate:
      return "truncate";
  }
  return "";
}

}  // namespace towline
