#include "apply/fallback.h"

#include "base/status_macros.h"

namespace towline {
namespace {

// True: a change among them was refused for good.
absl::StatusOr<bool> Write(size_t begin, size_t end, bool is_refused, SliceWriter& writer) {
  if (!is_refused) {
    TOWLINE_ASSIGN_OR_RETURN(bool is_written, writer.WriteSlice(begin, end));
    if (is_written) return false;
  }
  if (end - begin <= kSingleChangesMax) {
    bool has_conflict = false;
    for (; begin < end; ++begin) {
      TOWLINE_ASSIGN_OR_RETURN(bool is_written, writer.WriteSingle(begin));
      has_conflict |= !is_written;
    }
    return has_conflict;
  }
  const size_t middle = begin + (end - begin) / 2;
  TOWLINE_ASSIGN_OR_RETURN(bool is_left, Write(begin, middle, false, writer));
  // What was refused and is not on the left is most likely on the right: not tried as a whole.
  TOWLINE_ASSIGN_OR_RETURN(bool is_right, Write(middle, end, !is_left, writer));
  return is_left || is_right;
}

}  // namespace

absl::Status WriteRefused(size_t begin, size_t end, SliceWriter& writer) {
  return Write(begin, end, true, writer).status();
}

}  // namespace towline
