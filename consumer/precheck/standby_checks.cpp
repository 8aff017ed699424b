// What the source's standbys have to do with the task: that we are none of them for it, and the one
// whose log is decoded.
#include "absl/strings/str_cat.h"
#include "precheck/check_context.h"
#include "precheck/standby_names.h"
#include "state/state_store.h"
#include "state/task_name.h"

namespace towline {
namespace {

// Names of the sessions that send the log to standbys, as far as the role may see them; those that
// decode it for somebody are none.
constexpr char kStandbysSql[] = R"sql(
SELECT DISTINCT r.application_name FROM pg_catalog.pg_stat_replication r
WHERE r.application_name <> '' AND r.state IN ('streaming', 'catchup') AND NOT EXISTS
  (SELECT 1 FROM pg_catalog.pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')
ORDER BY 1
)sql";

// A session that decodes is a synchronous standby as any other if its name is in the list. Each
// commit of the source would then wait until the destination has it on disk, with the row locks
// that it holds and not visible to any snapshot: a range of the copy whose snapshot must show such
// a transaction, and the stream that waits for the range, would wait for each other for ever.
void CheckSynchronousNames(CheckContext& context) {
  constexpr char kId[] = "source.synchronous_standby_names";
  constexpr char kSetting[] = "synchronous_standby_names";
  // Nobody waits for what a standby sends on.
  if (context.options.source_standby) return;
  const std::string setting = context.source_facts.Value(kSetting);
  const std::string application = SourceApplication(context.options.task, "stream");
  if (!CountsAsSynchronous(setting, application)) {
    context.Pass(kId, setting.empty() ? "no standby is synchronous"
                                      : absl::StrCat(kSetting, " does not name us: ", setting));
    return;
  }
  std::string found = absl::StrCat(kSetting, " is ", setting,
                                   ": our stream would count as a synchronous standby, and the "
                                   "source's commits would wait for the destination");
  std::optional<Result> rows = context.Ask(kId, *context.source, kStandbysSql);
  if (!rows) return;
  std::vector<std::string> standbys;
  for (int row = 0; row < rows->row_count(); ++row) standbys.push_back(rows->GetString(row, 0));
  // Never as a statement: `init` would execute it, and it is the user's word on how safe a commit
  // is.
  context.Fail(
      kId, found,
      {.text = standbys.empty()
                   ? ""
                   : absl::StrCat(
                         "Those that follow at present: ",
                         AlterSystem(context.source_facts, kSetting,
                                     WithNamesInsteadOfStar(setting, standbys))
                             .statement,
                         " then SELECT pg_catalog.pg_reload_conf(); name those that are meant.")});
}

// The first version that decodes on a standby.
constexpr int kVersionOfStandbyDecoding = 160000;

void CheckIsStandby(CheckContext& context) {
  constexpr char kId[] = "source.standby";
  if (context.standby_facts.version < kVersionOfStandbyDecoding) {
    context.Fail(kId,
                 absl::StrCat("the standby has version ", context.standby_facts.version / 10000,
                              ", and standbys decode from version 16 on"),
                 {.text = "Leave source_standby out."});
    return;
  }
  absl::StatusOr<ServerIdentity> source =
      ReadSourceIdentity(*context.source, context.options.source, context.shutdown);
  absl::Status is_standby =
      source.ok() ? CheckIsStandbyOf(*source, *context.standby, *context.options.source_standby,
                                     context.shutdown)
                  : source.status();
  if (is_standby.ok()) {
    context.Pass(kId, "the server of source_standby follows the source");
  } else {
    context.FailBy(kId, is_standby);
  }
}

// The rows of catalogs that the slot needs are kept by the primary only as long as it hears of
// them.
void CheckFeedback(CheckContext& context) {
  constexpr char kId[] = "source.hot_standby_feedback";
  constexpr char kSetting[] = "hot_standby_feedback";
  constexpr char kInterval[] = "wal_receiver_status_interval";
  const ServerFacts& facts = context.standby_facts;
  if (facts.Value(kSetting) != "on") {
    context.Fail(kId, "hot_standby_feedback is off at the standby",
                 AlterSystem(facts, kSetting, "on"));
  } else if (facts.Value(kInterval) == "0") {
    context.Fail(kId,
                 "hot_standby_feedback is on, and wal_receiver_status_interval 0: none is sent",
                 AlterSystem(facts, kInterval, "10s"));
  } else if (facts.Value("primary_slot_name").empty()) {
    context.Warn(kId,
                 "hot_standby_feedback is on, and the standby follows without a physical slot: "
                 "while it is away the primary forgets what the slot needs",
                 {.text = "At the source: SELECT pg_create_physical_replication_slot('NAME'); at "
                          "the standby: ALTER SYSTEM SET primary_slot_name = 'NAME'; then reload "
                          "it there."});
  } else {
    context.Pass(kId, absl::StrCat("hot_standby_feedback is on, with the physical slot ",
                                   facts.Value("primary_slot_name")));
  }
}

void CheckSnapshotLogging(CheckContext& context) {
  constexpr char kId[] = "source.log_standby_snapshot";
  const ServerFacts& facts = context.source_facts;
  if (!context.options.is_first_start || !facts.role_exists) return;
  if (facts.version < kVersionOfStandbyDecoding) return;
  std::optional<Result> may = context.Ask(kId, *context.source,
                                          "SELECT pg_catalog.has_function_privilege($1::name, "
                                          "'pg_catalog.pg_log_standby_snapshot()', 'EXECUTE')",
                                          {{facts.role}});
  if (!may) return;
  if (may->GetBool(0, 0)) {
    context.Pass(kId, absl::StrCat("role ", facts.QuotedRole(),
                                   " may have running transactions logged for the slot"));
  } else {
    context.Warn(
        kId,
        absl::StrCat("role ", facts.QuotedRole(), " may not EXECUTE pg_log_standby_snapshot()"),
        {.statement =
             absl::StrCat("GRANT EXECUTE ON FUNCTION pg_catalog.pg_log_standby_snapshot() TO ",
                          facts.QuotedRole(), ";")});
  }
}

}  // namespace

void CheckStandbys(CheckContext& context) { CheckSynchronousNames(context); }

void CheckStandby(CheckContext& context) {
  if (!context.standby) return;
  CheckIsStandby(context);
  if (context.standby_facts.version < kVersionOfStandbyDecoding) return;
  CheckFeedback(context);
  CheckSnapshotLogging(context);
}

}  // namespace towline
