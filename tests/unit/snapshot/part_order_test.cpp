// PartOrder: who copies what next.
#include "snapshot/part_order.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

using Part = std::optional<size_t>;

TEST(PartOrderTest, AWorkerStaysWithItsTableAndOthersBeginTheNext) {
  PartOrder order({7, 7, 7, 3, 3, 9});
  const Part first = order.Take(std::nullopt);
  const Part second = order.Take(std::nullopt);
  EXPECT_EQ(first, Part(0));
  EXPECT_EQ(second, Part(3));
  EXPECT_EQ(order.Take(second), Part(4));
  EXPECT_EQ(order.Take(Part(4)), Part(5));
  EXPECT_EQ(order.Take(first), Part(1));
  // Only the first table is left.
  EXPECT_EQ(order.Take(Part(5)), Part(2));
  EXPECT_EQ(order.Take(Part(1)), std::nullopt);
  EXPECT_EQ(order.Take(Part(2)), std::nullopt);
}

TEST(PartOrderTest, TheTableWithFewestWorkersGetsAnother) {
  PartOrder order({0, 0, 0, 0, 1, 1, 1});
  EXPECT_EQ(order.Take(std::nullopt), Part(0));
  EXPECT_EQ(order.Take(std::nullopt), Part(4));
  EXPECT_EQ(order.Take(std::nullopt), Part(1));
  EXPECT_EQ(order.Take(std::nullopt), Part(5));
  EXPECT_EQ(order.Take(Part(0)), Part(2));
  EXPECT_EQ(order.Take(std::nullopt), Part(3));
  EXPECT_EQ(order.Take(std::nullopt), Part(6));
  EXPECT_EQ(order.Take(std::nullopt), std::nullopt);
}

TEST(PartOrderTest, WithoutPartsThereIsNothing) {
  PartOrder order({});
  EXPECT_EQ(order.Take(std::nullopt), std::nullopt);
}

TEST(PartOrderTest, EveryPartIsTakenOnce) {
  std::vector<size_t> tables;
  for (size_t table = 0; table < 50; ++table) tables.insert(tables.end(), 1 + table % 7, table);
  PartOrder order(tables);
  std::vector<Part> workers(4);
  std::vector<int> taken(tables.size());
  for (size_t turn = 0;; ++turn) {
    // Some are faster than others.
    Part& worker = workers[turn % 3 == 0 ? turn % 4 : 1];
    worker = order.Take(worker);
    if (!worker.has_value()) break;
    ++taken[*worker];
  }
  EXPECT_EQ(taken, std::vector<int>(tables.size(), 1));
}

}  // namespace
}  // namespace towline
