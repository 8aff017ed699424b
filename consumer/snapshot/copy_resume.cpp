#include "snapshot/copy_resume.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "pg/quoting.h"
#include "snapshot/copy_plan.h"
#include "snapshot/copy_start.h"

namespace towline {
namespace {

// So many tables are named in a line.
constexpr size_t kNamedMax = 5;

std::string Named(const TableName& name) {
  return absl::StrCat("table ", QuoteQualified(name.schema, name.name));
}

// It came while an earlier try went on, and nobody has copied it.
bool IsOfTheStream(const PieceRow& piece) {
  return piece.state == "streamed" && piece.snapshot_number == 0;
}

std::string WhyChanged(const PieceRow& piece, const std::map<TableName, std::string>& shapes,
                       const Table& table, const TableRules& rules) {
  if (IsOfTheStream(piece)) return kTableIsNew;
  if (table.oid != piece.source_oid) return "it was made anew";
  if (RuleText(FindRule(rules, table)) != piece.rule) return "its rule has changed";
  auto shape = shapes.find(piece.table);
  if (shape == shapes.end()) {
    return piece.state == "copied" ? "an older version of towline has copied it" : kTableNotBegun;
  }
  const std::string now = TableShape(table);
  return shape->second == now ? "" : DescribeShapeChange(shape->second, now);
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

std::map<TableName, std::string> ChangedTables(const std::vector<PieceRow>& pieces,
                                               const std::map<TableName, std::string>& shapes,
                                               const std::vector<Table>& tables,
                                               const TableRules& rules) {
  std::map<TableName, const Table*> by_name;
  for (const Table& table : tables) {
    if (HasRowsToCopy(table)) by_name.emplace(table.name, &table);
  }
  std::map<TableName, std::string> changed;
  for (const PieceRow& piece : pieces) {
    if (piece.is_out_of_stream()) {
      by_name.erase(piece.table);
      continue;
    }
    auto found = by_name.find(piece.table);
    if (found == by_name.end()) {
      changed[piece.table] = kTableIsGone;
      continue;
    }
    std::string why = WhyChanged(piece, shapes, *found->second, rules);
    if (!why.empty()) changed[piece.table] = std::move(why);
    by_name.erase(found);
  }
  for (const auto& [name, table] : by_name) changed[name] = kTableIsNew;
  return changed;
}

bool IsWorthKeeping(const PieceRow& piece) {
  return piece.state == "copied" || piece.is_out_of_stream() ||
         (piece.key.has_value() && piece.state != "again");
}

std::string DescribeGoingOn(int64_t kept, int64_t total,
                            const std::map<TableName, std::string>& again) {
  std::string text = absl::StrCat(kept, " of ", total, " tables were done and stay");
  size_t named = 0;
  for (const auto& [table, why] : again) {
    if (++named > kNamedMax) break;
    absl::StrAppend(&text, named == 1 ? "; not so " : ", ",
                    QuoteQualified(table.schema, table.name), " (", why, ")");
  }
  if (again.size() > kNamedMax) {
    absl::StrAppend(&text, " and ", again.size() - kNamedMax, " more");
  }
  return text;
}

}  // namespace towline
