// Which table of the source an error is about, so that the table may be parked instead of stopping
// the task.
#pragma once

#include <optional>

#include "absl/status/status.h"
#include "model/name.h"
#include "model/oid.h"

namespace towline {

struct FailedTable {
  TableName name;
  Oid source_oid = 0;
};

// The text stays as it is.
absl::Status WithFailedTable(absl::Status status, const FailedTable& table);
std::optional<FailedTable> FailedTableOf(const absl::Status& status);

}  // namespace towline
