// What the statements of a dump's post-data are, as far as it matters when each may run. Pure.
//
// By their text: pg_dump writes every name in quotes (--quote-all-identifiers), so the words in
// front of and between the names say exactly what the server will do, which its heading comments
// only repeat. What is not recognised is kOther, and runs where it stands in the dump.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/name.h"
#include "schema/dump_script.h"

namespace towline {

enum class PostDataKind {
  kIndex,   // CREATE [UNIQUE] INDEX: others may be built on the table at the same time
  kKey,     // PRIMARY KEY, UNIQUE, EXCLUDE: locks its table against everything
  kDetail,  // of an index or constraint, and nothing is built on it: ATTACH PARTITION, CLUSTER ON,
            // REPLICA IDENTITY, SET STATISTICS, comments, CHECK ... NOT VALID
  kForeignKey,    // ADD CONSTRAINT ... FOREIGN KEY
  kValidation,    // VALIDATE CONSTRAINT, which is ours
  kRefresh,       // REFRESH MATERIALIZED VIEW
  kEventTrigger,  // making, switching or commenting one: from then on it sees our own DDL
  kOther,
};

struct PostData {
  PostDataKind kind = PostDataKind::kOther;
  TableName table;       // of indexes, keys, foreign keys and validations
  std::string name;      // of the index or constraint
  TableName referenced;  // by a foreign key
  // Of an index or key: of columns alone. A function in an expression or condition may read other
  // tables, whatever it is declared as.
  bool is_plain = false;
  bool is_unique = false;   // an index or key that keeps rows away by other rows of its table
  bool is_primary = false;  // PRIMARY KEY
};

PostData ClassifyPostData(absl::string_view statement);

struct SplitPostData {
  std::vector<DumpStatement> indexing;  // when the rows of their table are there
  std::vector<DumpStatement> final;     // when the stream has passed the copy
};

// Tables whose rows are copied under several snapshots, and the names of their indexes and
// constraints that may be made before the stream has passed them all: the others that are unique
// may not (hazards A3).
using EarlyKeys = std::map<TableName, std::set<std::string>>;

// Those that may not come first, with what is said of them. Foreign keys are made NOT VALID and
// then validated, so that neither table is locked against writers while rows are looked at; the end
// is what the dump says. Not so one that touches a partitioned table: PostgreSQL refuses it, or
// leaves the constraints of the partitions not validated. Materialized views follow, each after
// those it reads, and event triggers come last, as they do in a dump.
SplitPostData SplitByTime(const std::vector<DumpStatement>& post,
                          const std::set<TableName>& partitioned, const EarlyKeys& early);

// The first unique index or constraint of the table, none of `early`, that cannot wait so long
// because something else of post-data needs it; empty: all can.
std::string UniqueThatCannotWait(const std::vector<DumpStatement>& post, const TableName& table,
                                 const std::set<std::string>& early);

// Of a foreign key that SplitByTime() has taken apart, else empty.
std::string ValidationOf(absl::string_view foreign_key);

}  // namespace towline
