#include "verify/table_plan.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "verify/table_pairs.h"

namespace towline {
namespace {

class TablePlan {
 public:
  TablePlan(Connection& source, const TablePlanOptions& options)
      : source_(source), options_(options), rules_(options.rules) {}

  absl::StatusOr<std::vector<SourceTable>> ReadSourceTables() {
    TableSelection selection = options_.selection;
    extension_rows_ = options_.extension_rows;
    if (options_.finds_extension_tables) {
      TOWLINE_ASSIGN_OR_RETURN(extension_rows_, ReadExtensionRows(source_));
      for (const auto& [table, condition] : extension_rows_) {
        selection.extension_tables.push_back(table);
      }
    }
    TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> tables, ReadTables(source_, selection));
    // Rows stand in leaves; those of an unlogged table are not in the log.
    std::erase_if(tables,
                  [](const Table& table) { return table.kind == 'p' || table.persistence == 'u'; });
    extension_rows_ = SelectedRows(extension_rows_, tables);
    rules_ = options_.rules;
    if (options_.finds_extension_tables) AddExtensionRules(extension_rows_, &rules_);
    std::vector<std::string> shapes;
    for (const Table& table : tables) shapes.push_back(ShapeOf(table));
    TOWLINE_ASSIGN_OR_RETURN(
        tables, PublishTables(source_, rules_, std::move(tables), AssignmentCheck::kSkip));
    std::vector<SourceTable> published;
    for (size_t i = 0; i < tables.size(); ++i) {
      published.push_back({std::move(tables[i]), std::move(shapes[i])});
    }
    return published;
  }

  TableJob Plan(const TablePair& pair, RowHash hash) const {
    const Table& source = pair.source;
    TableJob job;
    job.report.table = source.name;
    job.bytes = source.total_bytes;
    job.shape = pair.shape;
    const TableRule* rule = FindRule(rules_, source);
    auto decide = [&job](VerifyVerdict verdict, std::string note) {
      job.report.verdict = verdict;
      job.report.note = std::move(note);
    };
    if (auto apart = options_.apart.find(source.name); apart != options_.apart.end()) {
      decide(VerifyVerdict::kUndecided, apart->second);
    } else if (rule != nullptr && rule->operations != RuleOperations()) {
      decide(VerifyVerdict::kUndecided,
             "its rule leaves operations out, so the two may differ; leave it out (--exclude)");
    } else if (auto shared = options_.shared.find(source.name);
               shared != options_.shared.end() &&
               !shared->second.contains(SharedText(RuleText(rule)))) {
      decide(VerifyVerdict::kUndecided,
             "its rows at the destination are of several tasks, or were when it was copied, and "
             "its rule does not say the same of them as then (shared)");
    } else if (!pair.undecided.empty()) {
      decide(VerifyVerdict::kUndecided, pair.undecided);
    } else if (pair.destination.oid == 0) {
      decide(VerifyVerdict::kDifferent, "it is missing at the destination");
    } else if (!pair.misfit.empty()) {
      decide(VerifyVerdict::kDifferent, absl::StrJoin(pair.misfit, "; "));
    } else {
      auto condition = extension_rows_.find(source.name);
      std::string own = rule == nullptr ? "" : SharedCondition(*rule);
      if (condition != extension_rows_.end()) {
        own = absl::StrCat(AsOperand(condition->second), own.empty() ? "" : " AND ", own);
      }
      job.table = MakeComparedTable(source, pair.destination, rule, own, hash);
    }
    return job;
  }

 private:
  Connection& source_;
  const TablePlanOptions& options_;
  TableRules rules_;              // with those of extensions
  ExtensionRows extension_rows_;  // of the selected tables
};

}  // namespace

absl::StatusOr<std::vector<TableJob>> PlanTables(Connection& source, Connection& destination,
                                                 Follower follower, const TablePlanOptions& options,
                                                 const Shutdown& shutdown) {
  TablePlan plan(source, options);
  TOWLINE_ASSIGN_OR_RETURN(std::vector<TablePair> pairs,
                           ReadTablePairs([&plan] { return plan.ReadSourceTables(); }, source,
                                          destination, std::move(follower), shutdown));
  TOWLINE_ASSIGN_OR_RETURN(const RowHash hash, ChooseHash(source, destination));
  std::vector<TableJob> jobs;
  for (const TablePair& pair : pairs) jobs.push_back(plan.Plan(pair, hash));
  std::stable_sort(jobs.begin(), jobs.end(),
                   [](const TableJob& a, const TableJob& b) { return a.bytes > b.bytes; });
  return jobs;
}

}  // namespace towline
