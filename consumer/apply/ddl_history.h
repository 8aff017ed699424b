// towline_state.ddl_history: what became of each captured command, and what the operator has
// decided about those that are held.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/lsn.h"
#include "model/ddl.h"
#include "pg/connection.h"
#include "state/position.h"

namespace towline {

// Which command it is, also when it comes again: the position of its transaction, and its number
// within it.
struct DdlPlace {
  Lsn end_lsn;
  uint64_t xid = 0;
  int64_t ordinal = 0;
};

class DdlHistory {
 public:
  DdlHistory(Connection* connection, TaskClaim claim)
      : connection_(connection), claim_(std::move(claim)) {}

  // "approve", "skip", or nothing.
  absl::StatusOr<std::string> ReadDecision(const DdlPlace& place);
  // For how long it has been held for this reason, undecided, by the destination's clock; zero: it
  // is not. Nobody decides about it until the transaction ends. kAborted: somebody just has.
  absl::StatusOr<absl::Duration> ReadHeldFor(const DdlPlace& place, absl::string_view reason);
  // Under which number it is recorded.
  absl::StatusOr<int64_t> ReadNumber(const DdlPlace& place);
  // In the open transaction. `fate`: applied, ignored, skipped, parked, held. `decision`: what
  // ReadDecision() gave; of what is held it is forgotten, and not another that has come since.
  absl::Status Record(const DdlPlace& place, const DdlCommand& command, absl::string_view kind,
                      absl::string_view fate, absl::string_view reason, absl::string_view decision);

 private:
  Connection* connection_;
  TaskClaim claim_;
};

// For the operator, in a session of its own.
enum class DdlRecords : uint8_t {
  kAll,
  kNotAsAtSource,  // held, parked, skipped
  kHeld,
};

struct DdlRecord {
  int64_t number = 0;
  std::string end_lsn;
  int64_t ordinal = 0;
  std::string recorded_at;
  std::string tag;
  std::string kind;
  std::string statement;  // empty: not captured
  std::string search_path;
  std::string role;
  std::string objects;
  std::string fate;
  std::string reason;
  std::string decision;
};

// How long until the record has been held for `hold_max`. Zero: it has been, or somebody has
// decided about it.
absl::StatusOr<absl::Duration> ReadHoldLeft(Connection& destination, const std::string& task,
                                            int64_t number, absl::Duration hold_max);

// In the order in which they were recorded. None where the destination has no history yet.
absl::StatusOr<std::vector<DdlRecord>> ListDdl(Connection& destination, const std::string& task,
                                               DdlRecords which);
// `decision`: approve or skip. kFailedPrecondition if the record is held no more.
absl::Status DecideDdl(Connection& destination, const std::string& task, const DdlRecord& record,
                       const std::string& decision);

}  // namespace towline
