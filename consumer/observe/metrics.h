// What /metrics gives, in Prometheus' text form; docs/metrics.md lists it. Everything is read from
// the StatusBoard and the StreamMeter at the moment of the scrape, so no second count can disagree
// with `status`. Labels per table are bounded (StreamMeter::kTablesMax): the number of series does
// not grow with the database.
#pragma once

#include <string>

#include "observe/stream_meter.h"
#include "observe/task_status.h"

namespace towline {

class Metrics {
 public:
  // Borrows both for its whole life.
  Metrics(const StatusBoard& board, const StreamMeter& meter) : board_(board), meter_(meter) {}

  // Thread-safe.
  std::string Render() const;

 private:
  const StatusBoard& board_;
  const StreamMeter& meter_;
};

}  // namespace towline
