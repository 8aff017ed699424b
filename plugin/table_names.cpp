#include "table_names.h"

namespace towline::plugin {
namespace {

bool CopyPart(std::string_view part, char* to) {
  if (part.size() >= NAMEDATALEN) return false;
  memset(to, 0, NAMEDATALEN);
  if (!part.empty()) memcpy(to, part.data(), part.size());  // no schema: a null pointer
  return true;
}

}  // namespace

bool MakeTableName(std::string_view schema, std::string_view name, TableName* key) {
  return CopyPart(schema, key->schema) && CopyPart(name, key->name);
}

HTAB* CreateNameTable(const char* label, size_t entry_bytes) {
  HASHCTL control = {};
  control.keysize = sizeof(TableName);
  control.entrysize = entry_bytes;
  control.hcxt = CurrentMemoryContext;
  return hash_create(label, 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

}  // namespace towline::plugin
