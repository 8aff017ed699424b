// What follows the rows: indexes and constraints are in the dump's statements; here are the values
// that no statement carries.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/shutdown.h"
#include "model/table.h"
#include "schema/catalog_reader.h"
#include "schema/sequences.h"
#include "snapshot/copier.h"
#include "snapshot/schema_runner.h"

namespace towline {

// Sections of towline_state.schema_statement after the rows: at once, and when the stream has
// passed the copy.
inline constexpr char kPostSection[] = "post";
inline constexpr char kFinalSection[] = "final";

// How the statements of such a section are to be run, and the counts of `progress` for them.
absl::StatusOr<SchemaRun> PreparePostData(const CopierOptions& options, const char* section,
                                          StateStore& store, CopyProgress& progress);

std::map<TableName, int64_t> SizesOf(const std::vector<PieceRow>& pieces);

// Which sequences are the task's: of the tables that are selected at the source now, also those
// without a piece (unlogged ones, and such as have come by a schema change and have no row yet),
// and of those that are streamed. What has been removed from the task is not.
absl::StatusOr<SequenceSelection> SelectSequences(Connection& source,
                                                  const TableSelection& selection,
                                                  const std::vector<PieceRow>& pieces);

// Sequence values as they stand at the source now, for the sequences of the selected schemas that
// exist at the destination.
absl::Status CopySequences(const CopierOptions& options, Connection& destination,
                           const std::vector<PieceRow>& pieces, const Shutdown& shutdown);

// Statistics of all copied tables; a partitioned table brings those of its partitions. On
// options.index_workers sessions, `destination` one of them, the largest tables first.
absl::Status AnalyzeTables(const CopierOptions& options, Connection& destination,
                           const std::vector<PieceRow>& pieces, StateStore& store,
                           const Shutdown& shutdown);

// maintenance_work_mem for index builds of the session. 0: 256 MiB where the server's setting is
// smaller, as its own default of 64 MiB makes them sort on disk.
absl::Status SetIndexMemory(Connection& destination, int64_t bytes);

}  // namespace towline
