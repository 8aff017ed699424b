#include "model/failed_table.h"

#include <string>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace towline {
namespace {

constexpr char kTypeUrl[] = "towline/failed_table";
constexpr char kBetween = '\0';  // is in no name

}  // namespace

absl::Status WithFailedTable(absl::Status status, const FailedTable& table) {
  if (status.ok()) return status;
  const std::string between(1, kBetween);
  status.SetPayload(kTypeUrl,
                    absl::Cord(absl::StrCat(table.source_oid, between, table.is_rewritten ? 1 : 0,
                                            between, table.name.schema, between, table.name.name)));
  return status;
}

std::optional<FailedTable> FailedTableOf(const absl::Status& status) {
  absl::optional<absl::Cord> payload = status.GetPayload(kTypeUrl);
  if (!payload.has_value()) return std::nullopt;
  const std::vector<std::string> parts = absl::StrSplit(std::string(*payload), kBetween);
  FailedTable table;
  if (parts.size() != 4 || !absl::SimpleAtoi(parts[0], &table.source_oid)) return std::nullopt;
  table.is_rewritten = parts[1] == "1";
  table.name = {parts[2], parts[3]};
  return table;
}

}  // namespace towline
