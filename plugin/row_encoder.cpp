#include "row_encoder.h"

#include "frame.h"
#include "numeric_bytes.h"
#include "text_encoding.h"

namespace towline::plugin {
namespace {

// The images of one entry hold at most this many bytes of values; what does not fit goes in parts.
// A row of four hundred values of just below 1 MiB would otherwise make a CopyData of 400 MiB.
constexpr size_t kInlineBytesMax = 8 * 1024 * 1024;

// As model/row_image.h in the consumer.
constexpr int32_t kNullMark = -1;
constexpr int32_t kUnchangedToastMark = -2;
constexpr int32_t kInPartsMark = -3;

// The longest field that is written without asking for room: a numeric of the longest short header,
// whose binary form has a header of eight bytes, with its length.
constexpr size_t kShortFieldMax = 4 + 8 + 126;

inline char* PutLength(char* at, int32_t length) {
  StoreBigEndian32(at, static_cast<uint32_t>(length));
  return at + 4;
}

inline char* PutByte(char* at, char value) {
  at = PutLength(at, 1);
  *at = value;
  return at + 1;
}

inline char* PutInt32(char* at, uint32_t value) {
  at = PutLength(at, 4);
  StoreBigEndian32(at, value);
  return at + 4;
}

inline char* PutInt64(char* at, uint64_t value) {
  at = PutLength(at, 8);
  StoreBigEndian64(at, value);
  return at + 8;
}

template <typename To, typename From>
To BitCast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

// The bytes of a value with a header of one byte, as nearly all short ones have; null for others.
inline const char* ShortBytes(Datum value, size_t* size) {
  auto* stored = reinterpret_cast<const char*>(DatumGetPointer(value));
  // VARATT_IS_SHORT() holds for pointers to TOAST, too.
  if (!VARATT_IS_SHORT(stored) || VARATT_IS_EXTERNAL(stored)) return nullptr;
  *size = VARSIZE_SHORT(stored) - VARHDRSZ_SHORT;
  return VARDATA_SHORT(stored);
}

inline char* PutShortBytes(char* at, Datum value) {
  size_t size = 0;
  const char* bytes = ShortBytes(value, &size);
  if (bytes == nullptr) return nullptr;
  at = PutLength(at, static_cast<int32_t>(size));
  CopyShort(at, bytes, size);
  return at + size;
}

inline char* PutShortNumeric(char* at, Datum value) {
  size_t size = 0;
  const char* bytes = ShortBytes(value, &size);
  return bytes == nullptr ? nullptr : PutNumeric(at, {bytes, size});
}

// Writes a value of fixed size or a short one and returns its end; null if it is neither. Inlined
// into the loop over the columns: the call took as long as the work.
__attribute__((always_inline)) inline char* PutShort(char* at, ValueMethod method, Datum value) {
  switch (method) {
    case ValueMethod::kBool:
      return PutByte(at, static_cast<char>(DatumGetBool(value)));
    case ValueMethod::kChar:
      return PutByte(at, DatumGetChar(value));
    case ValueMethod::kInt2:
      at = PutLength(at, 2);
      StoreBigEndian16(at, static_cast<uint16_t>(DatumGetInt16(value)));
      return at + 2;
    case ValueMethod::kInt4:
      return PutInt32(at, static_cast<uint32_t>(DatumGetInt32(value)));
    case ValueMethod::kFloat4:
      return PutInt32(at, BitCast<uint32_t>(DatumGetFloat4(value)));
    case ValueMethod::kInt8:
      return PutInt64(at, static_cast<uint64_t>(DatumGetInt64(value)));
    case ValueMethod::kFloat8:
      return PutInt64(at, BitCast<uint64_t>(DatumGetFloat8(value)));
    case ValueMethod::kUuid:
      at = PutLength(at, UUID_LEN);
      memcpy(at, DatumGetPointer(value), UUID_LEN);
      return at + UUID_LEN;
    case ValueMethod::kVarlena:
      return PutShortBytes(at, value);
    case ValueMethod::kNumeric:
      return PutShortNumeric(at, value);
    default:
      return nullptr;
  }
}

inline void AppendMark(ByteBuffer* image, int32_t mark) {
  PutLength(Reserve(image, 4), mark);
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

// What PutShort() leaves. The bytes may be the value's own, or lie in the current memory context.
std::string_view VariableBytes(const ColumnCodec& codec, Datum value) {
  switch (codec.method) {
    case ValueMethod::kName:
      return SentText(DatumGetCString(value));
    case ValueMethod::kVarlena:
      return VarlenaBytes(value);
    case ValueMethod::kText:
      return SentText(VarlenaBytes(value));
    case ValueMethod::kOutput:
      return SentText(OutputFunctionCall(codec.function, value));
    default:
      break;
  }
  bytea* bytes = SendFunctionCall(codec.function, value);
  return {VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ};
}

}  // namespace

RowValues Deform(Relation relation, HeapTuple tuple, Datum* values, bool* nulls) {
  heap_deform_tuple(tuple, RelationGetDescr(relation), values, nulls);
  return {values, nulls};
}

void RowEncoder::Encode(ImagePart part, RowValues row, RowValues old, ByteBuffer* image) {
  if (part == ImagePart::kFull) {
    EncodePart<ImagePart::kFull>(row, old, image);
  } else {
    EncodePart<ImagePart::kKey>(row, old, image);
  }
}

// What the loop needs stands in local variables: a write through `at` might change any other, and
// all would be read again for each column.
template <ImagePart part>
void RowEncoder::EncodePart(RowValues row, RowValues old, ByteBuffer* image) {
  constexpr bool kIsFull = part == ImagePart::kFull;
  const ColumnCodec* codec = entry_->columns;
  const ColumnCodec* const end = codec + entry_->column_count;
  const int count = kIsFull ? entry_->sent_count : entry_->key_count;
  // Room for all marks and short values is made at once, and again behind each value that is
  // longer, so that the many short ones are written without asking.
  auto fields_left = static_cast<size_t>(count);
  char* at = Reserve(image, 2 + fields_left * kShortFieldMax);
  StoreBigEndian16(at, static_cast<uint16_t>(count));
  at += 2;
  const char* counted_to = at;  // inline_bytes_ holds what is before it
  for (; codec != end; ++codec) {
    if (kIsFull ? !codec->is_sent : !codec->is_in_key) continue;
    --fields_left;
    const int index = codec->index;
    if (row.nulls[index]) {
      bool is_unchanged = codec->is_unchanged != nullptr && *codec->is_unchanged;
      at = PutLength(at, is_unchanged ? kUnchangedToastMark : kNullMark);
      continue;
    }
    Datum value = row.values[index];
    if (char* next = PutShort(at, codec->method, value); next != nullptr) {
      at = next;
      continue;
    }
    if (IsUnsentToast(*codec, value)) {
      // Only under REPLICA IDENTITY FULL does the WAL carry the value, in the old row.
      bool old_has_it =
          old.nulls != nullptr && !old.nulls[index] && !IsUnsentToast(*codec, old.values[index]);
      if (!old_has_it) {
        at = PutLength(at, kUnchangedToastMark);
        continue;
      }
      value = old.values[index];
    }
    *column_name_ = codec->name;
    inline_bytes_ += static_cast<size_t>(at - counted_to);
    image->size = static_cast<size_t>(at - image->data);
    EncodeVariable(*codec, value, image);
    at = Reserve(image, fields_left * kShortFieldMax);
    counted_to = at;
    *column_name_ = nullptr;
  }
  inline_bytes_ += static_cast<size_t>(at - counted_to);
  image->size = static_cast<size_t>(at - image->data);
}

void RowEncoder::EncodeVariable(const ColumnCodec& codec, Datum value, ByteBuffer* image) {
  if (codec.method == ValueMethod::kNumeric) {
    // Its binary form is at most twice what is stored, plus a header of eight bytes. Near the
    // bound of an entry it goes the general way, which knows how to send values in parts.
    size_t start = image->size;
    if (inline_bytes_ + 2 * VarlenaBytes(value).size() + 8 <= kInlineBytesMax &&
        AppendNumeric(VarlenaBytes(value), image)) {
      inline_bytes_ += image->size - start;
      return;
    }
  }
  AppendValue(VariableBytes(codec, value), image);
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

std::string_view FieldBytes(const ColumnCodec& codec, Datum value) {
  constexpr size_t kLengthBytes = 4;
  char* field = static_cast<char*>(palloc(kShortFieldMax));
  if (char* end = PutShort(field, codec.method, value); end != nullptr) {
    return {field + kLengthBytes, static_cast<size_t>(end - field) - kLengthBytes};
  }
  return VariableBytes(codec, value);
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
