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
constexpr size_t kRowsNamedMax = 1000;
constexpr std::ptrdiff_t kTablesNamedMax = 10;

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

std::string FormatSchema(const VerifyReport& report) {
  const SchemaReport& schema = *report.schema;
  std::string text;
  for (const std::string& statement : schema.missing) {
    absl::StrAppend(&text, "missing at the destination:\n", statement, ";\n");
  }
  for (const std::string& statement : schema.extra) {
    absl::StrAppend(&text, "only at the destination:\n", statement, ";\n");
  }
  for (const std::string& sequence : schema.sequences_behind) {
    absl::StrAppend(&text, "behind: ", sequence, "\n");
  }
  if (!schema.note.empty()) absl::StrAppend(&text, schema.note, "\n");
  absl::StrAppend(&text, VerifyVerdictName(report.verdict()), ": ", FormatCount(schema.statements),
                  " statements of the schema, ", schema.missing.size(), " missing, ",
                  schema.extra.size(), " only at the destination; ", schema.sequences_behind.size(),
                  " sequences behind\n");
  return text;
}

// A key may hold bytes that are no UTF-8 (a database in SQL_ASCII).
std::string Dump(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::string KindOf(const DifferingRow& row) {
  if (row.destination_rows == 0) return "missing";
  if (row.source_rows == 0) return "extra";
  return "different";
}

void AddDifference(DifferingRow row, TableReport* report) {
  int64_t* kind = &report->different;
  int64_t count = row.source_rows;
  if (row.destination_rows < row.source_rows) {
    kind = &report->missing;
    count = row.source_rows - row.destination_rows;
  } else if (row.source_rows < row.destination_rows) {
    kind = &report->extra;
    count = row.destination_rows - row.source_rows;
  }
  *kind += count;
  if (row.is_repaired) report->repaired += count;
  if (report->rows.size() < kRowsNamedMax) report->rows.push_back(std::move(row));
}

VerifyVerdict SchemaReport::verdict() const {
  if (!missing.empty() || !extra.empty() || !sequences_behind.empty()) {
    return VerifyVerdict::kDifferent;
  }
  return note.empty() ? VerifyVerdict::kEqual : VerifyVerdict::kUndecided;
}

VerifyVerdict VerifyReport::verdict() const {
  VerifyVerdict verdict = schema.has_value() ? schema->verdict() : VerifyVerdict::kEqual;
  if (was_different) verdict = VerifyVerdict::kDifferent;
  // Not every table was looked at.
  if (verdict == VerifyVerdict::kEqual && rounds == 0) verdict = VerifyVerdict::kUndecided;
  if (verdict == VerifyVerdict::kDifferent) return verdict;
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
  if (report.schema.has_value()) return FormatSchema(report);
  size_t width = 5;
  for (const TableReport& table : report.tables) {
    width = std::max(width, QualifiedName(table).size());
  }
  std::string text;
  absl::StrAppendFormat(&text, "%-*s  %-9s %14s %9s %9s %9s %9s%s\n", static_cast<int>(width),
                        "table", "verdict", "rows", "missing", "extra", "different", "undecided",
                        report.has_repaired ? "  repaired" : "");
  int64_t rows = 0;
  for (const TableReport& table : report.tables) {
    rows += table.source_rows;
    absl::StrAppendFormat(&text, "%-*s  %-9s %14s %9d %9d %9d %9d", static_cast<int>(width),
                          QualifiedName(table), VerifyVerdictName(table.verdict),
                          FormatCount(table.source_rows), table.missing, table.extra,
                          table.different, table.undecided);
    if (report.has_repaired) absl::StrAppendFormat(&text, " %9d", table.repaired);
    text += "\n";
    if (!table.note.empty()) absl::StrAppend(&text, "  ", table.note, "\n");
    if (!table.repair_note.empty()) {
      absl::StrAppend(&text, "  not repaired: ", table.repair_note, "\n");
    }
    size_t printed = std::min(table.rows.size(), kRowsPrintedMax);
    for (size_t i = 0; i < printed; ++i) {
      absl::StrAppend(&text, "  ", DescribeRow(table.rows[i]), "\n");
    }
    if (table.rows.size() > printed) absl::StrAppend(&text, "  and more; --json names them\n");
  }
  absl::StrAppend(&text, VerifyVerdictName(report.verdict()), ": ", report.tables.size(),
                  report.tables.size() == 1 ? " table, " : " tables, ", FormatCount(rows),
                  " rows in ", towline::FormatDuration(absl::Seconds(report.seconds)),
                  report.mode == "rows" ? "" : absl::StrCat(" (", report.mode, ")"));
  if (report.rounds.has_value()) {
    absl::StrAppend(&text, ": ", FormatCount(*report.rounds), " rounds",
                    report.was_different ? ", with differences" : "");
  }
  text += "\n";
  if (!report.later_tables.empty()) {
    absl::StrAppend(&text, report.later_tables.size(),
                    report.later_tables.size() == 1 ? " table" : " tables",
                    " came meanwhile (not compared): ",
                    absl::StrJoin(report.later_tables.begin(),
                                  report.later_tables.begin() +
                                      std::min(std::ssize(report.later_tables), kTablesNamedMax),
                                  ", ",
                                  [](std::string* out, const TableName& table) {
                                    absl::StrAppend(out, table.schema, ".", table.name);
                                  }),
                    std::ssize(report.later_tables) > kTablesNamedMax ? " and others\n" : "\n");
  }
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
                      {"is_repaired", row.is_repaired},
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
                      {"repaired", table.repaired},
                      {"undecided", table.undecided},
                      {"ranges", table.ranges},
                      {"rechecked", table.rechecked},
                      {"note", table.note},
                      {"repair_note", table.repair_note},
                      {"rows", rows}});
  }
  nlohmann::json json = {
      {"task", report.task},       {"run", report.run},
      {"mode", report.mode},       {"verdict", VerifyVerdictName(report.verdict())},
      {"seconds", report.seconds}, {"tables", tables}};
  json["later_tables"] = nlohmann::json::array();
  for (const TableName& table : report.later_tables) {
    json["later_tables"].push_back({{"schema", table.schema}, {"table", table.name}});
  }
  if (report.rounds.has_value()) {
    json["rounds"] = *report.rounds;
    json["was_different"] = report.was_different;
  }
  if (report.schema.has_value()) {
    json["schema"] = {{"statements", report.schema->statements},
                      {"missing", report.schema->missing},
                      {"extra", report.schema->extra},
                      {"sequences_behind", report.schema->sequences_behind},
                      {"note", report.schema->note}};
  }
  return Dump(json);
}

}  // namespace towline
