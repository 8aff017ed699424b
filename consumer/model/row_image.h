// Row images as they come over the wire: the shape of a COPY BINARY tuple (int16 number of fields,
// then int32 length and bytes per field, network byte order) with marks below zero
// (proto/towline/v1/wire.proto). Views only: nothing here owns bytes.
#pragma once

#include <cstdint>
#include <string>

#include "absl/base/internal/endian.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace towline {

// An unchanged TOAST value is "not sent", which is neither NULL nor empty. Writing it as NULL would
// pass every test with short strings and erase long documents in production, hence a mark of its
// own.
inline constexpr int32_t kNullLength = -1;
inline constexpr int32_t kUnchangedToastLength = -2;
inline constexpr int32_t kValueInPartsLength = -3;  // never leaves decode/: it is spliced in there

enum class FieldKind : uint8_t { kValue, kNull, kUnchangedToast };

struct Field {
  FieldKind kind = FieldKind::kNull;
  absl::string_view bytes;  // kValue only
};

// Walks the fields of an image that CheckRowImage() has accepted.
class RowReader {
 public:
  explicit RowReader(absl::string_view image)
      : next_(image.data() + 2), count_(absl::big_endian::Load16(image.data())) {}

  int field_count() const { return count_; }

  // Call at most field_count() times.
  Field Next() {
    auto length = static_cast<int32_t>(absl::big_endian::Load32(next_));
    next_ += 4;
    if (length == kNullLength) return {FieldKind::kNull, {}};
    if (length == kUnchangedToastLength) return {FieldKind::kUnchangedToast, {}};
    absl::string_view bytes(next_, static_cast<size_t>(length));
    next_ += length;
    return {FieldKind::kValue, bytes};
  }

 private:
  const char* next_;
  int count_;
};

struct RowImageFacts {
  bool has_unchanged_toast = false;
  bool has_value_in_parts = false;
};

// Every length lies within the image, no unknown mark, nothing left over, `field_count` fields.
// kDataLoss otherwise: bytes that cannot be understood are never skipped.
absl::Status CheckRowImage(absl::string_view image, int field_count, RowImageFacts* facts);

// Appends one field in the image's form.
void AppendField(const Field& field, std::string* image);
void AppendFieldCount(int count, std::string* image);

}  // namespace towline
