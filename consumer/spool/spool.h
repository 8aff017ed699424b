// Where the bytes of transactions in progress wait for their commit: a log of entries for each of
// them, in memory up to a limit over all, beyond it in one file a transaction. When the limit is
// passed the log with the most in memory goes to its file; what comes later is gathered in memory
// again, behind it.
//
// Nothing here survives the process, and nothing should: the source sends a transaction in progress
// again from its start, so a spool begins empty with each START_REPLICATION (hazards B10), and what
// is in it is never a reason to confirm anything.
//
// One thread; usage() from any.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/frame.h"
#include "spool/spool_file.h"

namespace towline {

class SpoolLog;

class Spool {
 public:
  struct Options {
    int64_t memory_max = 0;
    int64_t disk_max = 0;   // 0: what the file system holds
    std::string directory;  // of the files
    std::string prefix;     // of their names, seen by lsof: they have none in the directory
  };
  struct Usage {
    int64_t memory_bytes = 0;
    int64_t disk_bytes = 0;
    int64_t logs = 0;
  };

  // kFailedPrecondition if files cannot be made in the directory: better now than in the first
  // large transaction.
  static absl::StatusOr<std::unique_ptr<Spool>> Open(Options options);
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  // The spool must outlive it.
  std::unique_ptr<SpoolLog> NewLog();
  Usage usage() const;

 private:
  friend class SpoolLog;
  explicit Spool(Options options) : options_(std::move(options)) {}
  absl::Status KeepWithinMemory();

  const Options options_;
  absl::flat_hash_set<SpoolLog*> logs_;
  std::atomic<int64_t> memory_bytes_{0};  // allocated, not only used
  std::atomic<int64_t> disk_bytes_{0};
  std::atomic<int64_t> log_count_{0};
};

// Entries of the wire format (Frame.entries), in order. Kept as a frame holds them, so any run of
// them is a frame.
class SpoolLog {
 public:
  ~SpoolLog();
  SpoolLog(const SpoolLog&) = delete;
  SpoolLog& operator=(const SpoolLog&) = delete;

  absl::Status Append(absl::string_view entry);
  // `size` was size() before some Append().
  absl::Status Truncate(uint64_t size);
  uint64_t size() const { return file_bytes_ + memory_used_; }

  // The entries from `offset` on, at least one, as many as make a frame of moderate size. Empty at
  // the end.
  absl::StatusOr<Frame> Read(uint64_t offset) const;

 private:
  friend class Spool;
  struct Block {
    std::unique_ptr<char, FreeBytes> bytes;
    uint64_t offset = 0;  // in the log
    size_t used = 0;      // whole entries
    size_t capacity = 0;
  };

  explicit SpoolLog(Spool* spool);
  void AddBlock(size_t bytes_min);
  void DropLastBlock();
  absl::Status MoveToFile();
  absl::StatusOr<Frame> ReadFile(uint64_t offset) const;
  void SetFileBytes(uint64_t bytes);

  Spool* const spool_;
  SpoolFile file_;
  uint64_t file_bytes_ = 0;   // the log's beginning
  std::deque<Block> blocks_;  // the rest
  uint64_t memory_used_ = 0;  // in blocks_
  int64_t memory_bytes_ = 0;  // their capacity
};

}  // namespace towline
