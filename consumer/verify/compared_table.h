// How a table of the source is compared with the destination's: which columns, by which key, in
// which buckets.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/table.h"
#include "model/table_rule.h"
#include "pg/connection.h"
#include "verify/side_query.h"

namespace towline {

struct ComparedTable {
  // What the destination lets be written of a column.
  struct Target {
    bool is_generated = false;
    bool is_identity_always = false;
  };

  TableName name;
  std::vector<std::string> columns;        // those of `values` on both sides
  std::vector<Target> targets;             // of each of them
  std::vector<std::string> other_columns;  // that only the destination has, and may be written
  SideQuery source;
  SideQuery destination;
  int64_t bytes = 0;  // at the source
  int64_t rows = 0;   // estimated
  int64_t pages = 0;  // of the source's heap
  // The key's first column sorts alike on every server: ranges of it can be compared.
  bool has_bounds = false;
  std::string first_key;  // that column
  std::string form;       // what is compared with what: with another one a part of it says nothing
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

// Whether the rows lie in the order of the first key column, on both sides as far as is known: then
// a part of its range is read from a part of the table.
absl::StatusOr<bool> FollowsFirstKey(Connection& source, Connection& destination,
                                     const ComparedTable& table);

// The cheapest hash that both servers compute alike.
absl::StatusOr<RowHash> ChooseHash(Connection& source, Connection& destination);

}  // namespace towline
