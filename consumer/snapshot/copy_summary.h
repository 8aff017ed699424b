// How long each step of the copy took, and each of the slowest tables, told at its end.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "observe/copy_progress.h"

namespace towline {

class CopySummary {
 public:
  CopySummary();

  // What the step that ends now has done; negative: not worth telling.
  struct Amount {
    int64_t statements = -1;
    int64_t rows = -1;
    int64_t bytes = -1;  // at the source, an estimate
    int64_t tables = -1;
    int64_t workers = -1;
  };
  void EndStep(std::string name, const Amount& amount);

  // One line of the log a step, and one for all.
  void Log() const;

 private:
  struct Step {
    std::string name;
    absl::Duration duration;
    Amount amount;
  };
  absl::Time began_;
  absl::Time step_began_;
  std::vector<Step> steps_;
};

// A line for each of the tables whose rows took longest, and how many there are beside them.
void LogSlowestTables(const TableProgress& tables);

}  // namespace towline
