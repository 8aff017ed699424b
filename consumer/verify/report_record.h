// A table's report as towline_state keeps it (state/verify_record.h).
#pragma once

#include "absl/time/time.h"
#include "state/verify_record.h"
#include "verify/report.h"

namespace towline {

VerifiedTable ToRecord(const TableReport& report, absl::Duration elapsed);
TableReport FromRecord(const VerifiedTable& table);

}  // namespace towline
