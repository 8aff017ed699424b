// The part of the decoder that reads transactions in progress.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/fault_point.h"
#include "base/status_macros.h"
#include "decode/decoder.h"
#include "decode/proto_reader.h"
#include "towline/v1/wire.pb.h"

namespace towline {
namespace {

// The first in which whole transactions name theirs as well.
constexpr uint32_t kProtocolOfSubtransactions = 5;

absl::Status Malformed(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("the stream cannot be understood: ", what));
}

template <typename Message>
absl::Status Parse(absl::string_view content, Message* message) {
  if (message->ParseFromArray(content.data(), static_cast<int>(content.size()))) {
    return absl::OkStatus();
  }
  return Malformed(absl::StrCat("malformed ", Message::descriptor()->name()));
}

}  // namespace

// Descriptions are taken in at once: their numbers are the connection's, and whoever comes later
// may use them, also when this transaction never commits.
absl::Status Decoder::DecodeInRun(uint32_t kind, absl::string_view content,
                                  absl::string_view entry) {
  if (mode_ == Mode::kEnded) {
    return Malformed(absl::StrCat("entry of kind ", kind,
                                  " behind what should have been the last of its frame"));
  }
  switch (kind) {
    case v1::Entry::kRelationFieldNumber:
      return DecodeRelation(content);
    case v1::Entry::kStreamStopFieldNumber:
      return DecodeStreamStop(content);
    default:
      return streamed_.Add(kind, content, entry);
  }
}

absl::Status Decoder::DecodeStreaming(uint32_t kind, absl::string_view content, ChangeSink& sink) {
  const bool may_be_named = is_replaying() || protocol_version_ >= kProtocolOfSubtransactions;
  if (kind == v1::Entry::kSubtransactionFieldNumber && is_inside_ && may_be_named) {
    v1::Subtransaction subtransaction;
    TOWLINE_RETURN_IF_ERROR(Parse(content, &subtransaction));
    sink.OnSubtransaction(subtransaction.xid());
    return absl::OkStatus();
  }
  if (options_.spool == nullptr || is_replaying()) {
    return Malformed("part of a transaction in progress, which was not asked for");
  }
  if (is_inside_) return Malformed("part of a transaction in progress within another transaction");
  if (frame_entries_ > 1) {
    return Malformed("part of a transaction in progress within a frame of something else");
  }
  switch (kind) {
    case v1::Entry::kStreamStartFieldNumber:
      return DecodeStreamStart(content);
    case v1::Entry::kStreamStopFieldNumber:
      return DecodeStreamStop(content);
    case v1::Entry::kStreamAbortFieldNumber:
      return DecodeStreamAbort(content);
    case v1::Entry::kStreamCommitFieldNumber:
      return DecodeStreamCommit(content, sink);
    case v1::Entry::kStreamPrepareFieldNumber:
      return DecodeStreamPrepare(content, sink);
    default:
      return Malformed("a subtransaction outside a run");
  }
}

absl::Status Decoder::DecodeStreamStart(absl::string_view content) {
  v1::StreamStart start;
  TOWLINE_RETURN_IF_ERROR(Parse(content, &start));
  TOWLINE_RETURN_IF_ERROR(streamed_.StartRun(start.xid(), start.is_first()));
  mode_ = Mode::kRun;
  return absl::OkStatus();
}

absl::Status Decoder::DecodeStreamStop(absl::string_view content) {
  v1::StreamStop stop;
  TOWLINE_RETURN_IF_ERROR(Parse(content, &stop));
  TOWLINE_RETURN_IF_ERROR(streamed_.StopRun(stop.xid()));
  mode_ = Mode::kEnded;
  FaultPoint("decode:run-taken");
  return absl::OkStatus();
}

absl::Status Decoder::DecodeStreamAbort(absl::string_view content) {
  v1::StreamAbort abort;
  TOWLINE_RETURN_IF_ERROR(Parse(content, &abort));
  mode_ = Mode::kEnded;
  return streamed_.Abort(abort.xid(), abort.subxid());
}

absl::Status Decoder::DecodeStreamCommit(absl::string_view content, ChangeSink& sink) {
  v1::StreamCommit commit;
  TOWLINE_RETURN_IF_ERROR(Parse(content, &commit));
  mode_ = Mode::kEnded;
  header_ = {};
  header_.xid = commit.xid();
  header_.commit_lsn = {commit.commit_lsn()};
  header_.end_lsn = {commit.end_lsn()};
  header_.commit_time_us = commit.commit_time();
  header_.origin = commit.origin().name();
  TOWLINE_ASSIGN_OR_RETURN(StreamedTransactions::Whole whole,
                           streamed_.Take(commit.xid(), commit.change_count()));
  return BeginReplay(std::move(whole), sink);
}

// Only comes where two-phase decoding was asked for. The rest is as for a commit, and who gets the
// transaction sees its gid.
absl::Status Decoder::DecodeStreamPrepare(absl::string_view content, ChangeSink& sink) {
  v1::StreamPrepare prepare;
  TOWLINE_RETURN_IF_ERROR(Parse(content, &prepare));
  if (prepare.gid().empty()) return Malformed("a prepared transaction without its name");
  mode_ = Mode::kEnded;
  header_ = {};
  header_.xid = prepare.xid();
  header_.commit_lsn = {prepare.prepare_lsn()};
  header_.end_lsn = {prepare.end_lsn()};
  header_.commit_time_us = prepare.prepare_time();
  header_.origin = prepare.origin().name();
  header_.gid = prepare.gid();
  TOWLINE_ASSIGN_OR_RETURN(StreamedTransactions::Whole whole,
                           streamed_.Take(prepare.xid(), prepare.change_count()));
  return BeginReplay(std::move(whole), sink);
}

absl::Status Decoder::BeginReplay(StreamedTransactions::Whole whole, ChangeSink& sink) {
  TOWLINE_RETURN_IF_ERROR(CheckHeader());
  is_inside_ = true;
  change_count_ = 0;
  replay_ = std::move(whole);
  replay_offset_ = 0;
  return sink.OnBegin(header_);
}

absl::StatusOr<Frame> Decoder::Replay(ChangeSink& sink) {
  TOWLINE_CHECK(is_replaying());
  mode_ = Mode::kPlain;
  TOWLINE_ASSIGN_OR_RETURN(Frame frame, replay_.log->Read(replay_offset_));
  replay_offset_ += frame.size();
  ProtoReader reader(frame.bytes);
  while (reader.Next()) TOWLINE_RETURN_IF_ERROR(DecodeEntry(reader.bytes(), sink));
  if (reader.is_bad()) return absl::InternalError("the spool gave a frame that is not well-formed");
  if (replay_offset_ == replay_.log->size()) TOWLINE_RETURN_IF_ERROR(EndReplay(sink));
  FaultPoint("decode:in-replay");
  return frame;
}

absl::Status Decoder::EndReplay(ChangeSink& sink) {
  if (!parts_.is_empty()) {
    if (header_.gid.empty()) return Malformed("a value that belongs to no row");
    // The server stops within a row when it finds that the transaction was rolled back meanwhile.
    parts_ = ValueParts();
    cut_short_.insert(header_.xid);
  }
  if (change_count_ != replay_.change_count) {
    return absl::InternalError(absl::StrCat("the spool held ", replay_.change_count,
                                            " changes of transaction ", header_.xid, " and gave ",
                                            change_count_));
  }
  replay_ = {};
  is_inside_ = false;
  last_end_lsn_ = std::max(last_end_lsn_, header_.end_lsn);
  return sink.OnCommit(header_);
}

}  // namespace towline
