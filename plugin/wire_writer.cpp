#include "wire_writer.h"

#include "wire_fields.h"

namespace towline::plugin {
namespace {

using wire::WireType;

// A varint of 64 bits takes at most 10 bytes, one of 32 bits at most 5.
constexpr size_t kVarint64Max = 10;
constexpr size_t kVarint32Max = 5;
constexpr size_t kTagMax = 2;  // field numbers below 2048

inline char* PutVarint(char* at, uint64_t value) {
  while (value >= 0x80) {
    *at++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *at++ = static_cast<char>(value);
  return at;
}

inline size_t VarintSize(uint64_t value) {
  size_t size = 1;
  while (value >= 0x80) {
    value >>= 7;
    ++size;
  }
  return size;
}

inline char* PutTag(char* at, uint32_t field, WireType type) {
  return PutVarint(at, (field << 3) | static_cast<uint32_t>(type));
}

void AppendVarintField(ByteBuffer* out, uint32_t field, uint64_t value) {
  if (value == 0) return;
  char* start = Reserve(out, kTagMax + kVarint64Max);
  char* end = PutVarint(PutTag(start, field, WireType::kVarint), value);
  out->size += static_cast<size_t>(end - start);
}

// int32: negative numbers are sign-extended to 64 bits, as protobuf wants it.
void AppendInt32Field(ByteBuffer* out, uint32_t field, int32_t value) {
  AppendVarintField(out, field, static_cast<uint64_t>(static_cast<int64_t>(value)));
}

void AppendSint32Field(ByteBuffer* out, uint32_t field, int32_t value) {
  uint32_t zigzag = (static_cast<uint32_t>(value) << 1) ^ static_cast<uint32_t>(value >> 31);
  AppendVarintField(out, field, zigzag);
}

void AppendFixed64Field(ByteBuffer* out, uint32_t field, uint64_t value) {
  if (value == 0) return;
  char* start = Reserve(out, kTagMax + 8);
  char* at = PutTag(start, field, WireType::kFixed64);
  for (int shift = 0; shift < 64; shift += 8) *at++ = static_cast<char>(value >> shift);
  out->size += static_cast<size_t>(at - start);
}

void AppendBytesHeader(ByteBuffer* out, uint32_t field, size_t size) {
  char* start = Reserve(out, kTagMax + kVarint64Max);
  char* end = PutVarint(PutTag(start, field, WireType::kBytes), size);
  out->size += static_cast<size_t>(end - start);
}

void AppendBytesField(ByteBuffer* out, uint32_t field, std::string_view bytes) {
  if (bytes.empty()) return;
  AppendBytesHeader(out, field, bytes.size());
  AppendBytes(out, bytes);
}

// A nested message whose size is not known before it is written: the room for the largest header
// is left free, and when the message is complete it is moved up to the header that it needs.
struct OpenMessage {
  size_t start;  // of the free room
};
constexpr size_t kNestedHeaderMax = kTagMax + kVarint32Max;

OpenMessage OpenNested(ByteBuffer* out) {
  OpenMessage open{out->size};
  Reserve(out, kNestedHeaderMax);
  out->size += kNestedHeaderMax;
  return open;
}

void CloseNested(ByteBuffer* out, OpenMessage open, uint32_t field) {
  size_t body_start = open.start + kNestedHeaderMax;
  size_t body_size = out->size - body_start;
  char* at = PutVarint(PutTag(out->data + open.start, field, WireType::kBytes), body_size);
  std::memmove(at, out->data + body_start, body_size);
  out->size = static_cast<size_t>(at - out->data) + body_size;
}

// An entry is Frame.entries around Entry.<kind> around the message.
struct OpenEntry {
  OpenMessage in_frame;
  OpenMessage in_entry;
};

OpenEntry OpenEntryIn(ByteBuffer* frame) {
  OpenMessage in_frame = OpenNested(frame);
  return {in_frame, OpenNested(frame)};
}

void CloseEntry(ByteBuffer* frame, OpenEntry open, uint32_t kind) {
  CloseNested(frame, open.in_entry, kind);
  CloseNested(frame, open.in_frame, wire::frame::kEntries);
}

// Rows are what occurs millions of times: their sizes are computed first, and every byte is written
// once.
size_t BytesFieldSize(size_t size) { return size == 0 ? 0 : 1 + VarintSize(size) + size; }
size_t VarintFieldSize(uint64_t value) { return value == 0 ? 0 : 1 + VarintSize(value); }

void OpenSizedEntry(ByteBuffer* frame, uint32_t kind, size_t body_size) {
  size_t entry_size = 1 + VarintSize(body_size) + body_size;
  char* start = Reserve(frame, 2 * (kTagMax + kVarint64Max) + body_size);
  char* at = PutTag(start, wire::frame::kEntries, WireType::kBytes);
  at = PutVarint(at, entry_size);
  at = PutVarint(PutTag(at, kind, WireType::kBytes), body_size);
  frame->size += static_cast<size_t>(at - start);
}

void AppendTransaction(ByteBuffer* frame, const TransactionFields& transaction) {
  AppendVarintField(frame, wire::begin::kXid, transaction.xid);
  AppendFixed64Field(frame, wire::begin::kCommitLsn, transaction.commit_lsn);
  AppendFixed64Field(frame, wire::begin::kEndLsn, transaction.end_lsn);
  AppendFixed64Field(frame, wire::begin::kCommitTime,
                     static_cast<uint64_t>(transaction.commit_time_us));
}

void AppendOrigin(ByteBuffer* frame, uint32_t field, const OriginFields* origin) {
  if (origin == nullptr) return;
  OpenMessage nested = OpenNested(frame);
  AppendBytesField(frame, wire::origin::kName, origin->name);
  AppendFixed64Field(frame, wire::origin::kLsn, origin->lsn);
  CloseNested(frame, nested, field);
}

void AppendDdlObject(ByteBuffer* out, const DdlObjectFields& object) {
  namespace field = wire::ddl_object;
  OpenMessage nested = OpenNested(out);
  AppendVarintField(out, field::kClassOid, object.class_oid);
  AppendVarintField(out, field::kOid, object.oid);
  AppendInt32Field(out, field::kColumn, object.column);
  AppendBytesField(out, field::kType, object.type);
  AppendBytesField(out, field::kSchema, object.schema);
  AppendBytesField(out, field::kName, object.name);
  AppendBytesField(out, field::kIdentity, object.identity);
  AppendBytesField(out, field::kTableSchema, object.table_schema);
  AppendBytesField(out, field::kTableName, object.table_name);
  CloseNested(out, nested, wire::ddl::kObjects);
}

void AppendColumn(ByteBuffer* frame, const ColumnFields& column) {
  namespace field = wire::column;
  OpenMessage open = OpenNested(frame);
  AppendBytesField(frame, field::kName, column.name);
  AppendInt32Field(frame, field::kAttnum, column.attnum);
  AppendVarintField(frame, field::kTypeOid, column.type_oid);
  AppendBytesField(frame, field::kTypeSchema, column.type_schema);
  AppendBytesField(frame, field::kTypeName, column.type_name);
  AppendSint32Field(frame, field::kTypmod, column.typmod);
  AppendBytesField(frame, field::kTypeKind, column.type_kind);
  AppendBytesField(frame, field::kCollation, column.collation);
  AppendVarintField(frame, field::kNotNull, column.not_null);
  AppendBytesField(frame, field::kGenerated, column.generated);
  AppendBytesField(frame, field::kIdentity, column.identity);
  AppendVarintField(frame, field::kInKey, column.in_key);
  AppendVarintField(frame, field::kSent, column.sent);
  AppendVarintField(frame, field::kFormat, static_cast<uint32_t>(column.format));
  CloseNested(frame, open, wire::relation::kColumns);
}

}  // namespace

void WriteCompressedFrame(ByteBuffer* frame, CompressionMethod method, size_t raw_bytes,
                          size_t block_size) {
  namespace field = wire::compressed_entries;
  size_t body = VarintFieldSize(static_cast<uint32_t>(method)) + VarintFieldSize(raw_bytes) +
                BytesFieldSize(block_size);
  AppendBytesHeader(frame, wire::frame::kCompressed, body);
  AppendVarintField(frame, field::kMethod, static_cast<uint32_t>(method));
  AppendVarintField(frame, field::kRawBytes, raw_bytes);
  AppendBytesHeader(frame, field::kBlock, block_size);
}

void WriteHello(ByteBuffer* frame, const HelloFields& hello) {
  namespace field = wire::hello;
  OpenEntry open = OpenEntryIn(frame);
  AppendVarintField(frame, field::kProtocolVersion, hello.protocol_version);
  AppendBytesField(frame, field::kPluginVersion, hello.plugin_version);
  AppendVarintField(frame, field::kServerVersionNum, hello.server_version_num);
  AppendBytesField(frame, field::kServerEncoding, hello.server_encoding);
  AppendVarintField(frame, field::kSystemIdentifier, hello.system_identifier);
  AppendVarintField(frame, field::kCompression, static_cast<uint32_t>(hello.compression));
  CloseEntry(frame, open, wire::entry::kHello);
}

void WriteBegin(ByteBuffer* frame, const TransactionFields& transaction,
                const OriginFields* origin) {
  OpenEntry open = OpenEntryIn(frame);
  AppendTransaction(frame, transaction);
  AppendOrigin(frame, wire::begin::kOrigin, origin);
  CloseEntry(frame, open, wire::entry::kBegin);
}

void WriteCommit(ByteBuffer* frame, const TransactionFields& transaction, uint64_t change_count) {
  OpenEntry open = OpenEntryIn(frame);
  AppendTransaction(frame, transaction);
  AppendVarintField(frame, wire::commit::kChangeCount, change_count);
  CloseEntry(frame, open, wire::entry::kCommit);
}

void WriteStreamStart(ByteBuffer* frame, uint64_t xid, bool is_first) {
  OpenEntry open = OpenEntryIn(frame);
  AppendVarintField(frame, wire::stream_start::kXid, xid);
  AppendVarintField(frame, wire::stream_start::kIsFirst, is_first);
  CloseEntry(frame, open, wire::entry::kStreamStart);
}

void WriteSubtransaction(ByteBuffer* frame, uint64_t xid) {
  OpenEntry open = OpenEntryIn(frame);
  AppendVarintField(frame, wire::subtransaction::kXid, xid);
  CloseEntry(frame, open, wire::entry::kSubtransaction);
}

void WriteStreamStop(ByteBuffer* frame, uint64_t xid) {
  OpenEntry open = OpenEntryIn(frame);
  AppendVarintField(frame, wire::stream_start::kXid, xid);
  CloseEntry(frame, open, wire::entry::kStreamStop);
}

void WriteStreamAbort(ByteBuffer* frame, const StreamAbortFields& abort) {
  namespace field = wire::stream_abort;
  OpenEntry open = OpenEntryIn(frame);
  AppendVarintField(frame, field::kXid, abort.xid);
  AppendVarintField(frame, field::kSubxid, abort.subxid);
  AppendFixed64Field(frame, field::kAbortLsn, abort.abort_lsn);
  AppendFixed64Field(frame, field::kAbortTime, static_cast<uint64_t>(abort.abort_time_us));
  CloseEntry(frame, open, wire::entry::kStreamAbort);
}

void WriteStreamCommit(ByteBuffer* frame, const TransactionFields& transaction,
                       uint64_t change_count, const OriginFields* origin) {
  namespace field = wire::stream_commit;
  OpenEntry open = OpenEntryIn(frame);
  AppendTransaction(frame, transaction);
  AppendVarintField(frame, field::kChangeCount, change_count);
  AppendOrigin(frame, field::kOrigin, origin);
  CloseEntry(frame, open, wire::entry::kStreamCommit);
}

void WriteStreamPrepare(ByteBuffer* frame, const TransactionFields& transaction,
                        uint64_t change_count, std::string_view gid, const OriginFields* origin) {
  namespace field = wire::stream_prepare;
  OpenEntry open = OpenEntryIn(frame);
  AppendTransaction(frame, transaction);
  AppendVarintField(frame, field::kChangeCount, change_count);
  AppendBytesField(frame, field::kGid, gid);
  AppendOrigin(frame, field::kOrigin, origin);
  CloseEntry(frame, open, wire::entry::kStreamPrepare);
}

void WriteBeginPrepare(ByteBuffer* frame, const TransactionFields& transaction,
                       std::string_view gid, const OriginFields* origin) {
  OpenEntry open = OpenEntryIn(frame);
  AppendTransaction(frame, transaction);
  AppendBytesField(frame, wire::prepared::kGid, gid);
  AppendOrigin(frame, wire::prepared::kOrigin, origin);
  CloseEntry(frame, open, wire::entry::kBeginPrepare);
}

void WritePrepare(ByteBuffer* frame, const TransactionFields& transaction, uint64_t change_count) {
  OpenEntry open = OpenEntryIn(frame);
  AppendVarintField(frame, wire::begin::kXid, transaction.xid);
  AppendFixed64Field(frame, wire::begin::kCommitLsn, transaction.commit_lsn);
  AppendFixed64Field(frame, wire::begin::kEndLsn, transaction.end_lsn);
  AppendVarintField(frame, wire::prepare::kChangeCount, change_count);
  CloseEntry(frame, open, wire::entry::kPrepare);
}

void WriteCommitPrepared(ByteBuffer* frame, const TransactionFields& transaction,
                         std::string_view gid, const OriginFields* origin) {
  OpenEntry open = OpenEntryIn(frame);
  AppendTransaction(frame, transaction);
  AppendBytesField(frame, wire::prepared::kGid, gid);
  AppendOrigin(frame, wire::prepared::kOrigin, origin);
  CloseEntry(frame, open, wire::entry::kCommitPrepared);
}

void WriteRollbackPrepared(ByteBuffer* frame, const TransactionFields& transaction,
                           std::string_view gid) {
  OpenEntry open = OpenEntryIn(frame);
  AppendTransaction(frame, transaction);
  AppendBytesField(frame, wire::prepared::kGid, gid);
  CloseEntry(frame, open, wire::entry::kRollbackPrepared);
}

void WriteRelationBody(ByteBuffer* out, const RelationFields& relation) {
  namespace field = wire::relation;
  AppendVarintField(out, field::kOid, relation.oid);
  AppendVarintField(out, field::kRootOid, relation.root_oid);
  AppendBytesField(out, field::kSchema, relation.schema);
  AppendBytesField(out, field::kName, relation.name);
  AppendBytesField(out, field::kLeafSchema, relation.leaf_schema);
  AppendBytesField(out, field::kLeafName, relation.leaf_name);
  AppendBytesField(out, field::kKind, relation.kind);
  AppendVarintField(out, field::kReplicaIdentity, static_cast<uint32_t>(relation.replica_identity));
  AppendFixed64Field(out, field::kShapeHash, relation.shape_hash);
  for (size_t i = 0; i < relation.column_count; ++i) AppendColumn(out, relation.columns[i]);
  AppendVarintField(out, field::kRewriteOf, relation.rewrite_of);
}

void WriteRelation(ByteBuffer* frame, uint32_t number, std::string_view body) {
  OpenSizedEntry(frame, wire::entry::kRelation, VarintFieldSize(number) + body.size());
  AppendVarintField(frame, wire::relation::kNumber, number);
  AppendBytes(frame, body);
}

void WriteInsert(ByteBuffer* frame, uint32_t relation, std::string_view new_row) {
  size_t body = VarintFieldSize(relation) + BytesFieldSize(new_row.size());
  OpenSizedEntry(frame, wire::entry::kInsert, body);
  AppendVarintField(frame, wire::change::kRelation, relation);
  AppendBytesField(frame, wire::change::kNewRow, new_row);
}

void WriteUpdate(ByteBuffer* frame, uint32_t relation, std::string_view new_row,
                 OldImageKind old_image, std::string_view old_row) {
  size_t body = VarintFieldSize(relation) + BytesFieldSize(new_row.size()) +
                VarintFieldSize(static_cast<uint32_t>(old_image)) + BytesFieldSize(old_row.size());
  OpenSizedEntry(frame, wire::entry::kUpdate, body);
  AppendVarintField(frame, wire::change::kRelation, relation);
  AppendBytesField(frame, wire::change::kNewRow, new_row);
  AppendVarintField(frame, wire::change::kOldImage, static_cast<uint32_t>(old_image));
  AppendBytesField(frame, wire::change::kOldRow, old_row);
}

void WriteDelete(ByteBuffer* frame, uint32_t relation, OldImageKind old_image,
                 std::string_view old_row) {
  size_t body = VarintFieldSize(relation) + VarintFieldSize(static_cast<uint32_t>(old_image)) +
                BytesFieldSize(old_row.size());
  OpenSizedEntry(frame, wire::entry::kDelete, body);
  AppendVarintField(frame, wire::change::kRelation, relation);
  AppendVarintField(frame, wire::change::kOldImage, static_cast<uint32_t>(old_image));
  AppendBytesField(frame, wire::change::kOldRow, old_row);
}

void WriteValuePart(ByteBuffer* frame, uint64_t value_bytes, std::string_view part, bool is_last) {
  size_t body = VarintFieldSize(value_bytes) + BytesFieldSize(part.size()) + (is_last ? 2 : 0);
  OpenSizedEntry(frame, wire::entry::kValuePart, body);
  AppendVarintField(frame, wire::value_part::kValueBytes, value_bytes);
  AppendBytesField(frame, wire::value_part::kPart, part);
  AppendVarintField(frame, wire::value_part::kIsLast, is_last);
}

void WriteTruncate(ByteBuffer* frame, const uint32_t* relations, size_t count, bool cascade,
                   bool restart_identity) {
  OpenEntry open = OpenEntryIn(frame);
  // Packed, as proto3 writes repeated numbers.
  OpenMessage packed = OpenNested(frame);
  for (size_t i = 0; i < count; ++i) {
    char* start = Reserve(frame, kVarint32Max);
    frame->size += static_cast<size_t>(PutVarint(start, relations[i]) - start);
  }
  CloseNested(frame, packed, wire::truncate::kRelations);
  AppendVarintField(frame, wire::truncate::kCascade, cascade);
  AppendVarintField(frame, wire::truncate::kRestartIdentity, restart_identity);
  CloseEntry(frame, open, wire::entry::kTruncate);
}

void WriteMessage(ByteBuffer* frame, const MessageFields& message) {
  namespace field = wire::message;
  OpenEntry open = OpenEntryIn(frame);
  AppendVarintField(frame, field::kTransactional, message.is_transactional);
  AppendBytesField(frame, field::kPrefix, message.prefix);
  AppendBytesField(frame, field::kContent, message.content);
  AppendFixed64Field(frame, field::kLsn, message.lsn);
  AppendVarintField(frame, field::kContentInParts, message.content_in_parts);
  CloseEntry(frame, open, wire::entry::kMessage);
}

void WriteRewrite(ByteBuffer* frame, const RewriteFields& rewrite) {
  OpenEntry open = OpenEntryIn(frame);
  AppendVarintField(frame, wire::rewrite::kOid, rewrite.oid);
  AppendBytesField(frame, wire::rewrite::kSchema, rewrite.schema);
  AppendBytesField(frame, wire::rewrite::kName, rewrite.name);
  CloseEntry(frame, open, wire::entry::kRewrite);
}

void WriteDdlBody(ByteBuffer* out, const DdlFields& ddl) {
  namespace field = wire::ddl;
  AppendVarintField(out, field::kNumber, ddl.number);
  AppendVarintField(out, field::kPhase, static_cast<uint32_t>(ddl.phase));
  AppendBytesField(out, field::kTag, ddl.tag);
  AppendBytesField(out, field::kStatement, ddl.statement);
  AppendBytesField(out, field::kSearchPath, ddl.search_path);
  AppendBytesField(out, field::kRole, ddl.role);
  for (size_t i = 0; i < ddl.object_count; ++i) AppendDdlObject(out, ddl.objects[i]);
  AppendVarintField(out, field::kWantsRows, ddl.wants_rows);
  for (size_t i = 0; i < ddl.action_count; ++i) {
    AppendBytesField(out, field::kActions, ddl.actions[i]);
  }
  for (size_t i = 0; i < ddl.setting_count; ++i) {
    OpenMessage nested = OpenNested(out);
    AppendBytesField(out, wire::ddl_setting::kName, ddl.settings[i].name);
    AppendBytesField(out, wire::ddl_setting::kValue, ddl.settings[i].value);
    CloseNested(out, nested, field::kSettings);
  }
  for (size_t i = 0; i < ddl.fill_count; ++i) {
    OpenMessage nested = OpenNested(out);
    AppendBytesField(out, wire::ddl_fill::kSchema, ddl.fills[i].schema);
    AppendBytesField(out, wire::ddl_fill::kTable, ddl.fills[i].table);
    AppendBytesField(out, wire::ddl_fill::kColumn, ddl.fills[i].column);
    AppendBytesField(out, wire::ddl_fill::kValue, ddl.fills[i].value);
    CloseNested(out, nested, field::kFills);
  }
  AppendBytesField(out, field::kGap, ddl.gap);
  AppendBytesField(out, field::kStructure, ddl.structure);
  AppendBytesField(out, field::kNamedSchema, ddl.named_schema);
  AppendVarintField(out, field::kTellsReferences, ddl.tells_references);
  for (size_t i = 0; i < ddl.reference_count; ++i) {
    AppendBytesField(out, field::kReferences, ddl.references[i]);
  }
}

void WriteDdl(ByteBuffer* frame, std::string_view body) {
  OpenSizedEntry(frame, wire::entry::kDdl, body.size());
  AppendBytes(frame, body);
}

namespace {

struct Fnv1a {
  uint64_t state = 14695981039346656037u;
  void Byte(uint8_t byte) { state = (state ^ byte) * 1099511628211u; }
  void Number(uint32_t number) {
    for (int shift = 0; shift < 32; shift += 8) Byte(static_cast<uint8_t>(number >> shift));
  }
  void Name(std::string_view name) {
    for (char c : name) Byte(static_cast<uint8_t>(c));
    Byte(0);
  }
};

}  // namespace

uint64_t ShapeHash(const RelationFields& relation) {
  Fnv1a hash;
  for (size_t i = 0; i < relation.column_count; ++i) {
    const ColumnFields& column = relation.columns[i];
    hash.Name(column.name);
    hash.Number(static_cast<uint32_t>(column.attnum));
    hash.Number(column.type_oid);
    hash.Number(static_cast<uint32_t>(column.typmod));
    hash.Byte(column.sent);
    hash.Byte(column.in_key);
  }
  hash.Byte(static_cast<uint8_t>(relation.replica_identity));
  return hash.state;
}

}  // namespace towline::plugin
