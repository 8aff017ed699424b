#include "stream/receiver.h"

#include <algorithm>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "pg/sqlstate.h"
#include "stream/status_clock.h"

namespace towline {
namespace {

// How soon a wish to stop, or a durable position to report, is noticed while nothing comes in.
constexpr absl::Duration kTick = absl::Milliseconds(100);

// What a queued message costs beside its payload: list node, allocator, Received itself.
constexpr size_t kQueuedOverheadBytes = 128;

// What an expression of a rule, or a value, makes impossible today it makes impossible again: the
// operator must look (data_exception, feature_not_supported, a limit of size; of a rule also a name
// that is gone and an old row that lacks what it looks at). The slot stays where it is.
absl::Status ExplainDecodingError(const absl::Status& status, bool has_rules) {
  std::string sqlstate = GetSqlState(status);
  bool is_of_value =
      absl::StartsWith(sqlstate, "22") || absl::StartsWith(sqlstate, "0A") || IsTooLarge(status);
  bool is_of_rule = has_rules && (absl::StartsWith(sqlstate, "42") || sqlstate == "55000");
  if (!is_of_value && !is_of_rule) return status;
  absl::Status explained = WithCode(status, absl::StatusCode::kUnimplemented);
  if (!has_rules) return explained;
  constexpr absl::string_view kMend =
      "A table's rule is mended in the configuration (where, columns, operations); then run again "
      "with --accept-rule-change. Nothing is lost: the slot stays where it is. With streaming: off "
      "rows of transactions that are rolled back in the end are not looked at.";
  std::string hint = GetHint(status);
  return WithHint(explained, hint.empty() ? std::string(kMend) : absl::StrCat(hint, " ", kMend));
}

bool HasRules(const Receiver::Options& options) {
  for (const auto& [name, value] : options.plugin_options) {
    if (name == "table_rules") return true;
  }
  return false;
}

}  // namespace

class Receiver::Impl {
 public:
  Impl(const Options& options, ReplicationConnection connection)
      : connection_(std::move(connection)),
        has_rules_(HasRules(options)),
        stages_(options.clock),
        clock_(options.status_interval, SteadyNow()),
        durable_(options.position.value) {
    progress_.received_lsn = options.position.value;
  }
  ~Impl() { Stop(); }

  void Run(BoundedQueue<Received>* queue) {
    TOWLINE_CHECK(!thread_.joinable());
    thread_ = std::thread([this, queue] { Loop(queue); });
  }
  void Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  void SetDurable(Lsn durable_lsn) {
    uint64_t before = durable_;
    while (before < durable_lsn.value &&
           !durable_.compare_exchange_weak(before, durable_lsn.value)) {
    }
  }
  absl::Status status() const {
    absl::MutexLock lock(&mutex_);
    return status_;
  }
  const Progress& progress() const { return progress_; }
  int backend_pid() const { return connection_.backend_pid(); }

 private:
  void Loop(BoundedQueue<Received>* queue) {
    absl::Status ended = Pump(queue);
    if (ended.ok()) {
      // Stopped on purpose: the source learns how far we are and need not wait for a timeout.
      SendStatus().IgnoreError();
      connection_.End();
    }
    {
      absl::MutexLock lock(&mutex_);
      status_ = ended;
    }
    queue->Close();
  }

  // OK only when asked to stop.
  absl::Status Pump(BoundedQueue<Received>* queue) {
    while (!stop_) {
      TOWLINE_RETURN_IF_ERROR(SendStatusIfDue());
      absl::StatusOr<std::optional<StreamMessage>> read = connection_.Receive(NextWait());
      if (!read.ok()) return ExplainDecodingError(read.status(), has_rules_);
      std::optional<StreamMessage>& message = *read;
      if (!message.has_value()) continue;
      ScopedStage stage(stages_, Stage::kReceive);
      Received received;
      if (message->kind == StreamMessage::Kind::kFrame) {
        Note(progress_.received_lsn, message->frame.wal_start);
        progress_.received_bytes += static_cast<int64_t>(message->frame.size());
        received.kind = Received::Kind::kFrame;
        received.frame = std::move(message->frame);
      } else {
        Note(progress_.received_lsn, message->wal_end);
        Note(progress_.wal_end, message->wal_end);
        if (message->wants_reply) TOWLINE_RETURN_IF_ERROR(SendStatus());
        received.kind = Received::Kind::kProgress;
        received.wal_end = message->wal_end;
      }
      TOWLINE_RETURN_IF_ERROR(Push(queue, received));
    }
    return absl::OkStatus();
  }

  // Waits for room as long as it takes; the source hears from us meanwhile.
  absl::Status Push(BoundedQueue<Received>* queue, Received& received) {
    const size_t bytes = received.frame.size() + kQueuedOverheadBytes;
    while (!stop_ && !queue->Push(received, bytes, absl::ZeroDuration())) {
      ScopedStage stage(stages_, Stage::kQueueFull);
      if (queue->Push(received, bytes, NextWait())) break;
      if (queue->is_closed()) {
        stop_ = true;
        break;
      }
      TOWLINE_RETURN_IF_ERROR(SendStatusIfDue());
    }
    return absl::OkStatus();
  }

  absl::Duration NextWait() const {
    return std::min(kTick, clock_.UntilDue(SteadyNow(), Lsn{durable_}));
  }
  absl::Status SendStatusIfDue() {
    return clock_.IsDue(SteadyNow(), Lsn{durable_}) ? SendStatus() : absl::OkStatus();
  }
  absl::Status SendStatus() {
    const Lsn durable{durable_};
    // The server takes what is flushed as written too.
    const Lsn received{std::max<uint64_t>(progress_.received_lsn, durable.value)};
    LogDebug("status update sent", {{"stage", "stream"},
                                    {"received_lsn", received.ToString()},
                                    {"ack_lsn", durable.ToString()}});
    clock_.Sent(SteadyNow(), durable);
    return connection_.SendStatus(received, durable, /*wants_reply=*/false);
  }

  // Only the thread writes; an LSN of an older message never takes it back.
  static void Note(std::atomic<uint64_t>& lsn, Lsn seen) {
    if (seen.value > lsn) lsn = seen.value;
  }

  ReplicationConnection connection_;  // the thread's, once it runs
  const bool has_rules_;
  StageClock* const stages_;
  StatusClock clock_;  // the thread's, too
  std::atomic<uint64_t> durable_;
  std::atomic<bool> stop_{false};
  Progress progress_;
  std::thread thread_;
  mutable absl::Mutex mutex_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

Receiver::Receiver(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Receiver::~Receiver() = default;

absl::StatusOr<std::unique_ptr<Receiver>> Receiver::Open(const Options& options,
                                                         const Shutdown& shutdown) {
  TOWLINE_ASSIGN_OR_RETURN(
      ReplicationConnection connection,
      ReplicationConnection::Open(options.source, options.application_name, shutdown));
  if (options.timeline != 0) {
    TOWLINE_ASSIGN_OR_RETURN(SystemIdentity found, connection.IdentifySystem());
    if (found.system_identifier != options.system_identifier ||
        found.timeline != options.timeline) {
      // The next attempt compares everything with the server of then.
      return absl::UnavailableError(
          absl::StrCat("the source's URI has led to another server since this attempt began: "
                       "timeline ",
                       found.timeline, " instead of ", options.timeline));
    }
  }
  TOWLINE_RETURN_IF_ERROR(connection.Start(options.slot, options.position, options.plugin_options));
  auto impl = std::make_unique<Impl>(options, std::move(connection));
  return std::unique_ptr<Receiver>(new Receiver(std::move(impl)));
}

void Receiver::Run(BoundedQueue<Received>* queue) { impl_->Run(queue); }
void Receiver::SetDurable(Lsn durable_lsn) { impl_->SetDurable(durable_lsn); }
absl::Status Receiver::status() const { return impl_->status(); }
const Receiver::Progress& Receiver::progress() const { return impl_->progress(); }
int Receiver::backend_pid() const { return impl_->backend_pid(); }
void Receiver::Stop() { impl_->Stop(); }

}  // namespace towline
