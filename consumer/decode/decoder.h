// Frames to changes: reads the wire format (wire.proto), keeps the connection's relation
// descriptions, puts values sent in parts together. Rows are not copied: changes point into the
// frame. Rows and their entries are read by hand (they are all of the work); everything rare by
// the generated classes. Bytes that cannot be understood are kDataLoss, never skipped.
// One decoder per connection, one thread.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
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

 private:
  uint32_t protocol_version_ = 0;
  absl::flat_hash_map<uint32_t, std::unique_ptr<const Relation>> relations_;
};

}  // namespace towline
