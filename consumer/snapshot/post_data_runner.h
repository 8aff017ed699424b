// Runs the statements of post-data by several sessions: indexes and keys at the same time where
// PostgreSQL's locks let them, largest tables first, everything else one by one in the dump's
// order. Each statement's mark is in its transaction, so that a crash goes on with those that are
// left.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "base/shutdown.h"
#include "model/name.h"
#include "schema/post_data.h"
#include "snapshot/copier.h"
#include "snapshot/schema_runner.h"
#include "state/state_store.h"

namespace towline {

// Where several builds run at once, one of a table up to this size gets no parallel workers of the
// server: what it sorts fits into the memory that each has at least (SetIndexMemory()), and divided
// it would have to be merged from files. Measured on two cores: docs/decisions/017.
inline constexpr int64_t kSerialTableBytesMax = int64_t{1} << 30;

// Statements by their index: first those that may run at the same time, in the order in which to
// begin them, then the others.
struct PostDataStep {
  std::vector<size_t> at_once;
  std::vector<size_t> in_order;
};

// Indexes, keys and validations move up to where the first of them stands, and their details behind
// them; nothing moves past any other statement, so that what one of those makes (a materialized
// view that needs a key, a function that needs the view) is there for what follows. Done ones are
// left out. `bytes`: sizes of tables, as far as known.
std::vector<PostDataStep> PlanPostData(absl::Span<const SchemaStatement> statements,
                                       const std::map<TableName, int64_t>& bytes);

// Of the indexes and keys that are left those that are wanted and may run before all others, and
// before other tables have their rows: of columns alone, and none behind a statement of another
// kind, which may make what they need. The rest counts as done; settings stay.
void KeepWanted(absl::FunctionRef<bool(const PostData&)> is_wanted,
                std::vector<SchemaStatement>* statements);

// Those statements of run.section.
absl::Status RunPostDataAhead(const CopierOptions& options, const SchemaRun& run,
                              absl::FunctionRef<bool(const PostData&)> is_wanted,
                              const std::map<TableName, int64_t>& bytes, StateStore& store,
                              const Shutdown& shutdown);

// The statements of run.section. Opens its sessions and closes them.
absl::Status RunPostData(const CopierOptions& options, const SchemaRun& run,
                         const std::map<TableName, int64_t>& bytes, StateStore& store,
                         const Shutdown& shutdown);

}  // namespace towline
