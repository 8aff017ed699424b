#include "verify/key_check.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/status_macros.h"

namespace towline {
namespace {

constexpr int kTriesMax = 12;
constexpr absl::Duration kPauseStep = absl::Milliseconds(50);
constexpr size_t kKeysPerStatement = 500;          // found by index
constexpr size_t kScannedKeysPerStatement = 5000;  // each statement reads the whole table
constexpr size_t kRowsNamedMax = 1000;
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

absl::Status Report(PairReader& reader, const ComparedTable& table, const std::string& id,
                    const SuspectKey& key, TableReport* report) {
  DifferingRow row{id, key.source.rows, key.destination.rows, {}};
  if (row.destination_rows < row.source_rows) {
    report->missing += row.source_rows - row.destination_rows;
  } else if (row.source_rows < row.destination_rows) {
    report->extra += row.destination_rows - row.source_rows;
  } else {
    report->different += row.source_rows;
  }
  if (report->rows.size() >= kRowsNamedMax) return absl::OkStatus();
  bool is_one = row.source_rows == 1 && row.destination_rows == 1;
  if (is_one && !table.source.key.empty() && report->rows.size() < kRowsWithColumnsMax) {
    TOWLINE_ASSIGN_OR_RETURN(row.columns, DifferingColumns(reader, table, id, key));
  }
  report->rows.push_back(std::move(row));
  return absl::OkStatus();
}

// One more look at some keys: drops from `suspects` what is decided.
absl::Status LookAgain(PairReader& reader, const ComparedTable& table,
                       const std::vector<std::string>& ids, bool* has_passed, SuspectKeys* suspects,
                       TableReport* report) {
  std::vector<SideQuery::KeyValues> values;
  for (const std::string& id : ids) values.push_back(suspects->at(id).values);
  TOWLINE_ASSIGN_OR_RETURN(
      PairReader::Pair pair,
      reader.Read(table.source.KeysSql(ids, values), table.destination.KeysSql(ids, values)));
  *has_passed = pair.has_passed;
  SuspectKeys found;
  AddSide(pair.source, &SuspectKey::source, &found);
  AddSide(pair.destination, &SuspectKey::destination, &found);
  for (const std::string& id : ids) {
    SuspectKey& before = suspects->at(id);
    SuspectKey now = found[id];  // not there on either side: equal
    now.values = before.values;
    if (now.source.HoldsAs(now.destination)) {
      suspects->erase(id);
    } else if (!pair.has_passed) {
      continue;
    } else if (now.source.IsVersion(before.source) &&
               now.destination.IsVersion(before.destination)) {
      TOWLINE_RETURN_IF_ERROR(Report(reader, table, id, now, report));
      suspects->erase(id);
    } else {
      before = std::move(now);
    }
  }
  return absl::OkStatus();
}

}  // namespace

SuspectKeys FindSuspects(const PairReader::Pair& pair) {
  SuspectKeys keys;
  AddSide(pair.source, &SuspectKey::source, &keys);
  AddSide(pair.destination, &SuspectKey::destination, &keys);
  std::erase_if(keys, [](const auto& entry) {
    return entry.second.source.HoldsAs(entry.second.destination);
  });
  return keys;
}

absl::Status CheckKeys(PairReader& reader, const ComparedTable& table, SuspectKeys suspects,
                       const Shutdown& shutdown, TableReport* report) {
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
      TOWLINE_RETURN_IF_ERROR(LookAgain(reader, table, part, &has_passed, &suspects, report));
    }
  }
  report->undecided += static_cast<int64_t>(suspects.size());
  return absl::OkStatus();
}

}  // namespace towline
