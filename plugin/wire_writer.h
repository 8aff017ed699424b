// Writes entries of the wire format (proto/towline/v1/wire.proto) at the end of a frame.
//
// By hand and not with libprotobuf: a library inside the backend would bring its own allocation,
// destructors that a server error skips, and checks that abort the whole cluster. The price is
// drift from the .proto file; proto/golden pays it: the tests hold this writer to exact bytes that
// libprotobuf parses and writes alike (fields in order, defaults left out, shortest varints).
//
// The structs are borrowed views; nothing here raises an error except through GrowByteBuffer().
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "byte_buffer.h"

namespace towline::plugin {

enum class OldImageKind : uint32_t { kNone = 0, kKey = 1, kFull = 2 };
enum class ColumnFormat : uint32_t { kBinary = 0, kText = 1 };
enum class IdentityKind : uint32_t { kDefault = 0, kNothing = 1, kFull = 2, kIndex = 3 };

enum class CompressionMethod : uint32_t { kNone = 0, kLz4 = 1, kZstd = 2 };

struct HelloFields {
  uint32_t protocol_version;
  std::string_view plugin_version;
  uint32_t server_version_num;
  std::string_view server_encoding;
  uint64_t system_identifier;
  CompressionMethod compression;
};

// Of the record that ended the transaction: its commit, its prepare, or what became of a prepared
// one.
struct TransactionFields {
  uint64_t xid;
  uint64_t commit_lsn;
  uint64_t end_lsn;
  int64_t commit_time_us;  // since 1970-01-01 UTC
};

struct StreamAbortFields {
  uint64_t xid;
  uint64_t subxid;
  uint64_t abort_lsn;
  int64_t abort_time_us;  // since 1970-01-01 UTC; 0: not known
};

struct OriginFields {
  std::string_view name;
  uint64_t lsn;
};

struct ColumnFields {
  std::string_view name;
  int32_t attnum;
  uint32_t type_oid;
  std::string_view type_schema;
  std::string_view type_name;
  int32_t typmod;
  std::string_view type_kind;
  std::string_view collation;
  bool not_null;
  std::string_view generated;
  std::string_view identity;
  bool in_key;
  bool sent;
  ColumnFormat format;
};

struct RelationFields {
  uint32_t oid;
  uint32_t root_oid;
  std::string_view schema;
  std::string_view name;
  std::string_view leaf_schema;
  std::string_view leaf_name;
  std::string_view kind;
  IdentityKind replica_identity;
  uint64_t shape_hash;
  const ColumnFields* columns;
  size_t column_count;
  uint32_t rewrite_of;  // 0: rows of the relation itself
};

// Of a table whose rows were written anew.
struct RewriteFields {
  uint32_t oid;
  std::string_view schema;
  std::string_view name;
};

struct MessageFields {
  bool is_transactional;
  std::string_view prefix;
  std::string_view content;
  uint64_t lsn;
  bool content_in_parts;
};

enum class DdlPhase : uint32_t { kStart = 0, kRewrite = 1, kEnd = 2, kDrop = 3 };

struct DdlObjectFields {
  uint32_t class_oid;
  uint32_t oid;
  int32_t column;
  std::string_view type;
  std::string_view schema;
  std::string_view name;
  std::string_view identity;
  std::string_view table_schema;
  std::string_view table_name;
};

struct DdlSettingFields {
  std::string_view name;
  std::string_view value;
};

struct DdlFillFields {
  std::string_view schema;
  std::string_view table;
  std::string_view column;
  std::string_view value;
};

struct DdlFields {
  uint64_t number;
  DdlPhase phase;
  std::string_view tag;
  std::string_view statement;
  std::string_view search_path;
  std::string_view role;
  const DdlObjectFields* objects;
  size_t object_count;
  bool wants_rows;
  const std::string_view* actions;
  size_t action_count;
  const DdlSettingFields* settings;
  size_t setting_count;
  const DdlFillFields* fills;
  size_t fill_count;
  std::string_view gap;
  std::string_view structure;
  std::string_view named_schema;
  bool tells_references;
  const std::string_view* references;
  size_t reference_count;
};

// A whole frame up to its block, which follows: `raw_bytes` of entries were compressed to it.
void WriteCompressedFrame(ByteBuffer* frame, CompressionMethod method, size_t raw_bytes,
                          size_t block_size);
constexpr size_t kCompressedFrameHeaderMax = 64;
void WriteHello(ByteBuffer* frame, const HelloFields& hello);
// `origin` may be null: written on this server.
void WriteBegin(ByteBuffer* frame, const TransactionFields& transaction,
                const OriginFields* origin);
void WriteCommit(ByteBuffer* frame, const TransactionFields& transaction, uint64_t change_count);

// Transactions in progress.
void WriteStreamStart(ByteBuffer* frame, uint64_t xid, bool is_first);
void WriteSubtransaction(ByteBuffer* frame, uint64_t xid);
void WriteStreamStop(ByteBuffer* frame, uint64_t xid);
void WriteStreamAbort(ByteBuffer* frame, const StreamAbortFields& abort);
void WriteStreamCommit(ByteBuffer* frame, const TransactionFields& transaction,
                       uint64_t change_count, const OriginFields* origin);
void WriteStreamPrepare(ByteBuffer* frame, const TransactionFields& transaction,
                        uint64_t change_count, std::string_view gid, const OriginFields* origin);

// Two-phase commit. Prepare has no time: it stands in BeginPrepare.
void WriteBeginPrepare(ByteBuffer* frame, const TransactionFields& transaction,
                       std::string_view gid, const OriginFields* origin);
void WritePrepare(ByteBuffer* frame, const TransactionFields& transaction, uint64_t change_count);
void WriteCommitPrepared(ByteBuffer* frame, const TransactionFields& transaction,
                         std::string_view gid, const OriginFields* origin);
// `transaction`: the ends of the records of PREPARE and of ROLLBACK PREPARED, and the latter's
// time.
void WriteRollbackPrepared(ByteBuffer* frame, const TransactionFields& transaction,
                           std::string_view gid);

// A description without its number, so that two of them can be compared and one be sent again.
void WriteRelationBody(ByteBuffer* out, const RelationFields& relation);
void WriteRelation(ByteBuffer* frame, uint32_t number, std::string_view body);
void WriteInsert(ByteBuffer* frame, uint32_t relation, std::string_view new_row);
void WriteUpdate(ByteBuffer* frame, uint32_t relation, std::string_view new_row,
                 OldImageKind old_image, std::string_view old_row);
void WriteDelete(ByteBuffer* frame, uint32_t relation, OldImageKind old_image,
                 std::string_view old_row);
// `value_bytes` is the whole value's length in its first part and 0 in the others.
void WriteValuePart(ByteBuffer* frame, uint64_t value_bytes, std::string_view part, bool is_last);
void WriteTruncate(ByteBuffer* frame, const uint32_t* relations, size_t count, bool cascade,
                   bool restart_identity);
void WriteMessage(ByteBuffer* frame, const MessageFields& message);
void WriteRewrite(ByteBuffer* frame, const RewriteFields& rewrite);
// The command by itself, as it is kept until it is decoded.
void WriteDdlBody(ByteBuffer* out, const DdlFields& ddl);
void WriteDdl(ByteBuffer* frame, std::string_view body);

// FNV-1a over what shape_hash covers (docs/protocol.md, "Shape hash").
uint64_t ShapeHash(const RelationFields& relation);

}  // namespace towline::plugin
