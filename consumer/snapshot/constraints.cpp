#include "snapshot/constraints.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "snapshot/copy_finish.h"
#include "snapshot/copy_summary.h"
#include "snapshot/post_data_runner.h"

namespace towline {

absl::StatusOr<bool> HasConstraintsLeft(StateStore& store) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result left,
      store.connection().Query("SELECT EXISTS (SELECT 1 FROM towline_state.schema_statement "
                               "WHERE task = $1 AND section = $2 AND NOT is_done "
                               "AND NOT is_setting)",
                               {store.task(), std::string(kFinalSection)}));
  return left.GetBool(0, 0);
}

absl::Status BuildConstraints(const CopierOptions& options, StateStore& store,
                              CopyProgress& progress, const Shutdown& shutdown) {
  FaultPoint("copy:before-constraints");
  CopySummary summary;
  TOWLINE_ASSIGN_OR_RETURN(SchemaRun run, PreparePostData(options, kFinalSection, store, progress));
  LogInfo("making constraints and filling materialized views; the stream waits",
          {{"statements", absl::StrCat(progress.statements_total - progress.statements_done)}});
  run.fault_point = "copy:in-constraints";
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store.ReadPieces());
  TOWLINE_RETURN_IF_ERROR(RunPostData(options, run, SizesOf(pieces), store, shutdown));
  summary.EndStep("constraints and materialized views",
                  {.statements = progress.statements_total, .workers = options.index_workers});
  summary.Log();
  FaultPoint("copy:after-constraints");
  return absl::OkStatus();
}

}  // namespace towline
