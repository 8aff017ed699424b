// The reader's side of the golden files: libprotobuf reads from each what its text says, and writes
// the same bytes again, so the plugin's writer leaves nothing to chance that protobuf does not.
#include <gtest/gtest.h>

#include "towline/v1/wire.pb.h"
#include "wire/golden_files.h"

namespace towline {
namespace {

class GoldenTest : public testing::TestWithParam<std::string> {};

TEST_P(GoldenTest, LibprotobufReadsTheTextFromTheBytes) {
  std::string bytes = FromHexLines(ReadFileOrEmpty(GoldenPath(GetParam(), ".hex")));
  v1::Frame frame;
  ASSERT_TRUE(frame.ParseFromString(bytes));
  if (WritesGoldenFiles()) WriteFile(GoldenPath(GetParam(), ".txt"), frame.DebugString());
  EXPECT_EQ(frame.DebugString(), ReadFileOrEmpty(GoldenPath(GetParam(), ".txt")));
  EXPECT_EQ(ToHexLines(frame.SerializeAsString()), ToHexLines(bytes));
}

TEST_P(GoldenTest, NoFieldIsUnknown) {
  std::string bytes = FromHexLines(ReadFileOrEmpty(GoldenPath(GetParam(), ".hex")));
  v1::Frame frame;
  ASSERT_TRUE(frame.ParseFromString(bytes));
  ASSERT_EQ(frame.entries_size() > 0, !frame.has_compressed());
  EXPECT_EQ(frame.GetReflection()->GetUnknownFields(frame).field_count(), 0);
  EXPECT_EQ(frame.compressed().GetReflection()->GetUnknownFields(frame.compressed()).field_count(),
            0);
  for (const v1::Entry& entry : frame.entries()) {
    EXPECT_NE(entry.kind_case(), v1::Entry::KIND_NOT_SET);
    EXPECT_EQ(entry.GetReflection()->GetUnknownFields(entry).field_count(), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, GoldenTest, testing::ValuesIn(GoldenNames()),
                         [](const auto& golden) { return golden.param; });

}  // namespace
}  // namespace towline
