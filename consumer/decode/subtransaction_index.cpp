#include "decode/subtransaction_index.h"

#include <algorithm>

namespace towline {

void SubtransactionIndex::Add(uint64_t xid, Mark mark) {
  // One that may have begun before must not be taken to begin here.
  if (xid <= forgotten_max_) return;
  if (!marks_.try_emplace(xid, mark).second) return;
  order_.push_back(xid);
  if (order_.size() <= size_max_) return;
  auto kept = order_.begin() + static_cast<ptrdiff_t>(order_.size() / 2);
  for (auto xid_at = order_.begin(); xid_at != kept; ++xid_at) {
    forgotten_max_ = std::max(forgotten_max_, *xid_at);
    marks_.erase(*xid_at);
  }
  order_.erase(order_.begin(), kept);
}

std::optional<SubtransactionIndex::Mark> SubtransactionIndex::Find(uint64_t xid) const {
  auto found = marks_.find(xid);
  if (found == marks_.end()) return std::nullopt;
  return found->second;
}

void SubtransactionIndex::Cut(uint64_t offset) {
  while (!order_.empty() && marks_.at(order_.back()).offset >= offset) {
    marks_.erase(order_.back());
    order_.pop_back();
  }
}

}  // namespace towline
