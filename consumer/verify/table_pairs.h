// Which tables are compared, each with the destination's of its name, as they were at one moment.
//
// A table may be made, altered or dropped while they are read, and the task follows. What does not
// fit is therefore looked at again: the destination once it has passed the first look at the
// source, and the source behind it. If the source's table is the same in both looks, the
// destination's was read while it should have been that one.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/shutdown.h"
#include "model/table.h"
#include "pg/connection.h"
#include "verify/follower.h"
#include "verify/table_shape.h"

namespace towline {

// As it is published, and the shape of the table that it is published of.
struct SourceTable {
  Table table;
  std::string shape;
};

struct TablePair {
  Table source;
  Table destination;                // oid 0: there is none
  std::vector<std::string> misfit;  // what does not fit, as DescribeMisfit() says it
  std::string undecided;            // why it cannot be told whether it fits; empty: it can
  PairShape shape;                  // of both when they were read
};

absl::StatusOr<std::vector<TablePair>> ReadTablePairs(
    const std::function<absl::StatusOr<std::vector<SourceTable>>()>& read_source,
    Connection& source, Connection& destination, Follower follower, const Shutdown& shutdown);

}  // namespace towline
