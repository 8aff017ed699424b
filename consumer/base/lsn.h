// A position in the source's write-ahead log (pg_lsn): byte offset, totally ordered, 0 is invalid.
// Names say which one: begin_lsn, commit_lsn, end_lsn, received_lsn, durable_lsn, ack_lsn.
#pragma once

#include <charconv>
#include <compare>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace towline {

struct Lsn {
  uint64_t value = 0;

  friend auto operator<=>(const Lsn&, const Lsn&) = default;
  bool is_valid() const { return value != 0; }

  // PostgreSQL's form, "16/B374D848".
  std::string ToString() const {
    return absl::StrFormat("%X/%X", static_cast<uint32_t>(value >> 32),
                           static_cast<uint32_t>(value));
  }

  static absl::StatusOr<Lsn> Parse(absl::string_view text) {
    auto bad = [&] {
      return absl::InvalidArgumentError(absl::StrCat("invalid LSN \"", text, "\""));
    };
    size_t slash = text.find('/');
    if (slash == absl::string_view::npos) return bad();
    auto half = [](absl::string_view digits, uint32_t* out) {
      if (digits.empty() || digits.size() > 8) return false;
      auto result = std::from_chars(digits.data(), digits.data() + digits.size(), *out, 16);
      return result.ec == std::errc() && result.ptr == digits.data() + digits.size();
    };
    uint32_t high = 0;
    uint32_t low = 0;
    if (!half(text.substr(0, slash), &high) || !half(text.substr(slash + 1), &low)) return bad();
    return Lsn{(static_cast<uint64_t>(high) << 32) | low};
  }
};

}  // namespace towline
