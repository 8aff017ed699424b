// A file without a name: created in a directory and unlinked at once, so that it is gone with the
// process, however that ends, and nobody else can open it.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace towline {

class SpoolFile {
 public:
  SpoolFile() = default;
  SpoolFile(SpoolFile&& other) noexcept;
  SpoolFile& operator=(SpoolFile&& other) noexcept;
  ~SpoolFile();

  // No room (also: too many open files, a file too large) is kResourceExhausted, which is tried
  // again until there is room; anything else that the disk says is kUnknown.
  static absl::StatusOr<SpoolFile> Create(const std::string& directory, const std::string& prefix);
  absl::Status WriteAt(uint64_t offset, absl::string_view bytes);
  // All of `size` bytes or an error.
  absl::Status ReadAt(uint64_t offset, char* bytes, size_t size) const;
  absl::Status Truncate(uint64_t size);

  bool is_open() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
  std::string directory_;  // for messages
};

}  // namespace towline
