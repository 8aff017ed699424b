#include <cmath>

#include "absl/time/clock.h"
#include "base/stage_clock.h"
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
                     {"reason", table.reason},
                     {"bytes_total", table.bytes_total},
                     {"bytes_done", table.bytes_done},
                     {"rows_estimate", table.rows_estimate},
                     {"rows_done", table.rows_done},
                     {"bytes_per_second", Tenths(table.bytes_per_second)},
                     {"rows_per_second", Tenths(table.rows_per_second)},
                     {"eta_seconds", EtaJson(table.eta_seconds)},
                     {"seconds", EtaJson(table.seconds)},
                     {"workers", table.workers}});
  }
  return array;
}

nlohmann::ordered_json StagesJson(const TaskStatus& status) {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  for (const auto& [stage, seconds] : status.stage_seconds) {
    object[stage] = std::round(seconds * 1e6) / 1e6;
  }
  return object;
}

nlohmann::ordered_json TableChangesJson(const std::vector<TableChanges>& tables) {
  nlohmann::ordered_json array = nlohmann::ordered_json::array();
  for (const TableChanges& table : tables) {
    array.push_back({{"schema", table.name.schema},
                     {"table", table.name.name},
                     {"inserted", table.inserted},
                     {"updated", table.updated},
                     {"deleted", table.deleted},
                     {"truncated", table.truncated}});
  }
  return array;
}

nlohmann::ordered_json NamesJson(const std::vector<TableName>& names) {
  nlohmann::ordered_json array = nlohmann::ordered_json::array();
  for (const TableName& name : names)
    array.push_back({{"schema", name.schema}, {"table", name.name}});
  return array;
}

std::vector<TableName> ReadNames(const nlohmann::json& json, const char* key) {
  std::vector<TableName> names;
  if (!json.contains(key) || !json[key].is_array()) return names;
  for (const nlohmann::json& one : json[key]) {
    if (one.is_object()) names.push_back({one.value("schema", ""), one.value("table", "")});
  }
  return names;
}

nlohmann::ordered_json NotesJson(const std::vector<TableNote>& notes) {
  nlohmann::ordered_json array = nlohmann::ordered_json::array();
  for (const TableNote& note : notes) {
    array.push_back({{"schema", note.name.schema},
                     {"table", note.name.name},
                     {"state", note.state},
                     {"text", note.text}});
  }
  return array;
}

std::vector<TableNote> ReadNotes(const nlohmann::json& json) {
  std::vector<TableNote> notes;
  if (!json.contains("table_notes") || !json["table_notes"].is_array()) return notes;
  for (const nlohmann::json& one : json["table_notes"]) {
    if (!one.is_object()) continue;
    notes.push_back({{one.value("schema", ""), one.value("table", "")},
                     one.value("state", ""),
                     one.value("text", "")});
  }
  return notes;
}

// Milliseconds and the first digit behind them.
nlohmann::ordered_json LatencyJson(double seconds) {
  return seconds < 0 ? nlohmann::ordered_json()
                     : nlohmann::ordered_json(std::round(seconds * 1e4) / 1e4);
}

nlohmann::ordered_json RowsJson(int64_t rows) {
  return rows < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(rows);
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

void ReadStages(const nlohmann::json& json, TaskStatus& status) {
  if (!json.contains("stage_seconds") || !json["stage_seconds"].is_object()) return;
  for (size_t i = 1; i < kStageCount; ++i) {
    const char* name = NameOf(static_cast<Stage>(i));
    const auto seconds = json["stage_seconds"].find(name);
    if (seconds == json["stage_seconds"].end() || !seconds->is_number()) continue;
    status.stage_seconds.emplace_back(name, seconds->get<double>());
  }
}

std::vector<TableChanges> ReadTableChanges(const nlohmann::json& json) {
  std::vector<TableChanges> tables;
  if (!json.contains("table_changes") || !json["table_changes"].is_array()) return tables;
  for (const nlohmann::json& one : json["table_changes"]) {
    if (!one.is_object()) continue;
    tables.push_back({{one.value("schema", ""), one.value("table", "")},
                      one.value("inserted", int64_t{0}),
                      one.value("updated", int64_t{0}),
                      one.value("deleted", int64_t{0}),
                      one.value("truncated", int64_t{0})});
  }
  return tables;
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
    table.reason = text("reason");
    number("bytes_total", table.bytes_total);
    number("bytes_done", table.bytes_done);
    number("rows_estimate", table.rows_estimate);
    number("rows_done", table.rows_done);
    number("bytes_per_second", table.bytes_per_second);
    number("rows_per_second", table.rows_per_second);
    table.eta_seconds = ReadEta(one, "eta_seconds");
    table.seconds = ReadEta(one, "seconds");
    number("workers", table.workers);
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
      {"copy_speed_percent", status.copy_speed_percent},
      {"copy_gives_way_to", status.copy_gives_way_to},
      {"copy_note", status.copy_note},
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
      {"batches_refused", status.batches_refused},
      {"batches_clashed", status.batches_clashed},
      {"transactions", status.transactions},
      {"received_bytes", status.received_bytes},
      {"queue_bytes", status.queue_bytes},
      {"latency_p50_seconds", LatencyJson(status.latency_p50_seconds)},
      {"latency_p99_seconds", LatencyJson(status.latency_p99_seconds)},
      {"batch_rows_p50", RowsJson(status.batch_rows_p50)},
      {"batch_rows_p99", RowsJson(status.batch_rows_p99)},
      {"stage_seconds", StagesJson(status)},
      {"table_changes", TableChangesJson(status.table_changes)},
      {"table_changes_left_out", status.table_changes_left_out},
      {"parked_total", status.parked_total},
      {"parked", NamesJson(status.parked)},
      {"table_notes", NotesJson(status.table_notes)},
      {"heal_tables_total", status.heal.tables_total},
      {"heal_tables_done", status.heal.tables_done},
      {"heal_missing", status.heal.missing},
      {"heal_extra", status.heal.extra},
      {"heal_different", status.heal.different},
      {"verify_run", status.verify.run},
      {"verify_mode", status.verify.mode},
      {"verify_verdict", status.verify.verdict},
      {"verify_finished_at", status.verify.finished_at_s},
      {"verify_tables", status.verify.tables},
      {"verify_tables_different", status.verify.tables_different},
      {"verify_tables_undecided", status.verify.tables_undecided},
      {"verify_rows_different", status.verify.rows_different},
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
      {"conflict_rows_dropped", status.conflict_rows_dropped},
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
  status.copy_note = read_text("copy_note");
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
  read_number("copy_speed_percent", status.copy_speed_percent);
  status.copy_gives_way_to = read_text("copy_gives_way_to");
  status.tables = ReadTables(json);
  read_number("tables_left_out", status.tables_left_out);
  read_number("lag_bytes", status.lag_bytes);
  read_number("lag_seconds", status.lag_seconds);
  read_number("rows_inserted", status.rows_inserted);
  read_number("rows_updated", status.rows_updated);
  read_number("rows_deleted", status.rows_deleted);
  read_number("truncates", status.truncates);
  read_number("batches", status.batches);
  read_number("batches_refused", status.batches_refused);
  read_number("batches_clashed", status.batches_clashed);
  read_number("transactions", status.transactions);
  read_number("received_bytes", status.received_bytes);
  read_number("queue_bytes", status.queue_bytes);
  read_number("latency_p50_seconds", status.latency_p50_seconds);
  read_number("latency_p99_seconds", status.latency_p99_seconds);
  read_number("batch_rows_p50", status.batch_rows_p50);
  read_number("batch_rows_p99", status.batch_rows_p99);
  ReadStages(json, status);
  status.table_changes = ReadTableChanges(json);
  read_number("table_changes_left_out", status.table_changes_left_out);
  read_number("parked_total", status.parked_total);
  status.parked = ReadNames(json, "parked");
  status.table_notes = ReadNotes(json);
  read_number("heal_tables_total", status.heal.tables_total);
  read_number("heal_tables_done", status.heal.tables_done);
  read_number("heal_missing", status.heal.missing);
  read_number("heal_extra", status.heal.extra);
  read_number("heal_different", status.heal.different);
  read_number("verify_run", status.verify.run);
  status.verify.mode = json.value("verify_mode", "");
  status.verify.verdict = json.value("verify_verdict", "");
  read_number("verify_finished_at", status.verify.finished_at_s);
  read_number("verify_tables", status.verify.tables);
  read_number("verify_tables_different", status.verify.tables_different);
  read_number("verify_tables_undecided", status.verify.tables_undecided);
  read_number("verify_rows_different", status.verify.rows_different);
  read_number("spool_transactions", status.spool_transactions);
  read_number("spool_memory_bytes", status.spool_memory_bytes);
  read_number("spool_disk_bytes", status.spool_disk_bytes);
  read_number("slot_safe_wal_bytes", status.slot_safe_wal_bytes);
  read_number("slot_retained_bytes", status.slot_retained_bytes);
  read_number("retries", status.retries);
  read_number("conflicts", status.conflicts);
  status.conflict_totals = ReadConflicts(json);
  read_number("conflict_rows_dropped", status.conflict_rows_dropped);
  read_number("prepared", status.prepared);
  read_number("prepared_oldest_seconds", status.prepared_oldest_seconds);
  return status;
}

}  // namespace towline
