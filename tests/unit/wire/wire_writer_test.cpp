// The plugin's side of the golden files: its writer emits exactly their bytes.
#include "wire_writer.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <limits>
#include <string>

#include "byte_buffer.h"
#include "towline/v1/wire.pb.h"
#include "wire/golden_files.h"
#include "wire_reader.h"

namespace towline {
namespace {

using namespace plugin;

class Buffer {
 public:
  ~Buffer() { std::free(buffer_.data); }
  operator ByteBuffer*() { return &buffer_; }
  std::string bytes() const { return std::string(buffer_.data, buffer_.size); }

 private:
  ByteBuffer buffer_{nullptr, 0, 0};
};

constexpr TransactionFields kTransaction{0x1000002d9, 0x16b3748, 0x16b37a0, 1600000000123456};

// An image in the shape of a COPY BINARY tuple; see docs/protocol.md.
struct Image {
  std::string bytes;
  explicit Image(int count) { Number(static_cast<uint32_t>(count), 2); }
  Image& Value(std::string_view value) {
    Number(static_cast<uint32_t>(value.size()), 4);
    bytes.append(value);
    return *this;
  }
  Image& Mark(int32_t mark) {
    Number(static_cast<uint32_t>(mark), 4);
    return *this;
  }
  void Number(uint32_t number, int size) {
    for (int shift = 8 * (size - 1); shift >= 0; shift -= 8) {
      bytes.push_back(static_cast<char>(number >> shift));
    }
  }
};

const std::string kOne("\0\0\0\1", 4);
const std::string kTwo("\0\0\0\2", 4);

RelationFields SmallRelation(const ColumnFields (&columns)[3]) {
  RelationFields relation{};
  relation.oid = 16384;
  relation.root_oid = 16384;
  relation.schema = "public";
  relation.name = "item";
  relation.kind = "r";
  relation.columns = columns;
  relation.column_count = 3;
  return relation;
}

constexpr ColumnFields kSmallColumns[3] = {
    {"id", 1, 23, "pg_catalog", "int4", -1, "b", "", true, "", "", true, true,
     ColumnFormat::kBinary},
    {"name", 2, 25, "pg_catalog", "text", -1, "b", "", false, "", "", false, true,
     ColumnFormat::kBinary},
    {"body", 3, 25, "pg_catalog", "text", -1, "b", "", false, "", "", false, true,
     ColumnFormat::kBinary},
};

void WriteDescribed(ByteBuffer* frame, uint32_t number, const RelationFields& relation) {
  Buffer body;
  WriteRelationBody(body, relation);
  WriteRelation(frame, number, body.bytes());
}

void InsertTransaction(ByteBuffer* frame) {
  WriteHello(frame, {1, "0.1", 150020, "UTF8", 7710439676205438479, CompressionMethod::kNone});
  WriteBegin(frame, kTransaction, nullptr);
  RelationFields relation = SmallRelation(kSmallColumns);
  relation.shape_hash = ShapeHash(relation);
  WriteDescribed(frame, 1, relation);
  WriteInsert(frame, 1, Image(3).Value(kOne).Value("one").Mark(-1).bytes);
  WriteCommit(frame, kTransaction, 1);
}

void BeginWithOrigin(ByteBuffer* frame) {
  OriginFields origin{"towline_upstream", 0xAB000000CDu};
  WriteBegin(frame, kTransaction, &origin);
  WriteCommit(frame, kTransaction, 0);
}

void UpdateUnchangedToast(ByteBuffer* frame) {
  WriteUpdate(frame, 1, Image(3).Value(kOne).Value("uno").Mark(-2).bytes, OldImageKind::kNone, "");
}

void UpdateKey(ByteBuffer* frame) {
  WriteUpdate(frame, 1, Image(3).Value(kTwo).Value("").Mark(-1).bytes, OldImageKind::kKey,
              Image(1).Value(kOne).bytes);
}

void UpdateFull(ByteBuffer* frame) {
  WriteUpdate(frame, 1, Image(3).Value(kOne).Value("b").Value("x").bytes, OldImageKind::kFull,
              Image(3).Value(kOne).Value("a").Value("x").bytes);
}

void DeleteKey(ByteBuffer* frame) {
  WriteDelete(frame, 1, OldImageKind::kKey, Image(1).Value(kOne).bytes);
}

void DeleteFull(ByteBuffer* frame) {
  WriteDelete(frame, 1, OldImageKind::kFull, Image(3).Value(kOne).Mark(-1).Mark(-1).bytes);
}

void DeleteWithoutIdentity(ByteBuffer* frame) { WriteDelete(frame, 1, OldImageKind::kNone, ""); }

void Truncate(ByteBuffer* frame) {
  constexpr uint32_t kNumbers[] = {1, 200, 70000};
  WriteTruncate(frame, kNumbers, 3, true, true);
  WriteTruncate(frame, kNumbers, 1, false, false);
}

void Messages(ByteBuffer* frame) {
  WriteMessage(frame, {true, "app", "content", 0x16b3748, false});
  WriteMessage(frame, {false, "", std::string_view("\0\xff", 2), 0x16b3748, false});
  WriteMessage(frame, {false, "large", "", 0x16b3748, true});
}

void ValueParts(ByteBuffer* frame) {
  WriteValuePart(frame, 7, "abc", false);
  WriteValuePart(frame, 0, "def", false);
  WriteValuePart(frame, 0, "g", true);
  WriteInsert(frame, 1, Image(3).Value(kOne).Mark(-1).Mark(-3).bytes);
}

constexpr OriginFields kOrigin{"towline_upstream", 0xAB000000CDu};
constexpr uint64_t kSubxid = kTransaction.xid + 1;

// Two runs of one transaction, a subtransaction in the first, and what may become of them; the
// frames that hold them on the wire are several.
void StreamedTransaction(ByteBuffer* frame) {
  WriteStreamStart(frame, kTransaction.xid, true);
  WriteInsert(frame, 1, Image(3).Value(kOne).Mark(-1).Mark(-1).bytes);
  WriteSubtransaction(frame, kSubxid);
  WriteInsert(frame, 1, Image(3).Value(kTwo).Mark(-1).Mark(-1).bytes);
  WriteStreamStop(frame, kTransaction.xid);
  WriteStreamAbort(frame, {kTransaction.xid, kSubxid, 0x16b3748, 1600000000123456});
  WriteStreamStart(frame, kTransaction.xid, false);
  WriteDelete(frame, 1, OldImageKind::kKey, Image(1).Value(kOne).bytes);
  WriteStreamStop(frame, kTransaction.xid);
  WriteStreamCommit(frame, kTransaction, 3, &kOrigin);
  WriteStreamCommit(frame, kTransaction, 0, nullptr);
}

void StreamAbortOfTheWhole(ByteBuffer* frame) {
  WriteStreamAbort(frame, {kTransaction.xid, kTransaction.xid, 0, 0});
}

void StreamedPrepare(ByteBuffer* frame) {
  WriteStreamPrepare(frame, kTransaction, 300, "a gid, 'quoted' – ü", &kOrigin);
  WriteStreamPrepare(frame, kTransaction, 0, "g", nullptr);
}

void PreparedTransaction(ByteBuffer* frame) {
  WriteBeginPrepare(frame, kTransaction, "a gid, 'quoted' – ü", &kOrigin);
  WriteInsert(frame, 1, Image(3).Value(kOne).Mark(-1).Mark(-1).bytes);
  WritePrepare(frame, kTransaction, 1);
  WriteBeginPrepare(frame, kTransaction, "g", nullptr);
  WritePrepare(frame, kTransaction, 0);
}

void EndOfPrepared(ByteBuffer* frame) {
  WriteCommitPrepared(frame, kTransaction, "g", &kOrigin);
  WriteCommitPrepared(frame, kTransaction, "g", nullptr);
  WriteRollbackPrepared(frame, kTransaction, "a gid, 'quoted' – ü");
}

// Every field, with values that need long varints and negative numbers.
void RelationWithAllFields(ByteBuffer* frame) {
  const ColumnFields columns[] = {
      {"ID", 1, 20, "pg_catalog", "int8", -1, "b", "", true, "", "a", true, true,
       ColumnFormat::kBinary},
      {"größe", 3, 1700, "pg_catalog", "numeric", 524294, "b", "", false, "", "d", false, true,
       ColumnFormat::kBinary},
      {"twice", 4, 23, "pg_catalog", "int4", -1, "b", "", false, "s", "", false, false,
       ColumnFormat::kText},
      {"mood", 1600, 4294967295u, "app", "mood", 0, "e", "app.german", false, "", "", false, true,
       ColumnFormat::kText},
  };
  RelationFields relation{};
  relation.oid = 16400;
  relation.root_oid = 4000000000u;
  relation.schema = "app";
  relation.name = "orders";
  relation.leaf_schema = "parts";
  relation.leaf_name = "orders 2020";
  relation.kind = "p";
  relation.replica_identity = IdentityKind::kIndex;
  relation.columns = columns;
  relation.column_count = 4;
  relation.rewrite_of = 16399;
  relation.shape_hash = ShapeHash(relation);
  WriteDescribed(frame, 70000, relation);
}

// A frame with a TRUNCATE, compressed to blocks that hold it as it is: what a library makes of it
// may change with its version, how it is framed must not.
void CompressedFrame(ByteBuffer* frame, CompressionMethod method) {
  Buffer raw;
  uint32_t relation = 1;
  WriteTruncate(raw, &relation, 1, true, false);
  std::string bytes = raw.bytes();
  auto size = static_cast<char>(bytes.size());  // below 15: one byte in either format
  std::string block;
  if (method == CompressionMethod::kLz4) {
    block = std::string(1, static_cast<char>(size << 4)) + bytes;
  } else {
    // Magic number; one segment with a content size of one byte; a block, the last, as it is.
    block = std::string("\x28\xb5\x2f\xfd\x20", 5) + size;
    block += std::string{static_cast<char>(size << 3 | 1), '\0', '\0'} + bytes;
  }
  WriteCompressedFrame(frame, method, bytes.size(), block.size());
  AppendBytes(frame, block);
}
void CompressedLz4(ByteBuffer* frame) { CompressedFrame(frame, CompressionMethod::kLz4); }
void CompressedZstd(ByteBuffer* frame) { CompressedFrame(frame, CompressionMethod::kZstd); }

void HelloWithCompression(ByteBuffer* frame) {
  WriteHello(frame, {2, "0.2", 150020, "UTF8", 7710439676205438479, CompressionMethod::kZstd});
}

void Ddl(ByteBuffer* frame) {
  const DdlObjectFields objects[] = {
      {1259, 16400, 0, "table", "app", "orders", "app.orders", "app", "orders"},
      {1259, 4000000000u, 3, "table column", "app", "größe", "app.orders.\"größe\"", "app",
       "orders"}};
  const std::string_view actions[] = {"ADD COLUMN", "OTHER"};
  const DdlSettingFields settings[] = {{"DateStyle", "ISO, MDY"}};
  const DdlFillFields fills[] = {{"app", "orders", "made_at", "2026-01-02 03:04:05+00"}};
  const std::string_view references[] = {"pg_type app.mood", "extension citext"};
  DdlFields ddl{};
  ddl.number = 300;
  ddl.phase = DdlPhase::kEnd;
  ddl.tag = "ALTER TABLE";
  ddl.statement = "ALTER TABLE orders ADD made_at timestamptz DEFAULT now()";
  ddl.search_path = "app, public";
  ddl.role = "owner";
  ddl.objects = objects;
  ddl.object_count = 2;
  ddl.wants_rows = true;
  ddl.actions = actions;
  ddl.action_count = 2;
  ddl.settings = settings;
  ddl.setting_count = 1;
  ddl.fills = fills;
  ddl.fill_count = 1;
  for (std::string_view gap : {"", "no memory"}) {
    Buffer body;
    ddl.gap = gap;
    ddl.structure = gap.empty() ? "" : "CREATE TABLE app.orders (id bigint)";
    ddl.named_schema = gap.empty() ? "" : "app";
    ddl.tells_references = !gap.empty();
    ddl.references = references;
    ddl.reference_count = gap.empty() ? 0 : 2;
    WriteDdlBody(body, ddl);
    WriteDdl(frame, body.bytes());
  }
}

void Rewrite(ByteBuffer* frame) { WriteRewrite(frame, {16400, "app", "orders"}); }

struct GoldenCase {
  const char* name;
  std::function<void(ByteBuffer*)> write;
};

class WireWriterTest : public testing::TestWithParam<GoldenCase> {};

TEST_P(WireWriterTest, EmitsTheGoldenBytes) {
  Buffer frame;
  GetParam().write(frame);
  std::string path = GoldenPath(GetParam().name, ".hex");
  if (WritesGoldenFiles()) WriteFile(path, ToHexLines(frame.bytes()));
  EXPECT_EQ(ToHexLines(frame.bytes()), ReadFileOrEmpty(path));
}

INSTANTIATE_TEST_SUITE_P(
    Golden, WireWriterTest,
    testing::Values(
        GoldenCase{"insert_transaction", InsertTransaction},
        GoldenCase{"begin_with_origin", BeginWithOrigin},
        GoldenCase{"update_unchanged_toast", UpdateUnchangedToast},
        GoldenCase{"update_key_image", UpdateKey}, GoldenCase{"update_full_image", UpdateFull},
        GoldenCase{"delete_key_image", DeleteKey}, GoldenCase{"delete_full_image", DeleteFull},
        GoldenCase{"delete_without_identity", DeleteWithoutIdentity},
        GoldenCase{"truncate", Truncate}, GoldenCase{"message", Messages},
        GoldenCase{"value_parts", ValueParts}, GoldenCase{"ddl", Ddl},
        GoldenCase{"rewrite", Rewrite}, GoldenCase{"streamed_transaction", StreamedTransaction},
        GoldenCase{"stream_abort_of_the_whole", StreamAbortOfTheWhole},
        GoldenCase{"streamed_prepare", StreamedPrepare},
        GoldenCase{"prepared_transaction", PreparedTransaction},
        GoldenCase{"end_of_prepared", EndOfPrepared}, GoldenCase{"compressed_lz4", CompressedLz4},
        GoldenCase{"compressed_zstd", CompressedZstd},
        GoldenCase{"hello_with_compression", HelloWithCompression},
        GoldenCase{"relation_all_fields", RelationWithAllFields}),
    [](const auto& golden) { return std::string(golden.param.name); });

// Sizes around each length at which a varint becomes longer.
TEST(WireWriterSizesTest, LibprotobufReadsRowsOfEverySize) {
  for (size_t size : {0u, 1u, 120u, 126u, 127u, 128u, 129u, 16370u, 16383u, 16384u, 16390u,
                      2097140u, 2097152u, 2097160u}) {
    std::string row(size, 'r');
    Buffer frame;
    WriteInsert(frame, std::numeric_limits<uint32_t>::max(), row);
    WriteUpdate(frame, 1, row, OldImageKind::kFull, row);
    WriteDelete(frame, 128, OldImageKind::kKey, row);
    WriteValuePart(frame, std::numeric_limits<uint64_t>::max(), row, true);
    WriteMessage(frame, {true, row, row, std::numeric_limits<uint64_t>::max(), false});
    v1::Frame parsed;
    ASSERT_TRUE(parsed.ParseFromString(frame.bytes())) << size;
    ASSERT_EQ(parsed.entries_size(), 5) << size;
    EXPECT_EQ(parsed.entries(0).insert().relation(), std::numeric_limits<uint32_t>::max());
    EXPECT_EQ(parsed.entries(0).insert().new_row(), row);
    EXPECT_EQ(parsed.entries(1).update().new_row(), row);
    EXPECT_EQ(parsed.entries(1).update().old_row(), row);
    EXPECT_EQ(parsed.entries(2).delete_().old_row(), row);
    EXPECT_EQ(parsed.entries(3).value_part().value_bytes(), std::numeric_limits<uint64_t>::max());
    EXPECT_EQ(parsed.entries(3).value_part().part(), row);
    EXPECT_TRUE(parsed.entries(3).value_part().is_last());
    EXPECT_EQ(parsed.entries(4).message().content(), row);
    EXPECT_EQ(parsed.SerializeAsString(), frame.bytes()) << size;
  }
}

TEST(WireWriterSizesTest, ExtremesOfEveryNumber) {
  Buffer frame;
  TransactionFields most{std::numeric_limits<uint64_t>::max(), std::numeric_limits<uint64_t>::max(),
                         std::numeric_limits<uint64_t>::max(), std::numeric_limits<int64_t>::min()};
  WriteBegin(frame, most, nullptr);
  WriteCommit(frame, {}, std::numeric_limits<uint64_t>::max());
  v1::Frame parsed;
  ASSERT_TRUE(parsed.ParseFromString(frame.bytes()));
  EXPECT_EQ(parsed.entries(0).begin().xid(), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(parsed.entries(0).begin().commit_time(), std::numeric_limits<int64_t>::min());
  EXPECT_FALSE(parsed.entries(0).begin().has_origin());
  EXPECT_EQ(parsed.entries(1).commit().change_count(), std::numeric_limits<uint64_t>::max());
}

TEST(ShapeHashTest, ChangesWithWhatTheRowsLookLikeAndOnlyThen) {
  RelationFields relation = SmallRelation(kSmallColumns);
  uint64_t hash = ShapeHash(relation);
  ColumnFields columns[3] = {kSmallColumns[0], kSmallColumns[1], kSmallColumns[2]};
  relation.columns = columns;
  relation.name = "renamed";
  columns[1].not_null = true;
  EXPECT_EQ(ShapeHash(relation), hash);
  columns[1].typmod = 14;
  EXPECT_NE(ShapeHash(relation), hash);
  columns[1] = kSmallColumns[1];
  columns[1].name = "nam";
  columns[2].name = "ebody";
  EXPECT_NE(ShapeHash(relation), hash);
}

TEST(WireReaderTest, RefusesWhatIsCutOff) {
  Buffer frame;
  InsertTransaction(frame);
  std::string bytes = frame.bytes();
  // Cut anywhere, the last entry is either missing whole or malformed, never misread.
  for (size_t size = 0; size < bytes.size(); ++size) {
    std::string_view rest(bytes.data(), size);
    WireField field;
    ReadResult result;
    while ((result = ReadField(&rest, &field)) == ReadResult::kField) {
      EXPECT_EQ(field.number, 1u);
    }
    v1::Frame parsed;
    EXPECT_EQ(result == ReadResult::kEnd,
              parsed.ParseFromArray(bytes.data(), static_cast<int>(size)));
  }
}

TEST(ByteBufferTest, CopyShortTakesEveryByteAndNoOther) {
  std::string from(300, '\0');
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<char>('a' + i % 25);
  for (size_t size = 0; size <= 130; ++size) {
    for (size_t at = 0; at < 17; ++at) {
      std::string to(200, '#');
      std::string expected = to;
      CopyShort(to.data() + at, from.data() + 3 * at, size);
      expected.replace(at, size, from, 3 * at, size);
      ASSERT_EQ(to, expected) << size << " bytes to " << at;
    }
  }
}

}  // namespace
}  // namespace towline
