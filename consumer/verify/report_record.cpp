#include "verify/report_record.h"

namespace towline {
namespace {

VerifyVerdict VerdictOf(const std::string& name) {
  for (VerifyVerdict verdict : {VerifyVerdict::kEqual, VerifyVerdict::kDifferent}) {
    if (name == VerifyVerdictName(verdict)) return verdict;
  }
  return VerifyVerdict::kUndecided;
}

}  // namespace

VerifiedTable ToRecord(const TableReport& report, absl::Duration elapsed) {
  VerifiedTable table;
  table.table = report.table;
  table.verdict = VerifyVerdictName(report.verdict);
  table.source_rows = report.source_rows;
  table.destination_rows = report.destination_rows;
  table.ranges = report.ranges;
  table.missing = report.missing;
  table.extra = report.extra;
  table.different = report.different;
  table.undecided = report.undecided;
  table.repaired = report.repaired;
  table.seconds = absl::ToDoubleSeconds(elapsed);
  table.note = report.repair_note.empty() ? report.note : report.repair_note;
  for (const DifferingRow& row : report.rows) {
    table.rows.push_back({KindOf(row), row.key, row.columns, row.is_repaired, ""});
  }
  return table;
}

TableReport FromRecord(const VerifiedTable& table) {
  TableReport report;
  report.table = table.table;
  report.verdict = VerdictOf(table.verdict);
  report.source_rows = table.source_rows;
  report.destination_rows = table.destination_rows;
  report.ranges = table.ranges;
  report.missing = table.missing;
  report.extra = table.extra;
  report.different = table.different;
  report.undecided = table.undecided;
  report.repaired = table.repaired;
  report.note = table.note;
  for (const VerifiedRow& row : table.rows) {
    report.rows.push_back({row.key, row.kind == "extra" ? 0 : 1, row.kind == "missing" ? 0 : 1,
                           row.columns, row.is_repaired});
  }
  return report;
}

}  // namespace towline
