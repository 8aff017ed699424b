// Compression of frames (option compression), by the libraries that the server itself is built
// with: Makefile.pgxs asks its pg_config.h, and whether their headers are there.
#pragma once

#include "pg_headers.h"
#include "wire_writer.h"

namespace towline::plugin {

// What compressing needs again and again.
struct Compressor {
  CompressionMethod method;
  MemoryContext context;
  void* workspace;  // of the method's library; null for kNone
  char* block;      // of the last frame
  size_t block_capacity;
};

const char* CompressionName(CompressionMethod method);
bool CompressionIsBuiltIn(CompressionMethod method);

// The workspace goes with `context`, also after an error.
void OpenCompressor(Compressor* compressor, CompressionMethod method, MemoryContext context);

// Compresses into compressor->block and returns the block's size; 0 if it gains nothing.
size_t CompressBlock(Compressor* compressor, std::string_view raw);

// Fills `raw`, which has exactly the size that the block had before. False if it does not fit.
bool DecompressBlock(CompressionMethod method, std::string_view block, char* raw, size_t raw_size);

}  // namespace towline::plugin
