#include "snapshot/part_order.h"

#include <algorithm>

namespace towline {
namespace {

// By their order instead of the caller's numbers.
std::vector<size_t> Numbered(const std::vector<size_t>& table_of_part) {
  std::vector<size_t> numbers;
  numbers.reserve(table_of_part.size());
  for (size_t part = 0; part < table_of_part.size(); ++part) {
    const bool is_same = part > 0 && table_of_part[part] == table_of_part[part - 1];
    numbers.push_back(part == 0 ? 0 : numbers.back() + (is_same ? 0 : 1));
  }
  return numbers;
}

}  // namespace

PartOrder::PartOrder(const std::vector<size_t>& table_of_part)
    : table_of_part_(Numbered(table_of_part)) {
  for (size_t part = 0; part < table_of_part_.size(); ++part) {
    const size_t table = table_of_part_[part];
    if (table == tables_.size()) {
      tables_.push_back({.next = part, .end = part});
      left_.push_back(table);
    }
    ++tables_[table].end;
  }
}

std::optional<size_t> PartOrder::Take(std::optional<size_t> before) {
  if (before.has_value()) {
    OfTable& own = tables_[table_of_part_[*before]];
    --own.workers;
    if (own.next < own.end) {
      return TakeFrom(std::find(left_.begin(), left_.end(), table_of_part_[*before]));
    }
  }
  Place fewest = left_.end();
  for (Place place = left_.begin(); place != left_.end(); ++place) {
    if (fewest == left_.end() || tables_[*place].workers < tables_[*fewest].workers) fewest = place;
    if (tables_[*fewest].workers == 0) break;
  }
  if (fewest == left_.end()) return std::nullopt;
  return TakeFrom(fewest);
}

size_t PartOrder::TakeFrom(Place place) {
  OfTable& table = tables_[*place];
  ++table.workers;
  const size_t part = table.next++;
  if (table.next == table.end) left_.erase(place);
  return part;
}

}  // namespace towline
