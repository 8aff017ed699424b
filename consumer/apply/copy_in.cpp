#include "apply/copy_in.h"

#include <string>
#include <utility>
#include <vector>

#include "apply/statement.h"
#include "base/status_macros.h"

namespace towline {
namespace {

constexpr size_t kBufferBytes = 64 << 10;

// Signature, flags, length of the header's extension (PostgreSQL manual, COPY, "Binary Format").
constexpr absl::string_view kHeader("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
constexpr absl::string_view kTrailer("\377\377", 2);

absl::Status WriteRows(Connection& connection, absl::Span<const CopyRow> rows) {
  std::string buffer(kHeader);
  buffer.reserve(kBufferBytes);
  for (const CopyRow& row : rows) {
    const absl::string_view image = row.image;
    if (buffer.size() + image.size() > kBufferBytes) {
      TOWLINE_RETURN_IF_ERROR(connection.CopyWrite(buffer));
      buffer.clear();
    }
    // Large images go past the buffer, which CopyWrite takes piece by piece.
    if (image.size() > kBufferBytes) {
      TOWLINE_RETURN_IF_ERROR(connection.CopyWrite(image));
    } else {
      buffer.append(image.data(), image.size());
    }
  }
  buffer.append(kTrailer.data(), kTrailer.size());
  return connection.CopyWrite(buffer);
}

}  // namespace

absl::Status CopyRows(Connection& connection, Pipeline& pipeline, const Target& target,
                      absl::Span<const CopyRow> rows) {
  TOWLINE_RETURN_IF_ERROR(pipeline.BeginCopy(BuildCopy(target), rows.front().change));
  TOWLINE_RETURN_IF_ERROR(WriteRows(connection, rows));
  std::vector<uint32_t> changes;
  changes.reserve(rows.size());
  for (const CopyRow& row : rows) changes.push_back(row.change);
  return pipeline.EndCopy(std::move(changes));
}

}  // namespace towline
