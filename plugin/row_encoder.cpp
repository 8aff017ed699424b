#include "row_encoder.h"

#include "frame.h"

namespace towline::plugin {
namespace {

// The images of one entry hold at most this many bytes of values; what does not fit goes in parts.
// A row of four hundred values of just below 1 MiB would otherwise make a CopyData of 400 MiB.
constexpr size_t kInlineBytesMax = 8 * 1024 * 1024;

// As model/row_image.h in the consumer.
constexpr int32_t kNullMark = -1;
constexpr int32_t kUnchangedToastMark = -2;
constexpr int32_t kInPartsMark = -3;

inline void AppendMark(ByteBuffer* image, int32_t mark) {
  StoreBigEndian32(Reserve(image, 4), static_cast<uint32_t>(mark));
  image->size += 4;
}

inline bool IsUnsentToast(const ColumnCodec& codec, Datum value) {
  return codec.can_be_toasted && VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value));
}

// A value that decoding has put together from its TOAST chunks comes behind an indirection. It is
// used where it lies: the server's own detoasting would copy it, which matters for one of 1 GB.
std::string_view VarlenaBytes(Datum value) {
  auto* attribute = reinterpret_cast<struct varlena*>(DatumGetPointer(value));
  if (VARATT_IS_EXTERNAL_INDIRECT(attribute)) {
    struct varatt_indirect redirect;
    VARATT_EXTERNAL_GET_POINTER(redirect, attribute);
    attribute = redirect.pointer;
  }
  attribute = pg_detoast_datum_packed(attribute);
  return {VARDATA_ANY(attribute), static_cast<size_t>(VARSIZE_ANY_EXHDR(attribute))};
}

template <typename To, typename From>
To BitCast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

}  // namespace

RowValues Deform(Relation relation, HeapTuple tuple, Datum* values, bool* nulls) {
  heap_deform_tuple(tuple, RelationGetDescr(relation), values, nulls);
  return {values, nulls};
}

void RowEncoder::Encode(ImagePart part, RowValues row, RowValues old, ByteBuffer* image) {
  int count = part == ImagePart::kFull ? entry_->sent_count : entry_->key_count;
  StoreBigEndian16(Reserve(image, 2), static_cast<uint16_t>(count));
  image->size += 2;
  for (int i = 0; i < entry_->column_count; ++i) {
    const ColumnCodec& codec = entry_->columns[i];
    if (part == ImagePart::kFull ? !codec.is_sent : !codec.is_in_key) continue;
    *column_name_ = codec.name;
    if (row.nulls[codec.index]) {
      AppendMark(image, kNullMark);
      continue;
    }
    Datum value = row.values[codec.index];
    if (IsUnsentToast(codec, value)) {
      // Only under REPLICA IDENTITY FULL does the WAL carry the value, in the old row.
      bool old_has_it = old.nulls != nullptr && !old.nulls[codec.index] &&
                        !IsUnsentToast(codec, old.values[codec.index]);
      if (!old_has_it) {
        AppendMark(image, kUnchangedToastMark);
        continue;
      }
      value = old.values[codec.index];
    }
    EncodeValue(codec, value, image);
  }
  *column_name_ = nullptr;
}

void RowEncoder::EncodeValue(const ColumnCodec& codec, Datum value, ByteBuffer* image) {
  char fixed[4 + 8];
  switch (codec.method) {
    case ValueMethod::kBool:
    case ValueMethod::kChar:
      StoreBigEndian32(fixed, 1);
      fixed[4] = codec.method == ValueMethod::kBool ? static_cast<char>(DatumGetBool(value))
                                                    : DatumGetChar(value);
      return AppendBytes(image, fixed, 5);
    case ValueMethod::kInt2:
      StoreBigEndian32(fixed, 2);
      StoreBigEndian16(fixed + 4, static_cast<uint16_t>(DatumGetInt16(value)));
      return AppendBytes(image, fixed, 6);
    case ValueMethod::kInt4:
      StoreBigEndian32(fixed, 4);
      StoreBigEndian32(fixed + 4, static_cast<uint32_t>(DatumGetInt32(value)));
      return AppendBytes(image, fixed, 8);
    case ValueMethod::kFloat4:
      StoreBigEndian32(fixed, 4);
      StoreBigEndian32(fixed + 4, BitCast<uint32_t>(DatumGetFloat4(value)));
      return AppendBytes(image, fixed, 8);
    case ValueMethod::kInt8:
      StoreBigEndian32(fixed, 8);
      StoreBigEndian64(fixed + 4, static_cast<uint64_t>(DatumGetInt64(value)));
      return AppendBytes(image, fixed, 12);
    case ValueMethod::kFloat8:
      StoreBigEndian32(fixed, 8);
      StoreBigEndian64(fixed + 4, BitCast<uint64_t>(DatumGetFloat8(value)));
      return AppendBytes(image, fixed, 12);
    case ValueMethod::kUuid:
      return AppendValue({DatumGetPointer(value), UUID_LEN}, image);
    case ValueMethod::kName:
      return AppendValue(DatumGetCString(value), image);
    case ValueMethod::kVarlena:
      return AppendValue(VarlenaBytes(value), image);
    case ValueMethod::kSend: {
      bytea* bytes = SendFunctionCall(const_cast<FmgrInfo*>(&codec.function), value);
      return AppendValue({VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ}, image);
    }
    case ValueMethod::kOutput:
      return AppendValue(OutputFunctionCall(const_cast<FmgrInfo*>(&codec.function), value), image);
  }
}

void RowEncoder::AppendValue(std::string_view bytes, ByteBuffer* image) {
  if (bytes.size() > kValuePartBytes || inline_bytes_ + bytes.size() > kInlineBytesMax) {
    AppendMark(image, kInPartsMark);
    SendValueParts(state_, bytes);
    return;
  }
  inline_bytes_ += bytes.size();
  char* at = Reserve(image, 4 + bytes.size());
  StoreBigEndian32(at, static_cast<uint32_t>(bytes.size()));
  memcpy(at + 4, bytes.data(), bytes.size());
  image->size += 4 + bytes.size();
}

void SendValueParts(PluginState* state, std::string_view bytes) {
  uint64_t value_bytes = bytes.size();
  do {
    std::string_view part = bytes.substr(0, kValuePartBytes);
    bytes.remove_prefix(part.size());
    WriteValuePart(&state->frame, value_bytes, part, bytes.empty());
    value_bytes = 0;
    FinishEntry(state);
    CHECK_FOR_INTERRUPTS();
  } while (!bytes.empty());
}

}  // namespace towline::plugin
