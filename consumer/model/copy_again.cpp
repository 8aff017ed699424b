#include "model/copy_again.h"

#include <cstdint>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace towline {
namespace {

constexpr char kTypeUrl[] = "towline/copy_again";

}  // namespace

absl::Status CopyAgainError(Oid table, absl::string_view why) {
  absl::Status status = absl::AbortedError(why);
  status.SetPayload(kTypeUrl, absl::Cord(absl::StrCat(table)));
  return status;
}

std::optional<Oid> TableToCopyAgain(const absl::Status& status) {
  absl::optional<absl::Cord> payload = status.GetPayload(kTypeUrl);
  uint32_t oid = 0;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &oid)) return std::nullopt;
  return oid;
}

}  // namespace towline
