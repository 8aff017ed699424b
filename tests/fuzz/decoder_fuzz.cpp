// Libraries: assemble decode proto
//
// Frames from the source to batches: whatever the bytes, reading ends with an error or with changes
// whose fields lie within the memory that the batch owns. Half of the inputs are frames as they
// come; the other half choose entries that fit each other, so that reading gets far.
#include <cstring>
#include <memory>
#include <string>

#include "assemble/assembler.h"
#include "decode/decoder.h"
#include "decode/frame_builder.h"
#include "fuzz.h"
#include "model/row_image.h"
#include "spool/spool.h"

namespace towline {
namespace {

// Reads every byte of an image, so that one that lies outside is seen.
void TouchImage(absl::string_view image) {
  if (image.empty()) return;
  RowReader reader(image);
  unsigned sum = 0;
  for (int i = reader.field_count(); i > 0; --i) {
    Field field = reader.Next();
    Check(field.bytes.empty() ||
          (field.bytes.data() >= image.data() &&
           field.bytes.data() + field.bytes.size() <= image.data() + image.size()));
    for (char byte : field.bytes) sum += static_cast<unsigned char>(byte);
  }
  volatile unsigned keep = sum;
  (void)keep;
}

void TakeAll(Assembler& assembler, bool is_idle) {
  while (std::optional<Batch> batch = assembler.Take(is_idle)) {
    for (const Change& change : batch->changes) {
      Check(change.kind == ChangeKind::kTruncate ? change.truncated != nullptr
                                                 : change.relation != nullptr);
      TouchImage(change.old_row);
      TouchImage(change.new_row);
    }
  }
}

absl::Status DecodeFrame(Decoder& decoder, Assembler& assembler, absl::string_view bytes) {
  // No byte more than there are, so that reading on is seen.
  Frame frame;
  frame.buffer.reset(static_cast<char*>(std::malloc(bytes.size())));
  if (!bytes.empty()) std::memcpy(frame.buffer.get(), bytes.data(), bytes.size());
  frame.bytes = {frame.buffer.get(), bytes.size()};
  absl::StatusOr<Frame> unpacked = decoder.Unpack(std::move(frame));
  if (!unpacked.ok()) return unpacked.status();
  absl::Status status = decoder.Decode(*unpacked, assembler);
  if (!status.ok()) return status;
  assembler.AddFrame(*std::move(unpacked));
  TakeAll(assembler, false);
  while (decoder.is_replaying()) {
    absl::StatusOr<Frame> replayed = decoder.Replay(assembler);
    if (!replayed.ok()) return replayed.status();
    assembler.AddFrame(*std::move(replayed));
    TakeAll(assembler, false);
  }
  return absl::OkStatus();
}

std::string RowOf(FuzzInput& input, int columns) {
  std::string row;
  AppendFieldCount(columns, &row);
  for (int i = 0; i < columns; ++i) {
    switch (input.Below(6)) {
      case 0:
        AppendField(kNull, &row);
        break;
      case 1:
        AppendField(kUnchanged, &row);
        break;
      case 2:
        AppendInPartsMark(&row);
        break;
      default:
        AppendField(Value(input.Bytes(input.Below(20))), &row);
    }
  }
  return row;
}

// A frame of entries, most of which follow from those before.
void AddEntry(FuzzInput& input, uint64_t lsn, FrameBuilder& builder) {
  const uint64_t xid = 700 + input.Below(3);
  const auto relation = static_cast<uint32_t>(1 + input.Below(3));
  const int columns = static_cast<int>(relation);
  switch (input.Below(20)) {
    case 0:
      builder.Begin(xid, lsn);
      break;
    case 1:
      builder.Commit(xid, lsn, input.Below(4));
      break;
    case 2:
      builder.Describe(TextRelation(relation, "t" + std::to_string(relation), columns,
                                    static_cast<int>(input.Below(3))));
      break;
    case 3:
      builder.Update(relation, RowOf(input, columns));
      break;
    case 4:
      builder.Update(relation, RowOf(input, columns), v1::FULL, RowOf(input, columns));
      break;
    case 5:
      builder.Delete(relation, v1::KEY, RowOf(input, 1));
      break;
    case 6:
      builder.Truncate({relation, 1}, input.Below(2) != 0);
      break;
    case 7: {
      std::string part = input.Bytes(input.Below(30));
      builder.Part(input.Below(60), part, input.Below(2) != 0);
      break;
    }
    case 8:
      builder.StreamStart(xid, input.Below(2) != 0);
      break;
    case 9:
      builder.StreamStop(xid);
      break;
    case 10:
      builder.Subtransaction(xid + 1);
      break;
    case 11:
      builder.StreamAbort(xid, xid + input.Below(2));
      break;
    case 12:
      builder.StreamCommit(xid, lsn, input.Below(4));
      break;
    case 13:
      builder.BeginPrepare(xid, lsn, "g");
      break;
    case 14:
      builder.Prepare(xid, lsn, input.Below(4));
      break;
    case 15:
      builder.CommitPrepared(xid, lsn, "g");
      break;
    case 16:
      builder.RollbackPrepared(xid, lsn - 100, lsn, "g");
      break;
    case 17:
      builder.Hello(static_cast<uint32_t>(1 + input.Below(3)));
      break;
    case 18:
      (void)builder.Add()->ParseFromString(input.Bytes(input.Below(40)));
      break;
    default:
      builder.Insert(relation, RowOf(input, columns));
  }
}

void Run(FuzzInput input, Spool* spool) {
  Decoder::Options options;
  const size_t flags = input.Below(256);
  if ((flags & 1) != 0) options.spool = spool;
  options.takes_ddl = (flags & 2) != 0;
  if ((flags & 4) != 0) options.compression = (flags & 8) != 0 ? "lz4" : "zstd";
  options.subtransactions_max = 4;
  Decoder decoder(options);
  Assembler::Options limits;
  limits.batch_bytes_max = 1 << (flags >> 5);
  limits.batch_rows_max = 5;
  limits.position = Lsn{1};
  Assembler assembler(limits);
  if ((flags & 16) != 0) {
    while (!input.is_empty()) {
      const size_t size = input.Below(4096);
      if (!DecodeFrame(decoder, assembler, input.Bytes(size)).ok()) return;
    }
  } else {
    FrameBuilder first;
    first.Hello(3);
    for (uint32_t number : {1, 2, 3})
      first.Describe(
          TextRelation(number, "t" + std::to_string(number), static_cast<int>(number), 1));
    (void)DecodeFrame(decoder, assembler, first.Bytes());
    uint64_t lsn = 1000;
    while (!input.is_empty()) {
      FrameBuilder builder;
      for (size_t i = 1 + input.Below(8); i > 0; --i)
        AddEntry(input, lsn += input.Below(2) * 100, builder);
      std::string bytes = builder.Bytes();
      if (!bytes.empty() && input.Below(8) == 0)
        bytes[input.Below(bytes.size())] ^= static_cast<char>(input.Below(256));
      if (!DecodeFrame(decoder, assembler, bytes).ok()) return;
    }
  }
  TakeAll(assembler, true);
}

}  // namespace
}  // namespace towline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::unique_ptr<towline::Spool> spool =
      towline::Spool::Open(
          {.memory_max = 64 << 10, .disk_max = 1 << 20, .directory = "/tmp", .prefix = "fuzz"})
          .value();
  towline::Run(FuzzInput(data, size), spool.get());
  return 0;
}
