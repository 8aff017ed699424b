// The task whose two databases are compared: what of it is followed, and which of its tables are
// not.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/shutdown.h"
#include "model/name.h"
#include "pg/connect_options.h"
#include "pg/connection.h"
#include "schema/catalog_reader.h"

namespace towline {

struct FollowedTask {
  std::string recorded;  // its name; empty: there is none
  std::string followed;  // the same of one whose position is waited for
  absl::Duration stand_max;
  std::map<TableName, std::string> apart;  // tables that do not follow the source, and why
  // Of tables in which several tasks have rows: what a rule may say of whose they are
  // (SharedText()). Of a task all its tables.
  std::map<TableName, std::set<std::string>> shared;
  std::vector<std::string> removed;  // patterns of those that have left the task
  std::vector<TableName> added;      // beside what the configuration selects
};

struct TaskSearch {
  ConnectOptions source;  // of the session
  std::string task;
  bool is_given = false;     // it must be there
  absl::Duration stand_max;  // shorter where nobody reads its slot
};

// What is selected of the task, without what has left it.
TableSelection FollowedSelection(const FollowedTask& task, TableSelection selected);

// Whether the table follows the source just now.
struct CopyMark {
  bool is_streamed = true;  // or not known to the task
  std::string row;          // another one: it was copied again; empty: not known

  bool Fits(const CopyMark& later) const {
    return is_streamed && later.is_streamed &&
           (row.empty() || later.row.empty() || row == later.row);
  }
};

// A table may leave the stream, and come back, while it is compared. `recorded`: as above.
absl::StatusOr<CopyMark> ReadCopyMark(Connection& destination, const std::string& recorded,
                                      const TableName& table);

// kFailedPrecondition: it is of other databases. kUnavailable: it is being healed.
absl::StatusOr<FollowedTask> FindFollowedTask(const TaskSearch& search, Connection& source,
                                              Connection& destination, const Shutdown& shutdown);

}  // namespace towline
