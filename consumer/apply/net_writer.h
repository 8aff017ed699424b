// The net changes of a table: deletes, updates, inserts, in this order, each as a set where that
// is possible and there are enough of them, else as a statement per row. Inserts go by COPY.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "apply/copy_in.h"
#include "apply/fold.h"
#include "apply/pipeline.h"
#include "apply/row_writer.h"
#include "apply/set_writer.h"
#include "apply/target.h"
#include "pg/connection.h"

namespace towline {

// COPY costs a round trip or two of its own (leaving the pipeline, the wait for its start). Over a
// local socket it meets a statement per row at some 12 rows.
inline constexpr size_t kCopyRowsMin = 32;
// What a row costs less by COPY, at the destination: less than in a set (measured, 1.8 µs), less
// than in a statement of its own. Over a network the wait for its start is weighed against it; that
// for its end passes while the next batch is decoded.
inline constexpr absl::Duration kCopyGainOnSet = absl::Nanoseconds(1800);
inline constexpr absl::Duration kCopyGainOnStatement = absl::Microseconds(6);

class NetWriter {
 public:
  // `round_trip`: to the destination and back.
  NetWriter(Connection* connection, Pipeline* pipeline, RowWriter* row_writer, int64_t set_rows_min,
            absl::Duration round_trip)
      : connection_(connection),
        pipeline_(pipeline),
        row_writer_(row_writer),
        set_writer_(connection, pipeline),
        set_rows_min_(static_cast<size_t>(set_rows_min)),
        round_trip_(round_trip) {}

  // First the deletes and updates, which are gone from `net` then.
  absl::Status WriteDeletesAndUpdates(const Target& target, NetChanges* net);
  // Then the inserts: of one relation in order, in the cheapest way.
  absl::Status WriteInserts(const Target& target, absl::Span<const NetChange> inserts);
  // The target has can_copy.
  absl::Status Copy(const Target& target, absl::Span<const CopyRow> rows);

  bool IsSet(size_t changes) const;
  bool IsCopy(const Target& target, size_t inserts) const;
  // After an error, when what was written is rolled back; the session has none of the statements.
  void Forget() { set_writer_.ForgetStatements(); }

 private:
  absl::Status WriteDeletes(const Target& target, absl::Span<const NetChange> deletes);
  absl::Status WriteEqualDeletes(const Target& target, std::vector<NetChange>* deletes);
  absl::Status WriteUpdates(const Target& target, const std::vector<bool>& is_unchanged,
                            absl::Span<const NetChange> updates);
  absl::Status WriteOneByOne(const Target& target, absl::Span<const NetChange> changes);

  Connection* connection_;
  Pipeline* pipeline_;
  RowWriter* row_writer_;
  SetWriter set_writer_;
  const size_t set_rows_min_;
  const absl::Duration round_trip_;
  std::vector<CopyRow> copied_;
};

}  // namespace towline
