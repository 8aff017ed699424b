#include "verify/table_recorder.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"
#include "base/stable_hash.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "pg/quoting.h"
#include "verify/report_record.h"

namespace towline {
namespace {

// What is done in less time is done again after an interruption.
constexpr absl::Duration kSaveInterval = absl::Seconds(1);

}  // namespace

void WarnUnlessRecorded(const absl::Status& written) {
  if (written.ok()) return;
  LogWarning("cannot write what was found into towline_state",
             {{"reason", std::string(written.message())}, {"hint", GetHint(written)}});
}

absl::Status TakeOver(const VerifyProgressRow& begun, const std::string& form, VerifyRecord* record,
                      TableJob* job) {
  const std::string name = QuoteQualified(job->report.table.schema, job->report.table.name);
  job->report = FromRecord(begun.so_far);
  TableReport& report = job->report;
  if (begun.form == form) {
    // Repairs that are younger than what was saved last are counted nowhere yet.
    std::vector<DifferingRow> repaired;
    for (const DifferingRow& row : report.rows) {
      if (row.is_repaired) repaired.push_back(row);
    }
    TableReport uncounted;
    for (auto i = static_cast<size_t>(report.repaired); i < repaired.size(); ++i) {
      AddDifference(repaired[i], &uncounted);
    }
    report.missing += uncounted.missing;
    report.extra += uncounted.extra;
    report.different += uncounted.different;
    report.repaired += uncounted.repaired;
    report.verdict = VerifyVerdict::kEqual;
    job->resumed = RangeProgress{begun.bounds, begun.ranges_done, begun.order};
    job->seconds_before = begun.so_far.seconds;
    LogInfo("verify goes on within a table",
            {{"table", name},
             {"ranges done", absl::StrCat(begun.ranges_done, " of ", begun.bounds.size() + 1)}});
    return absl::OkStatus();
  }
  if (!begun.form.empty()) {
    LogInfo("verify begins a table anew: it, its rule or what is compared has changed since",
            {{"table", name}});
  }
  return BeginAnew(record, job);
}

std::string FormMark(const std::string& form) {
  return form.empty() ? "" : absl::StrCat(absl::Hex(StableHash(form), absl::kZeroPad16));
}

absl::Status TakeOverDone(const VerifiedTable& done, const std::string& form, VerifyRecord* record,
                          TableJob* job) {
  job->report = FromRecord(done);
  if (done.form == FormMark(form)) {
    job->table.reset();
    job->is_recorded = true;
    return absl::OkStatus();
  }
  LogInfo("verify compares a table anew: it or its rule has changed since it was done",
          {{"table", QuoteQualified(done.table.schema, done.table.name)}});
  return BeginAnew(record, job);
}

absl::Status BeginAnew(VerifyRecord* record, TableJob* job) {
  TableReport anew;
  anew.table = job->report.table;
  for (DifferingRow& row : job->report.rows) {
    if (row.is_repaired) AddDifference(std::move(row), &anew);
  }
  // Of those that are not named the kind is not known any more.
  const int64_t unnamed = std::max<int64_t>(0, job->report.repaired - anew.repaired);
  anew.different += unnamed;
  anew.repaired += unnamed;
  job->report = std::move(anew);
  job->resumed.reset();
  job->seconds_before = 0;
  return record == nullptr ? absl::OkStatus() : record->ForgetTable(job->report.table);
}

TableRecorder::TableRecorder(VerifyRecord* record, TableJob* job, std::string form)
    : record_(record),
      job_(job),
      form_(std::move(form)),
      started_(SteadyNow()),
      rows_recorded_(job->report.rows.size()),
      is_begun_(job->resumed.has_value()) {}

absl::Duration TableRecorder::Elapsed() const {
  return SteadyNow() - started_ + absl::Seconds(job_->seconds_before);
}

VerifiedTable TableRecorder::NewlyFound() {
  VerifiedTable table = ToRecord(job_->report, Elapsed());
  table.rows.erase(table.rows.begin(),
                   table.rows.begin() + static_cast<std::ptrdiff_t>(rows_recorded_));
  return table;
}

void TableRecorder::Begin() {
  if (record_ == nullptr || is_begun_) return;
  // What is in its way is in that of End() too, which tells.
  record_->BeginTable(job_->report.table).IgnoreError();
}

void TableRecorder::Save(const RangeProgress& progress) {
  if (record_ == nullptr || is_refused_ || SteadyNow() - saved_at_ < kSaveInterval) return;
  saved_at_ = SteadyNow();
  VerifyProgressRow row{NewlyFound(), "", {}, progress.ranges_done, {}};
  if (!is_begun_) {
    row.form = form_;
    row.bounds = progress.bounds;
    row.order = progress.order;
  }
  absl::Status saved = record_->SaveProgress(row);
  WarnUnlessRecorded(saved);
  is_refused_ = !saved.ok();
  if (is_refused_) return;
  is_begun_ = true;
  rows_recorded_ = job_->report.rows.size();
}

void TableRecorder::End() {
  if (record_ == nullptr) return;
  VerifiedTable table = NewlyFound();
  table.form = FormMark(form_);
  WarnUnlessRecorded(record_->AddTable(table));
}

}  // namespace towline
