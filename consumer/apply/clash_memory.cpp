#include "apply/clash_memory.h"

#include <algorithm>

namespace towline {

bool ClashMemory::Replaces(Oid table) {
  auto found = tables_.find(table);
  if (found == tables_.end()) return false;
  Clashes& clashes = found->second;
  clashes.has_replaced = clashes.left > 0;
  if (clashes.has_replaced) {
    --clashes.left;
  } else {
    ++clashes.tries;
  }
  return clashes.has_replaced;
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
