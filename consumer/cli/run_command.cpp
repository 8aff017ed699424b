#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/task_finder.h"
#include "config/shared_options.h"
#include "run/run_task.h"

namespace towline {

absl::StatusOr<int> RunCommand(const Config& config, Shutdown& shutdown) {
  TOWLINE_RETURN_IF_ERROR(RequireBothUris(config));
  TOWLINE_RETURN_IF_ERROR(CheckSharedRun(config));
  TOWLINE_RETURN_IF_ERROR(RunTask(config, shutdown));
  return 0;
}

}  // namespace towline
