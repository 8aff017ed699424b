// Folder and RowFolder: the net changes give the same rows as all changes one by one, for any
// sequence that a source can send.
#include "apply/fold.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "apply/fold_rows.h"
#include "decode/frame_builder.h"
#include "model/row_image.h"

namespace towline {
namespace {

// Three columns, the first the key; or, for a key of two columns, the first two.
Folder::Options OneColumn() {
  Folder::Options options;
  options.key = {{0}, {0}};
  return options;
}

class Sequence {
 public:
  void Insert(const std::string& key, const std::string& a, const std::string& b = "") {
    Add(ChangeKind::kInsert, TextImage({key, a, b}), OldImage::kNone, "");
  }
  void Update(const std::string& key, const std::string& a, const std::string& b = "") {
    Add(ChangeKind::kUpdate, TextImage({key, a, b}), OldImage::kNone, "");
  }
  void Move(const std::string& from, const std::string& to, const std::string& a,
            const std::string& b = "") {
    Add(ChangeKind::kUpdate, TextImage({to, a, b}), OldImage::kKey, TextImage({from}));
  }
  void Delete(const std::string& key) {
    Add(ChangeKind::kDelete, "", OldImage::kKey, TextImage({key}));
  }
  void Add(ChangeKind kind, std::string new_row, OldImage old_image, std::string old_row) {
    images_.push_back(std::move(new_row));
    Change change;
    change.kind = kind;
    change.new_row = images_.back();
    images_.push_back(std::move(old_row));
    change.old_image = old_image;
    change.old_row = images_.back();
    if (kind != ChangeKind::kDelete) {
      RowReader reader(change.new_row);
      for (int i = 0; i < reader.field_count(); ++i) {
        change.has_unchanged_toast |= reader.Next().kind == FieldKind::kUnchangedToast;
      }
    }
    changes.push_back(change);
  }

  // "-key" for deletes, "key=a,b" for updates, "+key=a,b" for inserts, "/" where what came before
  // is written first, "!" for a change alone.
  std::string Fold(const Folder::Options& options = OneColumn()) const {
    Folder folder(options);
    std::string text;
    auto write = [&] {
      const NetChanges written = folder.TakeNet();
      for (const NetChange& net : written.deletes) {
        absl::StrAppend(&text, "-", RowReader(net.change.old_row).Next().bytes, " ");
      }
      for (const NetChange& net : written.updates) absl::StrAppend(&text, Text(net), " ");
      for (const NetChange& net : written.inserts) absl::StrAppend(&text, "+", Text(net), " ");
    };
    for (size_t i = 0; i < changes.size(); ++i) {
      const auto index = static_cast<uint32_t>(i);
      if (folder.Add(index, changes[i])) continue;
      write();
      absl::StrAppend(&text, "/ ");
      if (!folder.Add(index, changes[i])) absl::StrAppend(&text, "! ");
    }
    write();
    return text;
  }

  std::vector<Change> changes;

 private:
  static std::string Text(const NetChange& net) {
    RowReader reader(net.change.new_row);
    std::string text(reader.Next().bytes);
    for (char mark : {'=', ','}) {
      Field field = reader.Next();
      text.push_back(mark);
      absl::StrAppend(&text, field.kind == FieldKind::kUnchangedToast ? "?" : field.bytes);
    }
    return text;
  }
  std::deque<std::string> images_;
};

TEST(FoldTest, OneChangeOfEachKeyIsLeft) {
  Sequence sequence;
  sequence.Update("a", "1");
  sequence.Insert("n", "1");
  sequence.Update("b", "1");
  sequence.Update("a", "2");
  sequence.Update("n", "2");
  sequence.Delete("b");
  sequence.Insert("gone", "1");
  sequence.Delete("gone");
  EXPECT_EQ(sequence.Fold(), "-b a=2, +n=2, ");
}

TEST(FoldTest, RowThatComesAgainIsANewOne) {
  Sequence sequence;
  sequence.Update("a", "1");
  sequence.Delete("a");
  sequence.Insert("a", "2");
  sequence.Update("a", "3");
  EXPECT_EQ(sequence.Fold(), "-a +a=3, ");
  sequence.Delete("a");
  EXPECT_EQ(sequence.Fold(), "-a ");
}

TEST(FoldTest, KeysMayChangePlaces) {
  Sequence sequence;
  sequence.Move("a", "x", "1");
  sequence.Move("b", "a", "2");
  sequence.Move("x", "b", "1");
  EXPECT_EQ(sequence.Fold(), "-a -b +a=2, +b=1, ");
}

TEST(FoldTest, MovedRowStaysItselfWhereTheImageIsNotAllOfIt) {
  Sequence sequence;
  sequence.Update("a", "1");
  sequence.Move("a", "b", "2");
  Folder::Options options = OneColumn();
  options.keeps_rows = true;
  EXPECT_EQ(sequence.Fold(options), "a=1, / ! ");
}

TEST(FoldTest, UnchangedValuesComeFromEarlierImages) {
  Sequence sequence;
  sequence.Update("a", "1", "long");
  sequence.Add(ChangeKind::kUpdate, Image({Value("a"), Value("2"), kUnchanged}), OldImage::kNone,
               "");
  sequence.Add(ChangeKind::kUpdate, Image({Value("b"), kUnchanged, kUnchanged}), OldImage::kNone,
               "");
  sequence.Add(ChangeKind::kUpdate, Image({Value("b"), Value("3"), kUnchanged}), OldImage::kNone,
               "");
  EXPECT_EQ(sequence.Fold(), "a=2,long b=3,? ");
  sequence.Add(ChangeKind::kUpdate, Image({Value("c"), Value("4"), kUnchanged}), OldImage::kKey,
               TextImage({"a"}));
  EXPECT_EQ(sequence.Fold(), "-a b=3,? +c=4,long ");
  // Nobody knows that value.
  sequence.Add(ChangeKind::kUpdate, Image({Value("d"), Value("5"), kUnchanged}), OldImage::kKey,
               TextImage({"b"}));
  EXPECT_EQ(sequence.Fold(), "-a b=3,? +c=4,long / ! ");
}

TEST(FoldTest, UnderAFurtherConstraintRowsAreMadeAnew) {
  Sequence sequence;
  sequence.Update("a", "1", "long");
  sequence.Update("b", "2", "long");
  Folder::Options options = OneColumn();
  options.replaces = true;
  EXPECT_EQ(sequence.Fold(options), "-a -b +a=1,long +b=2,long ");
  sequence.Add(ChangeKind::kUpdate, Image({Value("c"), Value("2"), kUnchanged}), OldImage::kNone,
               "");
  EXPECT_EQ(sequence.Fold(options), "-a -b +a=1,long +b=2,long / ! ");
}

TEST(FoldTest, WhatCannotBeIsLeftToTheDestination) {
  Sequence sequence;
  sequence.Insert("a", "1");
  sequence.Insert("a", "2");
  EXPECT_EQ(sequence.Fold(), "+a=1, / +a=2, ");
  Sequence other;
  other.Delete("a");
  other.Update("a", "1");
  EXPECT_EQ(other.Fold(), "-a / a=1, ");
}

TEST(FoldTest, ChangeWithoutIdentityGoesAlone) {
  Sequence sequence;
  sequence.Update("a", "1");
  sequence.Delete("b");
  sequence.changes.back().old_image = OldImage::kNone;
  EXPECT_EQ(sequence.Fold(), "a=1, / ! ");
}

// Rows as they are at the destination, which has a column that the source does not know.
struct Stored {
  std::string a;
  std::string b;
  int own = 0;
  auto operator<=>(const Stored&) const = default;
};

// A table as a map; a change that does not find what it says is an error of the test or of the
// fold.
class Model {
 public:
  explicit Model(int key_columns) : key_columns_(key_columns) {}

  void Apply(const Change& change) {
    std::string new_key;
    Stored row;
    bool has_a = false;
    bool has_b = false;
    if (change.kind != ChangeKind::kDelete) {
      RowReader reader(change.new_row);
      new_key = Key(&reader);
      Field a = reader.Next();
      Field b = reader.Next();
      has_a = a.kind == FieldKind::kValue;
      has_b = b.kind == FieldKind::kValue;
      row = {std::string(a.bytes), std::string(b.bytes), 0};
    }
    std::string old_key = new_key;
    if (change.old_image != OldImage::kNone) {
      RowReader reader(change.old_row);
      old_key = Key(&reader);
    }
    if (change.kind == ChangeKind::kInsert) {
      ASSERT_TRUE(has_a && has_b);
      ASSERT_TRUE(rows.emplace(new_key, row).second) << "insert_exists " << new_key;
      return;
    }
    auto found = rows.find(old_key);
    ASSERT_NE(found, rows.end()) << "missing " << old_key;
    if (!has_a) row.a = found->second.a;
    if (!has_b) row.b = found->second.b;
    row.own = found->second.own;
    rows.erase(found);
    if (change.kind == ChangeKind::kUpdate) {
      ASSERT_TRUE(rows.emplace(new_key, row).second) << "update_exists " << new_key;
    }
  }
  std::map<std::string, Stored> rows;

 private:
  std::string Key(RowReader* reader) const {
    std::string key(reader->Next().bytes);
    if (key_columns_ == 2) absl::StrAppend(&key, "/", reader->Next().bytes);
    return key;
  }
  int key_columns_;
};

class RandomFold {
 public:
  explicit RandomFold(unsigned seed)
      : random_(seed), is_full_(Below(3) == 0), source_(1), start_(1) {
    columns_ = 1 + Below(2);
    source_ = Model(columns_);
    options_.key.in_full = columns_ == 1 ? std::vector<int>{0} : std::vector<int>{0, 1};
    options_.key.in_key = is_full_ ? std::vector<int>{} : options_.key.in_full;
    options_.has_old_images = is_full_;
    options_.replaces = Below(4) == 0;
    options_.keeps_rows = !options_.replaces && Below(4) == 0;
    for (int i = 0; i < 6; ++i) {
      if (Below(2) == 0) source_.rows[KeyText(i)] = {"start", "start", 100 + i};
    }
    start_ = source_;
  }

  void Run() {
    for (int i = 0; i < 60; ++i) AddOne(i);
    Folder folder(options_);
    Model destination = start_;
    for (size_t i = 0; i < sequence_.changes.size(); ++i) {
      const auto index = static_cast<uint32_t>(i);
      if (folder.Add(index, sequence_.changes[i])) continue;
      Write(folder.TakeNet(), &destination);
      if (!folder.Add(index, sequence_.changes[i])) destination.Apply(sequence_.changes[i]);
      if (testing::Test::HasFatalFailure()) return;
    }
    Write(folder.TakeNet(), &destination);
    if (!options_.keeps_rows) {
      for (auto& [unused, row] : destination.rows) row.own = 0;
      for (auto& [unused, row] : source_.rows) row.own = 0;
    }
    ASSERT_EQ(destination.rows, source_.rows);
  }

 private:
  int Below(int limit) { return static_cast<int>(random_() % static_cast<unsigned>(limit)); }
  std::vector<Field> KeyFieldsOf(const std::string& key) {
    if (columns_ == 1) return {Value(key)};
    const size_t slash = key.find('/');
    return {Value(absl::string_view(key).substr(0, slash)),
            Value(absl::string_view(key).substr(slash + 1))};
  }
  // Keys whose columns run into one another.
  std::string KeyText(int number) const {
    if (columns_ == 1) return absl::StrCat("k", number);
    return std::string(static_cast<size_t>(number % 3), 'k') + "/" +
           std::string(static_cast<size_t>(number / 3), 'k');
  }

  void AddOne(int number) {
    const std::string key = KeyText(Below(6));
    const std::string other = KeyText(Below(6));
    auto found = source_.rows.find(key);
    std::vector<Field> now = KeyFieldsOf(key);
    const std::string value = absl::StrCat("v", number);
    if (found == source_.rows.end()) {
      now.insert(now.end(), {Value(value), Value("b")});
      Add(ChangeKind::kInsert, Image(now), OldImage::kNone, "");
      return;
    }
    std::vector<Field> old = KeyFieldsOf(key);
    const Stored row = found->second;
    const OldImage old_image = is_full_ ? OldImage::kFull : OldImage::kKey;
    if (is_full_) old.insert(old.end(), {Value(row.a), Value(row.b)});
    if (Below(5) == 0) {
      Add(ChangeKind::kDelete, "", old_image, Image(old));
      return;
    }
    const bool moves = Below(4) == 0 && !source_.rows.contains(other);
    if (moves) now = KeyFieldsOf(other);
    now.push_back(Below(3) == 0 ? kUnchanged : Value(value));
    now.push_back(Below(2) == 0 ? kUnchanged : Value(value));
    const bool has_old = is_full_ || moves;
    Add(ChangeKind::kUpdate, Image(now), has_old ? old_image : OldImage::kNone,
        has_old ? Image(old) : "");
  }

  void Add(ChangeKind kind, const std::string& new_row, OldImage old_image,
           const std::string& old_row) {
    sequence_.Add(kind, new_row, old_image, old_row);
    source_.Apply(sequence_.changes.back());
  }

  // The order within a set must not matter.
  void Write(NetChanges net, Model* destination) {
    if (options_.replaces) {
      ASSERT_TRUE(net.updates.empty());
    }
    for (std::vector<NetChange>* set : {&net.deletes, &net.updates, &net.inserts}) {
      std::shuffle(set->begin(), set->end(), random_);
      for (const NetChange& change : *set) {
        destination->Apply(change.change);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }

  std::mt19937 random_;
  bool is_full_;
  int columns_ = 1;
  Folder::Options options_;
  Model source_;
  Model start_;
  Sequence sequence_;
};

// TOWLINE_FOLD_SEED=n runs that one alone.
TEST(FoldTest, RandomSequencesGiveTheSameRows) {
  const char* only = std::getenv("TOWLINE_FOLD_SEED");
  const unsigned first = only != nullptr ? static_cast<unsigned>(std::atoi(only)) : 1;
  for (unsigned seed = first; seed < first + (only != nullptr ? 1 : 5000); ++seed) {
    SCOPED_TRACE(absl::StrCat("TOWLINE_FOLD_SEED=", seed));
    RandomFold(seed).Run();
    if (HasFatalFailure()) return;
  }
}

// Rows with a second unique column, which a destination looks at with every row that it writes.
class UniqueModel {
 public:
  // False: the row's value is that of another, or the row is not as the change says.
  bool Apply(const Change& change) {
    std::string new_key;
    if (change.kind != ChangeKind::kDelete)
      new_key = std::string(RowReader(change.new_row).Next().bytes);
    std::string old_key = new_key;
    if (change.old_image != OldImage::kNone) {
      old_key = std::string(RowReader(change.old_row).Next().bytes);
    }
    if (change.kind != ChangeKind::kInsert && rows.erase(old_key) == 0) return false;
    if (change.kind == ChangeKind::kDelete) return true;
    RowReader reader(change.new_row);
    reader.Next();
    const std::string value(reader.Next().bytes);
    const bool is_taken =
        rows.contains(new_key) ||
        (!value.empty() && std::any_of(rows.begin(), rows.end(),
                                       [&](const auto& row) { return row.second == value; }));
    rows[new_key] = value;
    return !is_taken;
  }
  bool Apply(NetChanges net, std::mt19937* random) {
    for (std::vector<NetChange>* set : {&net.deletes, &net.updates, &net.inserts}) {
      std::shuffle(set->begin(), set->end(), *random);
      for (const NetChange& change : *set) {
        if (!Apply(change.change)) return false;
      }
    }
    return true;
  }
  std::map<std::string, std::string> rows;
};

// As batch_writer.h claims: what passes as updates ends right, and what is refused so passes as
// deletes and inserts.
TEST(FoldTest, UpdatesThatClashPassAsDeletesAndInserts) {
  int refused = 0;
  for (unsigned seed = 1; seed <= 3000; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937 random(seed);
    auto below = [&random](unsigned limit) { return random() % limit; };
    UniqueModel source;
    for (unsigned i = 0; i < 5; ++i) source.rows[absl::StrCat("k", i)] = absl::StrCat("u", i);
    const UniqueModel start = source;
    Sequence sequence;
    for (int i = 0; i < 20; ++i) {
      const std::string key = absl::StrCat("k", below(7));
      const std::string other = absl::StrCat("k", below(7));
      const std::string value = below(4) == 0 ? "" : absl::StrCat("u", below(7));
      const bool is_there = source.rows.contains(key);
      Sequence one;
      if (!is_there) {
        one.Insert(key, value);
      } else if (below(6) == 0) {
        one.Delete(key);
      } else if (other != key && below(5) == 0) {
        one.Move(key, other, value);
      } else {
        one.Update(key, value);
      }
      UniqueModel after = source;
      if (!after.Apply(one.changes[0])) continue;  // the source refuses it as well
      source = after;
      const Change& change = one.changes[0];
      sequence.Add(change.kind, std::string(change.new_row), change.old_image,
                   std::string(change.old_row));
    }
    auto write = [&](bool replaces, UniqueModel* destination) {
      Folder::Options options = OneColumn();
      options.replaces = replaces;
      Folder folder(options);
      for (size_t i = 0; i < sequence.changes.size(); ++i) {
        EXPECT_TRUE(folder.Add(static_cast<uint32_t>(i), sequence.changes[i]));
      }
      return destination->Apply(folder.TakeNet(), &random);
    };
    UniqueModel destination = start;
    if (!write(false, &destination)) {
      ++refused;
      destination = start;
      ASSERT_TRUE(write(true, &destination));
    }
    ASSERT_EQ(destination.rows, source.rows);
  }
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, 3000);
}

TEST(RowFolderTest, RandomChangesGiveTheSameMultiset) {
  for (unsigned seed = 1; seed <= 1000; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937 random(seed);
    auto below = [&random](unsigned limit) { return random() % limit; };
    std::multiset<std::string> source;
    auto image = [&] { return TextImage({absl::StrCat(below(3)), absl::StrCat(below(2))}); };
    for (int i = 0; i < 5; ++i) source.insert(image());
    const std::multiset<std::string> start = source;
    Sequence sequence;
    for (int i = 0; i < 40; ++i) {
      if (source.empty() || below(3) == 0) {
        sequence.Add(ChangeKind::kInsert, image(), OldImage::kNone, "");
        source.insert(std::string(sequence.changes.back().new_row));
        continue;
      }
      auto old = std::next(source.begin(), static_cast<int>(below(unsigned(source.size()))));
      std::string old_row = *old;
      source.erase(old);
      if (below(2) == 0) {
        sequence.Add(ChangeKind::kDelete, "", OldImage::kFull, old_row);
      } else if (below(2) == 0) {
        RowReader reader(old_row);
        reader.Next();
        source.insert(Image({Value("x"), reader.Next()}));
        sequence.Add(ChangeKind::kUpdate, Image({Value("x"), kUnchanged}), OldImage::kFull,
                     old_row);
      } else {
        source.insert(TextImage({"x", "y"}));
        sequence.Add(ChangeKind::kUpdate, TextImage({"x", "y"}), OldImage::kFull, old_row);
      }
    }
    RowFolder folder;
    for (size_t i = 0; i < sequence.changes.size(); ++i) {
      ASSERT_TRUE(folder.Add(static_cast<uint32_t>(i), sequence.changes[i]));
    }
    std::multiset<std::string> destination = start;
    const NetChanges net = folder.TakeNet();
    for (const NetChange& deleted : net.deletes) {
      auto found = destination.find(std::string(deleted.change.old_row));
      ASSERT_NE(found, destination.end());
      destination.erase(found);
    }
    for (const NetChange& inserted : net.inserts) {
      destination.insert(std::string(inserted.change.new_row));
    }
    ASSERT_TRUE(net.updates.empty());
    ASSERT_EQ(destination, source);
  }
}

// A row that is deleted and comes again must have been there: its delete is not dropped.
TEST(RowFolderTest, DeleteOfARowThatComesAgainIsKept) {
  Sequence sequence;
  sequence.Add(ChangeKind::kUpdate, TextImage({"a"}), OldImage::kFull, TextImage({"a"}));
  RowFolder folder;
  ASSERT_TRUE(folder.Add(0, sequence.changes[0]));
  const NetChanges net = folder.TakeNet();
  EXPECT_EQ(net.deletes.size(), 1u);
  EXPECT_EQ(net.inserts.size(), 1u);
}

}  // namespace
}  // namespace towline
