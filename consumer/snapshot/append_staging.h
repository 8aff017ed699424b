// Tables that keep rows of their own (`append`) are copied into staging tables first, and all of
// them are moved in one transaction at the end. So a crash finds either nothing of ours in them,
// and the staging is thrown away, or everything and the pieces marked.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "model/table.h"
#include "pg/connection.h"
#include "snapshot/copy_statements.h"
#include "state/position.h"

namespace towline {

struct StagedTable {
  Table destination;
  CopyTarget target;  // as for the table itself; its relation is the staging table's name
  std::vector<std::string> key;  // StagedKey()
};

// Quoted columns by which a row is "there already": the source's key, by which its changes will
// find their rows, where the destination has a unique index on the same and it comes as it is. Else
// none, and every row goes in or the copy stops.
std::vector<std::string> StagedKey(const Table& source, const Table& destination,
                                   const CopyTarget& target);

// "towline_state"."copy_<hash of the task>_<number>".
std::string StagingName(const std::string& task, size_t number);

// Drops what an earlier try of the task has left.
absl::Status DropStaging(Connection& session, const std::string& task);

absl::Status CreateStaging(Connection& session, const TaskClaim& claim,
                           const std::vector<StagedTable>& tables);

// Moves the rows, marks the pieces and drops the staging tables in one transaction. A row whose key
// is there already stays as it is: the stream overwrites it when the source does. A row that any
// other constraint refuses is an error, as without staging. Logs how many rows each table has kept
// and been given.
absl::Status MoveStaged(Connection& session, const TaskClaim& claim,
                        const std::vector<StagedTable>& tables);

}  // namespace towline
