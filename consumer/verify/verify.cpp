#include "verify/verify.h"

#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "verify/comparison.h"
#include "verify/continuous.h"
#include "verify/followed_task.h"
#include "verify/schema_compare.h"

namespace towline {
namespace {

// A running task looks at the source's sequences every ten seconds.
constexpr absl::Duration kSequencesFollowMax = absl::Seconds(25);

absl::StatusOr<VerifyReport> VerifySchema(const VerifyOptions& options, const Shutdown& shutdown) {
  const absl::Time started = SteadyNow();
  TOWLINE_ASSIGN_OR_RETURN(Connection source, OpenVerifySession(options.source, shutdown));
  TOWLINE_ASSIGN_OR_RETURN(Connection destination,
                           OpenVerifySession(options.destination, shutdown));
  TOWLINE_ASSIGN_OR_RETURN(
      const FollowedTask task,
      FindFollowedTask({options.source, options.task, options.is_task_given, options.stand_max},
                       source, destination, shutdown));
  VerifyReport report;
  report.task = task.followed;
  report.mode = "schema";
  TOWLINE_ASSIGN_OR_RETURN(
      report.schema,
      CompareSchemas(
          {options.source, options.destination, FollowedSelection(task, options.selection),
           options.schema, task.followed.empty() ? absl::ZeroDuration() : kSequencesFollowMax},
          source, destination, shutdown));
  report.seconds = absl::ToDoubleSeconds(SteadyNow() - started);
  return report;
}

}  // namespace

absl::StatusOr<VerifyReport> Verify(const VerifyOptions& options,
                                    const std::function<void(const VerifyProgress&)>& on_progress,
                                    const Shutdown& shutdown) {
  if (options.is_schema_only) return VerifySchema(options, shutdown);
  if (options.is_continuous) return VerifyContinuously(options, on_progress, shutdown);
  return CompareTables(options, {on_progress, nullptr, nullptr, nullptr}, shutdown);
}

}  // namespace towline
