// Changes of rows as prepared statements in the pipeline: picks the statement, binds the values out
// of the images (nothing is copied but text, which libpq wants with an end mark), says how many
// rows it must touch.
//
// libpq holds a statement whole before it is sent, and the server takes no message above 1 GB. So a
// change whose values are more than statement_bytes_max goes in steps, outside of the pipeline: its
// large values one by one into a staging table, then the statement, which takes them from there.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "apply/pipeline.h"
#include "apply/statement.h"
#include "apply/target.h"
#include "model/change.h"
#include "model/row_image.h"
#include "state/value_staging.h"

namespace towline {

class RowWriter {
 public:
  RowWriter(Connection* connection, Pipeline* pipeline, int64_t statement_bytes_max)
      : connection_(connection),
        pipeline_(pipeline),
        statement_bytes_max_(static_cast<size_t>(statement_bytes_max)) {}

  // Sends what one change asks for. `index` is its place in the batch, for messages.
  absl::Status Write(const Target& target, const Change& change, size_t index);

  // While transactions are prepared: the row that a change without key means may be any of several
  // equal ones, but not one that they have locked. The source's other transaction has met another.
  void set_skips_locked(bool skips_locked) { skips_locked_ = skips_locked; }

  // Whether the transaction is to be prepared.
  void set_is_prepared(bool is_prepared) { is_prepared_ = is_prepared; }

  // The session has none of the statements any more.
  void ForgetStatements();

  // Instead of what the change asks for its new row, by kInsert or kOverwrite.
  absl::Status WriteNewRow(const Target& target, const Change& change, Action action, size_t index);

  // Asks for, or deletes, the rows that have the new row's values in the key, but for the row that
  // the change is about (of an INSERT: if `keeps_own`). Their texts. Not in the pipeline, and only
  // for changes of up to statement_bytes_max.
  absl::StatusOr<std::vector<std::string>> Occupants(const Target& target, const Change& change,
                                                     Action action, const UniqueKey& key,
                                                     bool keeps_own);

  // After an error: the change whose values could not be staged. Other failures are the pipeline's.
  const std::optional<ApplyFailure>& failure() const { return failure_; }

 private:
  absl::Status ReadImages(const Target& target, const Change& change);
  absl::Status CheckIdentity(const Target& target, const Change& change) const;
  StatementShape ShapeOf(const Target& target, const Change& change) const;
  std::vector<bool> UnchangedOf(const Target& target, const Change& change) const;
  bool ChangesAlwaysIdentity(const Target& target, const Change& change) const;
  const Field* OldField(const Target& target, const Change& change, int column) const;
  bool MovesKey(const Target& target, const Change& change) const;
  bool HasNewKey(const Target& target) const;
  absl::Status WriteOver(const Target& target, const Change& change, StatementShape shape,
                         size_t index);
  absl::Status WriteShape(const Target& target, const StatementShape& shape,
                          const Pipeline::Expected& expected);
  absl::Status WriteInSteps(const Target& target, StatementShape shape, const Statement& whole,
                            const Pipeline::Expected& expected);
  absl::StatusOr<ValueStaging> Stage(const Target& target, const Statement& whole,
                                     StatementShape* shape);
  const Field* FieldOf(const ParamSource& param) const;
  size_t BytesOf(const Statement& statement) const;
  absl::StatusOr<const Statement*> Prepared(const Target& target, const StatementShape& shape,
                                            size_t index);
  absl::Status Send(const Target& target, const Statement& statement,
                    const Pipeline::Expected& expected);
  absl::Status Bind(const Target& target, const Statement& statement);

  Connection* connection_;
  Pipeline* pipeline_;
  const size_t statement_bytes_max_;
  // Statements by target and shape. Node addresses are stable until the cache is emptied.
  absl::flat_hash_map<std::string, std::unique_ptr<Statement>> statements_;
  // The last ones used without marks or NULLs in their shape, which is nearly all: by action and
  // old image.
  const Target* last_target_ = nullptr;
  const Statement* last_[9][3] = {};
  int64_t statement_number_ = 0;
  bool skips_locked_ = false;
  bool is_prepared_ = false;
  std::optional<ApplyFailure> failure_;

  // Of the change being written.
  std::vector<Field> new_fields_;
  std::vector<Field> old_fields_;
  size_t image_bytes_ = 0;
  std::vector<const char*> values_;
  std::vector<int> lengths_;
  std::vector<int> formats_;
  std::string texts_;
};

}  // namespace towline
