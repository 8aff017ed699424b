// Spool: what is appended is what is read, wherever it lies; limits hold; no room is an error that
// is tried again.
#include "spool/spool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <random>

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace towline {
namespace {

using ::testing::HasSubstr;

class SpoolTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string path = testing::TempDir() + "/spool-XXXXXX";
    ASSERT_NE(mkdtemp(path.data()), nullptr);
    directory_ = path;
  }
  void TearDown() override {
    EXPECT_TRUE(std::filesystem::is_empty(directory_));  // the files never have a name
    std::filesystem::remove_all(directory_);
  }
  std::unique_ptr<Spool> Open(int64_t memory_max, int64_t disk_max = 0) {
    auto spool = Spool::Open({memory_max, disk_max, directory_, "towline-test"});
    EXPECT_TRUE(spool.ok()) << spool.status();
    return *std::move(spool);
  }

  std::string directory_;
};

// The frame's bytes, from the beginning to the end.
std::string ReadAll(const SpoolLog& log) {
  std::string all;
  while (true) {
    auto frame = log.Read(all.size());
    EXPECT_TRUE(frame.ok()) << frame.status();
    if (!frame.ok() || frame->bytes.empty()) return all;
    absl::StrAppend(&all, frame->bytes);
  }
}

// As protobuf writes a repeated message of field 1.
std::string Field(absl::string_view entry) {
  std::string field(1, '\x0a');
  size_t length = entry.size();
  for (; length >= 0x80; length >>= 7) field.push_back(static_cast<char>((length & 0x7f) | 0x80));
  field.push_back(static_cast<char>(length));
  return absl::StrCat(field, entry);
}

TEST_F(SpoolTest, GivesBackWhatItWasGiven) {
  for (int64_t memory_max : {int64_t{0}, int64_t{64 << 20}}) {
    auto spool = Open(memory_max);
    auto log = spool->NewLog();
    std::string expected;
    for (size_t bytes : {0, 1, 126, 127, 128, 5000, 16383, 16384, 70'000, 300'000, 3'000'000, 5}) {
      std::string entry(bytes, static_cast<char>('a' + bytes % 26));
      ASSERT_TRUE(log->Append(entry).ok());
      absl::StrAppend(&expected, Field(entry));
    }
    EXPECT_EQ(log->size(), expected.size());
    EXPECT_TRUE(ReadAll(*log) == expected);
    EXPECT_EQ(spool->usage().disk_bytes > 0, memory_max == 0);
    EXPECT_EQ(spool->usage().memory_bytes > 0, memory_max > 0);
  }
}

TEST_F(SpoolTest, FramesAreOfModerateSize) {
  for (int64_t memory_max : {int64_t{0}, int64_t{64 << 20}}) {
    auto spool = Open(memory_max);
    auto log = spool->NewLog();
    for (int i = 0; i < 20'000; ++i) ASSERT_TRUE(log->Append(std::string(90, 'x')).ok());
    for (uint64_t at = 0; at < log->size();) {
      Frame frame = log->Read(at).value();
      EXPECT_LE(frame.size(), 256u << 10);
      EXPECT_EQ(frame.size() % 92, 0u);  // whole entries
      at += frame.size();
    }
  }
}

TEST_F(SpoolTest, TheLargestGoesToDiskAndTheLimitHolds) {
  auto spool = Open(1 << 20);
  auto small = spool->NewLog();
  auto large = spool->NewLog();
  ASSERT_TRUE(small->Append(std::string(1000, 's')).ok());
  for (int i = 0; i < 3000; ++i) {
    ASSERT_TRUE(large->Append(std::string(1000, 'l')).ok());
    ASSERT_LE(spool->usage().memory_bytes, 1 << 20);
  }
  EXPECT_GE(spool->usage().disk_bytes, 1'900'000);
  EXPECT_LE(static_cast<uint64_t>(spool->usage().disk_bytes), large->size());
  EXPECT_EQ(spool->usage().logs, 2);
  EXPECT_EQ(ReadAll(*small), Field(std::string(1000, 's')));
  large.reset();
  EXPECT_EQ(spool->usage().disk_bytes, 0);
  small.reset();
  EXPECT_EQ(spool->usage().memory_bytes, 0);
  EXPECT_EQ(spool->usage().logs, 0);
}

TEST_F(SpoolTest, AgainstAString) {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937 random(seed);
    auto spool = Open(std::array{0, 1000, 20'000, 1 << 20}[seed % 4]);
    struct Pair {
      std::unique_ptr<SpoolLog> log;
      std::string model;
      std::vector<uint64_t> marks = {0};
    };
    std::vector<Pair> pairs;
    for (int step = 0; step < 300; ++step) {
      if (pairs.empty() || random() % 40 == 0) pairs.push_back({spool->NewLog(), ""});
      size_t which = random() % pairs.size();
      Pair& pair = pairs[which];
      switch (random() % 20) {
        case 0:
          pairs.erase(pairs.begin() + static_cast<ptrdiff_t>(which));
          break;
        case 1:
        case 2: {
          size_t mark = random() % pair.marks.size();
          ASSERT_TRUE(pair.log->Truncate(pair.marks[mark]).ok());
          pair.model.resize(pair.marks[mark]);
          pair.marks.resize(mark + 1);
          break;
        }
        case 3:
          ASSERT_TRUE(ReadAll(*pair.log) == pair.model);
          break;
        default: {
          std::string entry(random() % (random() % 10 == 0 ? 70'000 : 300),
                            static_cast<char>(random()));
          ASSERT_TRUE(pair.log->Append(entry).ok());
          absl::StrAppend(&pair.model, Field(entry));
          pair.marks.push_back(pair.model.size());
        }
      }
    }
    for (Pair& pair : pairs) {
      ASSERT_EQ(pair.log->size(), pair.model.size());
      ASSERT_TRUE(ReadAll(*pair.log) == pair.model);
    }
  }
}

TEST_F(SpoolTest, DiskLimitIsAnErrorThatIsTriedAgain) {
  auto spool = Open(0, 5000);
  auto log = spool->NewLog();
  ASSERT_TRUE(log->Append(std::string(4000, 'x')).ok());
  absl::Status status = log->Append(std::string(2000, 'x'));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("spool_disk_max"));
  EXPECT_THAT(GetHint(status), HasSubstr("spool_disk_max"));
}

TEST_F(SpoolTest, FullDiskIsAnErrorThatIsTriedAgain) {
  auto spool = Open(0);
  auto log = spool->NewLog();
  // The system's own limit on files stands for a disk without room.
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit tight = before;
  tight.rlim_cur = 100'000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
  absl::Status status;
  for (int i = 0; i < 10 && status.ok(); ++i) status = log->Append(std::string(30'000, 'x'));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(directory_));
  EXPECT_THAT(GetHint(status), HasSubstr("spool_directory"));
}

TEST_F(SpoolTest, DirectoryIsLookedAtBeforehand) {
  for (const char* directory : {"/nowhere/at/all", "/proc/self/status"}) {
    auto spool = Spool::Open({0, 0, directory, "towline-test"});
    EXPECT_EQ(spool.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(spool.status().message()), HasSubstr(directory));
    EXPECT_THAT(GetHint(spool.status()), HasSubstr("spool_directory"));
  }
}

}  // namespace
}  // namespace towline
