// Feeds an Assembler with transactions as the decoder would.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "assemble/assembler.h"

namespace towline {

inline Frame MakeFrame(size_t bytes) {
  Frame frame;
  frame.buffer.reset(static_cast<char*>(std::malloc(bytes)));
  frame.bytes = {frame.buffer.get(), bytes};
  return frame;
}

inline TransactionHeader Header(uint64_t xid, uint64_t end_lsn) {
  TransactionHeader header;
  header.xid = xid;
  header.commit_lsn = {end_lsn - 5};
  header.end_lsn = {end_lsn};
  header.commit_time_us = static_cast<int64_t>(end_lsn) * 10;
  return header;
}

inline TransactionHeader Prepared(uint64_t xid, uint64_t end_lsn) {
  TransactionHeader header = Header(xid, end_lsn);
  header.gid = absl::StrCat("it's ", xid);
  return header;
}

inline Assembler::Options Limits(int64_t bytes, int64_t rows) {
  Assembler::Options options;
  options.batch_bytes_max = bytes;
  options.batch_rows_max = rows;
  options.position = {100};
  return options;
}

// Sends a transaction whose changes carry their number as the bytes of the row; a frame per
// `changes_per_frame`. Returns the batches that were due meanwhile.
class Feeder {
 public:
  explicit Feeder(Assembler* assembler) : assembler_(assembler) {}

  void Send(const TransactionHeader& header, int changes, int changes_per_frame = 1,
            size_t frame_bytes = 10) {
    ASSERT_TRUE(assembler_->OnBegin(header).ok());
    int sent = 0;
    while (sent < changes) {
      for (int i = 0; i < changes_per_frame && sent < changes; ++i, ++sent) {
        rows_.push_back(absl::StrCat(header.xid, ".", sent));
        Change change;
        change.new_row = rows_.back();
        ASSERT_TRUE(assembler_->OnChange(std::move(change)).ok());
      }
      if (sent == changes) break;
      assembler_->AddFrame(MakeFrame(frame_bytes));
      TakeAll(false);
    }
    ASSERT_TRUE(assembler_->OnCommit(header).ok());
    assembler_->AddFrame(MakeFrame(frame_bytes));
    TakeAll(false);
  }

  void TakeAll(bool is_idle) {
    while (auto batch = assembler_->Take(is_idle)) batches.push_back(*std::move(batch));
  }

  std::vector<std::string> Rows() const {
    std::vector<std::string> rows;
    for (const Batch& batch : batches) {
      for (const Change& change : batch.changes) rows.emplace_back(change.new_row);
    }
    return rows;
  }

  std::vector<Batch> batches;

 private:
  Assembler* assembler_;
  std::deque<std::string> rows_;
};

}  // namespace towline
