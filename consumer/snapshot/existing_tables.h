// What to do with tables that are at the destination before the copy (DESIGN 4): an empty one that
// fits is used; `stop` refuses rows, `truncate` empties, `append` keeps them.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/name.h"
#include "model/table.h"
#include "pg/connection.h"
#include "schema/extension_tables.h"

namespace towline {

struct ExistingCheck {
  std::function<std::string(const Table&)> policy;  // of tables of the source
  // Tables that an earlier try of this copy has begun: their rows are ours.
  std::set<TableName> ours;
  ExtensionRows own_rows = {};  // of these tables only such rows count
  // Tables that came while an earlier try of this copy went on, and that its stream has written.
  std::set<TableName> streamed = {};
};

// kFailedPrecondition naming every table that holds rows under `stop`; of `streamed` ones under
// `append` as well, since the copy's snapshot has those rows too, or has them changed or gone.
// `destination` has the tables of the same index as `source`; oid 0 means missing.
absl::Status CheckExistingRows(Connection& session, const std::vector<Table>& source,
                               const std::vector<Table>& destination, const ExistingCheck& check);

// kFailedPrecondition naming every column that does not fit. Missing tables are passed over unless
// `all_exist`.
absl::Status CheckFit(const std::vector<Table>& source, const std::vector<Table>& destination,
                      bool all_exist);

// Of tables that should hold rows of ours one that holds none; empty name: all do.
absl::StatusOr<TableName> FindEmptied(Connection& session, const std::vector<Table>& tables,
                                      const ExtensionRows& own_rows);

// Whether foreign keys of other tables refer to these.
absl::StatusOr<bool> AreReferenced(Connection& session, const std::vector<Table>& tables);

// In the session's transaction: nobody else writes the table until its end, nor reads it where
// EmptyTables() will truncate it; the session's lock_timeout is the limit. kFailedPrecondition
// naming the rights that are missing for emptying and filling it.
absl::Status LockToEmpty(Connection& session, const Table& table, const ExtensionRows& own_rows);

// Who holds locks on the table just now, as people read it.
absl::StatusOr<std::string> DescribeHolders(Connection& session, const Table& table);

// Empties them in the session's transaction: by one TRUNCATE, and by DELETE what tables outside the
// list refer to, as TRUNCATE refuses those even in the replica role (hazards C2). Partitioned
// tables, and tables with oid 0, are passed over.
// Of the tables in `own_rows` only those rows go.
absl::Status EmptyTables(Connection& session, const std::vector<Table>& tables,
                         const ExtensionRows& own_rows);

}  // namespace towline
