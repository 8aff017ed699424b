#include "state/value_staging.h"

#include <algorithm>

#include "absl/base/internal/endian.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {
namespace {

constexpr size_t kWriteBytes = 64 << 10;

// Signature, flags, length of the header's extension (PostgreSQL manual, COPY, "Binary Format").
constexpr absl::string_view kHeader("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
constexpr absl::string_view kTrailer("\377\377", 2);

std::string Column(size_t value) { return absl::StrCat("v", value); }

void AppendInt32(size_t value, std::string* out) {
  char bytes[4];
  absl::big_endian::Store32(bytes, static_cast<uint32_t>(value));
  out->append(bytes, sizeof bytes);
}

absl::Status WriteBinary(Connection& session, size_t value, absl::string_view bytes) {
  std::string begin(kHeader);
  begin.append("\0\2", 2);
  AppendInt32(sizeof(int32_t), &begin);
  AppendInt32(value, &begin);
  AppendInt32(bytes.size(), &begin);
  TOWLINE_RETURN_IF_ERROR(session.CopyWrite(begin));
  TOWLINE_RETURN_IF_ERROR(session.CopyWrite(bytes));
  return session.CopyWrite(kTrailer);
}

absl::Status WriteText(Connection& session, size_t value, absl::string_view bytes) {
  std::string buffer = absl::StrCat(value, "\t");
  buffer.reserve(kWriteBytes + 2);
  for (char byte : bytes) {
    // What COPY's text format gives a meaning to.
    switch (byte) {
      case '\\':
        buffer.append("\\\\");
        break;
      case '\n':
        buffer.append("\\n");
        break;
      case '\r':
        buffer.append("\\r");
        break;
      case '\t':
        buffer.append("\\t");
        break;
      default:
        buffer.push_back(byte);
    }
    if (buffer.size() < kWriteBytes) continue;
    TOWLINE_RETURN_IF_ERROR(session.CopyWrite(buffer));
    buffer.clear();
  }
  buffer.push_back('\n');
  return session.CopyWrite(buffer);
}

}  // namespace

absl::StatusOr<ValueStaging> ValueStaging::Create(Connection& session, const std::string& relation,
                                                  const std::vector<std::string>& columns,
                                                  bool is_prepared) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result found, session.Query("SELECT pg_catalog.pg_current_xact_id(), "
                                  "pg_catalog.has_database_privilege(pg_catalog.current_database(),"
                                  " 'TEMPORARY')",
                                  {}));
  const bool is_temporary = !is_prepared && found.GetBool(0, 1);
  ValueStaging staging(QuoteQualified(is_temporary ? "pg_temp" : "towline_state",
                                      absl::StrCat("large_", found.Get(0, 0))));
  std::vector<std::string> selected = {"0 AS n"};
  for (size_t i = 0; i < columns.size(); ++i) {
    selected.push_back(absl::StrCat(columns[i], " AS ", Column(i)));
  }
  TOWLINE_RETURN_IF_ERROR(
      session
          .Exec(absl::StrCat("CREATE TABLE ", staging.name_, " AS SELECT ",
                             absl::StrJoin(selected, ","), " FROM ", relation, " WITH NO DATA"))
          .status());
  // Compressed here, a value would stay as it is, whatever the column that it is for says.
  TOWLINE_ASSIGN_OR_RETURN(
      Result storage,
      session.Query("SELECT pg_catalog.string_agg(pg_catalog.format('ALTER COLUMN %I SET STORAGE "
                    "EXTERNAL', attname), ', ') FROM pg_catalog.pg_attribute "
                    "WHERE attrelid = $1::pg_catalog.regclass AND attnum > 0 AND attstorage <> 'p'",
                    {{staging.name_}}));
  if (!storage.IsNull(0, 0)) {
    TOWLINE_RETURN_IF_ERROR(
        session.Exec(absl::StrCat("ALTER TABLE ", staging.name_, " ", storage.Get(0, 0))).status());
  }
  return staging;
}

std::string ValueStaging::CopySql(size_t value, bool is_binary) const {
  return absl::StrCat("COPY ", name_, " (n,", Column(value), ") FROM STDIN",
                      is_binary ? " (FORMAT binary)" : "");
}

absl::Status ValueStaging::Put(Connection& session, size_t value, absl::string_view bytes,
                               bool is_binary) const {
  TOWLINE_RETURN_IF_ERROR(session.CopyInBegin(CopySql(value, is_binary)));
  TOWLINE_RETURN_IF_ERROR(is_binary ? WriteBinary(session, value, bytes)
                                    : WriteText(session, value, bytes));
  TOWLINE_ASSIGN_OR_RETURN(int64_t rows, session.CopyInEnd());
  if (rows == 1) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("COPY of one value was answered with ", rows, " rows"));
}

std::string ValueStaging::ValueSql(size_t value) const {
  return absl::StrCat("(SELECT ", Column(value), " FROM ", name_, " WHERE n = ", value, ")");
}

absl::Status ValueStaging::Empty(Connection& session) const {
  // Of a table made in the same transaction this shortens the file, and does not wait for COMMIT.
  return session.Exec(absl::StrCat("TRUNCATE ", name_)).status();
}

absl::Status ValueStaging::Drop(Connection& session) const {
  return session.Exec(absl::StrCat("TRUNCATE ", name_, "; DROP TABLE ", name_)).status();
}

}  // namespace towline
