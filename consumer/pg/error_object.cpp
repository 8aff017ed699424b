#include "pg/error_object.h"

#include <string>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace towline {
namespace {

constexpr char kTypeUrl[] = "towline/error_object";
constexpr char kBetween = '\0';  // is in no text of a server

}  // namespace

absl::Status WithErrorObject(absl::Status status, const ErrorObject& object) {
  const std::vector<std::string> parts = {object.schema, object.table, object.constraint,
                                          object.detail};
  const std::string all = absl::StrJoin(parts, std::string(1, kBetween));
  if (!status.ok() && all.size() >= parts.size()) status.SetPayload(kTypeUrl, absl::Cord(all));
  return status;
}

std::optional<ErrorObject> ErrorObjectOf(const absl::Status& status) {
  absl::optional<absl::Cord> payload = status.GetPayload(kTypeUrl);
  if (!payload.has_value()) return std::nullopt;
  const std::vector<std::string> parts = absl::StrSplit(std::string(*payload), kBetween);
  if (parts.size() != 4) return std::nullopt;
  return ErrorObject{parts[0], parts[1], parts[2], parts[3]};
}

}  // namespace towline
