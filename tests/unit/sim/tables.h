// The tables of the simulation, and the random that all of it is made of.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace towline::sim {

using Row = std::vector<std::optional<std::string>>;

struct Table {
  const char* name;
  uint32_t oid;
  size_t columns;
  size_t key_columns;  // the first ones; 0: rows are told apart by all their values
  bool is_full;        // REPLICA IDENTITY FULL
  int unique_column;   // -1: none beside the key
  bool is_own_piece;   // copied under a snapshot of its own, beside the stream
};

// The last column holds large values, which come only when they have changed.
inline constexpr std::array<Table, 5> kTables = {{
    {"plain", 101, 3, 1, false, -1, false},
    {"whole", 102, 3, 1, true, -1, false},
    {"bag", 103, 2, 0, true, -1, false},
    {"pair", 104, 4, 2, false, 2, false},
    {"big", 105, 3, 1, false, -1, true},
}};
inline constexpr size_t kOwnPiece = 4;

inline std::string KeyOf(const Table& table, const Row& row) {
  std::string key;
  const size_t columns = table.key_columns > 0 ? table.key_columns : table.columns;
  for (size_t i = 0; i < columns; ++i) key += row[i].has_value() ? *row[i] + "|" : "null|";
  return key;
}

// Rows by their key, with how often a row is there that has none.
struct Counted {
  Row row;
  int count = 0;

  friend bool operator==(const Counted&, const Counted&) = default;
};
using Content = std::map<std::string, Counted>;
using Contents = std::array<Content, kTables.size()>;

class Dice {
 public:
  explicit Dice(uint64_t seed) : random_(seed) {}
  size_t Below(size_t limit) { return static_cast<size_t>(random_() % limit); }
  bool OneIn(size_t times) { return Below(times) == 0; }

 private:
  std::mt19937_64 random_;
};

}  // namespace towline::sim
