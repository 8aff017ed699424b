#include "apply/fallback.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

namespace towline {
namespace {

// Refuses what it is told to; everything else must come once and in order.
class FakeWriter : public SliceWriter {
 public:
  std::set<size_t> bad;            // refused for good
  std::set<size_t> in_others_way;  // refused only together with the change before
  std::vector<size_t> written;
  int slices = 0;
  int singles = 0;
  size_t changes_tried = 0;
  bool fails = false;

  absl::StatusOr<bool> WriteSlice(size_t begin, size_t end) override {
    ++slices;
    changes_tried += end - begin;
    if (fails) return absl::UnavailableError("gone");
    for (size_t i = begin; i < end; ++i) {
      if (bad.contains(i) || (i > begin && in_others_way.contains(i))) return false;
    }
    for (size_t i = begin; i < end; ++i) written.push_back(i);
    return true;
  }
  absl::StatusOr<bool> WriteSingle(size_t change) override {
    ++singles;
    if (fails) return absl::UnavailableError("gone");
    written.push_back(change);
    return !bad.contains(change);
  }
};

std::vector<size_t> UpTo(size_t size) {
  std::vector<size_t> all(size);
  for (size_t i = 0; i < size; ++i) all[i] = i;
  return all;
}

TEST(FallbackTest, OneBadChangeCostsAFewSlicesWhereverItIs) {
  constexpr size_t kChanges = 10'000;
  for (size_t bad : {size_t{0}, size_t{1}, size_t{4999}, size_t{5000}, kChanges - 1}) {
    FakeWriter writer;
    writer.bad = {bad};
    ASSERT_TRUE(WriteRefused(0, kChanges, writer).ok());
    EXPECT_EQ(writer.written, UpTo(kChanges));
    EXPECT_LE(writer.slices, 22) << bad;
    EXPECT_LE(writer.singles, static_cast<int>(kSingleChangesMax)) << bad;
    EXPECT_LE(writer.changes_tried, 2 * kChanges) << bad;
  }
}

TEST(FallbackTest, AllBadIsLinear) {
  FakeWriter writer;
  for (size_t i = 0; i < 1000; ++i) writer.bad.insert(i);
  ASSERT_TRUE(WriteRefused(0, 1000, writer).ok());
  EXPECT_EQ(writer.written, UpTo(1000));
  EXPECT_EQ(writer.singles, 1000);
  EXPECT_LE(writer.slices, 400);
}

TEST(FallbackTest, ChangesInEachOthersWayPassAlone) {
  FakeWriter writer;
  writer.in_others_way = {500};
  ASSERT_TRUE(WriteRefused(0, 1000, writer).ok());
  EXPECT_EQ(writer.written, UpTo(1000));
  EXPECT_LE(writer.singles, 2 * static_cast<int>(kSingleChangesMax));
}

TEST(FallbackTest, AnErrorEndsIt) {
  FakeWriter writer;
  writer.fails = true;
  EXPECT_EQ(WriteRefused(0, 100, writer).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(writer.slices + writer.singles, 1);
}

TEST(FallbackTest, EveryChangeComesOnceAndInOrder) {
  std::mt19937 dice(20261129);
  for (int round = 0; round < 500; ++round) {
    const size_t size = dice() % 300;
    const size_t begin = dice() % 5;
    FakeWriter writer;
    for (size_t i = 0; i < dice() % 20 && size > 0; ++i) writer.bad.insert(begin + dice() % size);
    for (size_t i = 0; i < dice() % 5 && size > 0; ++i) {
      writer.in_others_way.insert(begin + dice() % size);
    }
    ASSERT_TRUE(WriteRefused(begin, begin + size, writer).ok());
    std::vector<size_t> expected = UpTo(begin + size);
    expected.erase(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(begin));
    ASSERT_EQ(writer.written, expected) << "round " << round;
  }
}

}  // namespace
}  // namespace towline
