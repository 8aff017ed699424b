#include "spool/spool_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace towline {
namespace {

absl::Status DiskError(absl::string_view what, const std::string& directory, int error) {
  std::string text =
      absl::StrCat("cannot ", what, " the spool in ", directory, ": ", std::strerror(error));
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return WithHint(absl::ResourceExhaustedError(text),
                      "Make room there, name another spool_directory, or set streaming: off; "
                      "nothing is lost meanwhile.");
    case EMFILE:
    case ENFILE:
      return WithHint(absl::ResourceExhaustedError(text),
                      "Allow more open files (ulimit -n), raise spool_memory_max, or set "
                      "streaming: off.");
    default:
      return absl::UnknownError(text);
  }
}

}  // namespace

SpoolFile::SpoolFile(SpoolFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), directory_(std::move(other.directory_)) {}

SpoolFile& SpoolFile::operator=(SpoolFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(directory_, other.directory_);
  return *this;
}

SpoolFile::~SpoolFile() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<SpoolFile> SpoolFile::Create(const std::string& directory,
                                            const std::string& prefix) {
  std::string path = absl::StrCat(directory, "/", prefix, "-XXXXXX");
  SpoolFile file;
  file.directory_ = directory;
  file.fd_ = mkostemp(path.data(), O_CLOEXEC);
  if (file.fd_ < 0) return DiskError("create a file of", directory, errno);
  if (unlink(path.c_str()) != 0) return DiskError("unlink a file of", directory, errno);
  return file;
}

absl::Status SpoolFile::WriteAt(uint64_t offset, absl::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t written = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return DiskError("write to", directory_, written < 0 ? errno : ENOSPC);
    offset += static_cast<uint64_t>(written);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status SpoolFile::ReadAt(uint64_t offset, char* bytes, size_t size) const {
  while (size > 0) {
    ssize_t got = pread(fd_, bytes, size, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return DiskError("read", directory_, got < 0 ? errno : EIO);
    offset += static_cast<uint64_t>(got);
    bytes += got;
    size -= static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

absl::Status SpoolFile::Truncate(uint64_t size) {
  if (ftruncate(fd_, static_cast<off_t>(size)) == 0) return absl::OkStatus();
  return DiskError("truncate", directory_, errno);
}

}  // namespace towline
