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
  bool is_rewritten = false;  // by a schema change of the source, whose rows it could not take
};

// The text stays as it is.
absl::Status WithFailedTable(absl::Status status, const FailedTable& table);
std::optional<FailedTable> FailedTableOf(const absl::Status& status);

}  // namespace towline
