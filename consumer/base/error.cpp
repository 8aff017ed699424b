#include "base/error.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace towline {
namespace {

constexpr char kHintUrl[] = "towline/hint";
constexpr char kDetailUrl[] = "towline/detail";
constexpr char kSqlStateUrl[] = "towline/sqlstate";

absl::Status WithPayload(absl::Status status, const char* url, absl::string_view text) {
  if (!status.ok() && !text.empty()) status.SetPayload(url, absl::Cord(text));
  return status;
}

std::string GetPayload(const absl::Status& status, const char* url) {
  auto payload = status.GetPayload(url);
  return payload.has_value() ? std::string(*payload) : std::string();
}

absl::Status Rebuild(const absl::Status& status, absl::StatusCode code, absl::string_view text) {
  absl::Status rebuilt(code, text);
  status.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& payload) { rebuilt.SetPayload(url, payload); });
  return rebuilt;
}

}  // namespace

absl::Status WithHint(absl::Status status, absl::string_view hint) {
  return WithPayload(std::move(status), kHintUrl, hint);
}
absl::Status WithDetail(absl::Status status, absl::string_view detail) {
  return WithPayload(std::move(status), kDetailUrl, detail);
}
absl::Status WithSqlState(absl::Status status, absl::string_view sqlstate) {
  return WithPayload(std::move(status), kSqlStateUrl, sqlstate);
}

absl::Status WithContext(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  return Rebuild(status, status.code(), absl::StrCat(context, ": ", status.message()));
}

absl::Status WithCode(const absl::Status& status, absl::StatusCode code) {
  if (status.ok()) return status;
  return Rebuild(status, code, status.message());
}

std::string GetHint(const absl::Status& status) { return GetPayload(status, kHintUrl); }
std::string GetDetail(const absl::Status& status) { return GetPayload(status, kDetailUrl); }
std::string GetSqlState(const absl::Status& status) { return GetPayload(status, kSqlStateUrl); }

int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
    case absl::StatusCode::kCancelled:
      return 0;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
      return 2;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kUnavailable:
      return 3;
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kUnknown:
      return 4;
    case absl::StatusCode::kDataLoss:
      return 5;
    default:
      return 70;
  }
}

std::string Describe(const absl::Status& status) {
  std::string text(status.message());
  if (std::string detail = GetDetail(status); !detail.empty()) {
    absl::StrAppend(&text, "\nDETAIL:  ", detail);
  }
  if (std::string hint = GetHint(status); !hint.empty()) {
    absl::StrAppend(&text, "\nHINT:  ", hint);
  }
  return text;
}

}  // namespace towline
