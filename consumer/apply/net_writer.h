// The net changes of a table: deletes, updates, inserts, in this order, each as a set where that
// is possible and there are enough of them, else as a statement per row. Inserts go by COPY.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "apply/copy_in.h"
#include "apply/fold.h"
#include "apply/pipeline.h"
#include "apply/row_writer.h"
#include "apply/set_writer.h"
#include "apply/target.h"
#include "pg/connection.h"

namespace towline {

// COPY costs some round trips of its own (leaving the pipeline, start, end), a statement in the
// pipeline about three times what a row of a COPY does. Over a local socket they meet at some 12
// rows; a network moves that up.
inline constexpr size_t kCopyRowsMin = 32;

class NetWriter {
 public:
  NetWriter(Connection* connection, Pipeline* pipeline, RowWriter* row_writer, int64_t set_rows_min)
      : connection_(connection),
        pipeline_(pipeline),
        row_writer_(row_writer),
        set_writer_(connection, pipeline),
        set_rows_min_(static_cast<size_t>(set_rows_min)) {}

  absl::Status Write(const Target& target, NetChanges net);

  // Outside of the pipeline. The target has can_copy.
  absl::Status Copy(const Target& target, absl::Span<const CopyRow> rows);

  bool IsSet(size_t changes) const;
  // After an error, when what was written is rolled back; the session has none of the statements.
  void Forget() {
    set_writer_.ForgetStatements();
    copy_failure_.reset();
  }
  // After an error: what a COPY did not take. Other failures are the pipeline's.
  const std::optional<ApplyFailure>& copy_failure() const { return copy_failure_; }

 private:
  absl::Status WriteDeletes(const Target& target, absl::Span<const NetChange> deletes);
  absl::Status WriteEqualDeletes(const Target& target, std::vector<NetChange>* deletes);
  absl::Status WriteUpdates(const Target& target, std::vector<NetChange>* updates);
  absl::Status WriteUpdateSet(const Target& target, const std::vector<bool>& is_unchanged,
                              absl::Span<const NetChange> updates);
  absl::Status WriteInserts(const Target& target, absl::Span<const NetChange> inserts);
  absl::Status WriteOneByOne(const Target& target, absl::Span<const NetChange> changes);

  Connection* connection_;
  Pipeline* pipeline_;
  RowWriter* row_writer_;
  SetWriter set_writer_;
  const size_t set_rows_min_;
  std::vector<CopyRow> copied_;
  std::optional<ApplyFailure> copy_failure_;
};

}  // namespace towline
