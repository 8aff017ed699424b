// Names made of task names: stable, unique, within what the server allows.
#include "state/task_name.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

TEST(TaskNameTest, DerivedNameDependsOnBothDatabasesOnly) {
  ServerIdentity source{.system_identifier = 1, .timeline = 1, .database_oid = 5, .database = "a"};
  ServerIdentity destination{
      .system_identifier = 2, .timeline = 1, .database_oid = 6, .database = "b"};
  std::string name = DeriveTaskName(source, destination);
  // Fixed for ever: a task that was started by one version is resumed by the next.
  EXPECT_EQ(name, "t7775346372");
  source.timeline = 2;
  source.database = "renamed";
  EXPECT_EQ(DeriveTaskName(source, destination), name);
  EXPECT_NE(DeriveTaskName(destination, source), name);
  destination.database_oid = 7;
  EXPECT_NE(DeriveTaskName(source, destination), name);
}

TEST(TaskNameTest, PlainNamesStayReadable) {
  EXPECT_EQ(SlotName("orders_2"), "towline_orders_2");
  EXPECT_EQ(SourceApplication("orders_2", "stream"), "towline_orders_2 src stream");
  EXPECT_EQ(DestinationApplication("orders_2", "apply"), "towline_orders_2 dst apply");
}

TEST(TaskNameTest, OtherLettersAreReplacedAndKeptApartByAHash) {
  EXPECT_EQ(SlotName("Orders-EU").substr(0, 17), "towline__rders___");
  EXPECT_NE(SlotName("a-b"), SlotName("a_b"));
  EXPECT_NE(SlotName("a-b"), SlotName("a.b"));
  for (const char* task : {"Orders-EU", "größe", "a b", "'", "\""}) {
    for (char c : SlotName(task)) {
      EXPECT_TRUE((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_') << task;
    }
  }
}

TEST(TaskNameTest, LongNamesFitWithRoomForAPurpose) {
  std::string task(63, 'x');
  std::string other = task;
  other.back() = 'y';
  EXPECT_EQ(SlotName(task).size(), 48u);
  EXPECT_NE(SlotName(task), SlotName(other));
  EXPECT_LE(SourceApplication(task, "sequences").size(), 63u);
}

TEST(TaskNameTest, UnusableNamesAreRefused) {
  EXPECT_TRUE(CheckTaskName("orders").ok());
  EXPECT_TRUE(CheckTaskName("größe 'x'").ok());
  for (const std::string& task : {std::string(), std::string(64, 'x'), std::string("a/b"),
                                  std::string("a\nb"), std::string("a\0b", 3)}) {
    EXPECT_EQ(CheckTaskName(task).code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace towline
