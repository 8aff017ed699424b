// What decoding and assembling cost per change (number P3: at most 0.5 us, receiving included), for
// frames as the plugin makes them: thousand inserts of a transaction in some frames of 64 kB, and
// transactions of four changes in one frame each (TPC-B). items_per_second is changes per second.
#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

#include "assemble/assembler.h"
#include "decode/decoder.h"
#include "decode/frame_builder.h"

namespace towline {
namespace {

constexpr int kTransactions = 1000;

// Frames as bytes, and how many changes they hold.
struct Stream {
  std::vector<std::string> frames;
  int64_t changes = 0;
};

std::string Row() {
  return Image({Value(Int8(123456789)), Value(Int4(42)), Value("a text of some length, as it is"),
                Value(Int8(1)), kNull, Value("x")});
}

Stream InsertStream() {
  constexpr int kRows = 1000;
  constexpr int kRowsPerFrame = 550;  // some 64 kB
  Stream stream;
  stream.frames.push_back(FrameBuilder().Hello().Describe(TextRelation(1, "t", 6, 1)).Bytes());
  uint64_t lsn = 1000;
  for (uint64_t xid = 1; xid <= kTransactions / 10; ++xid, lsn += 100) {
    FrameBuilder builder;
    builder.Begin(xid, lsn);
    for (int row = 0; row < kRows; ++row) {
      if (row % kRowsPerFrame == kRowsPerFrame - 1) {
        stream.frames.push_back(builder.Bytes());
        builder = {};
      }
      builder.Insert(1, Row());
    }
    stream.frames.push_back(builder.Commit(xid, lsn, kRows).Bytes());
    stream.changes += kRows;
  }
  return stream;
}

Stream TpcbStream() {
  Stream stream;
  FrameBuilder hello;
  hello.Hello();
  for (uint32_t relation = 1; relation <= 4; ++relation) {
    hello.Describe(TextRelation(relation, "t", 4, 1));
  }
  stream.frames.push_back(hello.Bytes());
  uint64_t lsn = 1000;
  std::string account =
      Image({Value(Int4(77)), Value(Int4(1)), Value(Int4(5)), Value(std::string(84, ' '))});
  std::string branch = Image({Value(Int4(77)), Value(Int4(1)), kNull, kNull});
  for (uint64_t xid = 1; xid <= kTransactions; ++xid, lsn += 100) {
    stream.frames.push_back(FrameBuilder()
                                .Begin(xid, lsn)
                                .Update(1, account)
                                .Update(2, branch)
                                .Update(3, branch)
                                .Insert(4, branch)
                                .Commit(xid, lsn, 4)
                                .Bytes());
    stream.changes += 4;
  }
  return stream;
}

void Run(benchmark::State& state, const Stream& stream) {
  for (auto _ : state) {
    Decoder decoder;
    Assembler::Options options;
    options.batch_bytes_max = 16 << 20;
    options.batch_rows_max = 50'000;
    options.position = {1};
    Assembler assembler(options);
    for (const std::string& bytes : stream.frames) {
      // libpq hands out a buffer of its own per message: allocated and freed here as well.
      Frame frame = MakeFrame(bytes);
      if (absl::Status status = decoder.Decode(frame, assembler); !status.ok()) {
        state.SkipWithError(std::string(status.message()).c_str());
        return;
      }
      assembler.AddFrame(std::move(frame));
      while (auto batch = assembler.Take(false)) benchmark::DoNotOptimize(batch->changes.data());
    }
    while (auto batch = assembler.Take(true)) benchmark::DoNotOptimize(batch->changes.data());
  }
  state.SetItemsProcessed(state.iterations() * stream.changes);
}

void BM_InsertsOf1000(benchmark::State& state) { Run(state, InsertStream()); }
void BM_TpcB(benchmark::State& state) { Run(state, TpcbStream()); }
BENCHMARK(BM_InsertsOf1000)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_TpcB)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace towline
