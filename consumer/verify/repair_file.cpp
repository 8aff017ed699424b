#include "verify/repair_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// As the sessions that read the values had them (pg/connection.cpp).
constexpr char kHead[] =
    "-- Written by towline verify --repair-sql, for the destination:\n"
    "--   psql -v ON_ERROR_STOP=1 -f FILE ...\n"
    "-- A row that has been written since it was compared is left as it is: verify again.\n"
    "SET client_encoding = 'UTF8';\n"
    "SET search_path = '';\n"
    "SET standard_conforming_strings = on;\n"
    "SET datestyle = 'ISO, YMD';\n"
    "SET intervalstyle = 'postgres';\n"
    "SET timezone = 'UTC';\n"
    "SET lc_monetary = 'C';\n"
    "SET xmloption = content;\n"
    "SET row_security = off;\n"
    "-- Neither triggers nor foreign keys: the source has run them.\n"
    "SET session_replication_role = replica;\n";

}  // namespace

absl::StatusOr<std::unique_ptr<RepairFile>> RepairFile::Open(const std::string& path) {
  FILE* file = fopen(path.c_str(), "w");
  if (file == nullptr) {
    return WithHint(
        absl::InvalidArgumentError(absl::StrCat("cannot write ", path, ": ", std::strerror(errno))),
        "Correct --repair-sql.");
  }
  std::unique_ptr<RepairFile> opened(new RepairFile(path, file));
  absl::MutexLock lock(&opened->mutex_);
  TOWLINE_RETURN_IF_ERROR(opened->Put(kHead));
  return opened;
}

absl::Status RepairFile::Put(const std::string& text) {
  if (fwrite(text.data(), 1, text.size(), file_.get()) == text.size()) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("cannot write ", path_, ": ", std::strerror(errno)));
}

absl::Status RepairFile::Add(const TableName& table,
                             const std::vector<RepairStatement>& statements) {
  absl::MutexLock lock(&mutex_);
  TOWLINE_RETURN_IF_ERROR(Put(absl::StrCat(
      "\n-- ", absl::StrReplaceAll(QuoteQualified(table.schema, table.name), {{"\n", " "}}),
      "\nBEGIN;\n")));
  for (const RepairStatement& statement : statements) {
    TOWLINE_RETURN_IF_ERROR(Put(absl::StrCat(statement.sql, ";\n")));
  }
  return Put("COMMIT;\n");
}

absl::Status RepairFile::Close() {
  absl::MutexLock lock(&mutex_);
  if (fflush(file_.get()) == 0 && fsync(fileno(file_.get())) == 0) return absl::OkStatus();
  // A pipe or a terminal cannot be synchronised.
  if (errno == EINVAL || errno == ENOTSUP) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("cannot write ", path_, ": ", std::strerror(errno)));
}

}  // namespace towline
