#include "verify/load_watch.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/error.h"
#include "base/format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"

namespace towline {
namespace {

constexpr absl::Duration kInterval = absl::Seconds(1);
constexpr absl::Duration kPause = absl::Milliseconds(200);
constexpr absl::Duration kAnswerWaitMax = absl::Seconds(30);  // of small queries, under load too

constexpr char kSourceNowSql[] =
    "SELECT pg_catalog.pg_current_wal_flush_lsn(), (1000000 * pg_catalog.date_part('epoch', "
    "pg_catalog.clock_timestamp()))::bigint";

// Of all databases: they share the server.
constexpr char kActiveSql[] =
    "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE state = 'active' AND "
    "backend_type = 'client backend' AND application_name NOT LIKE 'towline%'";

constexpr char kMaySeeSql[] =
    "SELECT pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')";

absl::StatusOr<Connection> OpenSession(const ConnectOptions& options, const Shutdown& shutdown) {
  Connection::Purpose purpose;
  purpose.application_name = "towline verify load";
  TOWLINE_ASSIGN_OR_RETURN(Connection session, Connection::Open(options, purpose, shutdown));
  session.set_answer_wait_max(kAnswerWaitMax);
  return session;
}

absl::Status CheckMaySee(const char* side, Connection& session) {
  TOWLINE_ASSIGN_OR_RETURN(std::string may_see, session.QueryValue(kMaySeeSql));
  if (may_see == "t") return absl::OkStatus();
  return WithHint(
      absl::FailedPreconditionError(absl::StrCat(
          "the role at the ", side, " may not see which sessions are at work (--active-max)")),
      "GRANT pg_read_all_stats to it, or leave --active-max out.");
}

absl::StatusOr<int64_t> CountActive(Connection& session) {
  TOWLINE_ASSIGN_OR_RETURN(Result row, session.Exec(kActiveSql));
  return row.GetInt(0, 0);
}

}  // namespace

std::string DescribeOverload(const Load& load, const LoadLimits& limits) {
  if (limits.lag_max > absl::ZeroDuration() && !load.is_standing && load.lag > limits.lag_max) {
    return absl::StrFormat("lag %.1f s > %.0f s", absl::ToDoubleSeconds(load.lag),
                           absl::ToDoubleSeconds(limits.lag_max));
  }
  if (limits.active_max == 0) return "";
  for (const auto& [side, active] : {std::pair("source", load.source_active),
                                     std::pair("destination", load.destination_active)}) {
    if (active > limits.active_max) {
      return absl::StrCat(active, " active sessions at the ", side, " > ", limits.active_max);
    }
  }
  return "";
}

absl::StatusOr<std::unique_ptr<LoadWatch>> LoadWatch::Start(const Options& options,
                                                            const Shutdown& shutdown) {
  TOWLINE_ASSIGN_OR_RETURN(Connection source, OpenSession(options.source, shutdown));
  TOWLINE_ASSIGN_OR_RETURN(Connection destination, OpenSession(options.destination, shutdown));
  if (options.limits.active_max > 0) {
    TOWLINE_RETURN_IF_ERROR(CheckMaySee("source", source));
    TOWLINE_RETURN_IF_ERROR(CheckMaySee("destination", destination));
  }
  std::unique_ptr<LoadWatch> watch(
      new LoadWatch(options, shutdown, std::move(source), std::move(destination)));
  TOWLINE_RETURN_IF_ERROR(watch->Look());
  watch->thread_ = std::thread([raw = watch.get()] { raw->Loop(); });
  return watch;
}

LoadWatch::LoadWatch(Options options, const Shutdown& shutdown, Connection source,
                     Connection destination)
    : options_(std::move(options)),
      shutdown_(shutdown),
      source_(std::move(source)),
      destination_(std::move(destination)),
      moved_at_(SteadyNow()) {}

LoadWatch::~LoadWatch() {
  end_.Request();
  if (thread_.joinable()) thread_.join();
}

void LoadWatch::Loop() {
  while (end_.SleepFor(kInterval) && !shutdown_.is_requested()) {
    absl::Status looked = Look();
    if (looked.ok()) continue;
    absl::MutexLock lock(&mutex_);
    status_ = looked;
    return;
  }
}

absl::Status LoadWatch::Look() {
  if (!options_.task.empty() && options_.limits.lag_max > absl::ZeroDuration()) {
    TOWLINE_RETURN_IF_ERROR(LookAtTask());
  }
  if (options_.limits.active_max == 0) return absl::OkStatus();
  TOWLINE_ASSIGN_OR_RETURN(const int64_t source_active, CountActive(source_));
  TOWLINE_ASSIGN_OR_RETURN(const int64_t destination_active, CountActive(destination_));
  absl::MutexLock lock(&mutex_);
  load_.source_active = source_active;
  load_.destination_active = destination_active;
  return absl::OkStatus();
}

absl::Status LoadWatch::LookAtTask() {
  TOWLINE_ASSIGN_OR_RETURN(Result now, source_.Exec(kSourceNowSql));
  TOWLINE_ASSIGN_OR_RETURN(const Lsn flush_lsn, Lsn::Parse(now.Get(0, 0)));
  const absl::Time source_now = absl::FromUnixMicros(now.GetInt(0, 1));
  TOWLINE_ASSIGN_OR_RETURN(
      Result row, destination_.Query("SELECT position FROM towline_state.task WHERE task = $1",
                                     {{options_.task}}));
  // A task that has gone is the readers' to report.
  if (row.row_count() != 1 || row.IsNull(0, 0)) return absl::OkStatus();
  TOWLINE_ASSIGN_OR_RETURN(const Lsn position, Lsn::Parse(row.Get(0, 0)));
  lag_.AddSample(source_now, flush_lsn);
  if (position != position_) moved_at_ = SteadyNow();
  position_ = position;
  absl::MutexLock lock(&mutex_);
  load_.lag = absl::Seconds(lag_.Seconds(source_now, position, 0));
  load_.is_standing = SteadyNow() - moved_at_ > options_.stand_max;
  return absl::OkStatus();
}

absl::Status LoadWatch::GiveWay() {
  const absl::Time began = SteadyNow();
  for (std::string reason;;) {
    {
      absl::MutexLock lock(&mutex_);
      TOWLINE_RETURN_IF_ERROR(status_);
      std::string now = DescribeOverload(load_, options_.limits);
      if (reason.empty() != now.empty()) waiting_ += now.empty() ? -1 : 1;
      if (reason.empty() && !now.empty()) LogInfo("verify gives way", {{"reason", now}});
      if (!reason.empty() && now.empty()) {
        LogInfo("verify goes on", {{"waited", towline::FormatDuration(SteadyNow() - began)}});
      }
      reason = std::move(now);
    }
    if (reason.empty()) return absl::OkStatus();
    if (!shutdown_.SleepFor(kPause)) return absl::CancelledError("shutting down");
  }
}

std::string LoadWatch::waiting_for() const {
  absl::MutexLock lock(&mutex_);
  return waiting_ == 0 ? "" : DescribeOverload(load_, options_.limits);
}

}  // namespace towline
