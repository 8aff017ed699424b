#include "decode/value_parts.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/format.h"

namespace towline {

absl::Status ValueParts::Add(uint64_t value_bytes, absl::string_view part, bool is_last) {
  if (is_complete_) {
    if (value_bytes > kValueBytesMax) {
      return absl::DataLossError(absl::StrCat("value of ", value_bytes, " bytes announced"));
    }
    if (bytes_ + value_bytes > kRowBytesMax) {
      return WithHint(
          absl::UnimplementedError(
              absl::StrCat("a row with values of more than ", FormatBytes(kRowBytesMax))),
          "Exclude the table that has it (towline.changes() at the source shows which), "
          "and run again.");
    }
    values_.emplace_back();
    values_.back().reserve(value_bytes);
    announced_bytes_ = value_bytes;
    bytes_ += value_bytes;
    is_complete_ = false;
  } else if (value_bytes != 0) {
    return absl::DataLossError("value part begins a value before the last one was complete");
  }
  std::string& value = values_.back();
  if (part.size() > announced_bytes_ - value.size()) {
    return absl::DataLossError(
        absl::StrCat("value part goes beyond the ", announced_bytes_, " bytes of its value"));
  }
  value.append(part.data(), part.size());
  if (!is_last) return absl::OkStatus();
  if (value.size() != announced_bytes_) {
    return absl::DataLossError(
        absl::StrCat("value ends after ", value.size(), " bytes of ", announced_bytes_));
  }
  is_complete_ = true;
  return absl::OkStatus();
}

absl::StatusOr<std::string> ValueParts::Splice(absl::string_view image) {
  if (!is_complete_) return absl::DataLossError("row arrived before its value was complete");
  int count = absl::big_endian::Load16(image.data());
  std::string spliced;
  // Reserved pages that are not written yet cost nothing, and each value is freed once it is
  // copied: the peak is the row and its largest value.
  spliced.reserve(image.size() + bytes_);
  AppendFieldCount(count, &spliced);
  const char* next = image.data() + 2;
  for (int i = 0; i < count; ++i) {
    auto length = static_cast<int32_t>(absl::big_endian::Load32(next));
    if (length == kValueInPartsLength) {
      if (values_.empty()) {
        return absl::DataLossError(absl::StrCat("the value of field ", i + 1, " was not sent"));
      }
      AppendField({FieldKind::kValue, values_.front()}, &spliced);
      bytes_ -= values_.front().size();
      values_.pop_front();
      next += 4;
    } else {
      size_t size = 4 + (length > 0 ? static_cast<size_t>(length) : 0);
      spliced.append(next, size);
      next += size;
    }
  }
  return spliced;
}

absl::Status ValueParts::Discard() {
  if (values_.empty() || !is_complete_) {
    return absl::DataLossError("a message's content was not sent");
  }
  bytes_ -= values_.front().size();
  values_.pop_front();
  return absl::OkStatus();
}

}  // namespace towline
