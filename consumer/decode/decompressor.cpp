#include "decode/decompressor.h"

#include <lz4.h>
#include <zstd.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "decode/proto_reader.h"
#include "towline/v1/wire.pb.h"

namespace towline {
namespace {

absl::Status Malformed(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("the stream cannot be understood: ", what));
}

struct Compressed {
  uint64_t method = 0;
  uint64_t raw_bytes = 0;
  absl::string_view block;

  bool Read(absl::string_view message) {
    ProtoReader reader(message);
    while (reader.Next()) {
      if (reader.field() == v1::CompressedEntries::kMethodFieldNumber && reader.has_varint()) {
        method = reader.varint();
      } else if (reader.field() == v1::CompressedEntries::kRawBytesFieldNumber &&
                 reader.has_varint()) {
        raw_bytes = reader.varint();
      } else if (reader.field() == v1::CompressedEntries::kBlockFieldNumber && reader.has_bytes()) {
        block = reader.bytes();
      } else {
        return false;
      }
    }
    return !reader.is_bad();
  }
};

}  // namespace

Decompressor::Decompressor() = default;
Decompressor::~Decompressor() = default;

void Decompressor::FreeContext::operator()(ZSTD_DCtx_s* context) const { ZSTD_freeDCtx(context); }

absl::StatusOr<Frame> Decompressor::Decompress(absl::string_view compressed, int method) {
  Compressed read;
  if (!read.Read(compressed)) return Malformed("malformed CompressedEntries");
  if (read.method == v1::CompressedEntries::NONE || read.method != static_cast<uint64_t>(method)) {
    return Malformed(absl::StrCat("a frame compressed by method ", read.method,
                                  ", and the greeting named method ", method));
  }
  if (read.raw_bytes == 0 || read.raw_bytes > kRawBytesMax || read.block.size() > kRawBytesMax) {
    return Malformed(absl::StrCat("a compressed frame of ", read.raw_bytes, " bytes"));
  }
  Frame frame;
  frame.buffer.reset(static_cast<char*>(std::malloc(read.raw_bytes)));
  if (frame.buffer == nullptr) return absl::ResourceExhaustedError("out of memory for a frame");
  bool is_whole = false;
  if (read.method == v1::CompressedEntries::LZ4) {
    int size =
        LZ4_decompress_safe(read.block.data(), frame.buffer.get(),
                            static_cast<int>(read.block.size()), static_cast<int>(read.raw_bytes));
    is_whole = size >= 0 && static_cast<uint64_t>(size) == read.raw_bytes;
  } else if (read.method == v1::CompressedEntries::ZSTD) {
    if (zstd_ == nullptr) zstd_.reset(ZSTD_createDCtx());
    if (zstd_ == nullptr) return absl::ResourceExhaustedError("out of memory for zstd");
    size_t size = ZSTD_decompressDCtx(zstd_.get(), frame.buffer.get(), read.raw_bytes,
                                      read.block.data(), read.block.size());
    is_whole = ZSTD_isError(size) == 0 && size == read.raw_bytes;
  } else {
    return Malformed(absl::StrCat("a frame compressed by unknown method ", read.method));
  }
  if (!is_whole) return Malformed("a compressed frame is damaged");
  frame.bytes = {frame.buffer.get(), static_cast<size_t>(read.raw_bytes)};
  return frame;
}

}  // namespace towline
