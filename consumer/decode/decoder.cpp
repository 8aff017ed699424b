#include "decode/decoder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "decode/ddl_reader.h"
#include "decode/proto_reader.h"
#include "decode/relation_reader.h"
#include "model/row_image.h"
#include "towline/v1/wire.pb.h"

namespace towline {
namespace {

// The range that this reader knows.
constexpr uint32_t kProtocolVersionMin = 1;
constexpr uint32_t kProtocolVersionMax = 5;

constexpr uint32_t kEntriesField = v1::Frame::kEntriesFieldNumber;
constexpr uint32_t kCompressedField = v1::Frame::kCompressedFieldNumber;
constexpr uint32_t kInsertField = v1::Entry::kInsertFieldNumber;
constexpr uint32_t kUpdateField = v1::Entry::kUpdateFieldNumber;
constexpr uint32_t kDeleteField = v1::Entry::kDeleteFieldNumber;

absl::Status Malformed(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("the stream cannot be understood: ", what));
}

template <typename Message>
absl::Status Parse(absl::string_view entry, Message* message) {
  if (message->ParseFromArray(entry.data(), static_cast<int>(entry.size()))) {
    return absl::OkStatus();
  }
  return Malformed(absl::StrCat("malformed ", Message::descriptor()->name()));
}

absl::string_view MethodName(int method) {
  switch (method) {
    case v1::CompressedEntries::NONE:
      return "none";
    case v1::CompressedEntries::LZ4:
      return "lz4";
    case v1::CompressedEntries::ZSTD:
      return "zstd";
    default:
      return "unknown";
  }
}

absl::Status CheckCompression(const v1::Hello& hello, const std::string& asked) {
  absl::string_view got = MethodName(hello.compression());
  if (got == (asked.empty() ? "none" : asked)) return absl::OkStatus();
  if (hello.compression() == v1::CompressedEntries::NONE) {
    LogWarning(absl::StrCat("the source's server cannot compress by ", asked,
                            ": the stream comes uncompressed"),
               {{"stage", "decode"}});
    return absl::OkStatus();
  }
  return absl::DataLossError(absl::StrCat("the plugin (version ", hello.plugin_version(),
                                          ") compresses by ", got, ", and ",
                                          asked.empty() ? "none" : asked, " was asked for"));
}

// The texts of a column mostly live within it.
size_t MemoryOf(const Relation& relation) {
  size_t bytes = sizeof relation + relation.name.schema.size() + relation.name.name.size() +
                 relation.columns.size() * sizeof(Column) +
                 (relation.sent.size() + relation.key.size()) * sizeof(int);
  for (const Column& column : relation.columns) {
    bytes += column.name.size() + column.type_name.size() + column.collation.size();
  }
  return bytes;
}

}  // namespace

// The fields of Insert, Update and Delete, which share their numbers.
struct Decoder::RowEntry {
  uint64_t relation = 0;
  absl::string_view new_row;
  bool has_new_row = false;
  uint64_t old_image = 0;
  absl::string_view old_row;
  bool has_old_row = false;

  bool Read(absl::string_view entry) {
    ProtoReader reader(entry);
    while (reader.Next()) {
      if (reader.field() == v1::Update::kNewRowFieldNumber && reader.has_bytes()) {
        new_row = reader.bytes();
        has_new_row = true;
      } else if (reader.field() == v1::Update::kRelationFieldNumber && reader.has_varint()) {
        relation = reader.varint();
      } else if (reader.field() == v1::Update::kOldImageFieldNumber && reader.has_varint()) {
        old_image = reader.varint();
      } else if (reader.field() == v1::Update::kOldRowFieldNumber && reader.has_bytes()) {
        old_row = reader.bytes();
        has_old_row = true;
      } else if (reader.field() <= v1::Update::kOldRowFieldNumber) {
        return false;  // a field of ours in another wire type
      }
    }
    return !reader.is_bad();
  }
};

Decoder::Decoder(const Options& options)
    : options_(options), streamed_(options.spool, options.subtransactions_max) {}

absl::StatusOr<Frame> Decoder::Unpack(Frame frame) {
  ProtoReader reader(frame.bytes);
  if (!reader.Next() || reader.field() != kCompressedField || !reader.has_bytes()) return frame;
  absl::string_view compressed = reader.bytes();
  if (reader.Next() || reader.is_bad()) return Malformed("a compressed frame with more in it");
  if (protocol_version_ == 0) return Malformed("it does not begin with a greeting");
  TOWLINE_ASSIGN_OR_RETURN(Frame plain, decompressor_.Decompress(compressed, compression_));
  plain.wal_start = frame.wal_start;
  return plain;
}

absl::Status Decoder::Decode(const Frame& frame, ChangeSink& sink) {
  TOWLINE_CHECK(!is_replaying());
  has_transaction_in_frame_ = false;
  frame_entries_ = 0;
  if (mode_ == Mode::kEnded) mode_ = Mode::kPlain;
  ProtoReader reader(frame.bytes);
  while (reader.Next()) {
    if (reader.field() == kCompressedField) return Malformed("a compressed frame within a frame");
    if (reader.field() != kEntriesField) continue;
    if (!reader.has_bytes()) return Malformed("an entry is no message");
    ++frame_entries_;
    TOWLINE_RETURN_IF_ERROR(DecodeEntry(reader.bytes(), sink));
  }
  return reader.is_bad() ? Malformed("the frame is not well-formed") : absl::OkStatus();
}

absl::Status Decoder::DecodeEntry(absl::string_view entry, ChangeSink& sink) {
  ProtoReader reader(entry);
  if (!reader.Next() || !reader.has_bytes()) return Malformed("an entry without a kind");
  uint32_t kind = reader.field();
  absl::string_view content = reader.bytes();
  if (reader.Next() || reader.is_bad()) return Malformed("an entry with more than a kind");
  if (protocol_version_ == 0 && kind != v1::Entry::kHelloFieldNumber) {
    return Malformed("it does not begin with a greeting");
  }
  if (mode_ != Mode::kPlain) return DecodeInRun(kind, content, entry);
  switch (kind) {
    case kInsertField:
      return DecodeRow(ChangeKind::kInsert, content, sink);
    case kUpdateField:
      return DecodeRow(ChangeKind::kUpdate, content, sink);
    case kDeleteField:
      return DecodeRow(ChangeKind::kDelete, content, sink);
    default:
      return DecodeRare(kind, content, sink);
  }
}

absl::Status Decoder::DecodeRare(uint32_t kind, absl::string_view entry, ChangeSink& sink) {
  switch (kind) {
    case v1::Entry::kHelloFieldNumber:
      return DecodeHello(entry);
    case v1::Entry::kBeginFieldNumber:
      return DecodeBegin(entry, sink);
    case v1::Entry::kCommitFieldNumber:
      return DecodeCommit(entry, sink);
    case v1::Entry::kRelationFieldNumber:
      return DecodeRelation(entry);
    case v1::Entry::kTruncateFieldNumber:
      return DecodeTruncate(entry, sink);
    case v1::Entry::kValuePartFieldNumber:
      return DecodeValuePart(entry);
    case v1::Entry::kMessageFieldNumber:
      return DecodeMessage(entry);
    case v1::Entry::kDdlFieldNumber:
      return DecodeDdl(entry, sink);
    case v1::Entry::kRewriteFieldNumber:
      return DecodeRewrite(entry, sink);
    case v1::Entry::kSubtransactionFieldNumber:
    case v1::Entry::kStreamStartFieldNumber:
    case v1::Entry::kStreamStopFieldNumber:
    case v1::Entry::kStreamAbortFieldNumber:
    case v1::Entry::kStreamCommitFieldNumber:
    case v1::Entry::kStreamPrepareFieldNumber:
      return DecodeStreaming(kind, entry, sink);
    case v1::Entry::kBeginPrepareFieldNumber:
      return DecodeBeginPrepare(entry, sink);
    case v1::Entry::kPrepareFieldNumber:
      return DecodePrepare(entry, sink);
    case v1::Entry::kCommitPreparedFieldNumber:
      return DecodeCommitPrepared(entry, sink);
    case v1::Entry::kRollbackPreparedFieldNumber:
      return DecodeRollbackPrepared(entry, sink);
    default:
      return Malformed(absl::StrCat("entry of unknown kind ", kind));
  }
}

absl::Status Decoder::DecodeHello(absl::string_view entry) {
  v1::Hello hello;
  TOWLINE_RETURN_IF_ERROR(Parse(entry, &hello));
  if (protocol_version_ != 0) return Malformed("a second greeting");
  if (hello.protocol_version() < kProtocolVersionMin ||
      hello.protocol_version() > kProtocolVersionMax) {
    return WithHint(absl::FailedPreconditionError(absl::StrCat(
                        "the plugin (version ", hello.plugin_version(), ") speaks protocol ",
                        hello.protocol_version(), ", this towline protocol ", kProtocolVersionMin,
                        " to ", kProtocolVersionMax)),
                    "Install plugin and towline of the same release.");
  }
  TOWLINE_RETURN_IF_ERROR(CheckCompression(hello, options_.compression));
  compression_ = hello.compression();
  protocol_version_ = hello.protocol_version();
  frame_entries_ = 0;
  return absl::OkStatus();
}

absl::Status Decoder::DecodeBegin(absl::string_view entry, ChangeSink& sink) {
  v1::Begin begin;
  TOWLINE_RETURN_IF_ERROR(Parse(entry, &begin));
  TransactionHeader header;
  header.xid = begin.xid();
  header.commit_lsn = {begin.commit_lsn()};
  header.end_lsn = {begin.end_lsn()};
  header.commit_time_us = begin.commit_time();
  header.origin = begin.origin().name();
  return Begin(std::move(header), sink);
}

absl::Status Decoder::DecodeBeginPrepare(absl::string_view entry, ChangeSink& sink) {
  v1::BeginPrepare begin;
  TOWLINE_RETURN_IF_ERROR(Parse(entry, &begin));
  TransactionHeader header;
  header.xid = begin.xid();
  header.commit_lsn = {begin.prepare_lsn()};
  header.end_lsn = {begin.end_lsn()};
  header.commit_time_us = begin.prepare_time();
  header.origin = begin.origin().name();
  header.gid = begin.gid();
  if (header.gid.empty()) return Malformed("a prepared transaction without its name");
  return Begin(std::move(header), sink);
}

absl::Status Decoder::Begin(TransactionHeader header, ChangeSink& sink) {
  if (is_inside_) return Malformed("a transaction begins within another");
  if (has_transaction_in_frame_) return Malformed("two transactions in one frame");
  header_ = std::move(header);
  TOWLINE_RETURN_IF_ERROR(CheckHeader());
  is_inside_ = true;
  has_transaction_in_frame_ = true;
  change_count_ = 0;
  return sink.OnBegin(header_);
}

absl::Status Decoder::CheckHeader() const {
  if (header_.xid == 0 || !header_.commit_lsn.is_valid() || header_.end_lsn <= header_.commit_lsn) {
    return Malformed("a transaction without xid or position");
  }
  // One that was prepared before two-phase decoding was switched on comes at its COMMIT PREPARED,
  // with the LSNs of its PREPARE.
  if (header_.gid.empty() && header_.commit_lsn < last_end_lsn_) {
    return Malformed("transactions out of commit order");
  }
  if (!parts_.is_empty()) return Malformed("a value that belongs to no row");
  return absl::OkStatus();
}

absl::Status Decoder::DecodeCommit(absl::string_view entry, ChangeSink& sink) {
  v1::Commit commit;
  TOWLINE_RETURN_IF_ERROR(Parse(entry, &commit));
  if (is_inside_ && !header_.gid.empty()) return Malformed("a prepared transaction that commits");
  return End(commit.xid(), {commit.commit_lsn()}, {commit.end_lsn()}, commit.change_count(), sink);
}

absl::Status Decoder::DecodePrepare(absl::string_view entry, ChangeSink& sink) {
  v1::Prepare prepare;
  TOWLINE_RETURN_IF_ERROR(Parse(entry, &prepare));
  if (is_inside_ && header_.gid.empty()) return Malformed("a prepare that was not announced");
  return End(prepare.xid(), {prepare.prepare_lsn()}, {prepare.end_lsn()}, prepare.change_count(),
             sink);
}

absl::Status Decoder::End(uint64_t xid, Lsn commit_lsn, Lsn end_lsn, uint64_t change_count,
                          ChangeSink& sink) {
  if (!is_inside_) return Malformed("a commit outside a transaction");
  if (!parts_.is_empty()) {
    if (header_.gid.empty()) return Malformed("a value that belongs to no row");
    // The server stops within a row when it finds that the transaction was rolled back meanwhile.
    parts_ = ValueParts();
    cut_short_.insert(header_.xid);
  }
  if (xid != header_.xid || commit_lsn != header_.commit_lsn || end_lsn != header_.end_lsn) {
    return Malformed(absl::StrCat("transaction ", header_.xid, " ends as transaction ", xid, " at ",
                                  end_lsn.ToString()));
  }
  if (change_count != change_count_) {
    return Malformed(absl::StrCat("transaction ", header_.xid, " at ",
                                  header_.commit_lsn.ToString(), " has ", change_count,
                                  " changes, and ", change_count_, " arrived"));
  }
  is_inside_ = false;
  has_transaction_in_frame_ = true;
  last_end_lsn_ = std::max(last_end_lsn_, header_.end_lsn);
  return sink.OnCommit(header_);
}

absl::Status Decoder::DecodeCommitPrepared(absl::string_view entry, ChangeSink& sink) {
  v1::CommitPrepared commit;
  TOWLINE_RETURN_IF_ERROR(Parse(entry, &commit));
  TransactionHeader header;
  header.xid = commit.xid();
  header.commit_lsn = {commit.commit_lsn()};
  header.end_lsn = {commit.end_lsn()};
  header.commit_time_us = commit.commit_time();
  header.origin = commit.origin().name();
  header.gid = commit.gid();
  return EndPrepared(header, PreparedFate::kCommitted, sink);
}

absl::Status Decoder::DecodeRollbackPrepared(absl::string_view entry, ChangeSink& sink) {
  v1::RollbackPrepared rollback;
  TOWLINE_RETURN_IF_ERROR(Parse(entry, &rollback));
  TransactionHeader header;
  header.xid = rollback.xid();
  header.commit_lsn = {rollback.prepare_end_lsn()};  // that record's start is not told
  header.end_lsn = {rollback.rollback_end_lsn()};
  header.commit_time_us = rollback.rollback_time();
  header.gid = rollback.gid();
  return EndPrepared(header, PreparedFate::kRolledBack, sink);
}

absl::Status Decoder::EndPrepared(const TransactionHeader& header, PreparedFate fate,
                                  ChangeSink& sink) {
  if (is_inside_) return Malformed("the end of a prepared transaction within another");
  if (has_transaction_in_frame_) return Malformed("two transactions in one frame");
  if (header.xid == 0 || header.gid.empty() || !header.end_lsn.is_valid() ||
      header.end_lsn <= header.commit_lsn) {
    return Malformed("the end of a prepared transaction without xid, name or position");
  }
  if (header.end_lsn <= last_end_lsn_) return Malformed("transactions out of commit order");
  if (cut_short_.erase(header.xid) > 0 && fate == PreparedFate::kCommitted) {
    return Malformed("a value that belongs to no row, in a transaction that was committed");
  }
  // After a restart the source may have sent again, as in progress, what is prepared here already.
  streamed_.Forget(header.xid);
  has_transaction_in_frame_ = true;
  last_end_lsn_ = header.end_lsn;
  return sink.OnPreparedEnd(header, fate);
}

absl::Status Decoder::DecodeRelation(absl::string_view entry) {
  v1::Relation message;
  TOWLINE_RETURN_IF_ERROR(Parse(entry, &message));
  if (message.rewrite_of() != 0 && !options_.takes_ddl) {
    return Malformed("rows of a table rewrite, which were not asked for");
  }
  TOWLINE_ASSIGN_OR_RETURN(std::unique_ptr<const Relation> relation, ReadRelation(message));
  auto [at, is_new] = relations_.try_emplace(relation->number, nullptr);
  if (!is_new) return Malformed(absl::StrCat("relation ", relation->number, " described twice"));
  description_bytes_ += MemoryOf(*relation);
  at->second = std::move(relation);
  return absl::OkStatus();
}

absl::Status Decoder::DecodeTruncate(absl::string_view entry, ChangeSink& sink) {
  v1::Truncate truncate;
  TOWLINE_RETURN_IF_ERROR(Parse(entry, &truncate));
  if (!is_inside_) return Malformed("a change outside a transaction");
  if (!parts_.is_empty()) return Malformed("a value that belongs to no row");
  if (truncate.relations().empty()) return Malformed("TRUNCATE of no table");
  auto relations = std::make_shared<std::vector<const Relation*>>();
  for (uint32_t number : truncate.relations()) {
    TOWLINE_ASSIGN_OR_RETURN(const Relation* relation, FindRelation(number));
    relations->push_back(relation);
  }
  Change change;
  change.kind = ChangeKind::kTruncate;
  change.relation = relations->front();
  change.truncated = std::move(relations);
  change.truncate_restarts_identity = truncate.restart_identity();
  ++change_count_;
  return sink.OnChange(std::move(change));
}

absl::Status Decoder::DecodeDdl(absl::string_view entry, ChangeSink& sink) {
  v1::Ddl message;
  TOWLINE_RETURN_IF_ERROR(Parse(entry, &message));
  if (!options_.takes_ddl) return Malformed("a DDL command, which was not asked for");
  if (!is_inside_) return Malformed("a DDL command outside a transaction");
  if (!parts_.is_empty()) return Malformed("a value that belongs to no row");
  TOWLINE_ASSIGN_OR_RETURN(DdlCommand command, ReadDdl(message));
  return sink.OnDdl(std::move(command));
}

absl::Status Decoder::DecodeRewrite(absl::string_view entry, ChangeSink& sink) {
  v1::Rewrite message;
  TOWLINE_RETURN_IF_ERROR(Parse(entry, &message));
  if (!is_inside_) return Malformed("a table rewrite outside a transaction");
  if (!parts_.is_empty()) return Malformed("a value that belongs to no row");
  if (message.oid() == 0 || message.schema().empty() || message.name().empty()) {
    return Malformed("a table rewrite without its table");
  }
  return sink.OnRewrite({message.schema(), message.name()}, message.oid());
}

absl::Status Decoder::DecodeValuePart(absl::string_view entry) {
  uint64_t value_bytes = 0;
  absl::string_view part;
  uint64_t is_last = 0;
  ProtoReader reader(entry);
  while (reader.Next()) {
    if (reader.field() == v1::ValuePart::kValueBytesFieldNumber && reader.has_varint()) {
      value_bytes = reader.varint();
    } else if (reader.field() == v1::ValuePart::kPartFieldNumber && reader.has_bytes()) {
      part = reader.bytes();
    } else if (reader.field() == v1::ValuePart::kIsLastFieldNumber && reader.has_varint()) {
      is_last = reader.varint();
    } else if (reader.field() <= v1::ValuePart::kIsLastFieldNumber) {
      return Malformed("malformed ValuePart");
    }
  }
  if (reader.is_bad()) return Malformed("malformed ValuePart");
  return parts_.Add(value_bytes, part, is_last != 0);
}

absl::Status Decoder::DecodeMessage(absl::string_view entry) {
  v1::Message message;
  TOWLINE_RETURN_IF_ERROR(Parse(entry, &message));
  if (message.transactional() && !is_inside_) {
    return Malformed("a transactional message outside a transaction");
  }
  if (message.content_in_parts()) TOWLINE_RETURN_IF_ERROR(parts_.Discard());
  if (!parts_.is_empty()) return Malformed("a value that belongs to no row");
  ++message_count_;
  return absl::OkStatus();
}

absl::StatusOr<const Relation*> Decoder::FindRelation(uint64_t number) {
  auto found =
      number <= UINT32_MAX ? relations_.find(static_cast<uint32_t>(number)) : relations_.end();
  if (found == relations_.end()) {
    return Malformed(absl::StrCat("relation ", number, " was not described"));
  }
  return found->second.get();
}

absl::Status Decoder::DecodeRow(ChangeKind kind, absl::string_view entry, ChangeSink& sink) {
  RowEntry row;
  if (!row.Read(entry)) return Malformed("malformed row change");
  if (!is_inside_) return Malformed("a change outside a transaction");
  if (last_relation_ == nullptr || last_relation_->number != row.relation) {
    TOWLINE_ASSIGN_OR_RETURN(last_relation_, FindRelation(row.relation));
  }
  const Relation& relation = *last_relation_;
  Change change;
  change.kind = kind;
  change.relation = &relation;
  RowImageFacts old_facts;
  RowImageFacts new_facts;
  if (kind == ChangeKind::kInsert ? row.has_old_row || row.old_image != 0 : false) {
    return Malformed("INSERT with an old row");
  }
  TOWLINE_RETURN_IF_ERROR(CheckOldImage(row, relation, &change, &old_facts));
  if (row.has_new_row != (kind != ChangeKind::kDelete)) {
    return Malformed(kind == ChangeKind::kDelete ? "DELETE with a new row"
                                                 : "a change without its new row");
  }
  if (row.has_new_row) {
    absl::Status checked =
        CheckRowImage(row.new_row, static_cast<int>(relation.sent.size()), &new_facts);
    if (!checked.ok()) {
      return WithContext(checked, absl::StrCat(relation.name.schema, ".", relation.name.name));
    }
    if (kind == ChangeKind::kInsert && new_facts.has_unchanged_toast) {
      return Malformed("INSERT without all its values");
    }
    change.new_row = row.new_row;
    change.has_unchanged_toast = new_facts.has_unchanged_toast;
  }
  if (old_facts.has_value_in_parts || new_facts.has_value_in_parts || !parts_.is_empty()) {
    TOWLINE_RETURN_IF_ERROR(SpliceRow(old_facts, new_facts, &change, sink));
  }
  ++change_count_;
  return sink.OnChange(std::move(change));
}

absl::Status Decoder::CheckOldImage(const RowEntry& row, const Relation& relation, Change* change,
                                    RowImageFacts* facts) {
  if (row.old_image == v1::NONE) {
    return row.has_old_row ? Malformed("an old row of no kind") : absl::OkStatus();
  }
  if (row.old_image != v1::KEY && row.old_image != v1::FULL) {
    return Malformed(absl::StrCat("old row of unknown kind ", row.old_image));
  }
  if (!row.has_old_row) return Malformed("an old row was announced and is missing");
  bool is_key = row.old_image == v1::KEY;
  const std::vector<int>& fields = is_key ? relation.key : relation.sent;
  absl::Status checked = CheckRowImage(row.old_row, static_cast<int>(fields.size()), facts);
  if (!checked.ok()) {
    return WithContext(checked, absl::StrCat(relation.name.schema, ".", relation.name.name));
  }
  // The server flattens what the old row needs, so nothing in it can be left out.
  if (facts->has_unchanged_toast) return Malformed("an old row without all its values");
  change->old_image = is_key ? OldImage::kKey : OldImage::kFull;
  change->old_row = row.old_row;
  return absl::OkStatus();
}

absl::Status Decoder::SpliceRow(const RowImageFacts& old_facts, const RowImageFacts& new_facts,
                                Change* change, ChangeSink& sink) {
  for (auto [facts, image] :
       {std::pair(&old_facts, &change->old_row), std::pair(&new_facts, &change->new_row)}) {
    if (!facts->has_value_in_parts) continue;
    TOWLINE_ASSIGN_OR_RETURN(std::string spliced, parts_.Splice(*image));
    *image = sink.KeepSplicedRow(std::move(spliced));
  }
  return parts_.is_empty() ? absl::OkStatus() : Malformed("a value that belongs to no row");
}

}  // namespace towline
