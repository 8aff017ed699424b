// How long and how often a failed task tries again: one window for lost or refused connections, a
// shorter one for other errors (DESIGN 7). A window opens at the first failure of its kind.
// Progress closes both; for connections a healthy minute is enough, because a copy cannot move the
// position. For other errors it is not: a copy that always fails in its second minute must come to
// an end. Pure: time is passed in.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/backoff.h"

namespace towline {

enum class RetryKind { kNever, kConnection, kOther };

RetryKind RetryKindOf(const absl::Status& status);

// When a table that an error is about may leave the stream because of it (on_failure: park): at the
// moment at which the error would stop the task.
enum class ParkTime { kNever, kAtOnce, kAfterRetries };

ParkTime ParkTimeOf(const absl::Status& status);

class RetryWindows {
 public:
  struct Options {
    absl::Duration connection;
    absl::Duration other;
    uint64_t seed = 0;
  };
  // What the failed attempt had achieved.
  struct Attempt {
    absl::Duration healthy_for;       // since both servers were connected
    bool has_progressed = false;      // the position moved
    bool has_ever_connected = false;  // any attempt of this process reached both servers
  };
  struct Decision {
    bool should_retry = false;
    absl::Duration delay;
    absl::Duration window;  // the whole one
    absl::Duration window_left;
  };

  // Until both servers have been reached once, a wrong host is likelier than a server that
  // restarts: the person who typed it should not wait for half a day.
  static constexpr absl::Duration kFirstConnectionMax = absl::Minutes(1);
  static constexpr absl::Duration kHealthy = absl::Minutes(1);

  explicit RetryWindows(const Options& options) : options_(options), backoff_(options.seed) {}

  Decision OnFailure(const absl::Status& status, absl::Time now, const Attempt& attempt);

 private:
  Options options_;
  Backoff backoff_;
  std::optional<absl::Time> connection_since_;
  std::optional<absl::Time> other_since_;
};

}  // namespace towline
