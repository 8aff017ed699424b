// Keys of rows by which a table is divided into ranges, in a form whose order as bytes is the
// order of the server's btree for the type. The copy asks the server for "k >= a AND k < b", and
// the stream's changes are put to the ranges here: if the two disagreed about a single key, that
// row's change would be applied to the wrong piece or to none. So only types whose order is known
// to the bit are keys, and what cannot be understood is an error (kDataLoss), never a guess.
//
// Both forms of the stream are read (docs/protocol.md, Values), and texts as the copy's sessions
// write them: the settings that change texts are the same for both. Strict: a text that the server
// would not write so, as 007, is refused.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/oid.h"

namespace towline {

// Not among them: float4 and float8 (-0 equals 0, their texts need an exact reader), interval
// (24 hours equal a day), enum (ordered by rows of a catalog), name, boolean and "char" (nobody's
// key), and types of extensions.
enum class KeyType : uint8_t {
  kInt2,
  kInt4,
  kInt8,
  kOid,
  kUuid,
  kDate,
  kTimestamp,
  kTimestamptz,
  kText,    // and varchar; only where the column's collation orders by bytes
  kBpchar,  // the same, without the spaces at the end
  kBytea,
  kNumeric,
};

// Of a domain its base type's oid is asked. None: no key.
std::optional<KeyType> KeyTypeOf(Oid base_type);

// "int8" as it stands in a cast; schema pg_catalog.
absl::string_view KeyTypeName(KeyType type);
std::optional<KeyType> ParseKeyType(absl::string_view name);

// Whether the order depends on the column's collation.
bool IsCollated(KeyType type);

// Comparable with values of the same type only.
class KeyValue {
 public:
  explicit KeyValue(std::string ordered_bytes) : bytes_(std::move(ordered_bytes)) {}

  // As memcmp does, a prefix before what it begins: char_traits compare as unsigned bytes.
  friend auto operator<=>(const KeyValue&, const KeyValue&) = default;
  friend bool operator==(const KeyValue&, const KeyValue&) = default;

 private:
  std::string bytes_;
};

absl::StatusOr<KeyValue> KeyFromBinary(KeyType type, absl::string_view bytes);
absl::StatusOr<KeyValue> KeyFromText(KeyType type, absl::string_view text);

}  // namespace towline
