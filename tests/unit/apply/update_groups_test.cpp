// Which updates go together, and which of their columns stay as they are.
#include "apply/update_groups.h"

#include <gtest/gtest.h>

#include <deque>
#include <string>
#include <utility>

#include "decode/frame_builder.h"
#include "model/row_image.h"

namespace towline {
namespace {

using Columns = std::vector<bool>;

// Columns id (key), a, b, n.
class UpdateGroupsTest : public testing::Test {
 protected:
  UpdateGroupsTest() {
    target_.matching = Matching::kKey;
    target_.is_key_unique = true;
    target_.match = {0};
    for (int i = 0; i < 4; ++i) {
      TargetColumn column;
      column.field = i;
      column.array_oid = 1000;
      target_.columns.push_back(column);
      target_.written.push_back(i);
    }
  }

  // From old values, if it is under FULL, to new ones.
  void Add(std::vector<Field> before, std::vector<Field> now) {
    const std::string id = std::to_string(updates_.size());
    NetChange update;
    update.index = static_cast<uint32_t>(updates_.size());
    update.change.kind = ChangeKind::kUpdate;
    if (!before.empty()) {
      before.insert(before.begin(), Value(id));
      update.change.old_image = OldImage::kFull;
      update.change.old_row = images_.emplace_back(Image(before));
    }
    for (const Field& field : now) {
      update.change.has_unchanged_toast |= field.kind == FieldKind::kUnchangedToast;
    }
    now.insert(now.begin(), Value(id));
    update.change.new_row = images_.emplace_back(Image(now));
    updates_.push_back(update);
  }

  // Columns that stay, with the updates' numbers.
  std::vector<std::pair<Columns, std::vector<uint32_t>>> GroupsOf(size_t set_rows_min = 2) {
    std::vector<std::pair<Columns, std::vector<uint32_t>>> groups;
    for (const UpdateGroup& group : GroupUpdates(target_, updates_, set_rows_min)) {
      groups.emplace_back(group.is_unchanged, std::vector<uint32_t>{});
      for (const NetChange& update : group.updates) groups.back().second.push_back(update.index);
    }
    return groups;
  }

  Target target_;
  std::deque<std::string> images_;
  std::vector<NetChange> updates_;
  const std::string large_ = std::string(kSavedBytesMin, 'x');
  const std::string small_ = std::string(kEqualBytesMin - 1, 'x');
};

const Columns kNone;
const Columns kKeepsA = {false, true, false, false};
const Columns kKeepsB = {false, false, true, false};

using Groups = std::vector<std::pair<Columns, std::vector<uint32_t>>>;

TEST_F(UpdateGroupsTest, NoUpdatesAreNoGroup) { EXPECT_EQ(GroupsOf(), Groups()); }

TEST_F(UpdateGroupsTest, WhatBringsAllIsOneGroup) {
  Add({}, {Value("a"), Value("b"), Value("1")});
  Add({Value("a"), Value("b"), Value("1")}, {Value("a"), Value("b"), kNull});
  EXPECT_EQ(GroupsOf(), (Groups{{kNone, {0, 1}}}));
}

TEST_F(UpdateGroupsTest, WhatWasNotSentStays) {
  Add({}, {kUnchanged, Value("b"), Value("1")});
  Add({}, {Value("a"), Value("b"), Value("1")});
  Add({}, {Value("a"), kUnchanged, Value("1")});
  Add({}, {kUnchanged, Value("b"), Value("1")});
  EXPECT_EQ(GroupsOf(), (Groups{{kNone, {1}}, {kKeepsB, {2}}, {kKeepsA, {0, 3}}}));
}

TEST_F(UpdateGroupsTest, LargeValuesThatAreEqualStay) {
  const std::string other(kSavedBytesMin, 'y');
  for (int i = 0; i < 2; ++i) {
    Add({Value(large_), Value("b"), Value("1")}, {Value(large_), Value("b"), Value("2")});
    Add({Value(large_), Value("b"), Value("1")}, {Value(other), Value("b"), Value("1")});
  }
  EXPECT_EQ(GroupsOf(), (Groups{{kNone, {1, 3}}, {kKeepsA, {0, 2}}}));
  // Nobody knows what the destination has.
  target_.may_differ = true;
  EXPECT_EQ(GroupsOf(), (Groups{{kNone, {0, 1, 2, 3}}}));
  target_.may_differ = false;
  // Nobody knows what they were.
  for (NetChange& update : updates_) update.change.old_image = OldImage::kNone;
  EXPECT_EQ(GroupsOf(), (Groups{{kNone, {0, 1, 2, 3}}}));
}

TEST_F(UpdateGroupsTest, SmallValuesAreWrittenAnew) {
  for (int i = 0; i < 100; ++i) {
    Add({Value(small_), Value("b"), Value("1")}, {Value(small_), Value("b"), Value("2")});
  }
  EXPECT_EQ(GroupsOf().size(), 1u);
  EXPECT_EQ(GroupsOf()[0].first, kNone);
}

TEST_F(UpdateGroupsTest, AGroupMustBeWorthAStatement) {
  const std::string value(kEqualBytesMin, 'x');
  auto add = [&] {
    Add({Value(value), Value("b"), Value("1")}, {Value(value), Value("b"), Value("2")});
  };
  add();
  add();
  EXPECT_EQ(GroupsOf(), (Groups{{kNone, {0, 1}}}));
  while (updates_.size() < kSavedBytesMin / kEqualBytesMin) add();
  EXPECT_EQ(GroupsOf()[0].first, kKeepsA);
  EXPECT_EQ(GroupsOf(1000)[0].first, kNone);  // too few rows for a set
  // A single row compares for itself.
  updates_.clear();
  Add({Value(large_), Value("b"), Value("1")}, {Value(large_), Value("b"), Value("2")});
  EXPECT_EQ(GroupsOf(), (Groups{{kNone, {0}}}));
}

TEST_F(UpdateGroupsTest, EqualValuesJoinThoseThatWereNotSent) {
  for (int i = 0; i < 2; ++i) {
    Add({Value(large_), Value("b"), Value("1")}, {Value(large_), Value("b"), Value("2")});
    Add({}, {kUnchanged, Value("b"), Value("2")});
  }
  EXPECT_EQ(GroupsOf(), (Groups{{kKeepsA, {0, 1, 2, 3}}}));
}

TEST_F(UpdateGroupsTest, ThereAreNoMoreGroupsThanThoseThatSaveMost) {
  constexpr int kColumns = 10;
  target_.columns.clear();
  target_.written.clear();
  for (int i = 0; i <= kColumns; ++i) {
    TargetColumn column;
    column.field = i;
    column.array_oid = 1000;
    target_.columns.push_back(column);
    target_.written.push_back(i);
  }
  for (int kept = 0; kept < kColumns; ++kept) {
    const std::string& value =
        images_.emplace_back(kSavedBytesMin + 1 + static_cast<size_t>(kept), 'x');
    for (int i = 0; i < 2; ++i) {
      std::vector<Field> before(kColumns, Value("b"));
      std::vector<Field> now(kColumns, Value("n"));
      before[static_cast<size_t>(kept)] = now[static_cast<size_t>(kept)] = Value(value);
      Add(before, now);
    }
  }
  const Groups groups = GroupsOf();
  ASSERT_EQ(groups.size(), kSavingGroupsMax + 1);
  EXPECT_EQ(groups[0], (std::pair<Columns, std::vector<uint32_t>>{kNone, {0, 1, 2, 3}}));
}

}  // namespace
}  // namespace towline
