#include "verify/repair_plan.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "pg/quoting.h"

namespace towline {
namespace {

constexpr size_t kRowsPerInsert = 100;
constexpr size_t kRowsPerDelete = 1000;

std::string Literal(const ReadRow::Value& value) {
  return value.has_value() ? QuoteLiteral(*value) : "NULL";
}

std::string TableSql(const ComparedTable& table) {
  return QuoteQualified(table.name.schema, table.name.name);
}

std::string PlaceSql(const ReadRow& row, RepairStyle style) {
  return absl::StrCat("ctid = ", QuoteLiteral(row.ctid), "::pg_catalog.tid",
                      style.is_guarded
                          ? absl::StrCat(" AND xmin = ", QuoteLiteral(row.xmin), "::pg_catalog.xid")
                          : "");
}

bool IsWritable(const ComparedTable& table, size_t column) {
  return !table.targets[column].is_generated;
}

// An UPDATE can do it: it has a column to set, and may set all that differ.
bool CanUpdate(const ComparedTable& table, const RowRepair& row) {
  bool has_column = false;
  for (size_t column : row.columns) {
    if (table.targets[column].is_identity_always) return false;
    has_column = has_column || IsWritable(table, column);
  }
  return has_column;
}

void AddDeletes(const ComparedTable& table, const std::vector<const ReadRow*>& rows,
                RepairStyle style, std::vector<RepairStatement>* statements) {
  const std::string begin = absl::StrCat("DELETE FROM ONLY ", TableSql(table), " WHERE ");
  if (style.is_guarded) {
    for (const ReadRow* row : rows) {
      statements->push_back({absl::StrCat(begin, PlaceSql(*row, style)), 1});
    }
    return;
  }
  for (size_t at = 0; at < rows.size(); at += kRowsPerDelete) {
    std::vector<std::string> places;
    for (size_t i = at; i < std::min(rows.size(), at + kRowsPerDelete); ++i) {
      places.push_back(QuoteLiteral(rows[i]->ctid));
    }
    statements->push_back({absl::StrCat(begin, "ctid = ANY (ARRAY[", absl::StrJoin(places, ", "),
                                        "]::pg_catalog.tid[])"),
                           static_cast<int64_t>(places.size())});
  }
}

std::string UpdateSql(const ComparedTable& table, const RowRepair& row, RepairStyle style) {
  std::vector<std::string> set;
  for (size_t column : row.columns) {
    if (!IsWritable(table, column)) continue;
    set.push_back(absl::StrCat(QuoteIdentifier(table.columns[column]), " = ",
                               Literal(row.source->values[column])));
  }
  return absl::StrCat("UPDATE ONLY ", TableSql(table), " SET ", absl::StrJoin(set, ", "), " WHERE ",
                      PlaceSql(*row.destination, style));
}

// What of the key tells that the row is there.
std::string KeySql(const ComparedTable& table, const ReadRow& row) {
  std::vector<std::string> parts;
  for (const KeyPart& part : table.destination.key) {
    auto column =
        std::find(table.destination.values.begin(), table.destination.values.end(), part.value);
    if (column == table.destination.values.end()) return "";
    const ReadRow::Value& value =
        row.values[static_cast<size_t>(column - table.destination.values.begin())];
    parts.push_back(absl::StrCat(part.value, " = ", Literal(value), "::", part.type));
  }
  // Rows that are not compared do not count, whatever their key.
  if (!parts.empty() && !table.destination.where.empty()) parts.push_back(table.destination.where);
  return absl::StrJoin(parts, " AND ");
}

void AddInserts(const ComparedTable& table, const std::vector<RowRepair>& rows, RepairStyle style,
                std::vector<RepairStatement>* statements) {
  std::vector<std::string> names;
  for (size_t i = 0; i < table.columns.size(); ++i) {
    if (IsWritable(table, i)) names.push_back(QuoteIdentifier(table.columns[i]));
  }
  // A row that was there keeps what only the destination has; one that is new gets its defaults.
  for (bool was_there : {false, true}) {
    std::vector<std::string> all_names = names;
    if (was_there) {
      for (const std::string& name : table.other_columns) {
        all_names.push_back(QuoteIdentifier(name));
      }
    }
    const std::string begin = all_names.empty() ? ""
                                                : absl::StrCat("INSERT INTO ", TableSql(table),
                                                               " (", absl::StrJoin(all_names, ", "),
                                                               ") OVERRIDING SYSTEM VALUE ");
    std::vector<std::string> tuples;
    auto flush = [&] {
      if (tuples.empty()) return;
      statements->push_back({absl::StrCat(begin, "VALUES (", absl::StrJoin(tuples, "), ("), ")"),
                             static_cast<int64_t>(tuples.size())});
      tuples.clear();
    };
    for (const RowRepair& row : rows) {
      if ((row.destination != nullptr) != was_there) continue;
      if (all_names.empty()) {
        statements->push_back(
            {absl::StrCat("INSERT INTO ", TableSql(table), " DEFAULT VALUES"), 1});
        continue;
      }
      std::vector<std::string> literals;
      for (size_t i = 0; i < table.columns.size(); ++i) {
        if (IsWritable(table, i)) literals.push_back(Literal(row.source->values[i]));
      }
      if (was_there) {
        for (const ReadRow::Value& value : row.destination->others) {
          literals.push_back(Literal(value));
        }
      }
      if (style.is_guarded) {
        std::string key = KeySql(table, *row.source);
        statements->push_back(
            {absl::StrCat(begin, "SELECT ", absl::StrJoin(literals, ", "),
                          key.empty() ? ""
                                      : absl::StrCat(" WHERE NOT EXISTS (SELECT FROM ONLY ",
                                                     TableSql(table), " WHERE ", key, ")")),
             1});
        continue;
      }
      tuples.push_back(absl::StrJoin(literals, ", "));
      if (tuples.size() == kRowsPerInsert) flush();
    }
    flush();
  }
}

}  // namespace

int64_t ReadRow::bytes() const {
  size_t bytes = id.size();
  for (const Value& value : values) bytes += value.has_value() ? value->size() : 0;
  for (const Value& value : others) bytes += value.has_value() ? value->size() : 0;
  return static_cast<int64_t>(bytes);
}

std::vector<RowRepair> PlanRepair(const std::vector<const ReadRow*>& source,
                                  const std::vector<const ReadRow*>& destination) {
  auto by_values = [](const ReadRow* a, const ReadRow* b) { return a->values < b->values; };
  std::vector<const ReadRow*> here = source;
  std::vector<const ReadRow*> there = destination;
  std::stable_sort(here.begin(), here.end(), by_values);
  std::stable_sort(there.begin(), there.end(), by_values);
  std::vector<const ReadRow*> missing;
  std::vector<const ReadRow*> extra;
  std::set_difference(here.begin(), here.end(), there.begin(), there.end(),
                      std::back_inserter(missing), by_values);
  std::set_difference(there.begin(), there.end(), here.begin(), here.end(),
                      std::back_inserter(extra), by_values);
  std::vector<RowRepair> repairs;
  for (size_t i = 0; i < std::max(missing.size(), extra.size()); ++i) {
    RowRepair repair;
    if (i < missing.size()) repair.source = missing[i];
    if (i < extra.size()) repair.destination = extra[i];
    if (repair.source != nullptr && repair.destination != nullptr) {
      for (size_t column = 0; column < repair.source->values.size(); ++column) {
        if (repair.source->values[column] != repair.destination->values[column]) {
          repair.columns.push_back(column);
        }
      }
    }
    repairs.push_back(std::move(repair));
  }
  return repairs;
}

std::vector<RepairStatement> RepairStatements(const ComparedTable& table,
                                              const std::vector<RowRepair>& rows,
                                              RepairStyle style) {
  std::vector<const ReadRow*> deleted;
  std::vector<RowRepair> updated;
  std::vector<RowRepair> inserted;
  for (const RowRepair& row : rows) {
    if (row.source != nullptr && row.destination != nullptr && !style.replaces_rows &&
        CanUpdate(table, row)) {
      updated.push_back(row);
      continue;
    }
    if (row.destination != nullptr) deleted.push_back(row.destination);
    if (row.source != nullptr) inserted.push_back(row);
  }
  std::vector<RepairStatement> statements;
  AddDeletes(table, deleted, style, &statements);
  for (const RowRepair& row : updated) statements.push_back({UpdateSql(table, row, style), 1});
  AddInserts(table, inserted, style, &statements);
  return statements;
}

}  // namespace towline
