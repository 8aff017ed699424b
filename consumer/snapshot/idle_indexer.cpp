#include "snapshot/idle_indexer.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/status_macros.h"
#include "schema/post_data.h"
#include "snapshot/copy_finish.h"
#include "snapshot/post_data_runner.h"

namespace towline {
namespace {

// Nobody waits for what is built in idle time, so it waits for nobody.
constexpr char kLockTimeoutSql[] = "SET lock_timeout = '2s'";

}  // namespace

IdleIndexer::IdleIndexer(Options options, TaskClaim claim, SchemaRun run,
                         std::vector<SchemaStatement> statements,
                         const std::map<TableName, int64_t>& bytes,
                         const std::set<TableName>& left_out)
    : options_(options), claim_(std::move(claim)), run_(std::move(run)), statements_([&] {
        KeepWanted([&](const PostData& found) { return !left_out.contains(found.table); },
                   &statements);
        return std::move(statements);
      }()) {
  absl::MutexLock lock(&mutex_);
  for (const PostDataStep& step : PlanPostData(statements_, bytes)) {
    if (step.at_once.empty()) {
      settings_.insert(settings_.end(), step.in_order.begin(), step.in_order.end());
      continue;
    }
    for (size_t statement : step.at_once) {
      PostData found = ClassifyPostData(statements_[statement].statement);
      auto size = bytes.find(found.table);
      if (size == bytes.end() || size->second > kSerialTableBytesMax) continue;
      jobs_.push_back(
          {statement, std::move(found.table), /*is_alone=*/found.kind != PostDataKind::kIndex});
    }
    break;
  }
}

// The next that waits for no lock of another; nothing: none, or everybody else is done.
std::optional<IdleIndexer::Running> IdleIndexer::Begin(
    absl::FunctionRef<bool(const TableName&)> is_copied, absl::FunctionRef<bool()> is_copying) {
  absl::MutexLock lock(&mutex_);
  if (running_.size() >= options_.sessions_max) return std::nullopt;
  if (running_.empty() && !is_copying()) return std::nullopt;
  auto is_free = [&](const Job& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return std::none_of(running_.begin(), running_.end(), [&job](const Job& other) {
      return other.table == job.table && (other.is_alone || job.is_alone);
    });
  };
  for (auto job = jobs_.begin(); job != jobs_.end(); ++job) {
    if (!is_copied(job->table) || !is_free(*job)) continue;
    running_.splice(running_.begin(), jobs_, job);
    return job;
  }
  return std::nullopt;
}

void IdleIndexer::End(Running job) {
  absl::MutexLock lock(&mutex_);
  running_.erase(job);
}

// The others are at work, so the server's parallel workers would only be in their way.
absl::Status IdleIndexer::Prepare(Connection& session) const {
  TOWLINE_RETURN_IF_ERROR(session.Exec(kLockTimeoutSql).status());
  TOWLINE_RETURN_IF_ERROR(SetIndexMemory(session, options_.index_memory));
  for (size_t setting : settings_) {
    TOWLINE_RETURN_IF_ERROR(ApplySchemaSetting(session, statements_[setting].statement));
  }
  return session.Exec("SET max_parallel_maintenance_workers = 0").status();
}

absl::Status IdleIndexer::Run(Connection& session,
                              absl::FunctionRef<bool(const TableName&)> is_copied,
                              absl::FunctionRef<bool()> is_copying) {
  bool is_prepared = false;
  while (std::optional<Running> job = Begin(is_copied, is_copying)) {
    absl::Status built = is_prepared ? absl::OkStatus() : Prepare(session);
    is_prepared = true;
    if (built.ok()) {
      built = RunSchemaStatement(session, claim_, run_, statements_[(*job)->statement]);
    }
    End(*job);
    if (absl::IsCancelled(built)) return built;
    if (!built.ok()) return GiveUp(session, built);
  }
  return absl::OkStatus();
}

absl::Status IdleIndexer::GiveUp(Connection& session, const absl::Status& refused) {
  TOWLINE_RETURN_IF_ERROR(session.Exec("ROLLBACK").status());
  LogWarning("an index is left until all rows are there",
             {{"because", std::string(refused.message())}});
  absl::MutexLock lock(&mutex_);
  jobs_.clear();
  return absl::OkStatus();
}

}  // namespace towline
