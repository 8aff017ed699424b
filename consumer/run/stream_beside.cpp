#include "run/stream_beside.h"

#include <algorithm>

#include "base/log.h"
#include "base/steady_clock.h"
#include "model/copy_again.h"

namespace towline {
namespace {

// Not often: what stops it is either mended by a person or soon over.
constexpr absl::Duration kPauseMin = absl::Seconds(5);
constexpr absl::Duration kPauseMax = absl::Minutes(5);
// One that ran for so long is not the same failure again.
constexpr absl::Duration kHealthyAfter = absl::Minutes(1);

}  // namespace

void StreamBeside::Begin(LiveCopy& live) {
  live_ = &live;
  pause_ = kPauseMin;
  fatal_ = Start();
}

// An error only where no later stream could begin either: the slot is lost, or not ours any more.
absl::Status StreamBeside::Start() {
  live_->ForgetStanding();
  absl::StatusOr<std::unique_ptr<StreamSession>> session = options_.start(*live_);
  started_at_ = SteadyNow();
  if (absl::IsDataLoss(session.status())) return session.status();
  if (session.ok()) {
    session_ = *std::move(session);
    options_.watch(session_.get());
  } else {
    RetryLater(session.status());
  }
  return absl::OkStatus();
}

void StreamBeside::RetryLater(const absl::Status& status) {
  if (SteadyNow() - started_at_ >= kHealthyAfter) pause_ = kPauseMin;
  // Nobody needs to be told that it ends with everything else.
  if (!absl::IsCancelled(status)) {
    LogWarning("the stream cannot run beside the copy, which goes on; it is tried again",
               {{"after", absl::FormatDuration(pause_)},
                {"because", std::string(status.message().data(), status.message().size())}});
  }
  retry_at_ = SteadyNow() + pause_;
  pause_ = std::min(pause_ * 2, kPauseMax);
}

absl::Status StreamBeside::Look() {
  if (live_ == nullptr || !fatal_.ok()) return fatal_;
  if (session_ == nullptr) {
    if (SteadyNow() >= retry_at_) fatal_ = Start();
    return fatal_;
  }
  absl::Status status = session_->status();
  if (status.ok()) status = options_.watched_status();
  if (status.ok()) return status;
  Stop();
  if (TableToCopyAgain(status).has_value()) return status;
  RetryLater(status);
  return absl::OkStatus();
}

std::optional<Lsn> StreamBeside::Reached() const {
  if (session_ == nullptr) return std::nullopt;
  return std::max(session_->progress().apply.reached, live_->standing());
}

Lsn StreamBeside::Position() const {
  return session_ == nullptr ? Lsn() : session_->progress().apply.position;
}

void StreamBeside::Stop() {
  if (session_ == nullptr) return;
  session_->Stop();
  options_.watch(nullptr);
  session_.reset();
}

void StreamBeside::End() {
  Stop();
  live_ = nullptr;
  fatal_ = absl::OkStatus();
}

}  // namespace towline
