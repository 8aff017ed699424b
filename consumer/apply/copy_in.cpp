#include "apply/copy_in.h"

#include <algorithm>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "apply/statement.h"
#include "base/status_macros.h"
#include "model/row_image.h"

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

size_t LineOfCopyContext(absl::string_view context) {
  constexpr absl::string_view kLine = ", line ";
  context = context.substr(0, context.find('\n'));
  size_t at = context.rfind(kLine);
  if (at == absl::string_view::npos) return 0;
  context.remove_prefix(at + kLine.size());
  size_t line = 0;
  context = context.substr(0, context.find_first_not_of("0123456789"));
  return absl::SimpleAtoi(context, &line) ? line : 0;
}

absl::Status CopyRows(Connection& connection, const Target& target, absl::Span<const CopyRow> rows,
                      std::optional<ApplyFailure>* failure) {
  TOWLINE_RETURN_IF_ERROR(connection.CopyInBegin(BuildCopy(target)));
  TOWLINE_RETURN_IF_ERROR(WriteRows(connection, rows));
  PGconn* raw = connection.raw();
  if (PQputCopyEnd(raw, nullptr) < 0) return connection.ErrorOf(nullptr);
  int64_t copied = -1;
  while (true) {
    int flushed = PQflush(raw);
    if (flushed < 0) return connection.ErrorOf(nullptr);
    if (flushed > 0 || PQisBusy(raw) != 0) {
      TOWLINE_RETURN_IF_ERROR(connection.WaitSocket(flushed > 0, absl::InfiniteDuration()));
      if (PQconsumeInput(raw) == 0) return connection.ErrorOf(nullptr);
      continue;
    }
    PgResultPtr result(PQgetResult(raw));
    if (result == nullptr) break;
    if (PQresultStatus(result.get()) == PGRES_COMMAND_OK) {
      if (!absl::SimpleAtoi(PQcmdTuples(result.get()), &copied)) copied = -1;
      continue;
    }
    absl::Status status = connection.ErrorOf(result.get());
    if (PQstatus(raw) != CONNECTION_OK) return status;
    auto field = [&result](int code) {
      const char* text = PQresultErrorField(result.get(), code);
      return std::string(text != nullptr ? text : "");
    };
    size_t line = LineOfCopyContext(field(PG_DIAG_CONTEXT));
    size_t row = std::clamp<size_t>(line, 1, rows.size()) - 1;
    *failure = ApplyFailure{rows[row].change, status, 0, field(PG_DIAG_MESSAGE_DETAIL)};
  }
  if (copied == static_cast<int64_t>(rows.size())) return absl::OkStatus();
  if (!failure->has_value()) {
    *failure = ApplyFailure{rows.front().change, absl::OkStatus(), copied, ""};
  }
  return absl::AbortedError("the batch has failed");
}

}  // namespace towline
