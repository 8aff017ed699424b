#include "verify/recent_ranges.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace towline {
namespace {

constexpr int64_t kSampledPagesPerRange = 2;

absl::StatusOr<uint64_t> ReadOldestRunning(Connection& session) {
  TOWLINE_ASSIGN_OR_RETURN(
      std::string text,
      session.QueryValue(
          "SELECT pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot())"));
  uint64_t number = 0;
  if (absl::SimpleAtoi(text, &number)) return number;
  return absl::InternalError(absl::StrCat("\"", text, "\" is no transaction number"));
}

absl::Status AddWritten(Connection& session, const SideQuery& side, double percent, uint64_t mark,
                        RangeCounts* written) {
  TOWLINE_ASSIGN_OR_RETURN(Result rows, session.Exec(side.WrittenSinceSql(percent, mark)));
  for (int row = 0; row < rows.row_count(); ++row) {
    (*written)[rows.GetInt(row, 0)] += rows.GetInt(row, 1);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<WriteMark> ReadWriteMark(Connection& source, Connection& destination) {
  WriteMark mark;
  TOWLINE_ASSIGN_OR_RETURN(mark.source, ReadOldestRunning(source));
  TOWLINE_ASSIGN_OR_RETURN(mark.destination, ReadOldestRunning(destination));
  return mark;
}

absl::StatusOr<RangeCounts> CountWrittenSince(Connection& source, Connection& destination,
                                              const ComparedTable& table, const WriteMark& mark) {
  const double pages_wanted =
      static_cast<double>(kSampledPagesPerRange * table.source.buckets.size());
  const double percent = std::min(
      100.0, 100.0 * pages_wanted / static_cast<double>(std::max<int64_t>(1, table.pages)));
  RangeCounts written;
  TOWLINE_RETURN_IF_ERROR(AddWritten(source, table.source, percent, mark.source, &written));
  TOWLINE_RETURN_IF_ERROR(
      AddWritten(destination, table.destination, percent, mark.destination, &written));
  return written;
}

std::vector<int64_t> OrderByWritten(const std::vector<int64_t>& numbers, size_t step,
                                    const RangeCounts& written) {
  std::vector<std::pair<int64_t, size_t>> steps;  // rows written, where it begins
  for (size_t at = 0; at < numbers.size(); at += step) {
    int64_t rows = 0;
    for (size_t i = at; i < std::min(numbers.size(), at + step); ++i) {
      auto found = written.find(numbers[i]);
      if (found != written.end()) rows += found->second;
    }
    steps.emplace_back(rows, at);
  }
  std::stable_sort(steps.begin(), steps.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<int64_t> ordered;
  for (const auto& [rows, at] : steps) {
    const size_t end = std::min(numbers.size(), at + step);
    ordered.insert(ordered.end(), numbers.begin() + static_cast<std::ptrdiff_t>(at),
                   numbers.begin() + static_cast<std::ptrdiff_t>(end));
  }
  return ordered;
}

}  // namespace towline
