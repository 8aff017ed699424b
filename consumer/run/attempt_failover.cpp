// Slots that standbys of the source keep synchronised (17 and later), so that the task goes on from
// one that is promoted.
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "pg/replication_connection.h"
#include "run/attempt.h"
#include "run/start_checks.h"
#include "state/task_name.h"

namespace towline {
namespace {

constexpr int kFailoverVersionMin = 170000;

}  // namespace

// Where the source's present timeline left the one that the task has followed.
absl::StatusOr<Lsn> Attempt::ReadFork() {
  if (source_identity_.timeline <= 1) return Lsn{};
  TOWLINE_ASSIGN_OR_RETURN(
      ReplicationConnection session,
      ReplicationConnection::Open(context_.config.source, SourceApplication(context_.task, "slot"),
                                  shutdown_));
  TOWLINE_ASSIGN_OR_RETURN(std::string history,
                           session.ReadTimelineHistory(source_identity_.timeline));
  return ForkOf(history, row_.source.timeline);
}

// Before each stream, as somebody else may have made the slot, or the option has changed. Nobody
// uses it now.
absl::Status Attempt::DecideFailover(Connection& server, const SlotInfo& slot) {
  const FailoverSlot wish = context_.config.failover;
  const bool is_on_standby = context_.config.has_source_standby;
  const bool can_have = server.server_version() >= kFailoverVersionMin && !is_on_standby;
  if (wish == FailoverSlot::kOn && !can_have) {
    return WithHint(
        absl::FailedPreconditionError(absl::StrCat(
            "failover is on, and ",
            is_on_standby ? "the slot is on a standby" : "the source is older than version 17")),
        "Set failover: auto; after a failover --heal goes on.");
  }
  // The two together are refused by 17, and would keep what is prepared from standbys.
  const bool is_wanted =
      wish == FailoverSlot::kOn ||
      (wish == FailoverSlot::kAuto && can_have && !context_.config.two_phase && !slot.is_two_phase);
  if (!can_have || slot.is_failover == is_wanted) return absl::OkStatus();
  TOWLINE_ASSIGN_OR_RETURN(
      ReplicationConnection session,
      ReplicationConnection::Open(context_.config.source, SourceApplication(context_.task, "slot"),
                                  shutdown_));
  absl::Status set = session.SetFailover(row_.slot, is_wanted);
  if (set.ok()) {
    LogInfo(is_wanted ? "standbys of the source may keep the slot synchronised"
                      : "standbys of the source do not keep the slot any more",
            {{"slot", row_.slot}});
    return set;
  }
  if (absl::IsUnavailable(set) || absl::IsCancelled(set)) return set;
  set = WithContext(set, "cannot change whether standbys keep the slot synchronised");
  if (wish == FailoverSlot::kOn) {
    return WithHint(WithCode(set, absl::StatusCode::kFailedPrecondition), "Set failover: auto.");
  }
  LogWarning(set.message(), {{"slot", row_.slot}});
  return absl::OkStatus();
}

}  // namespace towline
