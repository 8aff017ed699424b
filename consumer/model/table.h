// A table as the catalog of either server describes it (schema/catalog_reader.h reads it).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/name.h"
#include "model/oid.h"
#include "model/relation.h"

namespace towline {

// What a domain is over, by however many domains.
struct DomainBase {
  Oid oid = 0;
  std::string schema;
  std::string name;  // pg_type.typname
  std::string text;  // format_type(), with the modifier that the domain gives it
  char kind = 'b';
  int32_t typmod = -1;

  bool operator==(const DomainBase& other) const {
    // Object identifiers and texts of user-defined types differ between servers.
    return schema == other.schema && name == other.name && typmod == other.typmod;
  }
};

struct TableColumn {
  std::string name;
  int attnum = 0;
  Oid type_oid = 0;
  Oid base_type_oid = 0;  // of a domain what it is over; else type_oid
  Oid type_relid = 0;     // pg_type.typrelid: not 0 for composites
  std::string type_schema;
  std::string type_name;  // pg_type.typname
  std::string type_text;  // format_type(): for people and for casts, schema-qualified
  char type_kind = 'b';
  int32_t typmod = -1;
  std::optional<DomainBase> base;  // of a domain
  bool is_not_null = false;
  bool has_default = false;   // also identity
  bool has_equality = false;  // the type has a default btree or hash operator class
  bool is_toastable = false;  // a value may be stored out of line
  // Of a domain that an expression replaces: the type below it, quoted (schema/table_rules.h).
  std::string base_type_sql;
  bool is_portable_binary =
      false;  // COPY BINARY may carry it between servers (schema/type_rules.h)
  char generated = '\0';
  char identity = '\0';
};

struct UniqueIndex {
  std::string name;
  std::vector<std::string> columns;  // key columns; empty name: an expression
  bool is_primary = false;
  bool is_replica_identity = false;
  bool is_deferrable = false;
  bool is_partial = false;
  bool is_null_free = false;    // every key column is NOT NULL
  std::string definition = {};  // a hash of what the catalogs say of it
};

struct ExclusionConstraint {
  std::string name;
  std::string definition;  // likewise
};

struct Table {
  Oid oid = 0;
  TableName name;
  char kind = 'r';  // pg_class.relkind: r or p
  char persistence = 'p';
  bool is_partition = false;
  Oid root_oid = 0;                  // topmost partitioned table, or oid
  std::vector<TableName> ancestors;  // of a partition: the tables above it, the nearest first
  ReplicaIdentity replica_identity = ReplicaIdentity::kDefault;
  bool has_always_triggers = false;  // ENABLE ALWAYS or REPLICA, or rules: fire for us as well
  bool has_row_security = false;     // applies to the role we connect as
  bool can_select = true;
  int64_t heap_bytes = 0;
  int64_t total_bytes = 0;           // with TOAST, without indexes
  int64_t page_count = 0;            // of the heap, by pg_relation_size
  int64_t estimated_rows = -1;       // reltuples, -1: never analyzed
  std::vector<TableColumn> columns;  // in attnum order, dropped ones left out
  std::vector<UniqueIndex> unique_indexes;
  std::vector<ExclusionConstraint> exclusions;

  const TableColumn* FindColumn(const std::string& column) const {
    for (const TableColumn& candidate : columns) {
      if (candidate.name == column) return &candidate;
    }
    return nullptr;
  }
};

}  // namespace towline
