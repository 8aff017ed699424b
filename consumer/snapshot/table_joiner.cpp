#include "snapshot/table_joiner.h"

#include <algorithm>

#include "base/fault_point.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {

KeyBuilder::Columns IdentityColumns(const Table& table) {
  auto is_identity = [&table](const UniqueIndex& index) {
    switch (table.replica_identity) {
      case ReplicaIdentity::kDefault:
        return index.is_primary;
      case ReplicaIdentity::kIndex:
        return index.is_replica_identity;
      case ReplicaIdentity::kFull:
        return !index.is_partial;
      case ReplicaIdentity::kNothing:
        return false;
    }
    return false;
  };
  auto found = std::find_if(table.unique_indexes.begin(), table.unique_indexes.end(), is_identity);
  return found == table.unique_indexes.end() ? KeyBuilder::Columns() : found->columns;
}

TableJoiner::~TableJoiner() {
  {
    absl::MutexLock lock(&mutex_);
    is_ended_ = true;
  }
  thread_.join();
}

void TableJoiner::Add(const Table& table, KeyBuilder::Columns key, std::vector<size_t> places) {
  absl::MutexLock lock(&mutex_);
  waiting_.push_back({&table, std::move(key), std::move(places)});
}

absl::Status TableJoiner::status() {
  absl::MutexLock lock(&mutex_);
  return status_;
}

bool TableJoiner::AwaitIdle(absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  auto is_idle = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return !status_.ok() || (waiting_.empty() && !is_joining_);
  };
  return joined_.Await(mutex_, is_idle, timeout);
}

void TableJoiner::Work() {
  absl::MutexLock lock(&mutex_);
  while (status_.ok()) {
    auto has_work = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return is_ended_ || !waiting_.empty();
    };
    mutex_.Await(absl::Condition(&has_work));
    if (is_ended_) return;
    const Joining joining = std::move(waiting_.front());
    waiting_.pop_front();
    is_joining_ = true;
    mutex_.Unlock();
    absl::Status joined = Join(joining);
    mutex_.Lock();
    is_joining_ = false;
    status_ = joined;
    joined_.Notify();
  }
}

// An index takes less time than the rows of its table have taken.
bool TableJoiner::HasTimeFor(const Table& table) {
  absl::MutexLock lock(&mutex_);
  return !is_ended_ && waiting_.empty() &&
         progress_.bytes_total - progress_.bytes_done >= table.total_bytes;
}

absl::Status TableJoiner::Join(const Joining& joining) {
  const Table& table = *joining.table;
  const std::string name = QuoteQualified(table.name.schema, table.name.name);
  TOWLINE_ASSIGN_OR_RETURN(bool has_key, keys_.Build(table.name, joining.key));
  FaultPoint("copy:key-built");
  TOWLINE_RETURN_IF_ERROR(keys_.BuildOthers(table.name, [&] { return HasTimeFor(table); }));
  FaultPoint("copy:piece-indexed");
  if (has_key) {
    for (size_t place : joining.places) live_.Finish(place);
    LogInfo("a table joins the stream", {{"table", name}});
  } else {
    LogInfo("a table joins the stream when the copy is complete, as its key cannot be made before",
            {{"table", name}});
  }
  return absl::OkStatus();
}

}  // namespace towline
