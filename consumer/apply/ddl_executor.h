// Runs the text of a captured command in the open transaction, and empties the tables whose rows
// come anew. Decides nothing: ddl_runner.h.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "apply/batch_writer.h"
#include "apply/ddl_selection.h"
#include "model/ddl.h"
#include "pg/connection.h"

namespace towline {

class DdlExecutor {
 public:
  // Borrows all three.
  DdlExecutor(Connection* connection, BatchWriter* writer, DdlSelection* selection)
      : connection_(connection), writer_(writer), selection_(selection) {}

  // That commands are run as from now on; empty: ours.
  void set_role(std::string role) { role_ = std::move(role); }

  // Under the settings that give the text its meaning, with lock_timeout; then fills the columns
  // whose values the source has sent.
  absl::Status Execute(const DdlCommand& command);

  // DROP IF EXISTS of each, in any order that their dependencies allow.
  absl::Status DropAll(std::vector<std::string> statements);

  // Whether foreign keys of other tables name one that the command rewrites. An ALTER of such a
  // key looks for the rows that they refer to, so it must come before the tables are emptied.
  absl::StatusOr<bool> IsReferenced(const DdlCommand& command);

  // The selected ones of the tables that the command rewrites. Gives why it must not be done, or
  // nothing.
  absl::StatusOr<std::string> Empty(const DdlCommand& command);

 private:
  absl::Status RunUnderSettings(const DdlCommand& command, const std::string& statement);
  // In the transaction. Gives what it was.
  absl::StatusOr<std::string> ReplaceSetting(const std::string& name, const std::string& value);
  absl::Status FillColumns(const DdlCommand& command,
                           const std::vector<std::string>& numbers_before);
  absl::Status SetBounds(const DdlCommand& command);
  absl::StatusOr<std::string> EmptyTable(const TableName& table);

  Connection* connection_;
  BatchWriter* writer_;
  DdlSelection* selection_;
  std::string role_;
};

}  // namespace towline
