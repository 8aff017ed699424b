// Which tables of captured commands the task carries, and which have rules of their own.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "apply/target.h"
#include "model/name.h"
#include "pg/connection.h"
#include "schema/table_patterns.h"

namespace towline {

// Asks the destination, in the open transaction: patterns are its regular expressions.
class DdlSelection {
 public:
  // No include: all tables. Borrows connection and policies.
  DdlSelection(Connection* connection, const TargetPolicies* policies,
               std::vector<TablePattern> include, std::vector<TablePattern> exclude);

  // All tables but Towline's own, which are no part of the user's schema.
  bool selects_all() const { return selects_all_; }
  bool has_rules() const { return !policies_->rules.empty(); }
  // Or tables with rows of their own.
  bool has_any_rules() const { return has_rules() || !policies_->append_tables.empty(); }
  // By its name or that of a table above it, as rows are: who names a partitioned table means its
  // partitions.
  absl::StatusOr<bool> IsSelected(const TableName& table);
  // Of one that has these names, its own and those of the tables above it.
  absl::StatusOr<bool> AreSelected(const std::vector<TableName>& names);
  // In a partition tree of the destination, the nearest first.
  absl::StatusOr<std::vector<TableName>> TablesAbove(const TableName& table);
  // Partitions and children, at the destination.
  absl::StatusOr<std::vector<TableName>> TablesBelow(const TableName& table);
  // `index`: quoted, with schema. No name: it is not at the destination.
  absl::StatusOr<TableName> TableOfIndex(const std::string& index);
  // Also by a table above it.
  absl::StatusOr<bool> HasRule(const TableName& table);
  // That, or rows of its own (existing: append).
  absl::StatusOr<bool> HasOwnRules(const TableName& table);

 private:
  absl::StatusOr<std::vector<TableName>> ReadNames(const std::string& sql, const TableName& table);
  template <typename Predicate>
  absl::StatusOr<bool> AnyOfAbove(const TableName& table, Predicate is_named);
  absl::StatusOr<bool> Matches(const TableName& table, const std::vector<TablePattern>& patterns);

  Connection* connection_;
  const TargetPolicies* policies_;
  std::vector<TablePattern> include_;
  std::vector<TablePattern> exclude_;
  bool selects_all_;
};

}  // namespace towline
