#include "changes_rows.h"

#include "text_encoding.h"

namespace towline::plugin {

void RefuseBytes(const char* what) {
  ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                  errmsg("towline: a frame cannot be understood: %s", what)));
  pg_unreachable();
}

bool NextField(std::string_view* message, WireField* field) {
  switch (ReadField(message, field)) {
    case ReadResult::kField:
      return true;
    case ReadResult::kEnd:
      return false;
    case ReadResult::kMalformed:
      break;
  }
  RefuseBytes("malformed field");
}

char* CopyText(std::string_view sent) {
  std::string_view text = StoredText(sent);
  // An empty view may be a null pointer, which pnstrdup() hands to memcpy().
  return text.empty() ? pstrdup("") : pnstrdup(text.data(), text.size());
}

void AppendHex(StringInfo out, std::string_view bytes) {
  appendStringInfoString(out, "\\x");
  enlargeStringInfo(out, static_cast<int>(2 * bytes.size()));
  out->len += static_cast<int>(hex_encode(bytes.data(), bytes.size(), out->data + out->len));
  out->data[out->len] = '\0';
}

namespace {

void AppendQuoted(StringInfo out, std::string_view text) {
  appendStringInfoChar(out, '\'');
  for (char c : text) {
    if (c == '\'') appendStringInfoChar(out, '\'');
    appendStringInfoChar(out, c);
  }
  appendStringInfoChar(out, '\'');
}

int32_t ReadInt32(std::string_view* bytes) {
  uint32_t value = 0;
  if (bytes->size() < sizeof value) RefuseBytes("row image too short");
  for (size_t i = 0; i < sizeof value; ++i) {
    value = (value << 8) | static_cast<unsigned char>((*bytes)[i]);
  }
  bytes->remove_prefix(sizeof value);
  return static_cast<int32_t>(value);
}

void AppendValue(StringInfo out, std::string_view* image, ColumnFormat format) {
  int32_t length = ReadInt32(image);
  switch (length) {
    case -1:
      appendStringInfoString(out, "NULL");
      return;
    case -2:
      appendStringInfoString(out, "<unchanged>");
      return;
    case -3:
      appendStringInfoString(out, "<in parts>");
      return;
    default:
      break;
  }
  if (length < 0 || static_cast<size_t>(length) > image->size()) RefuseBytes("value length");
  std::string_view bytes = image->substr(0, static_cast<size_t>(length));
  image->remove_prefix(bytes.size());
  if (format == ColumnFormat::kText) {
    AppendQuoted(out, StoredText(bytes));
  } else {
    AppendHex(out, bytes);
  }
}

ReadableColumn ReadColumn(std::string_view message, StringInfo description) {
  namespace field = wire::column;
  ReadableColumn column = {"", ColumnFormat::kBinary, false, false};
  std::string_view type_schema, type_name, collation, generated, identity;
  bool not_null = false;
  WireField f;
  while (NextField(&message, &f)) {
    switch (f.number) {
      case field::kName:
        column.name = CopyText(f.bytes);
        break;
      case field::kTypeSchema:
        type_schema = f.bytes;
        break;
      case field::kTypeName:
        type_name = f.bytes;
        break;
      case field::kCollation:
        collation = f.bytes;
        break;
      case field::kNotNull:
        not_null = f.value != 0;
        break;
      case field::kGenerated:
        generated = f.bytes;
        break;
      case field::kIdentity:
        identity = f.bytes;
        break;
      case field::kInKey:
        column.is_in_key = f.value != 0;
        break;
      case field::kSent:
        column.is_sent = f.value != 0;
        break;
      case field::kFormat:
        column.format = static_cast<ColumnFormat>(f.value);
        break;
      default:
        break;
    }
  }
  appendStringInfo(description, "; %s ", quote_identifier(column.name));
  if (type_schema != "pg_catalog") {
    appendStringInfo(description, "%s.", quote_identifier(CopyText(type_schema)));
  }
  appendStringInfoString(description, quote_identifier(CopyText(type_name)));
  if (!collation.empty()) appendStringInfo(description, " collate %s", CopyText(collation));
  if (not_null) appendStringInfoString(description, " not null");
  if (!generated.empty()) appendStringInfo(description, " generated %s", CopyText(generated));
  if (!identity.empty()) appendStringInfo(description, " identity %s", CopyText(identity));
  if (column.is_in_key) appendStringInfoString(description, " key");
  if (!column.is_sent) appendStringInfoString(description, " not sent");
  if (column.format == ColumnFormat::kText) appendStringInfoString(description, " as text");
  return column;
}

void AddColumn(ReadableStream* stream, ReadableRelation* relation, ReadableColumn column) {
  if (relation->column_count == relation->column_capacity) {
    relation->column_capacity = Max(8, 2 * relation->column_capacity);
    auto size = static_cast<size_t>(relation->column_capacity) * sizeof(ReadableColumn);
    auto* grown = static_cast<ReadableColumn*>(MemoryContextAlloc(stream->context, size));
    if (relation->column_count > 0) {
      memcpy(grown, relation->columns,
             static_cast<size_t>(relation->column_count) * sizeof(ReadableColumn));
    }
    relation->columns = grown;
  }
  column.name = MemoryContextStrdup(stream->context, column.name);
  relation->columns[relation->column_count++] = column;
}

void KeepRelation(ReadableStream* stream, uint64_t number, ReadableRelation* relation) {
  constexpr uint64_t kNumbersMax = 1000000;
  if (number == 0 || number > kNumbersMax) RefuseBytes("relation number");
  if (number >= stream->relation_capacity) {
    size_t capacity = Max(static_cast<size_t>(number) + 1, 2 * stream->relation_capacity);
    auto* grown = static_cast<ReadableRelation**>(
        MemoryContextAllocZero(stream->context, capacity * sizeof(ReadableRelation*)));
    if (stream->relations != nullptr) {
      memcpy(grown, stream->relations, stream->relation_capacity * sizeof(ReadableRelation*));
      pfree(stream->relations);
    }
    stream->relations = grown;
    stream->relation_capacity = capacity;
  }
  stream->relations[number] = relation;
}

const char* IdentityName(uint64_t identity) {
  switch (static_cast<IdentityKind>(identity)) {
    case IdentityKind::kDefault:
      return "default";
    case IdentityKind::kNothing:
      return "nothing";
    case IdentityKind::kFull:
      return "full";
    case IdentityKind::kIndex:
      return "index";
  }
  return "unknown";
}

}  // namespace

char* RowText(const ReadableRelation* relation, std::string_view image, bool is_key) {
  StringInfoData out;
  initStringInfo(&out);
  if (image.size() < 2) RefuseBytes("row image too short");
  image.remove_prefix(2);
  for (int i = 0; i < relation->column_count; ++i) {
    const ReadableColumn& column = relation->columns[i];
    if (is_key ? !column.is_in_key : !column.is_sent) continue;
    appendStringInfo(&out, "%s%s=", out.len > 0 ? " " : "", quote_identifier(column.name));
    AppendValue(&out, &image, column.format);
  }
  if (!image.empty()) RefuseBytes("row image too long");
  return out.data;
}

const ReadableRelation* FindRelation(const ReadableStream* stream, uint64_t number) {
  if (number >= stream->relation_capacity || stream->relations[number] == nullptr) {
    RefuseBytes("a relation that was not described");
  }
  return stream->relations[number];
}

void ReadRelationEntry(ReadableStream* stream, std::string_view message, ReadableEntry* entry) {
  namespace field = wire::relation;
  auto* relation = static_cast<ReadableRelation*>(
      MemoryContextAllocZero(stream->context, sizeof(ReadableRelation)));
  uint64_t number = 0, identity = 0, rewrite_of = 0;
  const char *schema = "", *name = "", *leaf_schema = nullptr, *leaf_name = "", *kind = "";
  StringInfoData columns;
  initStringInfo(&columns);
  WireField f;
  while (NextField(&message, &f)) {
    switch (f.number) {
      case field::kNumber:
        number = f.value;
        break;
      case field::kSchema:
        schema = CopyText(f.bytes);
        break;
      case field::kName:
        name = CopyText(f.bytes);
        break;
      case field::kLeafSchema:
        leaf_schema = CopyText(f.bytes);
        break;
      case field::kLeafName:
        leaf_name = CopyText(f.bytes);
        break;
      case field::kKind:
        kind = CopyText(f.bytes);
        break;
      case field::kReplicaIdentity:
        identity = f.value;
        break;
      case field::kRewriteOf:
        rewrite_of = f.value;
        break;
      case field::kColumns:
        AddColumn(stream, relation, ReadColumn(f.bytes, &columns));
        break;
      default:
        break;
    }
  }
  relation->name = MemoryContextStrdup(stream->context, quote_qualified_identifier(schema, name));
  if (leaf_schema != nullptr) {
    relation->leaf =
        MemoryContextStrdup(stream->context, quote_qualified_identifier(leaf_schema, leaf_name));
  }
  KeepRelation(stream, number, relation);
  entry->relation = relation->name;
  entry->detail = psprintf("number " UINT64_FORMAT ", kind %s%s, identity %s%s%s%s", number, kind,
                           rewrite_of == 0 ? "" : ", rewritten", IdentityName(identity),
                           relation->leaf == nullptr ? "" : ", leaf ",
                           relation->leaf == nullptr ? "" : relation->leaf, columns.data);
}

}  // namespace towline::plugin
