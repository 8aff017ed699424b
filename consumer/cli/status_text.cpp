#include "cli/status_text.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "base/format.h"
#include "nlohmann/json.hpp"
#include "pg/quoting.h"

namespace towline {
namespace {

constexpr size_t kChangedTablesShown = 5;
constexpr size_t kParkedShown = 10;

void AddLine(std::string& out, absl::string_view name, absl::string_view text) {
  if (text.empty()) return;
  // Messages of servers have lines of their own.
  std::string line = absl::StrReplaceAll(text, {{"\n\t", " "}, {"\n", " "}});
  absl::StrAppend(&out, absl::StrFormat("  %-12s %s\n", name, line));
}

std::string StateText(const KnownTask& task) {
  const TaskStatus& status = task.status;
  std::string text = status.state;
  if (task.is_elsewhere) return absl::StrCat(text, " (not here: ", task.ran_at, ")");
  if (!task.is_running) {
    bool is_phase = task.phase.empty() || task.phase == status.state;
    return absl::StrCat("not running (stopped while ", is_phase ? status.state : task.phase,
                        is_phase ? ")" : absl::StrCat(", ", status.state, ")"));
  }
  if (status.state == "retrying") {
    absl::StrAppend(&text, ", next try in ", towline::FormatDuration(status.retry_in),
                    ", gives up in ", towline::FormatDuration(status.retry_window_left));
  } else if (status.since > absl::UnixEpoch()) {
    absl::StrAppend(&text, " for ", towline::FormatDuration(absl::Now() - status.since));
  }
  return text;
}

std::string SlotText(const TaskStatus& status) {
  if (status.slot.empty()) return "";
  std::string text = status.slot;
  if (status.wal_status.empty()) return text;
  absl::StrAppend(&text, ": keeps ", FormatBytes(status.slot_retained_bytes), " of log, ",
                  status.wal_status);
  if (status.slot_safe_wal_bytes >= 0) {
    absl::StrAppend(&text, ", in danger after ", FormatBytes(status.slot_safe_wal_bytes), " more");
  }
  return text;
}

std::string LagText(const TaskStatus& status) {
  return absl::StrCat(FormatBytes(status.lag_bytes), ", ",
                      absl::StrFormat("%.1f s", status.lag_seconds));
}

std::string SpoolText(const TaskStatus& status) {
  if (status.spool_transactions == 0) return "";
  return absl::StrCat(FormatCount(status.spool_transactions), " transactions, ",
                      FormatBytes(status.spool_memory_bytes), " in memory, ",
                      FormatBytes(status.spool_disk_bytes), " on disk");
}

// Before the stream begins there is nothing to lag behind.
bool HasLag(const KnownTask& task) {
  if (!task.is_running) return false;
  for (const char* state : {"new", "checking", "copying_schema", "copying", "indexing"}) {
    if (task.status.state == state) return false;
  }
  return true;
}

// Of a time that may be a millisecond or hours.
std::string ShortTime(double seconds) {
  if (seconds < 1) return absl::StrFormat("%.1f ms", seconds * 1e3);
  if (seconds < 60) return absl::StrFormat("%.1f s", seconds);
  return towline::FormatDuration(absl::Seconds(seconds));
}

std::string RateText(double bytes_per_second) {
  return absl::StrCat(FormatBytes(static_cast<int64_t>(bytes_per_second)), "/s");
}

std::string EtaText(double seconds) {
  return seconds < 0 ? "" : towline::FormatDuration(absl::Seconds(std::max(1.0, seconds)));
}

// The total is an estimate: more than all of it is never shown.
std::string PercentText(int64_t done, int64_t total) {
  return total <= 0 ? "" : absl::StrCat(std::min<int64_t>(100, done * 100 / total), "%");
}

std::string CopyText(const TaskStatus& status) {
  std::string text = absl::StrCat(status.tables_done, "/", status.tables_total, " tables, ",
                                  FormatBytes(status.copy_bytes_done));
  if (status.tables_done < status.tables_total) {
    absl::StrAppend(&text, " of ", FormatBytes(status.copy_bytes_total), " (",
                    PercentText(status.copy_bytes_done, status.copy_bytes_total), ")");
  }
  absl::StrAppend(&text, ", ", FormatCount(status.copy_rows_done), " rows");
  if (status.copy_bytes_per_second > 0) {
    absl::StrAppend(&text, ", ", RateText(status.copy_bytes_per_second), ", ",
                    FormatCount(static_cast<int64_t>(status.copy_rows_per_second)), " rows/s, ETA ",
                    EtaText(status.copy_eta_seconds));
  }
  return text;
}

std::string LimitText(const TaskStatus& status) {
  std::vector<std::string> parts;
  if (status.copy_rate_max > 0) {
    parts.push_back(RateText(static_cast<double>(status.copy_rate_max)));
  }
  if (status.copy_rows_max > 0) {
    parts.push_back(absl::StrCat(FormatCount(status.copy_rows_max), " rows/s"));
  }
  if (status.copy_speed_percent < 100) {
    parts.push_back(absl::StrCat(status.copy_speed_percent, "% of its speed, giving way",
                                 status.copy_gives_way_to.empty() ? "" : " to ",
                                 status.copy_gives_way_to));
  }
  return absl::StrJoin(parts, ", ");
}

// The first column to the left, the others to the right; with `has_text` the last one is free text.
std::string TextTable(const std::vector<std::vector<std::string>>& rows, bool has_text = false) {
  std::vector<size_t> widths(rows[0].size(), 0);
  for (const std::vector<std::string>& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const std::vector<std::string>& row : rows) {
    std::string line = absl::StrFormat("    %-*s", static_cast<int>(widths[0]), row[0]);
    for (size_t i = 1; i < row.size(); ++i) {
      const bool is_text = has_text && i + 1 == row.size();
      absl::StrAppendFormat(&line, "  %*s", is_text ? 0 : static_cast<int>(widths[i]), row[i]);
    }
    absl::StrAppend(&out, absl::StripTrailingAsciiWhitespace(line), "\n");
  }
  return out;
}

// A small table of what is being copied just now; at most as many as there are workers.
std::string CopyingTables(const TaskStatus& status) {
  std::vector<std::vector<std::string>> rows = {
      {"copying", "size", "done", "rows", "rate", "ETA", "workers", "by"}};
  for (const TableStatus& table : status.tables) {
    if (table.state != "copying") continue;
    rows.push_back(
        {QuoteQualified(table.name.schema, table.name.name), FormatBytes(table.bytes_total),
         PercentText(table.bytes_done, table.bytes_total), FormatCount(table.rows_done),
         table.bytes_per_second > 0 ? RateText(table.bytes_per_second) : "",
         EtaText(table.eta_seconds), absl::StrCat(table.workers),
         table.reason.empty() ? table.copied_by
                              : absl::StrCat(table.copied_by, " because ", table.reason)});
  }
  return rows.size() == 1 ? "" : TextTable(rows, /*has_text=*/true);
}

std::string ChangedTables(const TaskStatus& status) {
  std::vector<std::vector<std::string>> rows = {
      {"most changed", "inserts", "updates", "deletes", "truncates"}};
  for (const TableChanges& table : status.table_changes) {
    if (rows.size() > kChangedTablesShown) break;
    rows.push_back({QuoteQualified(table.name.schema, table.name.name), FormatCount(table.inserted),
                    FormatCount(table.updated), FormatCount(table.deleted),
                    FormatCount(table.truncated)});
  }
  return rows.size() == 1 ? "" : TextTable(rows);
}

std::string LatencyText(const TaskStatus& status) {
  if (status.latency_p50_seconds < 0) return "";
  return absl::StrCat("median ", ShortTime(status.latency_p50_seconds), ", 99% within ",
                      ShortTime(status.latency_p99_seconds), " (source's COMMIT to ours)");
}

std::string BatchText(const TaskStatus& status) {
  if (status.batches == 0) return "";
  std::string text = FormatCount(status.batches);
  if (status.batch_rows_p50 >= 0) {
    absl::StrAppend(&text, ", median ", FormatCount(status.batch_rows_p50), " rows, 99% within ",
                    FormatCount(status.batch_rows_p99));
  }
  return text;
}

std::string ParkedText(const TaskStatus& status) {
  if (status.parked_total == 0) return "";
  std::vector<std::string> names;
  for (const TableName& name : status.parked) {
    if (names.size() == kParkedShown) break;
    names.push_back(QuoteQualified(name.schema, name.name));
  }
  const int64_t more = status.parked_total - static_cast<int64_t>(names.size());
  return absl::StrCat(absl::StrJoin(names, ", "),
                      more > 0 ? absl::StrCat(" and ", more, " more") : "",
                      ": not streamed any more");
}

// Of parked ones only why: they have a line of their own.
void AddNotes(std::string& out, const TaskStatus& status) {
  bool is_first = true;
  for (const TableNote& note : status.table_notes) {
    std::string text = QuoteQualified(note.name.schema, note.name.name);
    if (note.state == "parked") {
      if (note.text.empty()) continue;
      absl::StrAppend(&text, " is parked: ", note.text);
    } else if (note.state == "removed") {
      text += " has left the task";
    } else if (note.state == "joining") {
      text += " is copied anew and joins the stream then";
    } else if (note.state == kRewrittenNote) {
      text += " was rewritten at the source while ddl is off: compare it (towline verify)";
    } else if (note.state == "asked") {
      absl::StrAppend(&text, ": ", note.text, " is asked for, and not taken up yet");
    } else {
      absl::StrAppend(&text, ": refused to ", note.text);
    }
    AddLine(out, is_first ? "tables" : "", text);
    is_first = false;
  }
}

std::string HealText(const HealStatus& heal) {
  if (heal.tables_total == 0) return "";
  return absl::StrCat(heal.tables_done, " of ", heal.tables_total,
                      " tables compared: ", FormatCount(heal.missing), " rows brought, ",
                      FormatCount(heal.extra), " taken back, ", FormatCount(heal.different),
                      " changed");
}

std::string VerifyText(const VerifySummary& verify) {
  if (verify.run == 0) return "";
  const absl::Duration ago = absl::Now() - absl::FromUnixSeconds(verify.finished_at_s);
  std::string text =
      absl::StrCat(towline::FormatDuration(std::max(ago, absl::Seconds(1))), " ago (", verify.mode,
                   ", run ", verify.run, "): ", verify.verdict);
  if (verify.tables_different > 0) {
    absl::StrAppend(&text, "; now ", FormatCount(verify.tables_different), " of ",
                    FormatCount(verify.tables), " tables differ, ",
                    FormatCount(verify.rows_different), " rows");
  }
  return text;
}

// Of both threads, in the order of the stages.
std::string StagesText(const TaskStatus& status) {
  std::vector<std::string> parts;
  for (const auto& [stage, seconds] : status.stage_seconds) {
    parts.push_back(absl::StrCat(stage, " ", ShortTime(seconds)));
  }
  return absl::StrJoin(parts, ", ");
}

}  // namespace

std::string StatusText(const KnownTask& task) {
  const TaskStatus& status = task.status;
  std::string out = absl::StrCat("task ", status.task, ": ", StateText(task), "\n");
  AddLine(out, "waits for", status.waiting_for);
  AddLine(out, "last error", task.error);
  AddLine(out, "source", status.source);
  AddLine(out, "destination", status.destination);
  AddLine(out, "slot", SlotText(status));
  if (status.position.is_valid()) {
    AddLine(out, "position",
            absl::StrCat(status.position.ToString(),
                         status.durable_lsn.is_valid()
                             ? absl::StrCat(", durable ", status.durable_lsn.ToString())
                             : "",
                         status.source_flush_lsn.is_valid()
                             ? absl::StrCat(", source at ", status.source_flush_lsn.ToString())
                             : ""));
  }
  if (HasLag(task)) AddLine(out, "lag", LagText(status));
  if (task.is_running) AddLine(out, "in progress", SpoolText(status));
  if (status.tables_total > 0) {
    AddLine(out, "copy", CopyText(status));
    if (status.tables_done < status.tables_total) {
      AddLine(out, "copy limit", LimitText(status));
      AddLine(out, "copy note", status.copy_note);
    }
    absl::StrAppend(&out, CopyingTables(status));
  }
  bool is_counting = status.state == "indexing" || status.state == "constraints";
  if (task.is_running && is_counting) {
    AddLine(out, status.state,
            absl::StrCat(status.statements_done, " of ", status.statements_total, " statements"));
  }
  if (task.is_running && status.transactions > 0) {
    AddLine(out, "applied",
            absl::StrCat(FormatCount(status.transactions),
                         " transactions: ", FormatCount(status.rows_inserted), " inserts, ",
                         FormatCount(status.rows_updated), " updates, ",
                         FormatCount(status.rows_deleted), " deletes, ", status.truncates,
                         " truncates"));
    AddLine(out, "batches", BatchText(status));
    AddLine(out, "latency", LatencyText(status));
    AddLine(out, "time spent", StagesText(status));
    absl::StrAppend(&out, ChangedTables(status));
  }
  AddLine(out, "healed", HealText(status.heal));
  AddLine(out, "compared", VerifyText(status.verify));
  AddLine(out, "parked", ParkedText(status));
  AddNotes(out, status);
  for (const ConflictTotal& total : status.conflict_totals) {
    AddLine(out, &total == &status.conflict_totals.front() ? "conflicts" : "",
            absl::StrCat(FormatCount(total.count), " ", total.type, ", ", total.resolution));
  }
  if (status.conflict_rows_dropped > 0) {
    AddLine(out, "",
            absl::StrCat("the oldest ", FormatCount(status.conflict_rows_dropped),
                         " are counted only (conflict_rows_max)"));
  }
  if (status.prepared > 0) {
    AddLine(out, "prepared",
            absl::StrCat(FormatCount(status.prepared), " transactions, the oldest for ",
                         towline::FormatDuration(absl::Seconds(status.prepared_oldest_seconds))));
  }
  AddLine(out, "process", task.is_running ? absl::StrCat("pid ", status.pid) : task.ran_at);
  return out;
}

std::string TaskLine(const KnownTask& task) {
  std::string text = StateText(task);
  if (HasLag(task)) {
    absl::StrAppend(&text, ", lag ", LagText(task.status));
  } else if (task.status.state == "copying") {
    absl::StrAppend(&text, ", ", CopyText(task.status));
  }
  return absl::StrFormat("%-24s %s\n", task.status.task, text);
}

std::string KnownTaskToJson(const KnownTask& task) {
  nlohmann::ordered_json json = nlohmann::ordered_json::parse(TaskStatusToJson(task.status));
  json["running"] = task.is_running || task.is_elsewhere;
  if (!task.is_running) {
    json["phase"] = task.phase;
    json["error"] = task.error;
    json["ran_at"] = task.ran_at;
  }
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace towline
