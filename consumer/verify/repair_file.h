// The file of `--repair-sql`: SQL for psql, a transaction for each group of rows. Any thread.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "verify/repair_plan.h"

namespace towline {

class RepairFile {
 public:
  // Written anew.
  static absl::StatusOr<std::unique_ptr<RepairFile>> Open(const std::string& path);

  absl::Status Add(const TableName& table, const std::vector<RepairStatement>& statements);
  absl::Status Close();  // what was written is on the disk

 private:
  struct Closer {
    void operator()(FILE* file) const { fclose(file); }
  };

  RepairFile(std::string path, FILE* file) : path_(std::move(path)), file_(file) {}
  absl::Status Put(const std::string& text) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string path_;
  absl::Mutex mutex_;
  std::unique_ptr<FILE, Closer> file_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace towline
