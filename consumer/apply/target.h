// How a relation of the stream is written at the destination: which columns, by which of them a row
// is found, and what may be done with it in bulk. Made once per description of a relation; checked
// then, because a column that is missing or of another type must stop the task before a value is
// written wrongly.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/conflict_policy.h"
#include "model/relation.h"
#include "model/table.h"
#include "pg/connection.h"
#include "schema/table_rules.h"
#include "schema/type_passage.h"
#include "state/column_types.h"

namespace towline {

// One per Relation::columns.
struct TargetColumn {
  std::string name;             // quoted
  int field = -1;               // in a full image; -1: not sent
  int key_field = -1;           // in a key image; -1: not part of it
  Oid type_oid = 0;             // that values are read as; 0: no such column there
  Oid array_oid = 0;            // its array type; 0: it has none
  char array_delimiter = ',';   // between elements in text
  std::string cast;             // "::type" where the destination's column has another; else empty
  std::string cast_from;        // then the quoted type that values are read as; else empty
  std::string equals = "=";     // the type's equality operator; empty: it has none
  std::string generation;       // expression of a stored generated column; empty: it is none
  bool equals_exactly = false;  // equal values have the same bytes
  bool is_binary = false;
  bool is_written = false;  // sent, and the destination's column takes values
  bool is_always_identity = false;
};

enum class Matching {
  kNone,   // nothing tells rows apart: an UPDATE or DELETE cannot be applied (A14)
  kKey,    // by columns that are unique
  kExact,  // by all columns, one of the rows that are equal (REPLICA IDENTITY FULL without a key)
};

struct Target {
  const Relation* relation = nullptr;
  Table table;
  std::string sql_name;  // quoted, for statements
  std::string label;     // for people
  std::string shared;    // quoted column that tells whose a row is (TableRule::shared), else empty
  std::string shared_value;  // of the task's, as a literal
  std::string only;          // "ONLY " where a table of the same tree must not be touched
  std::vector<TargetColumn> columns;
  std::vector<int> written;  // indexes into columns, in image order
  Matching matching = Matching::kNone;
  std::vector<int> match;           // indexes into columns
  std::vector<std::string> unsent;  // quoted columns that only the destination has, not generated
  bool can_copy = false;            // row images are what COPY BINARY reads
  bool can_fold = false;            // changes of a batch may become one net change per row
  bool keeps_order = false;         // row by row, with other tables' changes in source order
  bool replaces = false;            // updates always go as deletes and inserts (fold.h)
  bool may_clash = false;           // and here after they were refused: see clash_memory.h
  bool keeps_rows = false;          // a row is never made anew: it would not be the same
  bool may_differ = false;          // rows: changes may have been passed over (on_conflict: skip)
  bool is_key_unique = false;       // match is a key: an index finds its one row
  bool overwrites = false;          // existing rows give way (existing: append)
  bool may_miss = false;            // a row that is not there never arrived (operations)
  bool may_change_always_identity = false;  // an UPDATE does not tell whether it does (C3)
  bool has_identity = false;

  // True for the task's rows, behind the terms of a WHERE clause; empty: all are the task's.
  // `alias`: of the table, with its dot.
  std::string AndOwn(absl::string_view alias = "") const;
};

// Facts of the destination's catalog that model/table.h does not have.
struct TargetCatalog {
  absl::flat_hash_map<Oid, std::string> equals;   // operators outside pg_catalog, by type
  absl::flat_hash_set<Oid> has_foreign_triggers;  // tables: some of foreign keys fire for us
  struct ArrayType {
    Oid oid = 0;
    char delimiter = ',';
  };
  absl::flat_hash_map<Oid, ArrayType> arrays;  // by type of the elements
  // Expressions of generated columns, by table and column.
  absl::flat_hash_map<std::pair<Oid, std::string>, std::string> generation;
  CopiedTypes copied;   // of columns that have another type here
  DomainBases domains;  // of the source
};

// Pure: what the relation's rows mean for this table. kFailedPrecondition with the statement that
// mends it if they do not fit. `rule`: the table's, null: none.
absl::StatusOr<Target> MakeTarget(const Relation& relation, const Table& table,
                                  const TargetCatalog& catalog, bool overwrites,
                                  bool may_fold = true, const TableRule* rule = nullptr);

// Within a connection the stream describes a relation again when it has changed. Changes that the
// rows themselves do not betray stop the task as well: a column that was renamed or dropped, a
// table that was made anew under the name of another. kFailedPrecondition.
absl::Status CheckRedescription(const Relation& before, const Relation& now, const Table& table);

// What the configuration says of tables, by their names at the source. Partitions of the
// destination follow the rule of the nearest table above them that has one.
struct TargetPolicies {
  // Rows existed before the copy (existing: append): an INSERT overwrites.
  std::vector<TableName> append_tables;
  // Where not all operations are wanted the destination's rows are not those of the source: an
  // INSERT may meet a row whose DELETE or key change was left out, an UPDATE or DELETE a row that
  // never arrived.
  TableRules rules;
  ConflictPolicies conflicts;
  // Whether changes may be folded, by their names at the source; of others what the destination
  // says.
  std::map<TableName, bool> folds;
  DomainBases domains;  // of the source; may be empty where no column is cast
};

// Of the nearest of the table and those above it that says something; else true.
bool MayFold(const std::map<TableName, bool>& folds, const TableName& table,
             const std::vector<TableName>& ancestors);

// MakeTarget() for several relations of a task, reading the destination's catalog once. In the
// order of `relations`.
absl::StatusOr<std::vector<Target>> ReadTargets(Connection& connection, const std::string& task,
                                                absl::Span<const Relation* const> relations,
                                                const TargetPolicies& policies);

}  // namespace towline
