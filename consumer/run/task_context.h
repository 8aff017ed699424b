// What outlives an attempt: what the user wants, what everybody may see, and what the supervisor
// has to know when it has ended.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/rate_limit.h"
#include "config/config.h"
#include "observe/metrics.h"
#include "observe/stream_meter.h"
#include "observe/task_status.h"
#include "run/copy_brake.h"
#include "run/task_control.h"
#include "schema/catalog_reader.h"
#include "state/state_store.h"
#include "state/task_state.h"

namespace towline {

// The tables that the configuration selects, those of extensions as far as they were found.
inline TableSelection SelectionOf(const Config& config) {
  TableSelection selection{config.include, config.exclude};
  for (const auto& [table, condition] : config.extension_rows) {
    selection.extension_tables.push_back(table);
  }
  return selection;
}

struct TaskContext {
  explicit TaskContext(const Config& user_config) : config(user_config) {}

  Config config;  // with the tables that were added and removed since (SelectTables())
  const std::vector<std::string> include = config.include;  // as the user gave them
  const std::vector<std::string> exclude = config.exclude;
  StatusBoard board;
  StreamMeter meter;
  Metrics metrics{board, meter};
  TaskControl control;
  RateLimit copy_rate;              // changed over the control socket
  CopyBrake copy_brake;             // its limits as well
  std::string run_id;               // of this process
  std::string task;                 // empty until known
  TaskClaim claim;                  // of the last takeover; epoch 0: none yet
  bool is_slot_created = false;     // as the last look at the task row said
  bool has_ever_connected = false;  // both servers were reached by some attempt
  bool is_last_try = false;         // the window of other errors is over: see Attempt::MayPark()
  int forgotten_count = 0;          // how often a stream was opened anew to forget descriptions
  bool has_selected = false;        // the selection was seen to take all tables of the copy

  void ShowState(TaskState state, const std::string& waiting_for = "") {
    board.Update([&](TaskStatus& status) {
      std::string name(TaskStateName(state));
      if (status.state != name) status.since = absl::Now();
      status.state = name;
      status.waiting_for = waiting_for;
    });
  }
};

}  // namespace towline
