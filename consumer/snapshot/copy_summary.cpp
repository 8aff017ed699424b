#include "snapshot/copy_summary.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/format.h"
#include "base/log.h"
#include "base/steady_clock.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// The log stays readable with ten thousand tables; most of them are over at once.
constexpr size_t kTablesLoggedMax = 20;

std::string Seconds(absl::Duration duration) {
  return absl::StrFormat("%.1fs", absl::ToDoubleSeconds(duration));
}

}  // namespace

CopySummary::CopySummary() : began_(SteadyNow()), step_began_(began_) {}

void CopySummary::EndStep(std::string name, const Amount& amount) {
  absl::Time now = SteadyNow();
  steps_.push_back({std::move(name), now - step_began_, amount});
  step_began_ = now;
}

void CopySummary::Log() const {
  for (const Step& step : steps_) {
    std::vector<std::string> done;
    auto add = [&done](int64_t count, const char* noun) {
      if (count >= 0) done.push_back(absl::StrCat(FormatCount(count), " ", noun));
    };
    add(step.amount.statements, "statements");
    add(step.amount.tables, "tables");
    add(step.amount.rows, "rows");
    if (step.amount.bytes >= 0) done.push_back(FormatBytes(step.amount.bytes));
    add(step.amount.workers, "workers");
    LogInfo("copy summary", {{"step", step.name},
                             {"duration", Seconds(step.duration)},
                             {"done", absl::StrJoin(done, ", ")}});
  }
  LogInfo("copy summary", {{"step", "all"}, {"duration", Seconds(step_began_ - began_)}});
}

void LogSlowestTables(const TableProgress& tables) {
  const std::vector<TableStatus> slowest = tables.Slowest(kTablesLoggedMax);
  for (const TableStatus& table : slowest) {
    if (table.seconds < 0) continue;
    LogInfo("copied table", {{"table", QuoteQualified(table.name.schema, table.name.name)},
                             {"duration", Seconds(absl::Seconds(table.seconds))},
                             {"rows", FormatCount(table.rows_done)},
                             {"size", FormatBytes(table.bytes_total)},
                             {"workers", absl::StrCat(table.workers)},
                             {"by", absl::StrCat(table.copied_by, " because ", table.reason)}});
  }
  if (tables.size() > slowest.size()) {
    LogInfo("copied tables that took less time",
            {{"tables", absl::StrCat(tables.size() - slowest.size())}});
  }
}

}  // namespace towline
