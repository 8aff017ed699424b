// Relation entries to model/relation.h.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "model/relation.h"
#include "towline/v1/wire.pb.h"

namespace towline {

// kDataLoss if the description contradicts itself.
absl::StatusOr<std::unique_ptr<const Relation>> ReadRelation(const v1::Relation& message);

}  // namespace towline
