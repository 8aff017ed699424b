#include <cmath>

#include "absl/time/clock.h"
#include "nlohmann/json.hpp"
#include "observe/task_status.h"

namespace towline {
namespace {

// The first digit behind the point is enough for a rate.
double Tenths(double value) { return std::round(value * 10) / 10; }

nlohmann::ordered_json EtaJson(double seconds) {
  return seconds < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(Tenths(seconds));
}

nlohmann::ordered_json TablesJson(const std::vector<TableStatus>& tables) {
  nlohmann::ordered_json array = nlohmann::ordered_json::array();
  for (const TableStatus& table : tables) {
    array.push_back({{"schema", table.name.schema},
                     {"table", table.name.name},
                     {"state", table.state},
                     {"copied_by", table.copied_by},
                     {"bytes_total", table.bytes_total},
                     {"bytes_done", table.bytes_done},
                     {"rows_estimate", table.rows_estimate},
                     {"rows_done", table.rows_done},
                     {"bytes_per_second", Tenths(table.bytes_per_second)},
                     {"rows_per_second", Tenths(table.rows_per_second)},
                     {"eta_seconds", EtaJson(table.eta_seconds)}});
  }
  return array;
}

double ReadEta(const nlohmann::json& json, const char* key) {
  return json.contains(key) && json[key].is_number() ? json[key].get<double>() : -1;
}

nlohmann::ordered_json ConflictsJson(const std::vector<ConflictTotal>& totals) {
  nlohmann::ordered_json array = nlohmann::ordered_json::array();
  for (const ConflictTotal& total : totals) {
    array.push_back(
        {{"type", total.type}, {"resolution", total.resolution}, {"count", total.count}});
  }
  return array;
}

std::vector<ConflictTotal> ReadConflicts(const nlohmann::json& json) {
  std::vector<ConflictTotal> totals;
  if (!json.contains("conflict_totals") || !json["conflict_totals"].is_array()) return totals;
  for (const nlohmann::json& one : json["conflict_totals"]) {
    if (!one.is_object()) continue;
    totals.push_back(
        {one.value("type", ""), one.value("resolution", ""), one.value("count", int64_t{0})});
  }
  return totals;
}

std::vector<TableStatus> ReadTables(const nlohmann::json& json) {
  std::vector<TableStatus> tables;
  if (!json.contains("tables") || !json["tables"].is_array()) return tables;
  for (const nlohmann::json& one : json["tables"]) {
    if (!one.is_object()) continue;
    auto text = [&one](const char* key) {
      return one.contains(key) && one[key].is_string() ? one[key].get<std::string>()
                                                       : std::string();
    };
    auto number = [&one](const char* key, auto& out) {
      if (one.contains(key) && one[key].is_number()) one[key].get_to(out);
    };
    TableStatus& table = tables.emplace_back();
    table.name = {text("schema"), text("table")};
    table.state = text("state");
    table.copied_by = text("copied_by");
    number("bytes_total", table.bytes_total);
    number("bytes_done", table.bytes_done);
    number("rows_estimate", table.rows_estimate);
    number("rows_done", table.rows_done);
    number("bytes_per_second", table.bytes_per_second);
    number("rows_per_second", table.rows_per_second);
    table.eta_seconds = ReadEta(one, "eta_seconds");
  }
  return tables;
}

}  // namespace

// Flat but for the tables, with the names of the fields: what a reader finds in the struct he finds
// here. Durations carry their unit.
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
      {"copy_bytes_per_second", Tenths(status.copy_bytes_per_second)},
      {"copy_rows_per_second", Tenths(status.copy_rows_per_second)},
      {"copy_eta_seconds", EtaJson(status.copy_eta_seconds)},
      {"copy_rate_max", status.copy_rate_max},
      {"copy_rows_max", status.copy_rows_max},
      {"tables", TablesJson(status.tables)},
      {"tables_left_out", status.tables_left_out},
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
      {"spool_transactions", status.spool_transactions},
      {"spool_memory_bytes", status.spool_memory_bytes},
      {"spool_disk_bytes", status.spool_disk_bytes},
      {"wal_status", status.wal_status},
      {"slot_safe_wal_bytes", status.slot_safe_wal_bytes},
      {"slot_retained_bytes", status.slot_retained_bytes},
      {"waiting_for", status.waiting_for},
      {"retries", status.retries},
      {"retry_in_seconds", seconds(status.retry_in)},
      {"retry_window_left_seconds", seconds(status.retry_window_left)},
      {"conflicts", status.conflicts},
      {"conflict_totals", ConflictsJson(status.conflict_totals)},
      {"prepared", status.prepared},
      {"prepared_oldest_seconds", status.prepared_oldest_seconds},
  };
  // Names of servers may hold any bytes; the answer must go through all the same.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

absl::StatusOr<TaskStatus> TaskStatusFromJson(absl::string_view text) {
  nlohmann::json json = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  if (!json.is_object()) return absl::InvalidArgumentError("not a status object");
  auto read_text = [&json](const char* key) {
    return json.contains(key) && json[key].is_string() ? json[key].get<std::string>()
                                                       : std::string();
  };
  auto read_number = [&json](const char* key, auto& out) {
    if (json.contains(key) && json[key].is_number()) json[key].get_to(out);
  };
  auto read_lsn = [&](const char* key) { return Lsn::Parse(read_text(key)).value_or(Lsn()); };
  auto read_seconds = [&](const char* key) {
    double seconds = 0;
    read_number(key, seconds);
    return absl::Seconds(seconds);
  };
  TaskStatus status;
  status.task = read_text("task");
  status.state = read_text("state");
  status.slot = read_text("slot");
  status.source = read_text("source");
  status.destination = read_text("destination");
  status.wal_status = read_text("wal_status");
  status.waiting_for = read_text("waiting_for");
  absl::ParseTime(absl::RFC3339_full, read_text("since"), &status.since, nullptr);
  status.source_flush_lsn = read_lsn("source_flush_lsn");
  status.received_lsn = read_lsn("received_lsn");
  status.position = read_lsn("position");
  status.durable_lsn = read_lsn("durable_lsn");
  status.retry_in = read_seconds("retry_in_seconds");
  status.retry_window_left = read_seconds("retry_window_left_seconds");
  read_number("epoch", status.epoch);
  read_number("pid", status.pid);
  read_number("tables_total", status.tables_total);
  read_number("tables_done", status.tables_done);
  read_number("copy_bytes_total", status.copy_bytes_total);
  read_number("copy_bytes_done", status.copy_bytes_done);
  read_number("copy_rows_done", status.copy_rows_done);
  read_number("statements_total", status.statements_total);
  read_number("statements_done", status.statements_done);
  read_number("copy_bytes_per_second", status.copy_bytes_per_second);
  read_number("copy_rows_per_second", status.copy_rows_per_second);
  status.copy_eta_seconds = ReadEta(json, "copy_eta_seconds");
  read_number("copy_rate_max", status.copy_rate_max);
  read_number("copy_rows_max", status.copy_rows_max);
  status.tables = ReadTables(json);
  read_number("tables_left_out", status.tables_left_out);
  read_number("lag_bytes", status.lag_bytes);
  read_number("lag_seconds", status.lag_seconds);
  read_number("rows_inserted", status.rows_inserted);
  read_number("rows_updated", status.rows_updated);
  read_number("rows_deleted", status.rows_deleted);
  read_number("truncates", status.truncates);
  read_number("batches", status.batches);
  read_number("transactions", status.transactions);
  read_number("received_bytes", status.received_bytes);
  read_number("queue_bytes", status.queue_bytes);
  read_number("spool_transactions", status.spool_transactions);
  read_number("spool_memory_bytes", status.spool_memory_bytes);
  read_number("spool_disk_bytes", status.spool_disk_bytes);
  read_number("slot_safe_wal_bytes", status.slot_safe_wal_bytes);
  read_number("slot_retained_bytes", status.slot_retained_bytes);
  read_number("retries", status.retries);
  read_number("conflicts", status.conflicts);
  status.conflict_totals = ReadConflicts(json);
  read_number("prepared", status.prepared);
  read_number("prepared_oldest_seconds", status.prepared_oldest_seconds);
  return status;
}

}  // namespace towline
