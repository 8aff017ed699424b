#include "run/retry_windows.h"

#include <algorithm>

namespace towline {
namespace {

// A success shorter than this does not start the delays anew: a server that accepts and drops us at
// once is not to be hammered.
constexpr absl::Duration kShortSuccess = absl::Seconds(5);

// Most outages are a restart: while one is fresh, a try each second finds its end soon.
constexpr absl::Duration kFresh = absl::Minutes(1);
constexpr absl::Duration kFreshDelayMax = absl::Seconds(1);

}  // namespace

RetryKind RetryKindOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
      return RetryKind::kConnection;
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kUnknown:
      return RetryKind::kOther;
    default:
      return RetryKind::kNever;
  }
}

ParkTime ParkTimeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kPermissionDenied:
      return ParkTime::kAtOnce;
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kUnknown:
      return ParkTime::kAfterRetries;
    default:
      // A full disk or a lost connection is no table's, and what protects data stops the task.
      return ParkTime::kNever;
  }
}

RetryWindows::Decision RetryWindows::OnFailure(const absl::Status& status, absl::Time now,
                                               const Attempt& attempt) {
  if (attempt.has_progressed || attempt.healthy_for >= kHealthy) {
    connection_since_.reset();
    if (attempt.healthy_for >= kShortSuccess) backoff_.Reset();
  }
  if (attempt.has_progressed) other_since_.reset();

  Decision decision;
  RetryKind kind = RetryKindOf(status);
  if (kind == RetryKind::kNever) return decision;
  std::optional<absl::Time>& since =
      kind == RetryKind::kConnection ? connection_since_ : other_since_;
  if (!since.has_value()) since = now;
  decision.window = kind == RetryKind::kConnection ? options_.connection : options_.other;
  if (kind == RetryKind::kConnection && !attempt.has_ever_connected) {
    decision.window = std::min(decision.window, kFirstConnectionMax);
  }
  decision.window_left = *since + decision.window - now;
  decision.should_retry = decision.window_left > absl::ZeroDuration();
  decision.delay = std::min(backoff_.Next(), decision.window_left);
  if (now - *since < kFresh) decision.delay = std::min(decision.delay, kFreshDelayMax);
  return decision;
}

}  // namespace towline
