// The supervisor: starts attempts, decides after each failure whether to try again, and says what
// is left when it gives up or is told to stop.
#include "run/run_task.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <random>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "config/option_table.h"
#include "observe/control_socket.h"
#include "observe/http_server.h"
#include "observe/progress_line.h"
#include "run/attempt.h"
#include "run/retry_windows.h"
#include "run/stop_watchdog.h"
#include "run/task_context.h"
#include "state/task_name.h"

namespace towline {
namespace {

// The same error again is logged at most so often while it is tried again and again.
constexpr absl::Duration kRepeatedErrorInterval = absl::Minutes(1);

// For the note of the error in the task row, when the task stops because of it.
constexpr absl::Duration kRecordWaitMax = absl::Seconds(5);

uint64_t RandomNumber() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

class Supervisor {
 public:
  Supervisor(const Config& config, Shutdown& shutdown)
      : context_(config),
        shutdown_(shutdown),
        retry_({config.retry_connection, config.retry_other, RandomNumber()}),
        watchdog_(shutdown, [this] { LogLeftovers(); }) {
    context_.run_id = absl::StrFormat("%016x", RandomNumber());
    context_.task = config.task;
    ApplyCopyLimits(config.limits);
  }

  absl::Status Run() {
    if (!context_.task.empty()) TOWLINE_RETURN_IF_ERROR(CheckTaskName(context_.task));
    LogLimits();
    TOWLINE_RETURN_IF_ERROR(StartServices());
    absl::Status ended = RunAttempts();
    if (absl::IsCancelled(ended) && shutdown_.is_requested()) ended = absl::OkStatus();
    if (!ended.ok()) RecordStop(ended);
    progress_.reset();
    LogLeftovers();
    return ended;
  }

 private:
  absl::Status StartServices() {
    const Config& config = context_.config;
    context_.board.Update([&](TaskStatus& status) {
      status.task = context_.task;
      status.source = config.source.Describe();
      status.destination = config.destination.Describe();
      status.pid = getpid();
      status.since = absl::Now();
    });
    if (config.metrics_port != 0) {
      TOWLINE_ASSIGN_OR_RETURN(
          http_, HttpServer::Start(config.metrics_port, context_.board, context_.metrics));
    }
    bool is_terminal = isatty(STDERR_FILENO) != 0 && config.log_format == LogFormat::kText;
    progress_ = std::make_unique<ProgressReporter>(context_.board, is_terminal);
    return absl::OkStatus();
  }

  // The socket bears the task's name, which may come from the servers.
  absl::Status StartControlSocket() {
    if (control_ != nullptr) return absl::OkStatus();
    ControlSocket::Callbacks callbacks;
    callbacks.status = [this] { return context_.board.Get(); };
    callbacks.pause = [this] { return context_.control.RequestPause(); };
    callbacks.resume = [this] { return context_.control.RequestResume(); };
    callbacks.set = [this](const std::string& name, const std::string& value) {
      return SetCopyLimit(name, value);
    };
    TOWLINE_ASSIGN_OR_RETURN(control_, ControlSocket::Listen(context_.task, std::move(callbacks)));
    return absl::OkStatus();
  }

  void ApplyCopyLimits(const Limits& limits) {
    context_.copy_rate.SetBytesPerSecond(limits.copy_rate_max);
    context_.copy_rate.SetRowsPerSecond(limits.copy_rows_max);
    context_.copy_brake.SetLimits(
        {.active_max = limits.copy_active_max, .lag_max = limits.copy_lag_max});
    context_.board.Update([&limits](TaskStatus& status) {
      status.copy_rate_max = limits.copy_rate_max;
      status.copy_rows_max = limits.copy_rows_max;
    });
  }

  // On the control socket's thread. For this process: nothing is stored.
  absl::Status SetCopyLimit(const std::string& name, const std::string& value) {
    constexpr absl::string_view kNames[] = {"copy_rate_max", "copy_rows_max", "copy_active_max",
                                            "copy_lag_max"};
    if (std::find(std::begin(kNames), std::end(kNames), name) == std::end(kNames)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "\"", name, "\" cannot be set in a running task; ", absl::StrJoin(kNames, ", "), " can"));
    }
    Config wish;
    wish.limits.copy_rate_max = context_.copy_rate.bytes_per_second();
    wish.limits.copy_rows_max = context_.copy_rate.rows_per_second();
    wish.limits.copy_active_max = context_.copy_brake.limits().active_max;
    wish.limits.copy_lag_max = context_.copy_brake.limits().lag_max;
    absl::Status read = FindOption(absl::StrCat("limits.", name))->set(wish, {value});
    if (!read.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(name, " ", value, ": ", read.message()));
    }
    ApplyCopyLimits(wish.limits);
    LogInfo("a limit was changed", {{name, value}});
    return absl::OkStatus();
  }

  absl::Status RunAttempts() {
    while (true) {
      absl::Status ended;
      RetryWindows::Attempt facts;
      bool is_final = false;
      bool may_park = false;
      {
        Attempt attempt(context_, shutdown_, [this] { return StartControlSocket(); });
        ended = attempt.Run();
        facts = {attempt.healthy_for(), attempt.has_progressed(), context_.has_ever_connected};
        is_final = attempt.is_final();
        may_park = attempt.may_park_at_last();
      }
      const bool was_last_try = std::exchange(context_.is_last_try, false);
      if (shutdown_.is_requested()) return absl::CancelledError("shutting down");
      if (is_final || ended.ok()) return ended;
      RetryWindows::Decision decision = retry_.OnFailure(ended, SteadyNow(), facts);
      if (!decision.should_retry && may_park && !was_last_try) {
        LogWarning(absl::StrCat("tried again for ", towline::FormatDuration(decision.window),
                                ": once more, and then the table is parked"),
                   {{"stage", "run"}});
        context_.is_last_try = true;
        continue;
      }
      if (!decision.should_retry) {
        if (RetryKindOf(ended) == RetryKind::kNever) return ended;
        return WithContext(ended, absl::StrCat("gave up after trying again for ",
                                               towline::FormatDuration(decision.window)));
      }
      LogRetry(ended, decision);
      TOWLINE_RETURN_IF_ERROR(WaitForRetry(ended, decision));
    }
  }

  void LogRetry(const absl::Status& status, const RetryWindows::Decision& decision) {
    std::string text(status.message());
    if (text == last_error_ && SteadyNow() - last_error_at_ < kRepeatedErrorInterval) return;
    last_error_ = text;
    last_error_at_ = SteadyNow();
    // A line of the log is one message; texts of libpq have several lines.
    for (const std::string& more : {GetDetail(status), GetHint(status)}) {
      if (!more.empty()) absl::StrAppend(&text, "; ", more);
    }
    text = absl::StrReplaceAll(text, {{"\n", " "}, {"\t", ""}});
    LogWarning(text, {{"stage", "run"},
                      {"retry_in", towline::FormatDuration(decision.delay)},
                      {"retry_window_left", towline::FormatDuration(decision.window_left)}});
  }

  absl::Status WaitForRetry(const absl::Status& reason, const RetryWindows::Decision& decision) {
    const absl::Time until = SteadyNow() + decision.delay;
    const absl::Time window_end = SteadyNow() + decision.window_left;
    context_.ShowState(TaskState::kRetrying, std::string(reason.message()));
    context_.board.Update([](TaskStatus& status) { status.retries += 1; });
    absl::Duration left = decision.delay;
    while (left > absl::ZeroDuration()) {
      context_.board.Update([&](TaskStatus& status) {
        status.retry_in = left;
        status.retry_window_left = window_end - SteadyNow();
      });
      if (!shutdown_.SleepFor(std::min(left, absl::Seconds(1)))) {
        return absl::CancelledError("shutting down");
      }
      left = until - SteadyNow();
    }
    context_.board.Update([](TaskStatus& status) {
      status.retry_in = status.retry_window_left = absl::ZeroDuration();
    });
    return absl::OkStatus();
  }

  // For the next `status`; nothing depends on it.
  void RecordStop(const absl::Status& error) {
    TaskState state = absl::IsDataLoss(error) ? TaskState::kNeedsHeal : TaskState::kFailed;
    context_.ShowState(state, std::string(error.message()));
    if (context_.claim.epoch == 0) return;
    Connection::Purpose purpose;
    purpose.application_name = "towline";
    purpose.connect_timeout = kRecordWaitMax;
    absl::StatusOr<Connection> session =
        Connection::Open(context_.config.destination, purpose, shutdown_);
    if (!session.ok()) return;
    session->set_answer_wait_max(kRecordWaitMax);
    StateStore::RecordStop(*session, context_.claim, state, Describe(error)).IgnoreError();
  }

  void LogLimits() {
    const Limits& limits = context_.config.limits;
    LogInfo("limits",
            {{"queue_bytes_max", FormatBytes(limits.queue_bytes_max)},
             {"batch_bytes_max", FormatBytes(limits.batch_bytes_max)},
             {"batch_rows_max", absl::StrCat(limits.batch_rows_max)},
             {"set_rows_min", absl::StrCat(limits.set_rows_min)},
             {"statement_bytes_max", FormatBytes(limits.statement_bytes_max)},
             {"batch_time_max", towline::FormatDuration(limits.batch_time_max)},
             {"durable_interval_max", towline::FormatDuration(limits.durable_interval_max)},
             {"status_interval", towline::FormatDuration(limits.status_interval)},
             {"snapshot_wait_max", towline::FormatDuration(limits.snapshot_wait_max)},
             {"slot_busy_wait_max", towline::FormatDuration(limits.slot_busy_wait_max)},
             {"copy_workers", absl::StrCat(limits.copy_workers)},
             {"copy_part_bytes", FormatBytes(limits.copy_part_bytes)},
             {"index_workers", absl::StrCat(limits.index_workers)},
             {"index_memory", FormatBytes(limits.index_memory)},
             {"copy_rate_max", limits.copy_rate_max == 0
                                   ? "none"
                                   : absl::StrCat(FormatBytes(limits.copy_rate_max), "/s")},
             {"copy_rows_max",
              limits.copy_rows_max == 0 ? "none" : absl::StrCat(limits.copy_rows_max, "/s")},
             {"copy_active_max",
              limits.copy_active_max == 0 ? "none" : absl::StrCat(limits.copy_active_max)},
             {"copy_lag_max", limits.copy_lag_max == absl::ZeroDuration()
                                  ? "none"
                                  : towline::FormatDuration(limits.copy_lag_max)},
             {"ddl_hold_max", limits.ddl_hold_max == absl::ZeroDuration()
                                  ? "none"
                                  : towline::FormatDuration(limits.ddl_hold_max)},
             {"conflict_rows_max", absl::StrCat(limits.conflict_rows_max)},
             {"retry_connection", towline::FormatDuration(context_.config.retry_connection)},
             {"retry_other", towline::FormatDuration(context_.config.retry_other)}});
  }

  // I7: nobody should find out months later that a slot fills his disk.
  void LogLeftovers() {
    if (!context_.is_slot_created) return;
    TaskStatus status = context_.board.Get();
    std::string size = status.wal_status.empty()
                           ? ""
                           : absl::StrCat(", ", FormatBytes(status.slot_retained_bytes), " now");
    const Config& config = context_.config;
    std::string standby =
        config.has_source_standby
            ? absl::StrCat(" --source-standby \"", config.source_standby.Describe(), "\"")
            : "";
    LogInfo(absl::StrCat("slot ", status.slot, " keeps WAL on the ", config.StreamServer().side(),
                         size, "; go on: the same command; remove: towline drop --task ",
                         status.task, " --source \"", status.source, "\"", standby,
                         " --destination \"", status.destination, "\""));
  }

  TaskContext context_;
  Shutdown& shutdown_;
  RetryWindows retry_;
  std::string last_error_;
  absl::Time last_error_at_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<ProgressReporter> progress_;
  std::unique_ptr<ControlSocket> control_;
  StopWatchdog watchdog_;  // last: it may use everything above
};

}  // namespace

absl::Status RunTask(const Config& config, Shutdown& shutdown) {
  return std::make_unique<Supervisor>(config, shutdown)->Run();
}

}  // namespace towline
