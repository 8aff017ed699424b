// Frames to changes: reads the wire format (wire.proto), keeps the connection's relation
// descriptions, puts values sent in parts together. Rows are not copied: changes point into the
// frame. Rows and their entries are read by hand (they are all of the work); everything rare by
// the generated classes. Bytes that cannot be understood are kDataLoss, never skipped: an entry of
// an unknown kind, a row of an undescribed relation, a transaction whose end does not tell of as
// many changes as came. After an error the decoder is of no further use.
//
// A transaction that comes while in progress (protocol version 2) is kept in the spool and given to
// the sink when its commit has come, in the order of the stream like any other: its StreamCommit
// calls OnBegin(), then Replay() gives the rest, piece by piece, so that the reader can apply a
// large one in parts while it is read back.
// One decoder per connection, one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "decode/decompressor.h"
#include "decode/streamed_transactions.h"
#include "decode/value_parts.h"
#include "model/change_sink.h"
#include "model/frame.h"
#include "model/relation.h"

namespace towline {

class Decoder {
 public:
  struct Options {
    Spool* spool = nullptr;     // none: transactions in progress were not asked for
    bool takes_ddl = false;     // commands and the rows of rewritten tables were asked for
    std::string compression{};  // asked for: "lz4", "zstd"; empty: none
    size_t subtransactions_max = StreamedTransactions::kSubtransactionsMax;
  };

  Decoder() = default;
  explicit Decoder(const Options& options);
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // The frame to decode: `frame` itself, or what it holds compressed.
  absl::StatusOr<Frame> Unpack(Frame frame);

  // Calls the sink for every entry. The frame must outlive the changes.
  absl::Status Decode(const Frame& frame, ChangeSink& sink);

  // A transaction sent while in progress has been committed: Replay() before the next Decode().
  bool is_replaying() const { return replay_.log != nullptr; }
  // Calls the sink for the next piece of it, the last time for its commit too. The frame given
  // back must outlive the changes.
  absl::StatusOr<Frame> Replay(ChangeSink& sink);

  // Known after the first frame; 0 before.
  uint32_t protocol_version() const { return protocol_version_; }
  // Logical messages (pg_logical_emit_message) passed over so far: anyone may emit one, so none is
  // ever a reason to act (I11).
  int64_t message_count() const { return message_count_; }
  // About what the descriptions of relations take that have come so far. None can be forgotten: a
  // row may name it for as long as the connection lasts.
  size_t description_bytes() const { return description_bytes_; }

 private:
  struct RowEntry;

  absl::Status DecodeEntry(absl::string_view entry, ChangeSink& sink);
  absl::Status DecodeRow(ChangeKind kind, absl::string_view entry, ChangeSink& sink);
  absl::Status DecodeRare(uint32_t kind, absl::string_view entry, ChangeSink& sink);
  absl::Status DecodeHello(absl::string_view entry);
  absl::Status DecodeBegin(absl::string_view entry, ChangeSink& sink);
  absl::Status DecodeCommit(absl::string_view entry, ChangeSink& sink);
  absl::Status DecodeBeginPrepare(absl::string_view entry, ChangeSink& sink);
  absl::Status DecodePrepare(absl::string_view entry, ChangeSink& sink);
  absl::Status DecodeCommitPrepared(absl::string_view entry, ChangeSink& sink);
  absl::Status DecodeRollbackPrepared(absl::string_view entry, ChangeSink& sink);
  absl::Status DecodeRelation(absl::string_view entry);
  absl::Status DecodeTruncate(absl::string_view entry, ChangeSink& sink);
  absl::Status DecodeValuePart(absl::string_view entry);
  absl::Status DecodeMessage(absl::string_view entry);
  absl::Status DecodeDdl(absl::string_view entry, ChangeSink& sink);
  absl::Status DecodeRewrite(absl::string_view entry, ChangeSink& sink);

  // Transactions in progress: decoder_streaming.cpp.
  absl::Status DecodeInRun(uint32_t kind, absl::string_view content, absl::string_view entry);
  absl::Status DecodeStreaming(uint32_t kind, absl::string_view content, ChangeSink& sink);
  absl::Status DecodeStreamStart(absl::string_view content);
  absl::Status DecodeStreamStop(absl::string_view content);
  absl::Status DecodeStreamAbort(absl::string_view content);
  absl::Status DecodeStreamCommit(absl::string_view content, ChangeSink& sink);
  absl::Status DecodeStreamPrepare(absl::string_view content, ChangeSink& sink);
  absl::Status BeginReplay(StreamedTransactions::Whole whole, ChangeSink& sink);
  absl::Status EndReplay(ChangeSink& sink);

  absl::Status CheckHeader() const;
  absl::Status Begin(TransactionHeader header, ChangeSink& sink);
  absl::Status End(uint64_t xid, Lsn commit_lsn, Lsn end_lsn, uint64_t change_count,
                   ChangeSink& sink);
  absl::Status EndPrepared(const TransactionHeader& header, PreparedFate fate, ChangeSink& sink);

  absl::StatusOr<const Relation*> FindRelation(uint64_t number);
  absl::Status CheckOldImage(const RowEntry& row, const Relation& relation, Change* change,
                             RowImageFacts* facts);
  absl::Status SpliceRow(const RowImageFacts& old_facts, const RowImageFacts& new_facts,
                         Change* change, ChangeSink& sink);

  // What the present frame may hold.
  enum class Mode : uint8_t {
    kPlain,
    kRun,    // entries of a transaction in progress; goes on in the next frame
    kEnded,  // nothing more: a run, or word of a transaction in progress, ends its frame
  };

  Options options_;
  uint32_t protocol_version_ = 0;
  int compression_ = 0;  // v1::CompressedEntries::Method, by the greeting
  absl::flat_hash_map<uint32_t, std::unique_ptr<const Relation>> relations_;
  size_t description_bytes_ = 0;
  const Relation* last_relation_ = nullptr;  // rows come in runs of one relation
  ValueParts parts_;
  TransactionHeader header_;  // of the open transaction
  bool is_inside_ = false;
  bool has_transaction_in_frame_ = false;
  uint64_t change_count_ = 0;  // in the open transaction
  Lsn last_end_lsn_;
  absl::flat_hash_set<uint64_t> cut_short_;  // prepared transactions that ended within a row
  int64_t message_count_ = 0;

  Mode mode_ = Mode::kPlain;
  int64_t frame_entries_ = 0;  // of the present frame so far, a greeting not counted
  Decompressor decompressor_;
  StreamedTransactions streamed_{nullptr};
  StreamedTransactions::Whole replay_;  // what Replay() gives
  uint64_t replay_offset_ = 0;
};

}  // namespace towline
