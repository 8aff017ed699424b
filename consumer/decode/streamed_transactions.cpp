#include "decode/streamed_transactions.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "decode/proto_reader.h"
#include "towline/v1/wire.pb.h"

namespace towline {
namespace {

using Mark = SubtransactionIndex::Mark;

absl::Status Malformed(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("the stream cannot be understood: ", what));
}

bool IsChange(uint32_t kind) {
  return kind == v1::Entry::kInsertFieldNumber || kind == v1::Entry::kUpdateFieldNumber ||
         kind == v1::Entry::kDeleteFieldNumber || kind == v1::Entry::kTruncateFieldNumber;
}

// 0 if it has none.
uint64_t SubtransactionXid(absl::string_view content) {
  uint64_t xid = 0;
  ProtoReader reader(content);
  while (reader.Next()) {
    if (reader.field() == v1::Subtransaction::kXidFieldNumber && reader.has_varint()) {
      xid = reader.varint();
    }
  }
  return reader.is_bad() ? 0 : xid;
}

}  // namespace

absl::Status StreamedTransactions::StartRun(uint64_t xid, bool is_first) {
  if (spool_ == nullptr) {
    return Malformed("part of a transaction in progress, which was not asked for");
  }
  if (run_ != nullptr) {
    return Malformed(
        absl::StrCat("a run of transaction ", xid, " within one of transaction ", run_xid_));
  }
  if (xid == 0) return Malformed("a run of no transaction");
  auto [at, is_new] = transactions_.try_emplace(xid, nullptr);
  if (is_new != is_first) {
    if (is_new) transactions_.erase(at);
    return Malformed(
        absl::StrCat(is_first ? "a first run" : "a later run", " of transaction ", xid,
                     is_new ? ", of which no run came before" : ", of which runs came before"));
  }
  if (is_new) {
    at->second = std::make_unique<Transaction>(subtransactions_max_);
    at->second->log = spool_->NewLog();
  }
  run_ = at->second.get();
  run_xid_ = xid;
  return absl::OkStatus();
}

absl::Status StreamedTransactions::Add(uint32_t kind, absl::string_view content,
                                       absl::string_view entry) {
  switch (kind) {
    case v1::Entry::kSubtransactionFieldNumber: {
      uint64_t xid = SubtransactionXid(content);
      if (xid == 0) return Malformed("a subtransaction without xid");
      if (xid != run_xid_) run_->subtransactions.Add(xid, {run_->log->size(), run_->kept});
      break;
    }
    case v1::Entry::kInsertFieldNumber:
    case v1::Entry::kUpdateFieldNumber:
    case v1::Entry::kDeleteFieldNumber:
    case v1::Entry::kTruncateFieldNumber:
      ++run_->arrived;
      ++run_->kept;
      break;
    case v1::Entry::kValuePartFieldNumber:
    case v1::Entry::kMessageFieldNumber:
    case v1::Entry::kDdlFieldNumber:
    case v1::Entry::kRewriteFieldNumber:
      break;
    default:
      return Malformed(
          absl::StrCat("entry of kind ", kind, " within a run of transaction ", run_xid_));
  }
  return run_->log->Append(entry);
}

absl::Status StreamedTransactions::StopRun(uint64_t xid) {
  if (run_ == nullptr) {
    return Malformed(absl::StrCat("the end of a run of transaction ", xid, " that did not begin"));
  }
  if (xid != run_xid_) {
    return Malformed(
        absl::StrCat("a run of transaction ", run_xid_, " ends as one of transaction ", xid));
  }
  run_ = nullptr;
  return absl::OkStatus();
}

absl::Status StreamedTransactions::Abort(uint64_t xid, uint64_t subxid) {
  auto found = transactions_.find(xid);
  if (found == transactions_.end()) {
    return Malformed(absl::StrCat("the abort of transaction ", xid, ", of which nothing came"));
  }
  if (subxid == 0) return Malformed("the abort of no transaction");
  if (subxid == xid) {
    transactions_.erase(found);
    return absl::OkStatus();
  }
  Transaction& transaction = *found->second;
  TOWLINE_ASSIGN_OR_RETURN(Mark mark, LookFor(transaction, subxid));
  transaction.kept = mark.changes;
  transaction.subtransactions.Cut(mark.offset);
  return transaction.log->Truncate(mark.offset);
}

// The end of the log if nothing of the subtransaction is in it.
absl::StatusOr<Mark> StreamedTransactions::LookFor(Transaction& transaction, uint64_t subxid) {
  const Mark end{transaction.log->size(), transaction.kept};
  if (!transaction.subtransactions.MayHaveForgotten(subxid)) {
    return transaction.subtransactions.Find(subxid).value_or(end);
  }
  Mark mark;
  uint64_t before_max = 0;  // of the subtransactions before it
  while (mark.offset < end.offset) {
    TOWLINE_ASSIGN_OR_RETURN(Frame frame, transaction.log->Read(mark.offset));
    const char* begin = frame.bytes.data();
    uint64_t frame_offset = mark.offset;
    ProtoReader entries(frame.bytes);
    while (entries.Next()) {
      ProtoReader entry(entries.bytes());
      if (!entry.Next()) return Malformed("an entry without a kind");
      if (entry.field() == v1::Entry::kSubtransactionFieldNumber) {
        uint64_t xid = SubtransactionXid(entry.bytes());
        if (xid == subxid) {
          transaction.subtransactions.SetForgottenMax(before_max);
          return mark;
        }
        before_max = std::max(before_max, xid);
      }
      mark.changes += IsChange(entry.field()) ? 1 : 0;
      mark.offset = frame_offset + static_cast<uint64_t>(entries.bytes().end() - begin);
    }
    if (entries.is_bad()) return Malformed("a frame of the spool is not well-formed");
  }
  return end;
}

absl::StatusOr<StreamedTransactions::Whole> StreamedTransactions::Take(uint64_t xid,
                                                                       uint64_t change_count) {
  auto found = transactions_.find(xid);
  if (found == transactions_.end()) {
    return Malformed(absl::StrCat("the end of transaction ", xid, ", of which nothing came"));
  }
  Transaction& transaction = *found->second;
  if (transaction.arrived != change_count) {
    return Malformed(absl::StrCat("transaction ", xid, " has ", change_count, " changes, and ",
                                  transaction.arrived, " arrived"));
  }
  Whole whole{std::move(transaction.log), transaction.kept};
  transactions_.erase(found);
  return whole;
}

}  // namespace towline
