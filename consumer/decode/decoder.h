// Frames to changes: reads the wire format (wire.proto), keeps the connection's relation
// descriptions, puts values sent in parts together. Rows are not copied: changes point into the
// frame. Rows and their entries are read by hand (they are all of the work); everything rare by
// the generated classes. Bytes that cannot be understood are kDataLoss, never skipped: an entry of
// an unknown kind, a row of an undescribed relation, a transaction whose end does not tell of as
// many changes as came. After an error the decoder is of no further use.
// One decoder per connection, one thread.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "decode/value_parts.h"
#include "model/change_sink.h"
#include "model/frame.h"
#include "model/relation.h"

namespace towline {

class Decoder {
 public:
  Decoder() = default;
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // Calls the sink for every entry. The frame must outlive the changes.
  absl::Status Decode(const Frame& frame, ChangeSink& sink);

  // Known after the first frame; 0 before.
  uint32_t protocol_version() const { return protocol_version_; }
  // Logical messages (pg_logical_emit_message) passed over so far: anyone may emit one, so none is
  // ever a reason to act (I11).
  int64_t message_count() const { return message_count_; }

 private:
  struct RowEntry;

  absl::Status DecodeEntry(absl::string_view entry, ChangeSink& sink);
  absl::Status DecodeRow(ChangeKind kind, absl::string_view entry, ChangeSink& sink);
  absl::Status DecodeRare(uint32_t kind, absl::string_view entry, ChangeSink& sink);
  absl::Status DecodeHello(absl::string_view entry);
  absl::Status DecodeBegin(absl::string_view entry, ChangeSink& sink);
  absl::Status DecodeCommit(absl::string_view entry, ChangeSink& sink);
  absl::Status DecodeRelation(absl::string_view entry);
  absl::Status DecodeTruncate(absl::string_view entry, ChangeSink& sink);
  absl::Status DecodeValuePart(absl::string_view entry);
  absl::Status DecodeMessage(absl::string_view entry);

  absl::StatusOr<const Relation*> FindRelation(uint64_t number);
  absl::Status CheckOldImage(const RowEntry& row, const Relation& relation, Change* change,
                             RowImageFacts* facts);
  absl::Status SpliceRow(const RowImageFacts& old_facts, const RowImageFacts& new_facts,
                         Change* change, ChangeSink& sink);

  uint32_t protocol_version_ = 0;
  absl::flat_hash_map<uint32_t, std::unique_ptr<const Relation>> relations_;
  const Relation* last_relation_ = nullptr;  // rows come in runs of one relation
  ValueParts parts_;
  TransactionHeader header_;  // of the open transaction
  bool is_inside_ = false;
  bool has_begun_in_frame_ = false;
  uint64_t change_count_ = 0;  // in the open transaction
  Lsn last_end_lsn_;
  int64_t message_count_ = 0;
};

}  // namespace towline
