// Tables by their exact names, in hash tables: a start with ten thousand names, and every first
// change of a table, must not go through them one by one.
#pragma once

#include "pg_headers.h"

namespace towline::plugin {

// A key as the server's hash tables take it: what follows the names is zero.
struct TableName {
  char schema[NAMEDATALEN];  // empty: every schema, where that is meant
  char name[NAMEDATALEN];
};

// False if a part is longer than any name: no table has it.
bool MakeTableName(std::string_view schema, std::string_view name, TableName* key);

// Entries of `entry_bytes` begin with their TableName. In the current memory context.
HTAB* CreateNameTable(const char* label, size_t entry_bytes);

}  // namespace towline::plugin
