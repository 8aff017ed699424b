#include "snapshot/live_source.h"

#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "snapshot/copy_start.h"
#include "snapshot/exported_snapshot.h"

namespace towline {
namespace {

// How often the source is asked which transactions need not be remembered any more.
constexpr absl::Duration kForgetInterval = absl::Seconds(5);

constexpr absl::Duration kAnswerWaitMax = absl::Seconds(30);  // of small queries, under load too

}  // namespace

LiveSource::LiveSource(Connection session, LiveCopy& live)
    : live_(live), session_(std::move(session)), forgot_at_(SteadyNow()) {
  session_.set_answer_wait_max(kAnswerWaitMax);
}

absl::Status LiveSource::Flush() {
  absl::MutexLock lock(&mutex_);
  return FlushSourceLog(session_);
}

absl::Status LiveSource::ForgetIfDue() {
  absl::MutexLock lock(&mutex_);
  if (SteadyNow() - forgot_at_ < kForgetInterval) return absl::OkStatus();
  forgot_at_ = SteadyNow();
  TOWLINE_ASSIGN_OR_RETURN(std::string text,
                           session_.QueryValue("SELECT pg_catalog.pg_current_snapshot()"));
  TOWLINE_ASSIGN_OR_RETURN(Snapshot seen, Snapshot::Parse(text));
  live_.Forget(seen);
  return absl::OkStatus();
}

absl::StatusOr<std::string> LiveSource::LockHolders() {
  absl::MutexLock lock(&mutex_);
  return DescribeLockHolders(session_);
}

absl::StatusOr<ValueTypes> LiveSource::TypesOf(Oid table) {
  absl::MutexLock lock(&mutex_);
  return ReadValueTypes(session_, table);
}

}  // namespace towline
