// A row that has moved, within a table that is copied in ranges of its key, from a range whose
// snapshot holds the transaction to one whose snapshot does not. It has to be inserted whole there,
// and large values that the UPDATE left as they were did not come: they are read again at the
// source (docs/decisions/016).
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "model/relation.h"

namespace towline {

struct MovedRow {
  uint64_t xid = 0;     // top level, 64 bits: of the transaction that left the row so
  uint64_t writer = 0;  // the subtransaction of it that did, or itself
  const Relation* relation = nullptr;
  std::string key_column;  // whose value, unique in the table, is in `row`
  std::string row;         // full image, with marks for the values that did not come
};

// Who reads them. One thread.
class MovedRowReader {
 public:
  enum class Verdict : uint8_t {
    kRead,
    kGone,    // the source does not show this very version of the row (any more)
    kNotYet,  // it does not show the transaction at all yet, or somebody has locked the table
  };
  struct Answer {
    Verdict verdict = Verdict::kGone;
    std::string row{};  // kRead: the image with all its values
  };

  virtual ~MovedRowReader() = default;
  // The version that the transaction has left, and no other: its values are of no other moment.
  virtual absl::StatusOr<Answer> Read(const MovedRow& moved) = 0;
  // Called often: a session that was not used for a while is closed.
  virtual void CloseIfIdle() = 0;
};

}  // namespace towline
