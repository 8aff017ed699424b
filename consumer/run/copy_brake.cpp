#include "run/copy_brake.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"

namespace towline {
namespace {

// A source that is near its limit would have a line every few seconds.
constexpr absl::Duration kTellInterval = absl::Minutes(1);

// Sessions of all databases, as they share the server. Only standbys that follow by the log itself:
// what reads a logical slot may have been behind for days. Its lag is none (NULL) when it has
// replayed all.
constexpr char kLoadSql[] = R"sql(
SELECT (SELECT count(*) FROM pg_catalog.pg_stat_activity
        WHERE state = 'active' AND backend_type = 'client backend'
          AND application_name NOT LIKE 'towline%'),
       (SELECT COALESCE((1000 * pg_catalog.date_part('epoch', max(r.replay_lag)))::bigint, 0)
        FROM pg_catalog.pg_stat_replication r
        WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s
                          WHERE s.active_pid = r.pid AND s.slot_type = 'logical')),
       NOT pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
)sql";

int PercentOf(double share) { return static_cast<int>(share * 100 + 0.5); }

}  // namespace

std::string DescribeSuffering(const SourceLoad& load, const SourceLimits& limits) {
  if (limits.active_max > 0 && load.active > limits.active_max) {
    return absl::StrCat(load.active, " active sessions at the source > ", limits.active_max);
  }
  if (limits.lag_max > absl::ZeroDuration() && load.standby_lag > limits.lag_max) {
    return absl::StrFormat("a standby of the source is %.1f s behind > %.1f s",
                           absl::ToDoubleSeconds(load.standby_lag),
                           absl::ToDoubleSeconds(limits.lag_max));
  }
  return "";
}

void CopyBrake::SetLimits(const SourceLimits& limits) {
  absl::MutexLock lock(&mutex_);
  limits_ = limits;
}

SourceLimits CopyBrake::limits() const {
  absl::MutexLock lock(&mutex_);
  return limits_;
}

absl::Status CopyBrake::Look(Connection& source, StatusBoard& board) {
  const SourceLimits limits = this->limits();
  if (!limits.has_any()) {
    End(board);
    return absl::OkStatus();
  }
  TOWLINE_ASSIGN_OR_RETURN(Result row, source.Exec(kLoadSql));
  const SourceLoad load{.active = row.GetInt(0, 0),
                        .standby_lag = absl::Milliseconds(row.GetInt(0, 1)),
                        .is_hidden = row.GetBool(0, 2)};
  absl::MutexLock lock(&mutex_);
  if (load.is_hidden && !is_hidden_told_) {
    is_hidden_told_ = true;
    LogWarning(
        "the copy cannot give way to the source: the role may not see what other sessions do there",
        {{"mend", "GRANT pg_read_all_stats to it"}});
  }
  const std::string suffering = DescribeSuffering(load, limits);
  control_.Note(!suffering.empty(), SteadyNow());
  pace_.SetShare(control_.share());
  Tell(suffering, SteadyNow());
  Show(suffering, board);
  return absl::OkStatus();
}

void CopyBrake::Tell(const std::string& suffering, absl::Time now) {
  if (!is_told_ && control_.is_held_back() && now - told_at_ >= kTellInterval) {
    LogInfo("the copy gives way to the source, and goes slower until it is better",
            {{"because", suffering}});
    is_told_ = true;
    told_at_ = held_back_since_ = now;
  } else if (is_told_ && !control_.is_held_back()) {
    LogInfo("the copy goes at full speed again",
            {{"after", towline::FormatDuration(now - held_back_since_)}});
    is_told_ = false;
  }
}

void CopyBrake::Show(const std::string& suffering, StatusBoard& board) {
  board.Update([&](TaskStatus& status) {
    mutex_.AssertHeld();
    status.copy_speed_percent = PercentOf(control_.share());
    status.copy_gives_way_to = suffering;
  });
}

void CopyBrake::End(StatusBoard& board) {
  absl::MutexLock lock(&mutex_);
  control_ = {};
  is_told_ = false;
  pace_.SetShare(1);
  Show("", board);
}

}  // namespace towline
