#include "config/shared_options.h"

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "config/existing_policy.h"
#include "config/expression_text.h"
#include "config/value_text.h"

namespace towline {
namespace {

absl::Status Refuse(const TableName& table, absl::string_view what, absl::string_view hint) {
  return WithHint(absl::InvalidArgumentError(
                      absl::StrCat("table ", TableNameText(table), " is shared, ", what)),
                  hint);
}

}  // namespace

absl::Status ReadSharedValues(Config& config) {
  for (auto& [table, rule] : config.rules) {
    if (rule.shared.empty()) continue;
    const RuleColumn* column = rule.FindColumn(rule.shared);
    std::optional<std::string> value;
    if (column != nullptr && column->expression.has_value()) {
      value = LiteralValue(*column->expression);
    }
    if (!value.has_value()) {
      return Refuse(table, absl::StrCat("and its columns have no constant \"", rule.shared, "\""),
                    absl::StrCat("List all columns that are sent, and {", rule.shared,
                                 ": \"'...'::text\"}."));
    }
    rule.shared_value = *std::move(value);
  }
  return absl::OkStatus();
}

absl::Status CheckSharedRun(const Config& config) {
  for (const auto& [table, rule] : config.rules) {
    if (rule.shared.empty()) continue;
    if (rule.operations != RuleOperations()) {
      return Refuse(table, "and its rule leaves out operations", "Leave operations out.");
    }
    if (config.stages.schema) {
      return Refuse(table, "and its schema would be copied: its keys are not those of the source",
                    "Make the tables of the task at the destination, this one with the column in "
                    "every key, then run with schema: skip.");
    }
    if (config.ddl.is_on) {
      return Refuse(table, "and ddl is on: one source's change would alter what others write",
                    "Run with ddl: off, and change such tables by hand.");
    }
    if (ExistingPolicyOf(config).For(table, {}) == ExistingTables::kAppend) {
      return Refuse(table, "and existing is append: the task would keep rows that it writes",
                    "Rows of other tasks stay in any case; choose stop or truncate.");
    }
  }
  return absl::OkStatus();
}

}  // namespace towline
