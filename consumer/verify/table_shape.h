// The shape of a table: what a comparison relies on for as long as it reads the table. One whose
// shape is the same before and after the reads had it all the while; another shape is another
// table, also under the same name.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/name.h"
#include "model/table.h"
#include "pg/connection.h"

namespace towline {

// Of a table as the catalog describes it, on one server. Empty: there is none.
std::string ShapeOf(const Table& table);

struct PairShape {
  std::string source;
  std::string destination;

  bool operator==(const PairShape&) const = default;
};

absl::StatusOr<PairShape> ReadPairShape(Connection& source, Connection& destination,
                                        const TableName& table);

}  // namespace towline
