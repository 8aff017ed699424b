#include "state/other_writer.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/table_rules.h"

namespace towline {

absl::StatusOr<std::string> FindOtherWriter(Connection& destination, const std::string& task,
                                            const TableName& table, absl::string_view rule) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result others,
      destination.Query("SELECT task, rule FROM towline_state.piece WHERE task <> $1 AND "
                        "schema_name = $2 AND table_name = $3 AND state <> 'removed' ORDER BY task",
                        {{task, table.schema, table.name}}));
  for (int row = 0; row < others.row_count(); ++row) {
    if (!AreApart(rule, others.Get(row, 1))) return others.GetString(row, 0);
  }
  return std::string();
}

absl::Status CheckSharedAlone(Connection& destination, const std::string& task,
                              const TableRules& rules) {
  for (const auto& [table, rule] : rules) {
    if (rule.shared.empty()) continue;
    TOWLINE_ASSIGN_OR_RETURN(const std::string other,
                             FindOtherWriter(destination, task, table, RuleText(&rule)));
    if (other.empty()) continue;
    return WithHint(
        absl::FailedPreconditionError(absl::StrCat(
            "task ", other, " writes table ", QuoteQualified(table.schema, table.name),
            " of the destination, and not only rows of another ", QuoteIdentifier(rule.shared))),
        absl::StrCat("Give one of the tasks another value, or drop one (towline drop --task ",
                     other, " or --task ", task, ")."));
  }
  return absl::OkStatus();
}

}  // namespace towline
