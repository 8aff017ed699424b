#include "model/row_image.h"

#include "absl/strings/str_cat.h"

namespace towline {

absl::Status CheckRowImage(absl::string_view image, int field_count, RowImageFacts* facts) {
  if (image.size() < 2) return absl::DataLossError("row image is shorter than its field count");
  int count = absl::big_endian::Load16(image.data());
  if (count != field_count) {
    return absl::DataLossError(
        absl::StrCat("row image has ", count, " fields, its relation ", field_count));
  }
  const char* next = image.data() + 2;
  const char* const end = image.data() + image.size();
  for (int i = 0; i < count; ++i) {
    if (end - next < 4) {
      return absl::DataLossError(absl::StrCat("row image ends before field ", i + 1));
    }
    auto length = static_cast<int32_t>(absl::big_endian::Load32(next));
    next += 4;
    if (length >= 0) {
      if (end - next < length) {
        return absl::DataLossError(absl::StrCat("row image ends within field ", i + 1));
      }
      next += length;
    } else if (length == kUnchangedToastLength) {
      facts->has_unchanged_toast = true;
    } else if (length == kValueInPartsLength) {
      facts->has_value_in_parts = true;
    } else if (length != kNullLength) {
      return absl::DataLossError(absl::StrCat("field ", i + 1, " has unknown mark ", length));
    }
  }
  if (next != end) {
    return absl::DataLossError(absl::StrCat("row image has ", end - next, " bytes too many"));
  }
  return absl::OkStatus();
}

void AppendField(const Field& field, std::string* image) {
  char length[4];
  int32_t value = field.kind == FieldKind::kNull ? kNullLength
                  : field.kind == FieldKind::kUnchangedToast
                      ? kUnchangedToastLength
                      : static_cast<int32_t>(field.bytes.size());
  absl::big_endian::Store32(length, static_cast<uint32_t>(value));
  image->append(length, sizeof length);
  image->append(field.bytes.data(), field.bytes.size());
}

void AppendFieldCount(int count, std::string* image) {
  char bytes[2];
  absl::big_endian::Store16(bytes, static_cast<uint16_t>(count));
  image->append(bytes, sizeof bytes);
}

}  // namespace towline
