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

namespace {

using wire::WireType;

[[noreturn]] void RefuseBytes(const char* what) {
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

char* CopyText(std::string_view bytes) { return pnstrdup(bytes.data(), bytes.size()); }

// --- values and rows

void AppendQuoted(StringInfo out, std::string_view text) {
  appendStringInfoChar(out, '\'');
  for (char c : text) {
    if (c == '\'') appendStringInfoChar(out, '\'');
    appendStringInfoChar(out, c);
  }
  appendStringInfoChar(out, '\'');
}

void AppendHex(StringInfo out, std::string_view bytes) {
  appendStringInfoString(out, "\\x");
  enlargeStringInfo(out, static_cast<int>(2 * bytes.size()));
  out->len += static_cast<int>(hex_encode(bytes.data(), bytes.size(), out->data + out->len));
  out->data[out->len] = '\0';
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
    AppendQuoted(out, bytes);
  } else {
    AppendHex(out, bytes);
  }
}

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

// --- relations

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

const ReadableRelation* FindRelation(const ReadableStream* stream, uint64_t number) {
  if (number >= stream->relation_capacity || stream->relations[number] == nullptr) {
    RefuseBytes("a relation that was not described");
  }
  return stream->relations[number];
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

void ReadRelationEntry(ReadableStream* stream, std::string_view message, ReadableEntry* entry) {
  namespace field = wire::relation;
  auto* relation = static_cast<ReadableRelation*>(
      MemoryContextAllocZero(stream->context, sizeof(ReadableRelation)));
  uint64_t number = 0, identity = 0;
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
  entry->detail = psprintf("number " UINT64_FORMAT ", kind %s, identity %s%s%s%s", number, kind,
                           IdentityName(identity), relation->leaf == nullptr ? "" : ", leaf ",
                           relation->leaf == nullptr ? "" : relation->leaf, columns.data);
}

// --- entries

void ReadChange(const ReadableStream* stream, std::string_view message, bool has_old,
                ReadableEntry* entry) {
  namespace field = wire::change;
  const ReadableRelation* relation = nullptr;
  auto old_image = OldImageKind::kNone;
  WireField f;
  while (NextField(&message, &f)) {
    switch (f.number) {
      case field::kRelation:
        relation = FindRelation(stream, f.value);
        break;
      case field::kOldImage:
        old_image = static_cast<OldImageKind>(f.value);
        break;
      case field::kNewRow:
      case field::kOldRow:
        if (relation == nullptr) RefuseBytes("a row without relation");
        (f.number == field::kNewRow ? entry->new_row : entry->old_row) = RowText(
            relation, f.bytes, f.number == field::kOldRow && old_image == OldImageKind::kKey);
        break;
      default:
        break;
    }
  }
  if (relation == nullptr) RefuseBytes("a change without relation");
  entry->relation = relation->name;
  if (!has_old) return;
  entry->old_image = old_image == OldImageKind::kFull  ? "full"
                     : old_image == OldImageKind::kKey ? "key"
                                                       : "none";
}

void ReadTruncate(const ReadableStream* stream, std::string_view message, ReadableEntry* entry) {
  StringInfoData relations;
  initStringInfo(&relations);
  bool cascade = false, restart = false;
  WireField f;
  while (NextField(&message, &f)) {
    if (f.number == wire::truncate::kCascade) cascade = f.value != 0;
    if (f.number == wire::truncate::kRestartIdentity) restart = f.value != 0;
    if (f.number != wire::truncate::kRelations) continue;
    while (!f.bytes.empty()) {
      uint64_t number = 0;
      if (!ReadVarint(&f.bytes, &number)) RefuseBytes("relation number");
      const ReadableRelation* relation = FindRelation(stream, number);
      appendStringInfo(&relations, "%s%s", relations.len > 0 ? ", " : "", relation->name);
      if (relation->leaf != nullptr) appendStringInfo(&relations, " (leaf %s)", relation->leaf);
    }
  }
  entry->relation = relations.data;
  entry->detail = cascade && restart ? "cascade, restart identity"
                  : cascade          ? "cascade"
                  : restart          ? "restart identity"
                                     : nullptr;
}

const char* ContentText(std::string_view content) {
  if (pg_verifymbstr(content.data(), static_cast<int>(content.size()), true)) {
    return CopyText(content);
  }
  StringInfoData out;
  initStringInfo(&out);
  AppendHex(&out, content);
  return out.data;
}

void ReadMessage(std::string_view message, ReadableEntry* entry) {
  namespace field = wire::message;
  bool is_transactional = false, in_parts = false;
  std::string_view prefix, content;
  WireField f;
  while (NextField(&message, &f)) {
    switch (f.number) {
      case field::kTransactional:
        is_transactional = f.value != 0;
        break;
      case field::kPrefix:
        prefix = f.bytes;
        break;
      case field::kContent:
        content = f.bytes;
        break;
      case field::kLsn:
        entry->lsn = f.value;
        break;
      case field::kContentInParts:
        in_parts = f.value != 0;
        break;
      default:
        break;
    }
  }
  entry->new_row = in_parts ? "<in parts>" : ContentText(content);
  entry->detail =
      psprintf("%s, prefix %s", is_transactional ? "transactional" : "not transactional",
               quote_identifier(CopyText(prefix)));
}

void ReadValuePart(std::string_view message, ReadableEntry* entry) {
  uint64_t value_bytes = 0, is_last = 0;
  size_t size = 0;
  WireField f;
  while (NextField(&message, &f)) {
    if (f.number == wire::value_part::kValueBytes) value_bytes = f.value;
    if (f.number == wire::value_part::kPart) size = f.bytes.size();
    if (f.number == wire::value_part::kIsLast) is_last = f.value;
  }
  StringInfoData out;
  initStringInfo(&out);
  appendStringInfo(&out, "%zu bytes", size);
  if (value_bytes != 0) appendStringInfo(&out, " of " UINT64_FORMAT, value_bytes);
  if (is_last != 0) appendStringInfoString(&out, ", last");
  entry->detail = out.data;
}

const char* OriginText(std::string_view message) {
  const char* name = "";
  uint64_t lsn = 0;
  WireField f;
  while (NextField(&message, &f)) {
    if (f.number == wire::origin::kName) name = CopyText(f.bytes);
    if (f.number == wire::origin::kLsn) lsn = f.value;
  }
  return psprintf("origin %s at %X/%X", quote_identifier(name), static_cast<uint32_t>(lsn >> 32),
                  static_cast<uint32_t>(lsn));
}

// Begin and Commit share the numbers of what they share.
void ReadTransaction(ReadableStream* stream, std::string_view message, bool is_begin,
                     ReadableEntry* entry) {
  constexpr int64_t kPostgresEpochInUnixUs =
      static_cast<int64_t>(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
  uint64_t change_count = 0;
  WireField f;
  while (NextField(&message, &f)) {
    switch (f.number) {
      case wire::begin::kXid:
        stream->xid = f.value;
        break;
      case wire::begin::kEndLsn:
        stream->end_lsn = f.value;
        break;
      case wire::begin::kCommitTime:
        entry->has_commit_time = true;
        entry->commit_time = static_cast<int64_t>(f.value) - kPostgresEpochInUnixUs;
        break;
      case wire::begin::kOrigin:  // the same number as Commit.change_count
        if (is_begin) {
          entry->detail = OriginText(f.bytes);
        } else {
          change_count = f.value;
        }
        break;
      default:
        break;
    }
  }
  entry->xid = stream->xid;
  entry->lsn = stream->end_lsn;
  if (is_begin) return;
  entry->detail = psprintf("changes: " UINT64_FORMAT, change_count);
  stream->xid = 0;
}

void ReadHello(std::string_view message, ReadableEntry* entry) {
  namespace field = wire::hello;
  uint64_t protocol = 0, server = 0;
  const char *plugin = "", *encoding = "";
  WireField f;
  while (NextField(&message, &f)) {
    switch (f.number) {
      case field::kProtocolVersion:
        protocol = f.value;
        break;
      case field::kPluginVersion:
        plugin = CopyText(f.bytes);
        break;
      case field::kServerVersionNum:
        server = f.value;
        break;
      case field::kServerEncoding:
        encoding = CopyText(f.bytes);
        break;
      default:
        break;
    }
  }
  entry->detail =
      psprintf("protocol " UINT64_FORMAT ", plugin %s, server " UINT64_FORMAT ", encoding %s",
               protocol, plugin, server, encoding);
}

void ReadEntry(ReadableStream* stream, const WireField& kind, ReadableEntry* entry) {
  namespace entry_kind = wire::entry;
  switch (kind.number) {
    case entry_kind::kBegin:
      entry->kind = "begin";
      return ReadTransaction(stream, kind.bytes, true, entry);
    case entry_kind::kCommit:
      entry->kind = "commit";
      return ReadTransaction(stream, kind.bytes, false, entry);
    case entry_kind::kRelation:
      entry->kind = "relation";
      return ReadRelationEntry(stream, kind.bytes, entry);
    case entry_kind::kInsert:
      entry->kind = "insert";
      return ReadChange(stream, kind.bytes, false, entry);
    case entry_kind::kUpdate:
      entry->kind = "update";
      return ReadChange(stream, kind.bytes, true, entry);
    case entry_kind::kDelete:
      entry->kind = "delete";
      return ReadChange(stream, kind.bytes, true, entry);
    case entry_kind::kValuePart:
      entry->kind = "value_part";
      return ReadValuePart(kind.bytes, entry);
    case entry_kind::kTruncate:
      entry->kind = "truncate";
      return ReadTruncate(stream, kind.bytes, entry);
    case entry_kind::kMessage:
      entry->kind = "message";
      return ReadMessage(kind.bytes, entry);
    case entry_kind::kHello:
      entry->kind = "hello";
      return ReadHello(kind.bytes, entry);
    default:
      RefuseBytes("an entry of unknown kind");
  }
}

}  // namespace

void InitReadableStream(ReadableStream* stream, MemoryContext context) {
  *stream = {};
  stream->context = context;
}

void ReadFrame(ReadableStream* stream, std::string_view frame, XLogRecPtr lsn, EmitEntry emit,
               void* arg) {
  WireField outer, kind;
  while (NextField(&frame, &outer)) {
    if (outer.number != wire::frame::kEntries || outer.type != WireType::kBytes) {
      RefuseBytes("something other than entries");
    }
    std::string_view message = outer.bytes;
    if (!NextField(&message, &kind) || kind.type != WireType::kBytes || !message.empty()) {
      RefuseBytes("an entry is not one message");
    }
    ReadableEntry entry = {};
    entry.xid = stream->xid;
    entry.lsn = stream->xid == 0 ? lsn : stream->end_lsn;
    ReadEntry(stream, kind, &entry);
    emit(entry, arg);
  }
}

}  // namespace towline::plugin
