// Changes of rows as they travel between decode, assemble and apply.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/lsn.h"
#include "model/relation.h"

namespace towline {

enum class ChangeKind : uint8_t { kInsert, kUpdate, kDelete, kTruncate };
enum class OldImage : uint8_t { kNone, kKey, kFull };

// Borrowed views: `relation` lives as long as its connection's decoder, the images as long as the
// batch that holds the change.
struct Change {
  ChangeKind kind = ChangeKind::kInsert;
  OldImage old_image = OldImage::kNone;
  bool has_unchanged_toast = false;  // in new_row
  const Relation* relation = nullptr;
  absl::string_view old_row;  // key image or full image, by old_image
  absl::string_view new_row;  // full image
  // kTruncate only.
  std::shared_ptr<const std::vector<const Relation*>> truncated;
  bool truncate_restarts_identity = false;
};

struct TransactionHeader {
  uint64_t xid = 0;            // top level, 64 bits
  Lsn commit_lsn;              // start of the commit record
  Lsn end_lsn;                 // its end: the position once the transaction is applied
  int64_t commit_time_us = 0;  // since 1970-01-01 UTC, the source's clock
  std::string origin;          // empty: written on the source itself
  std::string gid;             // of PREPARE TRANSACTION at the source; empty: committed. With one,
                               // the LSNs are the prepare record's and the time is that of PREPARE
};

// How a prepared transaction ended, in a record of its own.
enum class PreparedFate : uint8_t { kCommitted, kRolledBack };

}  // namespace towline
