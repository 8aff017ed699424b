#include "verify/key_check.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/status_macros.h"

namespace towline {
namespace {

constexpr int kTriesMax = 12;
constexpr int kStableReadsMin = 3;  // the last of them a second or more after the first
constexpr absl::Duration kPauseStep = absl::Milliseconds(50);
constexpr size_t kKeysPerStatement = 500;          // found by index
constexpr size_t kScannedKeysPerStatement = 5000;  // each statement reads the whole table
constexpr size_t kRowsWithColumnsMax = 100;

void AddSide(const Result& rows, KeyState SuspectKey::*side, SuspectKeys* keys) {
  for (int row = 0; row < rows.row_count(); ++row) {
    SuspectKey& key = (*keys)[rows.GetString(row, 0)];
    key.*side = {rows.GetInt(row, 1), rows.GetString(row, 2), rows.GetString(row, 3)};
    if (!key.values.empty()) continue;
    for (int column = 4; column < PQnfields(rows.raw()); ++column) {
      key.values.push_back(rows.IsNull(row, column)
                               ? std::nullopt
                               : std::make_optional(rows.GetString(row, column)));
    }
  }
}

absl::StatusOr<std::vector<std::string>> DifferingColumns(PairReader& reader,
                                                          const ComparedTable& table,
                                                          const std::string& id,
                                                          const SuspectKey& key) {
  std::vector<std::string> columns;
  TOWLINE_ASSIGN_OR_RETURN(PairReader::Pair pair,
                           reader.Read(table.source.ValueHashesSql(id, key.values),
                                       table.destination.ValueHashesSql(id, key.values)));
  if (pair.source.row_count() != 1 || pair.destination.row_count() != 1) return columns;
  for (size_t i = 0; i < table.columns.size(); ++i) {
    if (pair.source.Get(0, static_cast<int>(i)) != pair.destination.Get(0, static_cast<int>(i))) {
      columns.push_back(table.columns[i]);
    }
  }
  return columns;
}

void TakeStable(SuspectKeys* suspects, SuspectKeys* decided) {
  for (auto key = suspects->begin(); key != suspects->end();) {
    auto next = std::next(key);
    if (key->second.stable_reads >= kStableReadsMin) decided->insert(suspects->extract(key));
    key = next;
  }
}

// One more look at some keys: drops from `suspects` what is decided.
absl::Status LookAgain(PairReader& reader, const ComparedTable& table,
                       const std::vector<std::string>& ids, bool* has_passed, SuspectKeys* suspects,
                       SuspectKeys* decided) {
  std::vector<SideQuery::KeyValues> values;
  for (const std::string& id : ids) values.push_back(suspects->at(id).values);
  TOWLINE_ASSIGN_OR_RETURN(
      PairReader::Pair pair,
      reader.Read(table.source.KeysSql(ids, values), table.destination.KeysSql(ids, values)));
  *has_passed = pair.has_passed;
  TOWLINE_ASSIGN_OR_RETURN(const uint64_t mark, reader.MarkRunning());
  SuspectKeys found;
  AddSide(pair.source, &SuspectKey::source, &found);
  AddSide(pair.destination, &SuspectKey::destination, &found);
  for (const std::string& id : ids) {
    SuspectKey& before = suspects->at(id);
    SuspectKey now = found[id];  // not there on either side: equal
    now.values = before.values;
    now.mark = mark;
    if (now.source.HoldsAs(now.destination)) {
      suspects->erase(id);
    } else if (!pair.has_passed) {
      continue;
    } else if (!now.source.IsVersion(before.source) ||
               !now.destination.IsVersion(before.destination)) {
      before = std::move(now);
    } else if (before.mark != 0 && pair.oldest_running <= before.mark) {
      ++before.stable_reads;
    } else {
      decided->emplace(id, std::move(now));
      suspects->erase(id);
    }
  }
  return absl::OkStatus();
}

}  // namespace

SuspectKeys FindSuspects(const PairReader::Pair& pair, uint64_t mark) {
  SuspectKeys keys;
  AddSide(pair.source, &SuspectKey::source, &keys);
  AddSide(pair.destination, &SuspectKey::destination, &keys);
  std::erase_if(keys, [](const auto& entry) {
    return entry.second.source.HoldsAs(entry.second.destination);
  });
  for (auto& [id, key] : keys) key.mark = mark;
  return keys;
}

absl::StatusOr<SuspectKeys> CheckKeys(PairReader& reader, const ComparedTable& table,
                                      SuspectKeys suspects, const Shutdown& shutdown,
                                      TableReport* report) {
  if (reader.is_held()) return suspects;  // one look at what stands still is enough
  SuspectKeys decided;
  report->rechecked += static_cast<int64_t>(suspects.size());
  const bool is_by_index = !table.source.key.empty() && table.source.is_key_searchable;
  const size_t step = is_by_index ? kKeysPerStatement : kScannedKeysPerStatement;
  bool has_passed = true;
  for (int tried = 0; tried < kTriesMax && !suspects.empty() && has_passed; ++tried) {
    if (tried > 0 && !shutdown.SleepFor(kPauseStep * tried)) {
      return absl::CancelledError("shutting down");
    }
    std::vector<std::string> ids;
    for (const auto& [id, key] : suspects) ids.push_back(id);
    for (size_t at = 0; at < ids.size() && has_passed; at += step) {
      std::vector<std::string> part(
          ids.begin() + static_cast<std::ptrdiff_t>(at),
          ids.begin() + static_cast<std::ptrdiff_t>(std::min(ids.size(), at + step)));
      TOWLINE_RETURN_IF_ERROR(LookAgain(reader, table, part, &has_passed, &suspects, &decided));
    }
  }
  if (has_passed && !suspects.empty()) {
    TOWLINE_ASSIGN_OR_RETURN(std::string standbys,
                             reader.source().QueryValue("SHOW synchronous_standby_names"));
    if (standbys.empty()) TakeStable(&suspects, &decided);
  }
  report->undecided += static_cast<int64_t>(suspects.size());
  return decided;
}

absl::Status ReportKeys(PairReader& reader, const ComparedTable& table, const SuspectKeys& keys,
                        TableReport* report) {
  for (const auto& [id, key] : keys) {
    DifferingRow row{id, key.source.rows, key.destination.rows, {}, false};
    bool is_one = row.source_rows == 1 && row.destination_rows == 1;
    if (is_one && !table.source.key.empty() && report->rows.size() < kRowsWithColumnsMax) {
      TOWLINE_ASSIGN_OR_RETURN(row.columns, DifferingColumns(reader, table, id, key));
    }
    AddDifference(std::move(row), report);
  }
  return absl::OkStatus();
}

}  // namespace towline
