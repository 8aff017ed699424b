#include "changes_text.h"

#include "changes_rows.h"
#include "changes_transactions.h"
#include "compression.h"
#include "frame.h"

namespace towline::plugin {
namespace {

using wire::WireType;

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
  if (content.empty()) return "";
  if (pg_verifymbstr(content.data(), static_cast<int>(content.size()), true)) {
    return pnstrdup(content.data(), content.size());
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

const char* PhaseName(uint64_t phase) {
  switch (static_cast<DdlPhase>(phase)) {
    case DdlPhase::kStart:
      return "start";
    case DdlPhase::kRewrite:
      return "rewrite";
    case DdlPhase::kEnd:
      return "end";
    case DdlPhase::kDrop:
      return "drop";
  }
  return "unknown";
}

// "table public.t", or "index public.i of public.t".
const char* ObjectText(std::string_view message) {
  namespace field = wire::ddl_object;
  const char *type = "", *identity = "", *schema = "", *table = "";
  WireField f;
  while (NextField(&message, &f)) {
    if (f.number == field::kType) type = CopyText(f.bytes);
    if (f.number == field::kIdentity) identity = CopyText(f.bytes);
    if (f.number == field::kTableSchema) schema = CopyText(f.bytes);
    if (f.number == field::kTableName) table = CopyText(f.bytes);
  }
  const char* of = *table == '\0' ? "" : quote_qualified_identifier(schema, table);
  if (*of == '\0' || strcmp(of, identity) == 0) return psprintf("%s %s", type, identity);
  return psprintf("%s %s of %s", type, identity, of);
}

const char* FillText(std::string_view message) {
  namespace field = wire::ddl_fill;
  const char *schema = "", *table = "", *column = "", *value = "";
  WireField f;
  while (NextField(&message, &f)) {
    if (f.number == field::kSchema) schema = CopyText(f.bytes);
    if (f.number == field::kTable) table = CopyText(f.bytes);
    if (f.number == field::kColumn) column = CopyText(f.bytes);
    if (f.number == field::kValue) value = CopyText(f.bytes);
  }
  return psprintf("%s.%s=%s", quote_qualified_identifier(schema, table), quote_identifier(column),
                  quote_literal_cstr(value));
}

void ReadDdl(std::string_view message, ReadableEntry* entry) {
  namespace field = wire::ddl;
  const char *tag = "", *path = "", *role = "", *gap = "";
  uint64_t phase = 0;
  StringInfoData more;
  initStringInfo(&more);
  WireField f;
  while (NextField(&message, &f)) {
    switch (f.number) {
      case field::kPhase:
        phase = f.value;
        break;
      case field::kTag:
        tag = CopyText(f.bytes);
        break;
      case field::kStatement:
        entry->new_row = CopyText(f.bytes);
        break;
      case field::kSearchPath:
        path = CopyText(f.bytes);
        break;
      case field::kRole:
        role = CopyText(f.bytes);
        break;
      case field::kObjects:
        appendStringInfo(&more, "; %s", ObjectText(f.bytes));
        break;
      case field::kActions:
        appendStringInfo(&more, "; action %s", CopyText(f.bytes));
        break;
      case field::kFills:
        appendStringInfo(&more, "; fill %s", FillText(f.bytes));
        break;
      case field::kGap:
        gap = CopyText(f.bytes);
        break;
      default:
        break;
    }
  }
  entry->detail =
      psprintf("%s of %s%s%s%s%s%s%s%s", PhaseName(phase), tag, *role == '\0' ? "" : " by ", role,
               *path == '\0' ? "" : ", path ", path, more.data, *gap == '\0' ? "" : "; gap: ", gap);
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

void ReadRewrite(std::string_view message, ReadableEntry* entry) {
  const char *schema = "", *name = "";
  WireField f;
  while (NextField(&message, &f)) {
    if (f.number == wire::rewrite::kSchema) schema = CopyText(f.bytes);
    if (f.number == wire::rewrite::kName) name = CopyText(f.bytes);
  }
  entry->relation = quote_qualified_identifier(schema, name);
}

void ReadHello(std::string_view message, ReadableEntry* entry) {
  namespace field = wire::hello;
  uint64_t protocol = 0, server = 0;
  const char *plugin = "", *encoding = "";
  auto compression = CompressionMethod::kNone;
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
      case field::kCompression:
        compression = static_cast<CompressionMethod>(f.value);
        break;
      default:
        break;
    }
  }
  entry->detail = psprintf(
      "protocol " UINT64_FORMAT ", plugin %s, server " UINT64_FORMAT ", encoding %s%s%s", protocol,
      plugin, server, encoding, compression == CompressionMethod::kNone ? "" : ", compression ",
      compression == CompressionMethod::kNone ? "" : CompressionName(compression));
}

void ReadEntry(ReadableStream* stream, const WireField& kind, ReadableEntry* entry) {
  namespace entry_kind = wire::entry;
  switch (kind.number) {
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
    case entry_kind::kRewrite:
      entry->kind = "rewrite";
      return ReadRewrite(kind.bytes, entry);
    case entry_kind::kDdl:
      entry->kind = "ddl";
      return ReadDdl(kind.bytes, entry);
    case entry_kind::kHello:
      entry->kind = "hello";
      return ReadHello(kind.bytes, entry);
    default:
      if (ReadTransactionEntry(stream, kind.number, kind.bytes, entry)) return;
      RefuseBytes("an entry of unknown kind");
  }
}

// The entries of a compressed frame. A frame is at most one CopyData before compression, too.
std::string_view Decompress(std::string_view message) {
  namespace field = wire::compressed_entries;
  auto method = CompressionMethod::kNone;
  uint64_t raw_bytes = 0;
  std::string_view block;
  WireField f;
  while (NextField(&message, &f)) {
    switch (f.number) {
      case field::kMethod:
        method = static_cast<CompressionMethod>(f.value);
        break;
      case field::kRawBytes:
        raw_bytes = f.value;
        break;
      case field::kBlock:
        block = f.bytes;
        break;
      default:
        break;
    }
  }
  if (raw_bytes > kCopyDataBytesMax) RefuseBytes("a frame that is too large");
  auto* raw = static_cast<char*>(palloc(Max(raw_bytes, 1)));
  if (!DecompressBlock(method, block, raw, raw_bytes)) RefuseBytes("a compressed frame");
  return {raw, raw_bytes};
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
    if (outer.number == wire::frame::kCompressed && outer.type == WireType::kBytes) {
      if (!frame.empty()) RefuseBytes("more behind compressed entries");
      frame = Decompress(outer.bytes);
      continue;
    }
    if (outer.number != wire::frame::kEntries || outer.type != WireType::kBytes) {
      RefuseBytes("something other than entries");
    }
    std::string_view message = outer.bytes;
    if (!NextField(&message, &kind) || kind.type != WireType::kBytes || !message.empty()) {
      RefuseBytes("an entry is not one message");
    }
    ReadableEntry entry = {};
    entry.xid = stream->xid;
    bool is_end_known = stream->xid != 0 && stream->end_lsn != InvalidXLogRecPtr;
    entry.lsn = is_end_known ? stream->end_lsn : lsn;
    ReadEntry(stream, kind, &entry);
    emit(entry, arg);
  }
}

}  // namespace towline::plugin
