// Folder: the changes that are left give the same rows as all of them, for any sequence that a
// source can send.
#include "apply/fold.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "decode/frame_builder.h"
#include "model/row_image.h"

namespace towline {
namespace {

// Two columns, the first the key.
const KeyFields kFirstIsKey{{0}, {0}};

class Sequence {
 public:
  void Insert(const std::string& key, const std::string& value) {
    Add(ChangeKind::kInsert, TextImage({key, value}), OldImage::kNone, "");
  }
  void Update(const std::string& key, const std::string& value) {
    Add(ChangeKind::kUpdate, TextImage({key, value}), OldImage::kNone, "");
  }
  void UpdateToast(const std::string& key) {
    Add(ChangeKind::kUpdate, Image({Value(key), kUnchanged}), OldImage::kNone, "");
    changes.back().has_unchanged_toast = true;
  }
  void UpdateFull(const std::string& key, const std::string& old_value, const std::string& value) {
    Add(ChangeKind::kUpdate, TextImage({key, value}), OldImage::kFull, TextImage({key, old_value}));
  }
  void Move(const std::string& from, const std::string& to, const std::string& value) {
    Add(ChangeKind::kUpdate, TextImage({to, value}), OldImage::kKey, TextImage({from}));
  }
  void Delete(const std::string& key) {
    Add(ChangeKind::kDelete, "", OldImage::kKey, TextImage({key}));
  }

  // Which changes are left, by index.
  std::vector<int> Fold() const {
    Folder folder(kFirstIsKey);
    std::vector<bool> is_folded(changes.size());
    for (size_t i = 0; i < changes.size(); ++i) {
      int not_needed = folder.Add(static_cast<int>(i), changes[i]);
      if (not_needed >= 0) is_folded[static_cast<size_t>(not_needed)] = true;
    }
    std::vector<int> left;
    for (size_t i = 0; i < changes.size(); ++i) {
      if (!is_folded[i]) left.push_back(static_cast<int>(i));
    }
    return left;
  }

  std::vector<Change> changes;

 private:
  void Add(ChangeKind kind, std::string new_row, OldImage old_image, std::string old_row) {
    images_.push_back(std::move(new_row));
    Change change;
    change.kind = kind;
    change.new_row = images_.back();
    images_.push_back(std::move(old_row));
    change.old_image = old_image;
    change.old_row = images_.back();
    changes.push_back(change);
  }
  std::deque<std::string> images_;
};

TEST(FoldTest, LastOfSeveralUpdatesIsLeft) {
  Sequence sequence;
  for (int i = 0; i < 5; ++i) sequence.Update("a", absl::StrCat(i));
  EXPECT_EQ(sequence.Fold(), (std::vector<int>{4}));
}

TEST(FoldTest, RowsDoNotDisturbOneAnother) {
  Sequence sequence;
  sequence.Update("a", "1");
  sequence.Update("b", "1");
  sequence.Delete("c");
  sequence.Insert("d", "1");
  sequence.Update("a", "2");
  sequence.Update("b", "2");
  EXPECT_EQ(sequence.Fold(), (std::vector<int>{2, 3, 4, 5}));
}

TEST(FoldTest, OldFullImagesFoldToo) {
  Sequence sequence;
  sequence.UpdateFull("a", "1", "2");
  sequence.UpdateFull("a", "2", "3");
  EXPECT_EQ(sequence.Fold(), (std::vector<int>{1}));
}

TEST(FoldTest, DeleteAndInsertOfTheKeyKeepWhatWasBefore) {
  Sequence sequence;
  sequence.Update("a", "1");
  sequence.Delete("a");
  sequence.Insert("a", "2");
  sequence.Update("a", "3");
  EXPECT_EQ(sequence.Fold(), (std::vector<int>{0, 1, 2, 3}));
}

TEST(FoldTest, MovedKeyKeepsBothItsEnds) {
  Sequence sequence;
  sequence.Update("a", "1");
  sequence.Update("b", "1");
  sequence.Move("b", "x", "2");
  sequence.Move("a", "b", "2");
  sequence.Update("b", "3");
  EXPECT_EQ(sequence.Fold(), (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST(FoldTest, UnchangedToastNeedsTheUpdateBeforeIt) {
  Sequence sequence;
  sequence.Update("a", "long");
  sequence.UpdateToast("a");
  EXPECT_EQ(sequence.Fold(), (std::vector<int>{0, 1}));
  sequence.Update("a", "new");
  EXPECT_EQ(sequence.Fold(), (std::vector<int>{0, 2}));
}

TEST(FoldTest, DeleteWithoutIdentityForgetsAll) {
  Sequence sequence;
  sequence.Update("a", "1");
  sequence.Delete("b");
  sequence.changes.back().old_image = OldImage::kNone;
  sequence.Update("a", "2");
  EXPECT_EQ(sequence.Fold(), (std::vector<int>{0, 1, 2}));
}

TEST(FoldTest, KeysOfSeveralColumnsDoNotRunTogether) {
  Folder folder(KeyFields{{0, 1}, {0, 1}});
  std::string first = TextImage({"ab", "c", "1"});
  std::string second = TextImage({"a", "bc", "2"});
  std::string third = TextImage({"ab", "c", "3"});
  Change change;
  change.kind = ChangeKind::kUpdate;
  change.new_row = first;
  EXPECT_EQ(folder.Add(0, change), -1);
  change.new_row = second;
  EXPECT_EQ(folder.Add(1, change), -1);
  change.new_row = third;
  EXPECT_EQ(folder.Add(2, change), 0);
}

// A table as a map; a change that does not find what it says is an error of the test or of the
// fold.
class Model {
 public:
  void Apply(const Change& change) {
    std::string new_key;
    std::string value;
    bool has_value = false;
    if (change.kind != ChangeKind::kDelete) {
      RowReader reader(change.new_row);
      new_key = std::string(reader.Next().bytes);
      Field field = reader.Next();
      has_value = field.kind == FieldKind::kValue;
      value = std::string(field.bytes);
    }
    std::string old_key = new_key;
    if (change.old_image != OldImage::kNone) {
      old_key = std::string(RowReader(change.old_row).Next().bytes);
    }
    if (change.kind == ChangeKind::kInsert) {
      ASSERT_TRUE(rows.emplace(new_key, value).second) << "insert_exists " << new_key;
      return;
    }
    auto found = rows.find(old_key);
    ASSERT_NE(found, rows.end()) << "missing " << old_key;
    if (!has_value) value = found->second;
    rows.erase(found);
    if (change.kind == ChangeKind::kUpdate) {
      ASSERT_TRUE(rows.emplace(new_key, value).second) << "update_exists " << new_key;
    }
  }
  std::map<std::string, std::string> rows;
};

TEST(FoldTest, RandomSequencesGiveTheSameRows) {
  for (unsigned seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937 random(seed);
    auto below = [&random](size_t limit) { return static_cast<size_t>(random()) % limit; };
    Model source;
    Model start;
    size_t key_count = 1 + below(6);
    auto key = [&] { return absl::StrCat("k", below(key_count)); };
    for (size_t i = 0; i < key_count; ++i) {
      if (below(2) == 0) source.rows[absl::StrCat("k", i)] = "start";
    }
    start = source;
    Sequence sequence;
    for (int i = 0; i < 60; ++i) {
      std::string a = key();
      std::string b = key();
      std::string value = absl::StrCat("v", i);
      bool has_a = source.rows.contains(a);
      size_t before = sequence.changes.size();
      if (!has_a) {
        sequence.Insert(a, value);
      } else if (below(5) == 0) {
        sequence.Delete(a);
      } else if (below(5) == 0 && !source.rows.contains(b)) {
        sequence.Move(a, b, value);
      } else if (below(4) == 0) {
        sequence.UpdateToast(a);
      } else if (below(4) == 0) {
        sequence.UpdateFull(a, source.rows[a], value);
      } else {
        sequence.Update(a, value);
      }
      for (; before < sequence.changes.size(); ++before) source.Apply(sequence.changes[before]);
    }
    Model destination = start;
    for (int left : sequence.Fold()) {
      destination.Apply(sequence.changes[static_cast<size_t>(left)]);
      if (HasFatalFailure()) return;
    }
    ASSERT_EQ(destination.rows, source.rows);
  }
}

}  // namespace
}  // namespace towline
