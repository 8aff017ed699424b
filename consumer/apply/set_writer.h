// Net changes of a table written as sets: one statement for thousands of rows, whose values go as
// arrays. Several times cheaper at the destination than one statement per row, however those are
// pipelined. Each set must touch as many rows as it has changes (C5).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "apply/fold.h"
#include "apply/pipeline.h"
#include "apply/set_statement.h"
#include "apply/target.h"
#include "pg/connection.h"

namespace towline {

class SetWriter {
 public:
  SetWriter(Connection* connection, Pipeline* pipeline)
      : connection_(connection), pipeline_(pipeline) {}

  // `changes` are of one kind, and the target can take them so (set_statement.h). They go in
  // statements of bounded size.
  absl::Status Write(const Target& target, const SetShape& shape,
                     absl::Span<const NetChange> changes);

  // Under kExact. Equal ones stand one behind the other.
  absl::Status DeleteEqualRows(const Target& target, const SetShape& shape,
                               absl::Span<const NetChange> changes);

  // The session has none of the statements any more.
  void ForgetStatements() { statements_.clear(); }

 private:
  struct Prepared {
    SetStatement statement;
    std::string name;
  };

  absl::StatusOr<const Prepared*> Prepare(const Target& target, const SetShape& shape,
                                          size_t change);
  void Begin(const Target& target, const SetStatement& statement);
  void AddRow(const Target& target, const SetStatement& statement, const Change& change);
  absl::Status Send(const Target& target, const SetStatement& statement, const std::string& name,
                    const Pipeline::Expected& expected);

  Connection* connection_;
  Pipeline* pipeline_;
  absl::flat_hash_map<std::string, std::unique_ptr<Prepared>> statements_;
  int64_t statement_number_ = 0;

  // Of the statement being put together.
  std::vector<std::string> arrays_;
  size_t row_count_ = 0;
  size_t bytes_ = 0;
  std::vector<absl::string_view> fields_;  // of one image, each with its length before it
};

}  // namespace towline
