// What /metrics gives, in Prometheus' text form and with the names of DESIGN 7. Nearly everything
// is read from the StatusBoard at the moment of the scrape, so no second count can disagree with
// `status`; only the histogram of batch times has a place of its own. No label per table: the
// number of series does not grow with the database.
#pragma once

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "observe/task_status.h"

namespace towline {

class Metrics {
 public:
  // Borrows the board for its whole life.
  explicit Metrics(const StatusBoard& board);
  ~Metrics();

  // One destination transaction took this long, from its first statement to COMMIT's answer.
  // Thread-safe.
  void ObserveApply(absl::Duration time);

  std::string Render() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace towline
