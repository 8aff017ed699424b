// The applier and a real server: TOWLINE_TEST_DESTINATION=URI of a database that the tests may
// empty, as a role that may do everything. Without it these tests do not exist; with it they fail
// if the server cannot be reached.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "apply/mirror.h"
#include "base/error.h"

namespace towline {

inline std::vector<std::string> Destinations() {
  const char* uri = std::getenv("TOWLINE_TEST_DESTINATION");
  return uri != nullptr ? std::vector<std::string>{uri} : std::vector<std::string>{};
}

class ApplierServerTest : public testing::TestWithParam<std::string> {
 protected:
  void ApplyAll() {
    absl::Status status = mirror_.ApplyRecorded();
    ASSERT_TRUE(status.ok()) << Describe(status);
  }
  void ExpectEqual(const std::string& table) {
    EXPECT_EQ(mirror_.Rows("dst", table), mirror_.Rows("src", table)) << table;
  }
  // The next batch must be refused as a conflict of this type, and leave nothing behind but a note.
  void ExpectConflict(const std::string& type, const std::string& key_values) {
    std::string position = mirror_.Value("SELECT position FROM towline_state.task");
    absl::Status status = mirror_.ApplyRecorded();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(type));
    mirror_.Restart();
    EXPECT_EQ(mirror_.Value("SELECT position FROM towline_state.task"), position);
    EXPECT_EQ(mirror_.Value("SELECT type || ' ' || table_name || ' ' || resolution FROM "
                            "towline_state.conflict ORDER BY number DESC LIMIT 1"),
              type + " t stop");
    EXPECT_EQ(mirror_.Value("SELECT key_values FROM towline_state.conflict ORDER BY number DESC "
                            "LIMIT 1"),
              key_values);
  }

  Mirror mirror_{GetParam()};
};

}  // namespace towline
