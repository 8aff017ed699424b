// How long a table whose updates have clashed is not tried.
#include "apply/clash_memory.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

constexpr Oid kTable = 7;

// Writes updates of a batch. Whether as deletes and inserts.
bool Write(ClashMemory* memory) {
  const bool replaces = memory->Replaces(kTable);
  memory->NoteWritten(kTable, replaces);
  return replaces;
}

// Batches until the table is tried again.
int PauseOf(ClashMemory* memory) {
  int pause = 0;
  while (Write(memory)) {
    EXPECT_TRUE(memory->HasReplaced(kTable));
    ++pause;
  }
  EXPECT_FALSE(memory->HasReplaced(kTable));
  return pause;
}

TEST(ClashMemoryTest, ATableThatNeverClashedIsAlwaysTried) {
  ClashMemory memory;
  memory.NoteClash(kTable + 1);
  EXPECT_EQ(PauseOf(&memory), 0);
}

TEST(ClashMemoryTest, ThePauseGrowsWhileClashesGoOn) {
  ClashMemory memory;
  for (int pause = kClashPauseMin; pause < kClashPauseMax; pause *= 2) {
    memory.NoteClash(kTable);
    EXPECT_EQ(PauseOf(&memory), pause);
  }
  for (int i = 0; i < 3; ++i) {
    memory.NoteClash(kTable);
    EXPECT_EQ(PauseOf(&memory), kClashPauseMax);
  }
}

TEST(ClashMemoryTest, AskingChangesNothing) {
  ClashMemory memory;
  memory.NoteClash(kTable);
  for (int i = 0; i < 2 * kClashPauseMin; ++i) EXPECT_TRUE(memory.Replaces(kTable));
  EXPECT_FALSE(memory.HasReplaced(kTable));
  EXPECT_EQ(PauseOf(&memory), kClashPauseMin);
}

TEST(ClashMemoryTest, ARareClashIsSoonForgotten) {
  ClashMemory memory;
  for (int i = 0; i < 4; ++i) {
    memory.NoteClash(kTable);
    PauseOf(&memory);
  }
  for (int i = 0; i < kClashTriesMin; ++i) EXPECT_FALSE(Write(&memory));
  memory.NoteClash(kTable);
  EXPECT_EQ(PauseOf(&memory), kClashPauseMin);
}

}  // namespace
}  // namespace towline
