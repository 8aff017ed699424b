// In which order workers take the parts of tables. Pure; the caller locks.
//
// A worker stays with its table, and one that is free begins a table that nobody is at, the first
// in order: two sessions that write to one table wait for each other at its end. Measured with
// PostgreSQL 15 on two cores: two halves of each of two tables take a quarter more of the
// destination's CPU than the two tables side by side. When no table is left that nobody is at,
// the one with the fewest workers gets another.
#pragma once

#include <cstddef>
#include <list>
#include <optional>
#include <vector>

namespace towline {

class PartOrder {
 public:
  // The table of each part; parts of a table follow one another, tables as they are to be begun.
  explicit PartOrder(const std::vector<size_t>& table_of_part);

  // A part for a worker that had `before`, which it is done with; nothing: none is left. Looks at
  // no more tables than there are workers.
  std::optional<size_t> Take(std::optional<size_t> before);

 private:
  struct OfTable {
    size_t next = 0;  // of its parts
    size_t end = 0;
    size_t workers = 0;
  };
  using Place = std::list<size_t>::iterator;

  size_t TakeFrom(Place place);

  const std::vector<size_t> table_of_part_;  // by numbers of `tables_`
  std::vector<OfTable> tables_;
  std::list<size_t> left_;  // tables with parts left
};

}  // namespace towline
