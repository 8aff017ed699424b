// The stream while a copy of ranges goes on: what is done of the copy is kept up to date, the
// position moves, and the source may recycle its log. Whatever stops it costs that and no more: the
// copy goes on, and a stream that starts after it meets the same and says so with an exit status.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/lsn.h"
#include "run/stream_session.h"
#include "snapshot/copy_companion.h"

namespace towline {

class StreamBeside final : public CopyCompanion {
 public:
  struct Options {
    std::function<absl::StatusOr<std::unique_ptr<StreamSession>>(LiveCopy&)> start;
    // Shown to people, from its start until it is null.
    std::function<void(const StreamSession*)> watch;
    // What whoever watches it has found.
    std::function<absl::Status()> watched_status;
  };
  explicit StreamBeside(Options options) : options_(std::move(options)) {}
  ~StreamBeside() override { End(); }

  void Begin(LiveCopy& live) override;
  absl::Status Look() override;
  void End() override;

  // All that was committed before is at the destination; nothing: it does not run just now.
  std::optional<Lsn> Reached() const;
  // That is committed at the destination.
  Lsn Position() const;

 private:
  absl::Status Start();
  void Stop();
  void RetryLater(const absl::Status& status);

  const Options options_;
  LiveCopy* live_ = nullptr;
  std::unique_ptr<StreamSession> session_;  // null: not running just now
  absl::Time started_at_;
  absl::Time retry_at_;
  absl::Duration pause_;
  absl::Status fatal_;  // without a stream behind it the copy is worth nothing
};

}  // namespace towline
