// The error that asks for a table to be copied once more, whole: what the stream or the source
// brings cannot be put to the ranges that it was copied in.
#pragma once

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "model/oid.h"

namespace towline {

// kAborted: the next attempt finds the table set back.
absl::Status CopyAgainError(Oid table, absl::string_view why);

// The source's oid of the table; none for any other error.
std::optional<Oid> TableToCopyAgain(const absl::Status& status);

}  // namespace towline
