// What must stay behind when tables are not selected: they, and all that the source's catalog says
// cannot be without them (views, functions over their row types, foreign keys to them, policies and
// triggers that read them, and so on through any number of steps).
#pragma once

#include <compare>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/name.h"
#include "model/oid.h"
#include "model/table.h"
#include "pg/connection.h"

namespace towline {

// As pg_depend has it.
struct ObjectId {
  Oid class_oid = 0;
  Oid oid = 0;

  friend auto operator<=>(const ObjectId&, const ObjectId&) = default;
};

struct ExcludedObjects {
  std::vector<TableName> tables;  // user tables that are not selected
  std::set<ObjectId> objects;     // these and all that needs them
  std::set<TableName> relations;  // the names of the tables, views, indexes, sequences among those
};

// Reads them as of the session's snapshot. Selected tables are never among them, whatever they
// need: one that cannot be made without a table that is not selected is an error when it is made. A
// sequence of an unselected table that a selected one takes its default from comes along.
absl::StatusOr<ExcludedObjects> ReadExcludedObjects(Connection& connection,
                                                    const std::vector<Table>& selected);

// For each of `objects`, by the same index: one excluded object that it needs, as people call it
// ("table s.t"); empty if there is none.
absl::StatusOr<std::vector<std::string>> DescribeNeeds(Connection& connection,
                                                       const ExcludedObjects& excluded,
                                                       const std::vector<ObjectId>& objects);

}  // namespace towline
