#include "verify/recent_changes.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <set>
#include <utility>

#include "base/status_macros.h"

namespace towline {
namespace {

constexpr char kCountsSql[] =
    "SELECT n.nspname, c.relname, pg_catalog.pg_stat_get_tuples_inserted(c.oid) + "
    "pg_catalog.pg_stat_get_tuples_updated(c.oid) + pg_catalog.pg_stat_get_tuples_deleted(c.oid) "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'towline_state')";

int64_t CountOf(const RecentChanges::Counts& counts, const TableName& table) {
  auto found = counts.find(table);
  return found == counts.end() ? 0 : found->second;
}

}  // namespace

absl::Status RecentChanges::Read(Connection& server, Counts* counts) {
  TOWLINE_ASSIGN_OR_RETURN(Result rows, server.Exec(kCountsSql));
  for (int row = 0; row < rows.row_count(); ++row) {
    (*counts)[{rows.GetString(row, 0), rows.GetString(row, 1)}] += rows.GetInt(row, 2);
  }
  return absl::OkStatus();
}

void RecentChanges::Order(const Counts& now, std::vector<TableJob>* jobs) const {
  auto rank = [&](const TableJob& job) {
    auto look = looks_.find(job.report.table);
    if (look == looks_.end()) return std::pair(std::numeric_limits<int64_t>::max(), int64_t{0});
    return std::pair(std::abs(CountOf(now, job.report.table) - look->second.count),
                     -look->second.number);
  };
  std::stable_sort(jobs->begin(), jobs->end(),
                   [&](const TableJob& a, const TableJob& b) { return rank(a) > rank(b); });
  for (TableJob& job : *jobs) {
    auto look = looks_.find(job.report.table);
    if (look != looks_.end()) job.written_since = look->second.begun;
  }
}

void RecentChanges::Compared(const TableName& table, const Counts& now,
                             const std::optional<WriteMark>& begun) {
  Look& look = looks_[table];
  look.count = CountOf(now, table);
  look.number = next_look_++;
  // An older one is still right: more is taken for recent.
  if (begun.has_value()) look.begun = begun;
}

void RecentChanges::Keep(const std::vector<TableJob>& jobs) {
  std::set<TableName> names;
  for (const TableJob& job : jobs) names.insert(job.report.table);
  std::erase_if(looks_, [&names](const auto& entry) { return !names.contains(entry.first); });
}

}  // namespace towline
