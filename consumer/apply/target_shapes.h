// Whether the destination's tables still are what their Targets were made from. Somebody may alter
// them while the task applies: a column that only the destination has would lose its values with
// each row that is written anew, and COPY would put a value's bytes into a column of another type.
#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "apply/pipeline.h"
#include "model/name.h"
#include "model/oid.h"
#include "pg/connection.h"

namespace towline {

class TargetShapes {
 public:
  // Borrows both.
  TargetShapes(Connection* connection, Pipeline* pipeline)
      : connection_(connection), pipeline_(pipeline) {}

  // Of the destination's tables as they are now. Before the Targets are read: what is altered
  // between the two is found by the check.
  absl::Status Read(absl::Span<const TableName> tables);

  // Queues the check of these tables, without a round trip of its own, as what comes next in their
  // transaction. Behind the first write to a table, whose lock keeps it as it is until COMMIT. The
  // server refuses what is sent behind a check that fails, and the error is kAborted.
  void Check(const std::vector<Oid>& tables);

  // The session's prepared statements are gone.
  void ForgetStatement() { has_statement_ = false; }

 private:
  Connection* connection_;
  Pipeline* pipeline_;
  absl::flat_hash_map<Oid, std::string> shapes_;
  bool has_statement_ = false;
};

}  // namespace towline
