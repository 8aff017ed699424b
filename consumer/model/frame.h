// One CopyData payload of the stream, owning the buffer libpq gave out.
#pragma once

#include <cstdlib>
#include <memory>

#include "absl/strings/string_view.h"
#include "base/lsn.h"

namespace towline {

// libpq allocates with malloc; PQfreemem is free on every platform but Windows (libpq manual,
// PQfreemem), so model/ need not know libpq.
struct FreeBytes {
  void operator()(char* bytes) const { std::free(bytes); }
};

struct Frame {
  std::unique_ptr<char, FreeBytes> buffer;
  absl::string_view bytes;  // the payload within buffer, without the replication header
  Lsn wal_start;            // the header's dataStart
  size_t size() const { return bytes.size(); }
};

}  // namespace towline
