#include "snapshot/copy_plan.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace towline {
namespace {

void PlanTable(const Table& table, size_t index, const PlanOptions& options,
               std::vector<CopyPart>* parts) {
  CopyPart whole;
  whole.table = index;
  whole.bytes = table.total_bytes;
  bool is_divided = options.part_bytes > 0 && options.has_ctid_ranges && table.page_count > 1 &&
                    table.total_bytes > options.part_bytes;
  if (!is_divided) {
    parts->push_back(whole);
    return;
  }
  // TOAST lies apart, so a page of the heap stands for more bytes than it has.
  int64_t count =
      std::min((table.total_bytes + options.part_bytes - 1) / options.part_bytes, table.page_count);
  int64_t bytes_left = whole.bytes;
  for (int64_t number = 0; number < count; ++number) {
    CopyPart part = whole;
    part.is_whole = false;
    part.first_page = table.page_count * number / count;
    bool is_last = number == count - 1;
    part.end_page = is_last ? -1 : table.page_count * (number + 1) / count;
    part.bytes = is_last ? bytes_left : whole.bytes / count;
    bytes_left -= part.bytes;
    parts->push_back(part);
  }
}

}  // namespace

bool HasRowsToCopy(const Table& table) { return table.kind == 'r' && table.persistence == 'p'; }

std::vector<CopyPart> PlanParts(const std::vector<Table>& tables, const PlanOptions& options) {
  std::vector<size_t> order(tables.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&tables](size_t a, size_t b) {
    return tables[a].total_bytes > tables[b].total_bytes;
  });
  std::vector<CopyPart> parts;
  for (size_t index : order) {
    if (!HasRowsToCopy(tables[index])) continue;
    PlanTable(tables[index], index, options, &parts);
  }
  return parts;
}

std::string PartCondition(const CopyPart& part) {
  std::vector<std::string> conditions;
  if (part.first_page > 0) {
    conditions.push_back(absl::StrCat("ctid >= '(", part.first_page, ",0)'::tid"));
  }
  if (part.end_page >= 0) {
    conditions.push_back(absl::StrCat("ctid < '(", part.end_page, ",0)'::tid"));
  }
  if (!part.key_condition.empty()) conditions.push_back(part.key_condition);
  if (!part.after.empty()) conditions.push_back(absl::StrCat("ctid > '", part.after, "'::tid"));
  return absl::StrJoin(conditions, " AND ");
}

}  // namespace towline
