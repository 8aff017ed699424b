#include "verify/later_tables.h"

#include "base/status_macros.h"

namespace towline {

absl::StatusOr<std::vector<TableName>> FindLaterTables(Connection& source,
                                                       const TableSelection& selection,
                                                       const std::set<TableName>& planned) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<ListedTable> listed, ListTables(source, selection));
  std::vector<TableName> unknown;
  for (const ListedTable& table : listed) {
    if (table.is_selected && !planned.contains(table.name)) unknown.push_back(table.name);
  }
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> tables, ReadTablesByName(source, unknown));
  std::vector<TableName> later;
  for (const Table& table : tables) {
    // Others are never compared: rows stand in leaves, and those of an unlogged table nowhere else.
    if (table.oid != 0 && table.kind == 'r' && table.persistence != 'u') {
      later.push_back(table.name);
    }
  }
  return later;
}

}  // namespace towline
