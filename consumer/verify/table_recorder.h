// Writes down what a comparison finds in one table, while it is compared and when it is done. That
// nothing can be written is told once, and ends no comparison.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "state/verify_record.h"
#include "verify/table_plan.h"
#include "verify/table_verifier.h"

namespace towline {

void WarnUnlessRecorded(const absl::Status& written);

// What an interrupted run had found of the job's table, if it was compared by the same `form`; else
// it begins anew, and only what was repaired is taken over.
absl::Status TakeOver(const VerifyProgressRow& begun, const std::string& form, VerifyRecord* record,
                      TableJob* job);

// The same of a table that it had done: if it was by the same `form`, nothing of it is compared any
// more.
absl::Status TakeOverDone(const VerifiedTable& done, const std::string& form, VerifyRecord* record,
                          TableJob* job);

// A form as a table that is done keeps it: enough to tell it from others.
std::string FormMark(const std::string& form);

// Nothing is left of what was found in the table but rows that are repaired. `record`: null: none.
absl::Status BeginAnew(VerifyRecord* record, TableJob* job);

class TableRecorder {
 public:
  // `record` and `job` are borrowed; no record: nothing is written.
  TableRecorder(VerifyRecord* record, TableJob* job, std::string form);

  void Begin();  // to compare it, or to go on with that
  void Save(const RangeProgress& progress);
  void End();

 private:
  VerifiedTable NewlyFound();
  absl::Duration Elapsed() const;

  VerifyRecord* record_;
  TableJob* job_;
  std::string form_;
  const absl::Time started_;
  absl::Time saved_at_;
  size_t rows_recorded_;
  bool is_begun_;            // its progress has a row
  bool is_refused_ = false;  // the last write
};

}  // namespace towline
