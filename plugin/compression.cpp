#include "compression.h"

#ifdef TOWLINE_LZ4
#include <lz4.h>
#endif
#ifdef TOWLINE_ZSTD
#include <zstd.h>
#endif

#include "frame.h"

namespace towline::plugin {
namespace {

// Below this the message around a block and the call cost more than they save.
constexpr size_t kRawBytesMin = 128;

// The cheapest; others have not been compared.
constexpr int kZstdLevel = 1;

#ifdef TOWLINE_ZSTD
// The library allocates by malloc, which the server's contexts know nothing of.
void FreeZstd(void* workspace) { ZSTD_freeCCtx(static_cast<ZSTD_CCtx*>(workspace)); }

void* OpenZstd(MemoryContext context) {
  // First the place where it will be freed, so that no error can come in between.
  auto* on_reset = static_cast<MemoryContextCallback*>(
      MemoryContextAllocZero(context, sizeof(MemoryContextCallback)));
  ZSTD_CCtx* workspace = ZSTD_createCCtx();
  if (workspace == nullptr) {
    ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("towline: no memory for zstd")));
  }
  on_reset->func = FreeZstd;
  on_reset->arg = workspace;
  MemoryContextRegisterResetCallback(context, on_reset);
  return workspace;
}
#endif

size_t BlockBound(CompressionMethod method, size_t raw_size) {
  switch (method) {
#ifdef TOWLINE_LZ4
    case CompressionMethod::kLz4:
      return static_cast<size_t>(LZ4_compressBound(static_cast<int>(raw_size)));
#endif
#ifdef TOWLINE_ZSTD
    case CompressionMethod::kZstd:
      return ZSTD_compressBound(raw_size);
#endif
    default:
      return raw_size;
  }
}

// As for other buffers: what a large row needed is given back with the next frame.
void MakeRoom(Compressor* compressor, size_t size) {
  bool is_too_large = compressor->block_capacity > Max(size, kBufferBytesKept);
  if (size <= compressor->block_capacity && !is_too_large) return;
  if (compressor->block != nullptr) pfree(compressor->block);
  compressor->block = static_cast<char*>(MemoryContextAlloc(compressor->context, size));
  compressor->block_capacity = size;
}

}  // namespace

const char* CompressionName(CompressionMethod method) {
  switch (method) {
    case CompressionMethod::kNone:
      return "none";
    case CompressionMethod::kLz4:
      return "lz4";
    case CompressionMethod::kZstd:
      return "zstd";
  }
  return "";
}

bool CompressionIsBuiltIn(CompressionMethod method) {
#ifdef TOWLINE_LZ4
  if (method == CompressionMethod::kLz4) return true;
#endif
#ifdef TOWLINE_ZSTD
  if (method == CompressionMethod::kZstd) return true;
#endif
  return method == CompressionMethod::kNone;
}

void OpenCompressor(Compressor* compressor, CompressionMethod method, MemoryContext context) {
  *compressor = {method, context, nullptr, nullptr, 0};
#ifdef TOWLINE_LZ4
  if (method == CompressionMethod::kLz4) {
    compressor->workspace = MemoryContextAlloc(context, static_cast<size_t>(LZ4_sizeofState()));
  }
#endif
#ifdef TOWLINE_ZSTD
  if (method == CompressionMethod::kZstd) compressor->workspace = OpenZstd(context);
#endif
}

size_t CompressBlock(Compressor* compressor, std::string_view raw) {
  if (compressor->workspace == nullptr || raw.size() < kRawBytesMin) return 0;
  MakeRoom(compressor, BlockBound(compressor->method, raw.size()));
  size_t size = 0;
#ifdef TOWLINE_LZ4
  if (compressor->method == CompressionMethod::kLz4) {
    int written = LZ4_compress_fast_extState(compressor->workspace, raw.data(), compressor->block,
                                             static_cast<int>(raw.size()),
                                             static_cast<int>(compressor->block_capacity), 1);
    size = static_cast<size_t>(Max(written, 0));
  }
#endif
#ifdef TOWLINE_ZSTD
  if (compressor->method == CompressionMethod::kZstd) {
    size = ZSTD_compressCCtx(static_cast<ZSTD_CCtx*>(compressor->workspace), compressor->block,
                             compressor->block_capacity, raw.data(), raw.size(), kZstdLevel);
    if (ZSTD_isError(size)) {
      ereport(ERROR,
              (errcode(ERRCODE_INTERNAL_ERROR),
               errmsg("towline: zstd could not compress a frame: %s", ZSTD_getErrorName(size))));
    }
  }
#endif
  return size < raw.size() - raw.size() / 16 ? size : 0;
}

bool DecompressBlock([[maybe_unused]] CompressionMethod method,
                     [[maybe_unused]] std::string_view block, [[maybe_unused]] char* raw,
                     [[maybe_unused]] size_t raw_size) {
#ifdef TOWLINE_LZ4
  if (method == CompressionMethod::kLz4) {
    return LZ4_decompress_safe(block.data(), raw, static_cast<int>(block.size()),
                               static_cast<int>(raw_size)) == static_cast<int>(raw_size);
  }
#endif
#ifdef TOWLINE_ZSTD
  if (method == CompressionMethod::kZstd) {
    return ZSTD_decompress(raw, raw_size, block.data(), block.size()) == raw_size;
  }
#endif
  return false;
}

}  // namespace towline::plugin
