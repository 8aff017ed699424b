#include "changes_transactions.h"

#include "changes_rows.h"

namespace towline::plugin {
namespace {

const char* LsnText(uint64_t lsn) {
  return psprintf("%X/%X", static_cast<uint32_t>(lsn >> 32), static_cast<uint32_t>(lsn));
}

const char* OriginText(std::string_view message) {
  const char* name = "";
  uint64_t lsn = 0;
  WireField f;
  while (NextField(&message, &f)) {
    if (f.number == wire::origin::kName) name = CopyText(f.bytes);
    if (f.number == wire::origin::kLsn) lsn = f.value;
  }
  return psprintf("origin %s at %s", quote_identifier(name), LsnText(lsn));
}

// xid, LSN, end LSN and time have the same numbers in all of them; what comes behind has not.
struct TransactionEntry {
  uint32_t number;
  const char* kind;
  bool opens;  // entries of the transaction follow
  bool has_time;
  uint32_t count_field;  // 0: the entry has none
  uint32_t gid_field;
  uint32_t origin_field;
};

constexpr TransactionEntry kTransactionEntries[] = {
    {wire::entry::kBegin, "begin", true, true, 0, 0, wire::begin::kOrigin},
    {wire::entry::kCommit, "commit", false, true, wire::commit::kChangeCount, 0, 0},
    {wire::entry::kStreamCommit, "stream_commit", false, true, wire::stream_commit::kChangeCount, 0,
     wire::stream_commit::kOrigin},
    {wire::entry::kStreamPrepare, "stream_prepare", false, true, wire::stream_prepare::kChangeCount,
     wire::stream_prepare::kGid, wire::stream_prepare::kOrigin},
    {wire::entry::kBeginPrepare, "begin_prepare", true, true, 0, wire::prepared::kGid,
     wire::prepared::kOrigin},
    {wire::entry::kPrepare, "prepare", false, false, wire::prepare::kChangeCount, 0, 0},
    {wire::entry::kCommitPrepared, "commit_prepared", false, true, 0, wire::prepared::kGid,
     wire::prepared::kOrigin},
    {wire::entry::kRollbackPrepared, "rollback_prepared", false, true, 0, wire::prepared::kGid, 0},
};

TimestampTz TimestampOf(uint64_t unix_us) {
  constexpr int64_t kPostgresEpochInUnixUs =
      static_cast<int64_t>(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
  return static_cast<int64_t>(unix_us) - kPostgresEpochInUnixUs;
}

void ReadTransaction(ReadableStream* stream, const TransactionEntry& kind, std::string_view message,
                     ReadableEntry* entry) {
  uint64_t change_count = 0, prepare_end_lsn = 0;
  const char *gid = "", *origin = nullptr;
  WireField f;
  while (NextField(&message, &f)) {
    if (f.number == wire::begin::kXid) entry->xid = f.value;
    if (f.number == wire::begin::kCommitLsn) prepare_end_lsn = f.value;
    if (f.number == wire::begin::kEndLsn) entry->lsn = f.value;
    if (f.number == wire::begin::kCommitTime && kind.has_time) {
      entry->has_commit_time = true;
      entry->commit_time = TimestampOf(f.value);
    }
    if (f.number == kind.count_field) change_count = f.value;
    if (f.number == kind.gid_field) gid = CopyText(f.bytes);
    if (f.number == kind.origin_field) origin = OriginText(f.bytes);
  }
  stream->xid = kind.opens ? entry->xid : 0;
  stream->end_lsn = entry->lsn;
  entry->kind = kind.kind;
  StringInfoData detail;
  initStringInfo(&detail);
  if (kind.gid_field != 0) appendStringInfo(&detail, "gid %s", quote_identifier(gid));
  const char* separator = detail.len == 0 ? "" : ", ";
  if (kind.count_field != 0) {
    appendStringInfo(&detail, "%schanges: " UINT64_FORMAT, separator, change_count);
    separator = ", ";
  }
  if (origin != nullptr) appendStringInfo(&detail, "%s%s", separator, origin);
  if (kind.number == wire::entry::kRollbackPrepared) {
    appendStringInfo(&detail, ", prepared up to %s", LsnText(prepare_end_lsn));
  }
  if (detail.len > 0) entry->detail = detail.data;
}

// Of a run nothing is known of the end yet: its entries show where their frame was sent.
void ReadStreamStart(ReadableStream* stream, std::string_view message, ReadableEntry* entry) {
  WireField f;
  entry->kind = "stream_start";
  while (NextField(&message, &f)) {
    if (f.number == wire::stream_start::kXid) entry->xid = f.value;
    if (f.number == wire::stream_start::kIsFirst && f.value != 0) entry->detail = "first run";
  }
  stream->xid = entry->xid;
  stream->end_lsn = InvalidXLogRecPtr;
}

void ReadSubtransaction(std::string_view message, ReadableEntry* entry) {
  WireField f;
  entry->kind = "subtransaction";
  while (NextField(&message, &f)) {
    if (f.number != wire::subtransaction::kXid) continue;
    entry->detail = f.value == entry->xid ? "top level" : psprintf("xid " UINT64_FORMAT, f.value);
  }
}

void ReadStreamAbort(std::string_view message, ReadableEntry* entry) {
  namespace field = wire::stream_abort;
  uint64_t subxid = 0;
  WireField f;
  entry->kind = "stream_abort";
  while (NextField(&message, &f)) {
    if (f.number == field::kXid) entry->xid = f.value;
    if (f.number == field::kSubxid) subxid = f.value;
    if (f.number == field::kAbortLsn) entry->lsn = f.value;
    if (f.number != field::kAbortTime) continue;
    entry->has_commit_time = true;
    entry->commit_time = TimestampOf(f.value);
  }
  entry->detail =
      subxid == entry->xid ? "whole transaction" : psprintf("xid " UINT64_FORMAT, subxid);
}

}  // namespace

bool ReadTransactionEntry(ReadableStream* stream, uint32_t kind, std::string_view message,
                          ReadableEntry* entry) {
  for (const TransactionEntry& candidate : kTransactionEntries) {
    if (candidate.number != kind) continue;
    ReadTransaction(stream, candidate, message, entry);
    return true;
  }
  switch (kind) {
    case wire::entry::kStreamStart:
      ReadStreamStart(stream, message, entry);
      return true;
    case wire::entry::kStreamStop:
      entry->kind = "stream_stop";
      stream->xid = 0;
      return true;
    case wire::entry::kSubtransaction:
      ReadSubtransaction(message, entry);
      return true;
    case wire::entry::kStreamAbort:
      ReadStreamAbort(message, entry);
      return true;
    default:
      return false;
  }
}

}  // namespace towline::plugin
