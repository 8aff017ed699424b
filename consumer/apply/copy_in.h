// A run of inserts of one table as COPY (FORMAT binary): row images have its shape and are passed
// on as they came. Several times cheaper at the destination than one statement per row.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "apply/pipeline.h"
#include "apply/target.h"
#include "pg/connection.h"

namespace towline {

struct CopyRow {
  absl::string_view image;
  uint32_t change = 0;  // index within the batch
};

// `rows` are inserts of target's relation, which has can_copy, and at least one. Their end is sent
// and not waited for: if the server does not take them all, the pipeline's failure says which one
// was the first.
absl::Status CopyRows(Connection& connection, Pipeline& pipeline, const Target& target,
                      absl::Span<const CopyRow> rows);

}  // namespace towline
