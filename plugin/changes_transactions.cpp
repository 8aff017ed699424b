#include "changes_transactions.h"

#include "changes_rows.h"

namespace towline::plugin {
namespace {

const char* OriginText(std::string_view message) {
  const char* name = "";
  uint64_t lsn = 0;
  WireField f;
  while (NextField(&message, &f)) {
    if (f.number == wire::origin::kName) name = CopyText(f.bytes);
    if (f.number == wire::origin::kLsn) lsn = f.value;
  }
  return psprintf("origin %s at %X/%X", quote_identifier(name), static_cast<uint32_t>(lsn >> 32),
                  static_cast<uint32_t>(lsn));
}

}  // namespace

// Begin and Commit share the numbers of what they share.
void ReadTransaction(ReadableStream* stream, std::string_view message, bool is_begin,
                     ReadableEntry* entry) {
  constexpr int64_t kPostgresEpochInUnixUs =
      static_cast<int64_t>(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
  uint64_t change_count = 0;
  WireField f;
  while (NextField(&message, &f)) {
    switch (f.number) {
      case wire::begin::kXid:
        stream->xid = f.value;
        break;
      case wire::begin::kEndLsn:
        stream->end_lsn = f.value;
        break;
      case wire::begin::kCommitTime:
        entry->has_commit_time = true;
        entry->commit_time = static_cast<int64_t>(f.value) - kPostgresEpochInUnixUs;
        break;
      case wire::begin::kOrigin:  // the same number as Commit.change_count
        if (is_begin) {
          entry->detail = OriginText(f.bytes);
        } else {
          change_count = f.value;
        }
        break;
      default:
        break;
    }
  }
  entry->xid = stream->xid;
  entry->lsn = stream->end_lsn;
  if (is_begin) return;
  entry->detail = psprintf("changes: " UINT64_FORMAT, change_count);
  stream->xid = 0;
}

}  // namespace towline::plugin
