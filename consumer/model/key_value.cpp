#include "model/key_value.h"

#include <algorithm>
#include <limits>

#include "absl/base/internal/endian.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "model/key_datetime.h"
#include "model/key_numeric.h"

namespace towline {
namespace {

using Ordered = std::optional<std::string>;  // none: the bytes are no such value

// catalog/pg_type.dat
struct TypeRow {
  Oid oid;
  KeyType type;
};
constexpr TypeRow kTypes[] = {
    {21, KeyType::kInt2},        {23, KeyType::kInt4},          {20, KeyType::kInt8},
    {26, KeyType::kOid},         {2950, KeyType::kUuid},        {1082, KeyType::kDate},
    {1114, KeyType::kTimestamp}, {1184, KeyType::kTimestamptz}, {25, KeyType::kText},
    {1043, KeyType::kText},      {1042, KeyType::kBpchar},      {17, KeyType::kBytea},
    {1700, KeyType::kNumeric},
};

constexpr size_t kUuidBytes = 16;

// Two's complement with the sign turned, most significant byte first, orders like the number.
template <typename Integer>
std::string OrderedInteger(Integer value) {
  using Unsigned = std::make_unsigned_t<Integer>;
  auto bits = static_cast<Unsigned>(value);
  if constexpr (std::is_signed_v<Integer>) bits ^= Unsigned{1} << (8 * sizeof bits - 1);
  std::string bytes(sizeof bits, '\0');
  for (size_t i = bytes.size(); i-- > 0; bits = static_cast<Unsigned>(uint64_t{bits} >> 8)) {
    bytes[i] = static_cast<char>(bits & 0xff);
  }
  return bytes;
}

// What int2send and its like write: the same but for the sign.
template <typename Integer>
Ordered IntegerFromBinary(absl::string_view bytes) {
  if (bytes.size() != sizeof(Integer)) return std::nullopt;
  std::string ordered(bytes);
  if constexpr (std::is_signed_v<Integer>) ordered[0] = static_cast<char>(ordered[0] ^ 0x80);
  return ordered;
}

template <typename Integer>
Ordered IntegerFromText(absl::string_view text) {
  int64_t value = 0;
  // SimpleAtoi takes spaces, a plus and zeros in front as well.
  if (!absl::SimpleAtoi(text, &value) || absl::StrCat(value) != text) return std::nullopt;
  if (value < std::numeric_limits<Integer>::min() || value > std::numeric_limits<Integer>::max()) {
    return std::nullopt;
  }
  return OrderedInteger(static_cast<Integer>(value));
}

std::optional<uint8_t> HexDigit(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  return std::nullopt;
}

Ordered BytesFromHex(absl::string_view hex) {
  if (hex.size() % 2 != 0) return std::nullopt;
  std::string bytes;
  bytes.reserve(hex.size() / 2);
  for (size_t at = 0; at < hex.size(); at += 2) {
    std::optional<uint8_t> high = HexDigit(hex[at]);
    std::optional<uint8_t> low = HexDigit(hex[at + 1]);
    if (!high.has_value() || !low.has_value()) return std::nullopt;
    bytes.push_back(static_cast<char>(*high << 4 | *low));
  }
  return bytes;
}

// "00112233-4455-6677-8899-aabbccddeeff", compared as its sixteen bytes.
Ordered UuidFromText(absl::string_view text) {
  constexpr size_t kTextBytes = 36;
  if (text.size() != kTextBytes) return std::nullopt;
  std::string hex;
  for (size_t at = 0; at < text.size(); ++at) {
    bool is_dash = at == 8 || at == 13 || at == 18 || at == 23;
    if (is_dash != (text[at] == '-')) return std::nullopt;
    if (!is_dash) hex.push_back(text[at]);
  }
  return BytesFromHex(hex);
}

Ordered ByteaFromText(absl::string_view text) {
  if (!absl::ConsumePrefix(&text, "\\x")) return std::nullopt;
  return BytesFromHex(text);
}

// varchar.c, bcTruelen: spaces only, no other white space.
std::string WithoutSpacesAtEnd(absl::string_view text) {
  size_t last = text.find_last_not_of(' ');
  return std::string(text.substr(0, last == absl::string_view::npos ? 0 : last + 1));
}

Ordered UuidFromBinary(absl::string_view bytes) {
  if (bytes.size() != kUuidBytes) return std::nullopt;
  return std::string(bytes);
}

Ordered DateFromText(absl::string_view text) {
  std::optional<int32_t> days = DaysFromText(text);
  if (!days.has_value()) return std::nullopt;
  return OrderedInteger(*days);
}

Ordered TimestampFromText(absl::string_view text, bool has_zone) {
  std::optional<int64_t> microseconds = MicrosecondsFromText(text, has_zone);
  if (!microseconds.has_value()) return std::nullopt;
  return OrderedInteger(*microseconds);
}

Ordered FromBinary(KeyType type, absl::string_view bytes) {
  switch (type) {
    case KeyType::kInt2:
      return IntegerFromBinary<int16_t>(bytes);
    case KeyType::kInt4:
    case KeyType::kDate:
      return IntegerFromBinary<int32_t>(bytes);
    case KeyType::kInt8:
    case KeyType::kTimestamp:
    case KeyType::kTimestamptz:
      return IntegerFromBinary<int64_t>(bytes);
    case KeyType::kOid:
      return IntegerFromBinary<uint32_t>(bytes);
    case KeyType::kUuid:
      return UuidFromBinary(bytes);
    case KeyType::kText:
    case KeyType::kBytea:
      return std::string(bytes);
    case KeyType::kBpchar:
      return WithoutSpacesAtEnd(bytes);
    case KeyType::kNumeric:
      return OrderedNumericFromBinary(bytes);
  }
  return std::nullopt;
}

Ordered FromText(KeyType type, absl::string_view text) {
  switch (type) {
    case KeyType::kInt2:
      return IntegerFromText<int16_t>(text);
    case KeyType::kInt4:
      return IntegerFromText<int32_t>(text);
    case KeyType::kInt8:
      return IntegerFromText<int64_t>(text);
    case KeyType::kOid:
      return IntegerFromText<uint32_t>(text);
    case KeyType::kUuid:
      return UuidFromText(text);
    case KeyType::kDate:
      return DateFromText(text);
    case KeyType::kTimestamp:
      return TimestampFromText(text, false);
    case KeyType::kTimestamptz:
      return TimestampFromText(text, true);
    case KeyType::kText:
      return std::string(text);
    case KeyType::kBpchar:
      return WithoutSpacesAtEnd(text);
    case KeyType::kBytea:
      return ByteaFromText(text);
    case KeyType::kNumeric:
      return OrderedNumericFromText(text);
  }
  return std::nullopt;
}

// Without the value: it is the user's.
absl::StatusOr<KeyValue> Checked(KeyType type, absl::string_view form, size_t size,
                                 Ordered ordered) {
  if (ordered.has_value()) return KeyValue(*std::move(ordered));
  return absl::DataLossError(
      absl::StrCat("a key of ", size, " bytes is no ", KeyTypeName(type), " in ", form, " form"));
}

}  // namespace

std::optional<KeyType> KeyTypeOf(Oid base_type) {
  for (const TypeRow& row : kTypes) {
    if (row.oid == base_type) return row.type;
  }
  return std::nullopt;
}

absl::string_view KeyTypeName(KeyType type) {
  switch (type) {
    case KeyType::kInt2:
      return "int2";
    case KeyType::kInt4:
      return "int4";
    case KeyType::kInt8:
      return "int8";
    case KeyType::kOid:
      return "oid";
    case KeyType::kUuid:
      return "uuid";
    case KeyType::kDate:
      return "date";
    case KeyType::kTimestamp:
      return "timestamp";
    case KeyType::kTimestamptz:
      return "timestamptz";
    case KeyType::kText:
      return "text";
    case KeyType::kBpchar:
      return "bpchar";
    case KeyType::kBytea:
      return "bytea";
    case KeyType::kNumeric:
      return "numeric";
  }
  return "";
}

std::optional<KeyType> ParseKeyType(absl::string_view name) {
  for (const TypeRow& row : kTypes) {
    if (KeyTypeName(row.type) == name) return row.type;
  }
  return std::nullopt;
}

bool IsCollated(KeyType type) { return type == KeyType::kText || type == KeyType::kBpchar; }

absl::StatusOr<KeyValue> KeyFromBinary(KeyType type, absl::string_view bytes) {
  return Checked(type, "binary", bytes.size(), FromBinary(type, bytes));
}

absl::StatusOr<KeyValue> KeyFromText(KeyType type, absl::string_view text) {
  return Checked(type, "text", text.size(), FromText(type, text));
}

}  // namespace towline
