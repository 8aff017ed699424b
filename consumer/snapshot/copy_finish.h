// What follows the rows: indexes and constraints are in the dump's statements; here are the values
// that no statement carries.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/shutdown.h"
#include "model/table.h"
#include "snapshot/copier.h"

namespace towline {

// Sequence values as they stand at the source now, for the sequences of the selected schemas that
// exist at the destination.
absl::Status CopySequences(const CopierOptions& options, Connection& destination,
                           const std::vector<PieceRow>& pieces, const Shutdown& shutdown);

// Statistics of all copied tables; a partitioned table brings those of its partitions.
absl::Status AnalyzeTables(Connection& destination, const std::vector<PieceRow>& pieces);

// Index builds get up to 256 MiB where the server's setting is smaller: the server's own default of
// 64 MiB makes them sort on disk.
absl::Status RaiseMaintenanceMemory(Connection& destination);

}  // namespace towline
