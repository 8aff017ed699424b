#include "snapshot/idle_indexer.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/status_macros.h"
#include "schema/post_data.h"
#include "snapshot/post_data_runner.h"
#include "snapshot/table_copier.h"

namespace towline {
namespace {

// Nobody waits for what is built in idle time, so it waits for nobody.
constexpr char kLockTimeoutSql[] = "SET lock_timeout = '2s'";

}  // namespace

IdleIndexer::IdleIndexer(Connection& session, TaskClaim claim, SchemaRun run,
                         std::vector<SchemaStatement> statements,
                         const std::map<TableName, int64_t>& bytes,
                         const std::set<TableName>& left_out, const Shutdown& shutdown)
    : session_(session),
      shutdown_(shutdown),
      claim_(std::move(claim)),
      run_(std::move(run)),
      statements_([&] {
        KeepWanted([&](const PostData& found) { return !left_out.contains(found.table); },
                   &statements);
        return std::move(statements);
      }()) {
  for (const PostDataStep& step : PlanPostData(statements_, bytes)) {
    if (step.at_once.empty()) {
      settings_.insert(settings_.end(), step.in_order.begin(), step.in_order.end());
      continue;
    }
    for (size_t statement : step.at_once) {
      TableName table = ClassifyPostData(statements_[statement].statement).table;
      auto size = bytes.find(table);
      if (size == bytes.end() || size->second > kSerialTableBytesMax) continue;
      jobs_.push_back({statement, std::move(table)});
    }
    break;
  }
}

// The others are at work, so the server's parallel workers would only be in their way.
absl::Status IdleIndexer::Prepare() {
  TOWLINE_RETURN_IF_ERROR(session_.Exec(kLockTimeoutSql).status());
  if (is_prepared_) return absl::OkStatus();
  for (size_t setting : settings_) {
    TOWLINE_RETURN_IF_ERROR(ApplySchemaSetting(session_, statements_[setting].statement));
  }
  TOWLINE_RETURN_IF_ERROR(session_.Exec("SET max_parallel_maintenance_workers = 0").status());
  is_prepared_ = true;
  return absl::OkStatus();
}

absl::Status IdleIndexer::Run(const Shutdown& stop,
                              absl::FunctionRef<bool(const TableName&)> is_copied,
                              absl::FunctionRef<bool()> is_copying) {
  session_.set_shutdown(stop);
  absl::Status status = BuildWhile(is_copied, is_copying);
  if (!status.ok() && !absl::IsCancelled(status)) status = GiveUp(status);
  if (status.ok()) status = session_.Exec(kCopyLockTimeoutSql).status();
  session_.set_shutdown(shutdown_);
  return status;
}

absl::Status IdleIndexer::GiveUp(const absl::Status& refused) {
  TOWLINE_RETURN_IF_ERROR(session_.Exec("ROLLBACK").status());
  LogWarning("an index is left until all rows are there",
             {{"because", std::string(refused.message())}});
  jobs_.clear();
  return absl::OkStatus();
}

absl::Status IdleIndexer::BuildWhile(absl::FunctionRef<bool(const TableName&)> is_copied,
                                     absl::FunctionRef<bool()> is_copying) {
  while (is_copying()) {
    auto job = std::find_if(jobs_.begin(), jobs_.end(),
                            [&](const Job& each) { return is_copied(each.table); });
    if (job == jobs_.end()) return absl::OkStatus();
    TOWLINE_RETURN_IF_ERROR(Prepare());
    TOWLINE_RETURN_IF_ERROR(
        RunSchemaStatement(session_, claim_, run_, statements_[job->statement]));
    jobs_.erase(job);
  }
  return absl::OkStatus();
}

}  // namespace towline
