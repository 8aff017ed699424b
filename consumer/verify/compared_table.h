// How a table of the source is compared with the destination's: which columns, by which key, in
// which buckets.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/table.h"
#include "model/table_rule.h"
#include "pg/connection.h"
#include "verify/side_query.h"

namespace towline {

struct ComparedTable {
  TableName name;
  std::vector<std::string> columns;  // those of `values` on both sides
  SideQuery source;
  SideQuery destination;
  int64_t bytes = 0;        // at the source
  int64_t rows = 0;         // estimated
  int64_t pages = 0;        // of the source's heap
  bool has_bounds = false;  // the key's order is the same on every server
};

// `source` as it is published (schema/table_rules.h); null: no rule. `destination_where`: which
// rows of the destination are the copy's, an operand; empty: all.
ComparedTable MakeComparedTable(const Table& source, const Table& destination,
                                const TableRule* rule, const std::string& destination_where,
                                RowHash hash);

// Buckets by hash, as many as the table's rows ask for; one for a table that is read again as a
// whole.
void MakeHashBuckets(ComparedTable* table);

// Buckets that an index finds, by a sample of the source's keys; by hash where there are none.
absl::Status ChooseBuckets(Connection& source, ComparedTable* table);

// The cheapest hash that both servers compute alike.
absl::StatusOr<RowHash> ChooseHash(Connection& source, Connection& destination);

}  // namespace towline
