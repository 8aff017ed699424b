// Changes of rows as prepared statements in the pipeline: picks the statement, binds the values out
// of the images (nothing is copied but text, which libpq wants with an end mark), says how many
// rows it must touch.
#pragma once

#include <memory>
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

namespace towline {

class RowWriter {
 public:
  RowWriter(Connection* connection, Pipeline* pipeline)
      : connection_(connection), pipeline_(pipeline) {}

  // Sends what one change asks for. `index` is its place in the batch, for messages.
  absl::Status Write(const Target& target, const Change& change, size_t index);

  // While transactions are prepared: the row that a change without key means may be any of several
  // equal ones, but not one that they have locked. The source's other transaction has met another.
  void set_skips_locked(bool skips_locked) { skips_locked_ = skips_locked; }

 private:
  absl::Status ReadImages(const Target& target, const Change& change);
  absl::Status CheckIdentity(const Target& target, const Change& change) const;
  StatementShape ShapeOf(const Target& target, const Change& change) const;
  bool ChangesAlwaysIdentity(const Target& target, const Change& change) const;
  const Field* OldField(const Target& target, const Change& change, int column) const;
  bool MovesKey(const Target& target, const Change& change) const;
  absl::Status WriteShape(const Target& target, const StatementShape& shape, size_t index,
                          int64_t rows_min);
  absl::StatusOr<const Statement*> Prepared(const Target& target, const StatementShape& shape,
                                            size_t index);
  absl::Status Send(const Target& target, const Statement& statement,
                    const Pipeline::Expected& expected);

  Connection* connection_;
  Pipeline* pipeline_;
  // Statements by target and shape. Node addresses are stable until the cache is emptied.
  absl::flat_hash_map<std::string, std::unique_ptr<Statement>> statements_;
  // The last ones used without marks or NULLs in their shape, which is nearly all: by action and
  // old image.
  const Target* last_target_ = nullptr;
  const Statement* last_[5][3] = {};
  int64_t statement_number_ = 0;
  bool skips_locked_ = false;

  // Of the change being written.
  std::vector<Field> new_fields_;
  std::vector<Field> old_fields_;
  std::vector<const char*> values_;
  std::vector<int> lengths_;
  std::vector<int> formats_;
  std::string texts_;
};

}  // namespace towline
