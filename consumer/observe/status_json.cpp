#include "absl/time/clock.h"
#include "nlohmann/json.hpp"
#include "observe/task_status.h"

namespace towline {

// Flat, with the names of the fields: what a reader finds in the struct he finds here. Durations
// carry their unit.
std::string TaskStatusToJson(const TaskStatus& status) {
  auto lsn = [](Lsn value) { return value.is_valid() ? value.ToString() : std::string(); };
  auto seconds = [](absl::Duration time) { return absl::ToDoubleSeconds(time); };
  bool is_since_known = status.since != absl::Time() && status.since != absl::UnixEpoch();
  nlohmann::ordered_json json = {
      {"task", status.task},
      {"state", status.state},
      {"since", is_since_known
                    ? absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", status.since, absl::UTCTimeZone())
                    : ""},
      {"state_seconds", is_since_known ? seconds(absl::Now() - status.since) : 0},
      {"slot", status.slot},
      {"source", status.source},
      {"destination", status.destination},
      {"epoch", status.epoch},
      {"pid", status.pid},
      {"tables_total", status.tables_total},
      {"tables_done", status.tables_done},
      {"copy_bytes_total", status.copy_bytes_total},
      {"copy_bytes_done", status.copy_bytes_done},
      {"copy_rows_done", status.copy_rows_done},
      {"statements_total", status.statements_total},
      {"statements_done", status.statements_done},
      {"source_flush_lsn", lsn(status.source_flush_lsn)},
      {"received_lsn", lsn(status.received_lsn)},
      {"position", lsn(status.position)},
      {"durable_lsn", lsn(status.durable_lsn)},
      {"lag_bytes", status.lag_bytes},
      {"lag_seconds", status.lag_seconds},
      {"rows_inserted", status.rows_inserted},
      {"rows_updated", status.rows_updated},
      {"rows_deleted", status.rows_deleted},
      {"truncates", status.truncates},
      {"batches", status.batches},
      {"transactions", status.transactions},
      {"received_bytes", status.received_bytes},
      {"queue_bytes", status.queue_bytes},
      {"wal_status", status.wal_status},
      {"slot_safe_wal_bytes", status.slot_safe_wal_bytes},
      {"slot_retained_bytes", status.slot_retained_bytes},
      {"waiting_for", status.waiting_for},
      {"retries", status.retries},
      {"retry_in_seconds", seconds(status.retry_in)},
      {"retry_window_left_seconds", seconds(status.retry_window_left)},
      {"conflicts", status.conflicts},
  };
  // Names of servers may hold any bytes; the answer must go through all the same.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace towline
