// Compressed frames: what they hold is decoded, and nothing else is accepted.
#include "decode/decompressor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <lz4.h>
#include <zstd.h>

#include <random>

#include "decode/decoder.h"
#include "decode/frame_builder.h"

namespace towline {
namespace {

using ::testing::HasSubstr;
using Method = v1::CompressedEntries;

std::string Block(int method, const std::string& raw) {
  std::string block;
  if (method == Method::LZ4) {
    block.resize(static_cast<size_t>(LZ4_compressBound(static_cast<int>(raw.size()))));
    block.resize(static_cast<size_t>(LZ4_compress_default(
        raw.data(), block.data(), static_cast<int>(raw.size()), static_cast<int>(block.size()))));
  } else {
    block.resize(ZSTD_compressBound(raw.size()));
    block.resize(ZSTD_compress(block.data(), block.size(), raw.data(), raw.size(), 1));
  }
  return block;
}

v1::CompressedEntries Message(int method, const std::string& raw) {
  v1::CompressedEntries message;
  message.set_method(static_cast<Method::Method>(method));
  message.set_raw_bytes(static_cast<uint32_t>(raw.size()));
  message.set_block(Block(method, raw));
  return message;
}

Frame CompressedFrame(const v1::CompressedEntries& message) {
  v1::Frame frame;
  *frame.mutable_compressed() = message;
  return MakeFrame(frame.SerializeAsString());
}

class DecompressorTest : public testing::TestWithParam<int> {
 protected:
  void ExpectRefused(const v1::CompressedEntries& message, const std::string& text) {
    auto frame = Decompressor().Decompress(message.SerializeAsString(), GetParam());
    EXPECT_EQ(frame.status().code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(frame.status().message()), HasSubstr(text));
  }
};

INSTANTIATE_TEST_SUITE_P(Methods, DecompressorTest, testing::Values(Method::LZ4, Method::ZSTD));

TEST_P(DecompressorTest, GivesBackWhatWasCompressed) {
  Decompressor decompressor;
  for (size_t bytes : {size_t{1}, size_t{70'000}, size_t{16} << 20}) {
    std::string raw(bytes, 'x');
    for (size_t i = 0; i < bytes; i += 7) raw[i] = static_cast<char>(i);
    auto frame = decompressor.Decompress(Message(GetParam(), raw).SerializeAsString(), GetParam());
    ASSERT_TRUE(frame.ok()) << frame.status();
    EXPECT_TRUE(frame->bytes == raw);
  }
}

TEST_P(DecompressorTest, BoundsAreCheckedBeforeAnythingIsAllocated) {
  v1::CompressedEntries message = Message(GetParam(), "abc");
  message.set_raw_bytes(UINT32_MAX);
  ExpectRefused(message, "4294967295 bytes");
  message.set_raw_bytes((16 << 20) + 1);
  ExpectRefused(message, "bytes");
  message.set_raw_bytes(0);
  ExpectRefused(message, "0 bytes");
}

TEST_P(DecompressorTest, LengthMustBeRight) {
  v1::CompressedEntries message = Message(GetParam(), std::string(1000, 'x'));
  message.set_raw_bytes(999);
  ExpectRefused(message, "damaged");
  message.set_raw_bytes(1001);
  ExpectRefused(message, "damaged");
}

TEST_P(DecompressorTest, MethodMustBeTheGreetingsOne) {
  v1::CompressedEntries message = Message(GetParam(), "abc");
  message.set_method(Method::NONE);
  ExpectRefused(message, "method 0");
  message.set_method(GetParam() == Method::LZ4 ? Method::ZSTD : Method::LZ4);
  ExpectRefused(message, "the greeting named");
}

TEST_P(DecompressorTest, DamagedBlocksDoNoHarm) {
  constexpr unsigned kSeed = 20263;
  std::mt19937 random(kSeed);
  std::string raw(3000, 'x');
  for (char& byte : raw) byte = static_cast<char>('a' + random() % 4);
  v1::CompressedEntries whole = Message(GetParam(), raw);
  Decompressor decompressor;
  for (int round = 0; round < 5000; ++round) {
    v1::CompressedEntries message = whole;
    std::string& block = *message.mutable_block();
    block[random() % block.size()] = static_cast<char>(random());
    if (random() % 4 == 0) block.resize(random() % block.size());
    auto frame = decompressor.Decompress(message.SerializeAsString(), GetParam());
    if (frame.ok()) {
      EXPECT_EQ(frame->size(), raw.size());
    } else {
      EXPECT_EQ(frame.status().code(), absl::StatusCode::kDataLoss);
    }
  }
}

class NullSink final : public ChangeSink {
 public:
  absl::Status OnBegin(const TransactionHeader&) override { return absl::OkStatus(); }
  void OnSubtransaction(uint64_t) override {}
  absl::Status OnChange(Change change) override {
    rows.push_back(change.new_row);
    return absl::OkStatus();
  }
  absl::Status OnDdl(DdlCommand) override { return absl::OkStatus(); }
  absl::Status OnRewrite(const TableName&, Oid) override { return absl::OkStatus(); }
  absl::string_view KeepSplicedRow(std::string) override { return {}; }
  absl::Status OnCommit(const TransactionHeader&) override { return absl::OkStatus(); }
  absl::Status OnPreparedEnd(const TransactionHeader&, PreparedFate) override {
    return absl::OkStatus();
  }
  std::vector<absl::string_view> rows;
};

FrameBuilder Hello(int method) {
  FrameBuilder builder;
  v1::Hello* hello = builder.Add()->mutable_hello();
  hello->set_protocol_version(2);
  hello->set_plugin_version("0.2");
  hello->set_server_encoding("UTF8");
  hello->set_compression(static_cast<Method::Method>(method));
  return builder;
}

TEST_P(DecompressorTest, DecoderTakesThem) {
  NullSink sink;
  Decoder decoder(Decoder::Options{.compression = GetParam() == Method::LZ4 ? "lz4" : "zstd"});
  Frame greeting = decoder.Unpack(Hello(GetParam()).Build()).value();
  ASSERT_TRUE(decoder.Decode(greeting, sink).ok());
  std::string raw = FrameBuilder()
                        .Describe(TextRelation(1, "t", 1, 1))
                        .Begin(700, 1000)
                        .Insert(1, TextImage({"a"}))
                        .Commit(700, 1000, 1)
                        .Bytes();
  Frame compressed = CompressedFrame(Message(GetParam(), raw));
  auto frame = decoder.Unpack(std::move(compressed));
  ASSERT_TRUE(frame.ok()) << frame.status();
  ASSERT_TRUE(decoder.Decode(*frame, sink).ok());
  ASSERT_EQ(sink.rows.size(), 1u);
  EXPECT_EQ(sink.rows[0], TextImage({"a"}));
  // Within a frame there is none, nor anything beside one.
  Frame nested = CompressedFrame(Message(GetParam(), raw));
  EXPECT_THAT(std::string(decoder.Decode(nested, sink).message()),
              HasSubstr("a compressed frame within a frame"));
  v1::Frame both;
  both.ParseFromString(FrameBuilder().Begin(701, 2000).Commit(701, 2000, 0).Bytes());
  *both.mutable_compressed() = Message(GetParam(), raw);
  auto plain = decoder.Unpack(MakeFrame(both.SerializeAsString()));
  ASSERT_TRUE(plain.ok());
  EXPECT_THAT(std::string(decoder.Decode(*plain, sink).message()),
              HasSubstr("a compressed frame within a frame"));
}

TEST_P(DecompressorTest, GreetingMustNameWhatWasAskedFor) {
  NullSink sink;
  Decoder none;
  Frame greeting = Hello(GetParam()).Build();
  EXPECT_EQ(none.Decode(greeting, sink).code(), absl::StatusCode::kDataLoss);
  Decoder other(Decoder::Options{.compression = GetParam() == Method::LZ4 ? "zstd" : "lz4"});
  EXPECT_EQ(other.Decode(greeting, sink).code(), absl::StatusCode::kDataLoss);
  // A server without the library: a warning, and the stream goes on uncompressed.
  Decoder asked(Decoder::Options{.compression = GetParam() == Method::LZ4 ? "lz4" : "zstd"});
  Frame plain = Hello(Method::NONE).Build();
  EXPECT_TRUE(asked.Decode(plain, sink).ok());
  Decoder early(Decoder::Options{.compression = "lz4"});
  EXPECT_EQ(early.Unpack(CompressedFrame(Message(GetParam(), "abc"))).status().code(),
            absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace towline
