// How values are written in options: bytes "64MB", times "500ms", counts "50000". What can be read
// is also what is printed, so that a default in the reference can be pasted into a file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "model/name.h"

namespace towline {

// Units are PostgreSQL's: kB, MB, GB, TB, each 1024 of the one before; none is bytes.
absl::StatusOr<int64_t> ParseBytes(absl::string_view text);
std::string BytesText(int64_t bytes);  // in the largest unit that divides it

// "500ms", "10s", "10m" or "10min", "1h30m". A bare number has no unit and is refused.
absl::StatusOr<absl::Duration> ParseTime(absl::string_view text);
std::string TimeText(absl::Duration time);

absl::StatusOr<int64_t> ParseCount(absl::string_view text);

// "schema.table": the names as the catalog has them, capitals as they are. A name that holds a dot
// or begins with a double quote stands in double quotes, those within doubled, as in SQL.
absl::StatusOr<TableName> ParseTableName(absl::string_view text);
// Of a text that is one: "schema.*", where the star stands without quotes.
bool IsWholeSchema(absl::string_view text);
std::string TableNameText(const TableName& name);

// The candidate that `word` was probably meant to be, or empty. Few and small differences only:
// a wrong guess is worse than none.
std::string NearestOf(absl::string_view word, const std::vector<std::string>& candidates);

}  // namespace towline
