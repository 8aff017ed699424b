// Which tables were changed since they were last compared, by the servers' statistics: what the
// task brought, and what others wrote at the destination.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "model/name.h"
#include "pg/connection.h"
#include "verify/table_plan.h"

namespace towline {

class RecentChanges {
 public:
  // Rows written so far; counters begin anew when a server has crashed, or is told to.
  using Counts = std::map<TableName, int64_t>;

  // Adds what one server says.
  static absl::Status Read(Connection& server, Counts* counts);

  // First what was never compared, as it stands; then what was changed most since; of equals what
  // was compared longest ago. Tells each since when. Pure.
  void Order(const Counts& now, std::vector<TableJob>* jobs) const;
  // Compared when the counts were `now`, or later. `begun`: none: not known.
  void Compared(const TableName& table, const Counts& now,
                const std::optional<WriteMark>& begun = std::nullopt);
  // Only these tables are left.
  void Keep(const std::vector<TableJob>& jobs);

 private:
  struct Look {
    int64_t count = 0;
    int64_t number = 0;  // of all looks
    std::optional<WriteMark> begun;
  };

  std::map<TableName, Look> looks_;
  int64_t next_look_ = 1;
};

}  // namespace towline
