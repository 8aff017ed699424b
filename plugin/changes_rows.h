// The rows and relations of towline.changes(): part of changes_text.h.
#pragma once

#include "changes_text.h"
#include "wire_reader.h"
#include "wire_writer.h"

namespace towline::plugin {

struct ReadableColumn {
  const char* name;
  ColumnFormat format;
  bool is_sent;
  bool is_in_key;
};

struct ReadableRelation {
  const char* name;
  const char* leaf;  // null where the relation is published under its own name
  ReadableColumn* columns;
  int column_count;
  int column_capacity;
};

[[noreturn]] void RefuseBytes(const char* what);
// False at the end of the message; raises an error for what is malformed.
bool NextField(std::string_view* message, WireField* field);
char* CopyText(std::string_view bytes);
void AppendHex(StringInfo out, std::string_view bytes);

char* RowText(const ReadableRelation* relation, std::string_view image, bool is_key);
const ReadableRelation* FindRelation(const ReadableStream* stream, uint64_t number);
void ReadRelationEntry(ReadableStream* stream, std::string_view message, ReadableEntry* entry);

}  // namespace towline::plugin
