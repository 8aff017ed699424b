#include "apply/clash_memory.h"

#include <algorithm>

namespace towline {

bool ClashMemory::Replaces(Oid table) const {
  auto found = tables_.find(table);
  return found != tables_.end() && found->second.left > 0;
}

void ClashMemory::NoteWritten(Oid table, bool replaces) {
  auto found = tables_.find(table);
  if (found == tables_.end()) return;
  Clashes& clashes = found->second;
  clashes.has_replaced = replaces;
  if (!replaces) {
    ++clashes.tries;
  } else if (clashes.left > 0) {
    --clashes.left;
  }
}

bool ClashMemory::HasReplaced(Oid table) const {
  auto found = tables_.find(table);
  return found != tables_.end() && found->second.has_replaced;
}

void ClashMemory::NoteClash(Oid table) {
  Clashes& clashes = tables_[table];
  const bool is_rare = clashes.tries >= kClashTriesMin;
  clashes.pause =
      is_rare ? kClashPauseMin : std::clamp(2 * clashes.pause, kClashPauseMin, kClashPauseMax);
  clashes.left = clashes.pause;
  clashes.tries = 0;
}

}  // namespace towline
