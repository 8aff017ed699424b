// BoundedQueue: bounded in bytes, both sides can be woken by Close().
#include "base/bounded_queue.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>

namespace towline {
namespace {

constexpr absl::Duration kNoWait = absl::ZeroDuration();
constexpr absl::Duration kLong = absl::Seconds(60);

TEST(BoundedQueueTest, ItemsComeInOrder) {
  BoundedQueue<std::string> queue(100);
  for (std::string text : {"a", "b", "c"}) ASSERT_TRUE(queue.Push(text, 1, kNoWait));
  EXPECT_EQ(queue.bytes(), 3u);
  EXPECT_EQ(queue.Pop(kNoWait), "a");
  EXPECT_EQ(queue.Pop(kNoWait), "b");
  EXPECT_EQ(queue.Pop(kNoWait), "c");
  EXPECT_EQ(queue.Pop(kNoWait), std::nullopt);
  EXPECT_EQ(queue.bytes(), 0u);
}

TEST(BoundedQueueTest, FullQueueRefusesAndLeavesTheItem) {
  BoundedQueue<std::string> queue(10);
  std::string first = "first";
  std::string second = "second";
  ASSERT_TRUE(queue.Push(first, 8, kNoWait));
  EXPECT_FALSE(queue.Push(second, 8, kNoWait));
  EXPECT_EQ(second, "second");
}

TEST(BoundedQueueTest, ItemLargerThanTheBoundPassesAlone) {
  BoundedQueue<std::string> queue(10);
  std::string large = "large";
  EXPECT_TRUE(queue.Push(large, 1000, kNoWait));
  std::string small = "small";
  EXPECT_FALSE(queue.Push(small, 1, kNoWait));
  queue.Pop(kNoWait);
  EXPECT_TRUE(queue.Push(small, 1, kNoWait));
}

TEST(BoundedQueueTest, SenderWaitsForRoom) {
  BoundedQueue<int> queue(1);
  int one = 1;
  ASSERT_TRUE(queue.Push(one, 1, kNoWait));
  std::thread sender([&queue] {
    int two = 2;
    EXPECT_TRUE(queue.Push(two, 1, kLong));
  });
  EXPECT_EQ(queue.Pop(kLong), 1);
  EXPECT_EQ(queue.Pop(kLong), 2);
  sender.join();
}

TEST(BoundedQueueTest, CloseWakesBothSidesAndKeepsWhatIsQueued) {
  BoundedQueue<int> queue(1);
  int one = 1;
  ASSERT_TRUE(queue.Push(one, 1, kNoWait));
  std::thread sender([&queue] {
    int two = 2;
    EXPECT_FALSE(queue.Push(two, 1, kLong));
    EXPECT_TRUE(queue.is_closed());
  });
  queue.Close();
  sender.join();
  EXPECT_EQ(queue.Pop(kLong), 1);
  EXPECT_EQ(queue.Pop(kLong), std::nullopt);
}

}  // namespace
}  // namespace towline
