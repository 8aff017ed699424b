// Compressed frames (wire.proto, CompressedEntries) to plain ones.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/frame.h"

struct ZSTD_DCtx_s;

namespace towline {

class Decompressor {
 public:
  // What a CopyData may hold, so no compressed frame may claim to be more (I6).
  static constexpr uint64_t kRawBytesMax = 16 << 20;

  Decompressor();
  ~Decompressor();

  // `compressed` is a CompressedEntries message, `method` the one that the connection's greeting
  // named (CompressedEntries.Method). kDataLoss for whatever is not exactly such a block.
  absl::StatusOr<Frame> Decompress(absl::string_view compressed, int method);

 private:
  struct FreeContext {
    void operator()(ZSTD_DCtx_s* context) const;
  };
  std::unique_ptr<ZSTD_DCtx_s, FreeContext> zstd_;  // made when first needed
};

}  // namespace towline
