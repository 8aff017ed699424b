#include "snapshot/copy_resume.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "pg/quoting.h"
#include "snapshot/copy_plan.h"

namespace towline {
namespace {

std::string Named(const TableName& name) {
  return absl::StrCat("table ", QuoteQualified(name.schema, name.name));
}

}  // namespace

std::string WhyStartOver(const std::vector<PieceRow>& pieces,
                         const std::vector<SnapshotRow>& snapshots,
                         const std::vector<RangeRow>& ranges) {
  bool has_copied = std::any_of(ranges.begin(), ranges.end(),
                                [](const RangeRow& range) { return range.state == "copied"; });
  for (const PieceRow& piece : pieces) {
    // A table is copied again only where the others stay.
    if (piece.state == "copied" || piece.state == "again") has_copied = true;
    // Their rows and marks come together, at the end of the copy and in one transaction.
    if (piece.state != "copied" && piece.existing == "append") {
      return absl::StrCat(Named(piece.table), " keeps rows of its own (append) and is not done");
    }
  }
  if (!has_copied) return "no table was done";
  if (snapshots.empty() || snapshots.back().shape.empty()) {
    return "an older version of towline has begun it";
  }
  return "";
}

std::string WhyStartOver(const std::vector<PieceRow>& pieces,
                         const std::vector<SnapshotRow>& snapshots,
                         const std::vector<Table>& tables, const std::string& shape,
                         const TableRules& rules) {
  std::map<TableName, const Table*> by_name;
  for (const Table& table : tables) {
    if (HasRowsToCopy(table)) by_name.emplace(table.name, &table);
  }
  for (const PieceRow& piece : pieces) {
    auto found = by_name.find(piece.table);
    if (found == by_name.end()) {
      return Named(piece.table) + " is gone, or not selected any more";
    }
    if (found->second->oid != piece.source_oid) return Named(piece.table) + " was made anew";
    if (RuleText(FindRule(rules, *found->second)) != piece.rule) {
      return absl::StrCat("the rule of ", Named(piece.table), " has changed");
    }
    by_name.erase(found);
  }
  if (!by_name.empty()) return Named(by_name.begin()->first) + " is new";
  // Every snapshot of the copy had the shape of the last, or it would not have gone on under it.
  if (shape != snapshots.back().shape) return "the schema of the selected tables has changed";
  return "";
}

}  // namespace towline
