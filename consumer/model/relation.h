// A relation of the source as the stream describes it (wire.proto, Relation). Immutable once made.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/name.h"
#include "model/oid.h"

namespace towline {

enum class ReplicaIdentity : uint8_t { kDefault, kNothing, kFull, kIndex };
enum class ValueFormat : uint8_t { kBinary, kText };

struct Column {
  std::string name;
  int attnum = 0;
  Oid type_oid = 0;
  std::string type_schema;
  std::string type_name;
  int32_t typmod = -1;
  char type_kind = 'b';   // pg_type.typtype
  std::string collation;  // schema.name, empty: the type's default
  bool is_not_null = false;
  char generated = '\0';   // '\0', 's' or 'v'
  char identity = '\0';    // '\0', 'a' or 'd'
  bool is_in_key = false;  // part of the replica identity (all columns under FULL)
  bool is_sent = true;     // has a field in row images
  ValueFormat format = ValueFormat::kBinary;
};

struct Relation {
  uint32_t number = 0;  // in this connection, never reused
  Oid oid = 0;          // of the relation that was written to (a partition tree's leaf)
  Oid root_oid = 0;
  Oid rewrite_of = 0;  // not 0: its rows are those of a table that is being rewritten
  TableName name;      // under which the rows are published
  char kind = 'r';
  ReplicaIdentity replica_identity = ReplicaIdentity::kDefault;
  uint64_t shape_hash = 0;
  std::vector<Column> columns;  // in attnum order; a full image has the fields of the sent ones
  std::vector<int> sent;        // indexes into columns: the fields of a full image, in order
  std::vector<int> key;         // indexes into columns: the fields of a key image, in order
};

}  // namespace towline
