#include "snapshot/copy_reader.h"

#include <utility>

#include "base/status_macros.h"

namespace towline {
namespace {

// How soon a wish to stop reaches a worker that waits for its turn.
constexpr absl::Duration kWatchInterval = absl::Milliseconds(100);

}  // namespace

absl::StatusOr<std::optional<absl::string_view>> CopyReader::Next() {
  Release();
  TOWLINE_ASSIGN_OR_RETURN(chunk_, source_->CopyRead([this] { return Take(); }));
  if (!chunk_.has_value()) return std::optional<absl::string_view>();
  return std::optional<absl::string_view>(chunk_->bytes);
}

absl::Status CopyReader::Take() {
  while (!has_turn_) {
    if (source_->is_stopping()) return absl::CancelledError("shutting down");
    has_turn_ = turn_->TakeWithin(kWatchInterval);
  }
  return absl::OkStatus();
}

void CopyReader::Release() {
  chunk_.reset();
  if (has_turn_) turn_->Give();
  has_turn_ = false;
}

}  // namespace towline
