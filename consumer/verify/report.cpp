#include "verify/report.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/format.h"
#include "nlohmann/json.hpp"
#include "pg/quoting.h"

namespace towline {
namespace {

constexpr size_t kRowsPrintedMax = 10;

std::string KindOf(const DifferingRow& row) {
  if (row.destination_rows == 0) return "missing";
  if (row.source_rows == 0) return "extra";
  return "different";
}

std::string DescribeRow(const DifferingRow& row) {
  std::string text = absl::StrCat(KindOf(row), " ", row.key);
  if (!row.columns.empty()) absl::StrAppend(&text, " in ", absl::StrJoin(row.columns, ", "));
  if (row.source_rows > 1 || row.destination_rows > 1) {
    absl::StrAppend(&text, " (", row.source_rows, " at the source, ", row.destination_rows,
                    " at the destination)");
  }
  return text;
}

std::string QualifiedName(const TableReport& table) {
  return absl::StrCat(table.table.schema, ".", table.table.name);
}

// A key may hold bytes that are no UTF-8 (a database in SQL_ASCII).
std::string Dump(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

VerifyVerdict VerifyReport::verdict() const {
  VerifyVerdict verdict = VerifyVerdict::kEqual;
  for (const TableReport& table : tables) {
    // A difference that is known stays one, whatever else is not.
    if (table.verdict == VerifyVerdict::kDifferent) return VerifyVerdict::kDifferent;
    if (table.verdict == VerifyVerdict::kUndecided) verdict = VerifyVerdict::kUndecided;
  }
  return verdict;
}

int VerifyExitStatus(VerifyVerdict verdict) {
  switch (verdict) {
    case VerifyVerdict::kEqual:
      return 0;
    case VerifyVerdict::kDifferent:
      return 1;
    case VerifyVerdict::kUndecided:
      break;
  }
  return 2;
}

const char* VerifyVerdictName(VerifyVerdict verdict) {
  switch (verdict) {
    case VerifyVerdict::kEqual:
      return "equal";
    case VerifyVerdict::kDifferent:
      return "different";
    case VerifyVerdict::kUndecided:
      break;
  }
  return "undecided";
}

std::string FormatVerifyReport(const VerifyReport& report) {
  size_t width = 5;
  for (const TableReport& table : report.tables) {
    width = std::max(width, QualifiedName(table).size());
  }
  std::string text;
  absl::StrAppendFormat(&text, "%-*s  %-9s %14s %9s %9s %9s %9s\n", static_cast<int>(width),
                        "table", "verdict", "rows", "missing", "extra", "different", "undecided");
  int64_t rows = 0;
  for (const TableReport& table : report.tables) {
    rows += table.source_rows;
    absl::StrAppendFormat(&text, "%-*s  %-9s %14s %9d %9d %9d %9d\n", static_cast<int>(width),
                          QualifiedName(table), VerifyVerdictName(table.verdict),
                          FormatCount(table.source_rows), table.missing, table.extra,
                          table.different, table.undecided);
    if (!table.note.empty()) absl::StrAppend(&text, "  ", table.note, "\n");
    size_t printed = std::min(table.rows.size(), kRowsPrintedMax);
    for (size_t i = 0; i < printed; ++i) {
      absl::StrAppend(&text, "  ", DescribeRow(table.rows[i]), "\n");
    }
    if (table.rows.size() > printed) absl::StrAppend(&text, "  and more; --json names them\n");
  }
  absl::StrAppend(&text, VerifyVerdictName(report.verdict()), ": ", report.tables.size(),
                  report.tables.size() == 1 ? " table, " : " tables, ", FormatCount(rows),
                  " rows in ", towline::FormatDuration(absl::Seconds(report.seconds)), "\n");
  return text;
}

std::string VerifyReportToJson(const VerifyReport& report) {
  nlohmann::json tables = nlohmann::json::array();
  for (const TableReport& table : report.tables) {
    nlohmann::json rows = nlohmann::json::array();
    for (const DifferingRow& row : table.rows) {
      rows.push_back({{"kind", KindOf(row)},
                      {"key", row.key},
                      {"columns", row.columns},
                      {"source_rows", row.source_rows},
                      {"destination_rows", row.destination_rows}});
    }
    tables.push_back({{"schema", table.table.schema},
                      {"table", table.table.name},
                      {"verdict", VerifyVerdictName(table.verdict)},
                      {"source_rows", table.source_rows},
                      {"destination_rows", table.destination_rows},
                      {"missing", table.missing},
                      {"extra", table.extra},
                      {"different", table.different},
                      {"undecided", table.undecided},
                      {"rechecked", table.rechecked},
                      {"note", table.note},
                      {"rows", rows}});
  }
  return Dump({{"task", report.task},
               {"verdict", VerifyVerdictName(report.verdict())},
               {"seconds", report.seconds},
               {"tables", tables}});
}

}  // namespace towline
