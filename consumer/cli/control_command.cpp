// pause, resume and set: a wish said over the task's socket.
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/task_finder.h"
#include "nlohmann/json.hpp"
#include "observe/control_socket.h"

namespace towline {
namespace {

// The one task that runs here, when none is named.
absl::StatusOr<std::string> TaskToControl(const Config& config, Shutdown& shutdown) {
  if (!config.task.empty() || (config.has_source && config.has_destination)) {
    return TaskNameOf(config, shutdown);
  }
  std::vector<std::string> tasks = ListControlSockets();
  if (tasks.size() == 1) return tasks[0];
  return WithHint(
      absl::InvalidArgumentError(tasks.empty() ? "no task runs here" : "several tasks run here"),
      tasks.empty() ? "Use the machine and the user that run it; towline status with "
                      "the destination's URI says where."
                    : "Name one; towline status lists them.");
}

absl::StatusOr<int> Control(const Config& config, Shutdown& shutdown, const ControlRequest& request,
                            const std::string& done) {
  TOWLINE_ASSIGN_OR_RETURN(std::string task, TaskToControl(config, shutdown));
  absl::StatusOr<std::string> answer = AskControlSocket(task, request);
  if (absl::IsNotFound(answer.status())) {
    return WithHint(answer.status(),
                    "Use the machine and the user that run it; towline status with "
                    "the destination's URI says where.");
  }
  TOWLINE_RETURN_IF_ERROR(answer.status());
  nlohmann::json json = nlohmann::json::parse(*answer, nullptr, false);
  if (!json.is_object() || !json.value("ok", false)) {
    // What set is refused is a mistake in the command; the others come at a wrong moment.
    std::string text = json.is_object() ? json.value("error", std::string("refused")) : *answer;
    return request.command == "set" ? absl::InvalidArgumentError(text)
                                    : absl::FailedPreconditionError(text);
  }
  printf("task %s %s\n", task.c_str(), done.c_str());
  return 0;
}

}  // namespace

absl::StatusOr<int> PauseCommand(const Config& config, Shutdown& shutdown) {
  return Control(config, shutdown, {"pause"},
                 "pauses; its slot keeps the source's log until towline resume");
}

absl::StatusOr<int> ResumeCommand(const Config& config, Shutdown& shutdown) {
  return Control(config, shutdown, {"resume"}, "goes on");
}

absl::StatusOr<int> SetCommand(const Arguments& arguments, const Config& config,
                               Shutdown& shutdown) {
  if (arguments.set_value.empty()) {
    return WithHint(absl::InvalidArgumentError("name or value of the limit is missing"),
                    "As in: towline set copy_rate_max 20MB");
  }
  return Control(config, shutdown, {"set", arguments.set_name, arguments.set_value},
                 absl::StrCat("has ", arguments.set_name, " ", arguments.set_value,
                              " now; the configuration counts again at its next start"));
}

}  // namespace towline
