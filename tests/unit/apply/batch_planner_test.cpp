// Plans of batches: what is folded, what goes as it came, what stands between; when a plan may no
// longer be written.
#include "apply/batch_planner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "decode/frame_builder.h"
#include "model/row_image.h"

namespace towline {
namespace {

// Tables of the columns key, value; the relation's OID is the table's. Without a key: rows are
// told apart by all of it.
class Tables {
 public:
  Target Make(Oid table, Matching matching = Matching::kKey) {
    Relation& relation = relations_.emplace_back();
    relation.oid = table;
    relation.replica_identity =
        matching == Matching::kExact ? ReplicaIdentity::kFull : ReplicaIdentity::kDefault;
    Target target;
    target.relation = &relation;
    target.table.oid = table;
    target.matching = matching;
    target.can_fold = true;
    target.match = {0};
    for (int i = 0; i < 2; ++i) {
      TargetColumn column;
      column.field = i;
      column.key_field = i == 0 ? 0 : -1;
      target.columns.push_back(column);
    }
    return target;
  }

 private:
  std::deque<Relation> relations_;
};

class Changes {
 public:
  void Insert(const Target& target, const std::string& key, const std::string& value = "") {
    Add(target, ChangeKind::kInsert, TextImage({key, value}), OldImage::kNone, "");
  }
  void Update(const Target& target, const std::string& key, const std::string& value = "") {
    Add(target, ChangeKind::kUpdate, TextImage({key, value}), OldImage::kNone, "");
  }
  void Delete(const Target& target, const std::string& key) {
    Add(target, ChangeKind::kDelete, "", OldImage::kKey, TextImage({key}));
  }
  void Truncate(std::vector<const Relation*> relations) {
    Change change;
    change.kind = ChangeKind::kTruncate;
    change.relation = relations.front();
    change.truncated = std::make_shared<const std::vector<const Relation*>>(std::move(relations));
    batch.changes.push_back(change);
  }
  void Add(const Target& target, ChangeKind kind, std::string new_row, OldImage old_image,
           std::string old_row) {
    Change change;
    change.kind = kind;
    change.relation = target.relation;
    change.new_row = images_.emplace_back(std::move(new_row));
    change.old_image = old_image;
    change.old_row = images_.emplace_back(std::move(old_row));
    batch.changes.push_back(change);
  }

  Batch batch;

 private:
  std::deque<std::string> images_;
};

std::string KeyOf(absl::string_view image) { return std::string(RowReader(image).Next().bytes); }

// "1{-a b +c | 4 5}": of table 1 net changes by their keys, then changes as they came by their
// indexes; " !6" a change that stands between.
std::string Text(const BatchPlan& plan) {
  std::string text;
  for (const PlannedSegment& segment : plan.segments) {
    for (const PlannedTable& table : segment.tables) {
      absl::StrAppend(&text, text.empty() ? "" : " ", table.table, "{");
      absl::string_view between;
      for (const PlannedWrite& write : table.writes) {
        EXPECT_EQ(write.target->table.oid, table.table);
        absl::StrAppend(&text, between);
        between = " | ";
        absl::string_view space;
        auto add = [&](absl::string_view mark, const std::string& what) {
          absl::StrAppend(&text, std::exchange(space, " "), mark, what);
        };
        for (const NetChange& net : write.net.deletes) add("-", KeyOf(net.change.old_row));
        for (const NetChange& net : write.net.updates) add("", KeyOf(net.change.new_row));
        for (const NetChange& net : write.net.inserts) add("+", KeyOf(net.change.new_row));
        for (const uint32_t index : write.in_order) add("", absl::StrCat(index));
      }
      text.push_back('}');
    }
    if (segment.barrier.has_value()) {
      absl::StrAppend(&text, text.empty() ? "!" : " !", *segment.barrier);
    }
  }
  return text;
}

class BatchPlannerTest : public testing::Test {
 protected:
  const Target& Add(const Target& target) {
    const Relation* relation = target.relation;
    planner_.Add(target);
    return *planner_.Find(relation);
  }
  std::optional<BatchPlan> Plan() const {
    return planner_.Plan(changes_.batch, 0, changes_.batch.changes.size());
  }
  std::string PlanText() const {
    const std::optional<BatchPlan> plan = Plan();
    return plan.has_value() ? Text(*plan) : "unknown";
  }
  bool IsCurrent(const BatchPlan& plan) const {
    return planner_.IsCurrent(plan, changes_.batch, 0, changes_.batch.changes.size());
  }

  Tables tables_;
  BatchPlanner planner_;
  Changes changes_;
};

TEST_F(BatchPlannerTest, ChangesAreGroupedByTableAndFolded) {
  const Target& one = Add(tables_.Make(1));
  const Target& two = Add(tables_.Make(2));
  EXPECT_EQ(PlanText(), "");
  changes_.Update(two, "b");
  changes_.Update(one, "a");
  changes_.Update(two, "a");
  changes_.Insert(one, "c");
  changes_.Update(two, "b");
  changes_.Delete(one, "b");
  EXPECT_EQ(PlanText(), "2{a b} 1{-b a +c}");
  EXPECT_EQ(Text(*planner_.Plan(changes_.batch, 2, 4)), "2{a} 1{3}");
}

TEST_F(BatchPlannerTest, WhatCannotBeFoldedGoesAsItCame) {
  Target unfolded = tables_.Make(2);
  unfolded.can_fold = false;
  const Target& one = Add(tables_.Make(1));
  const Target& two = Add(unfolded);
  changes_.Insert(one, "only");
  changes_.Insert(one, "inserts");
  EXPECT_EQ(PlanText(), "1{0 1}");
  changes_.Update(two, "a");
  changes_.Update(two, "a");
  EXPECT_EQ(PlanText(), "1{0 1} 2{2 3}");
  // Cannot be joined with an INSERT of the same key; nor can a change without identity with any.
  changes_.Insert(one, "only");
  changes_.Add(one, ChangeKind::kDelete, "", OldImage::kNone, "");
  changes_.Update(one, "x");
  EXPECT_EQ(PlanText(), "1{+only +inserts | +only | 5 | x} 2{2 3}");
}

TEST_F(BatchPlannerTest, TruncateAndTablesInOrderStandBetween) {
  Target ordered = tables_.Make(3);
  ordered.keeps_order = true;
  const Target& one = Add(tables_.Make(1));
  const Target& three = Add(ordered);
  changes_.Truncate({one.relation, three.relation});
  changes_.Insert(one, "a");
  changes_.Insert(three, "a");
  changes_.Insert(three, "b");
  changes_.Update(one, "a");
  EXPECT_EQ(PlanText(), "!0 1{1} !2 !3 1{a}");
}

TEST_F(BatchPlannerTest, ATableThatIsDescribedAnewIsAnotherTarget) {
  const Target& before = Add(tables_.Make(1));
  const Target& now = Add(tables_.Make(1));
  changes_.Update(before, "a");
  changes_.Update(now, "a");
  EXPECT_EQ(PlanText(), "1{a | a}");
  Changes inserts;
  inserts.Insert(before, "b");
  inserts.Insert(now, "c");
  EXPECT_EQ(Text(*planner_.Plan(inserts.batch, 0, 2)), "1{0 | 1}");
}

TEST_F(BatchPlannerTest, WithoutKeyRowsAreAMultisetUnlessSomeMayBeLocked) {
  const Target& bare = Add(tables_.Make(1, Matching::kExact));
  changes_.Insert(bare, "b");
  changes_.Add(bare, ChangeKind::kUpdate, TextImage({"c", ""}), OldImage::kFull,
               TextImage({"a", ""}));
  changes_.Add(bare, ChangeKind::kDelete, "", OldImage::kFull, TextImage({"b", ""}));
  EXPECT_EQ(PlanText(), "1{-a +c}");
  planner_.set_skips_locked(true);
  EXPECT_EQ(PlanText(), "1{0 1 2}");
}

TEST_F(BatchPlannerTest, UpdatesThatMayClashGoAsDeletesAndInserts) {
  Target clashing = tables_.Make(1);
  clashing.may_clash = true;
  const Target& one = Add(clashing);
  changes_.Update(one, "a");
  changes_.Update(one, "b");
  EXPECT_EQ(PlanText(), "1{a b}");
  planner_.set_replaces(true);
  EXPECT_EQ(PlanText(), "1{-a -b +a +b}");
  planner_.set_replaces(false);
  planner_.NoteClash(1);
  EXPECT_EQ(PlanText(), "1{-a -b +a +b}");
  EXPECT_FALSE(planner_.HasReplaced(1));
  // What counts are the batches that are written, not those that are planned.
  for (int i = 0; i < kClashPauseMin; ++i) {
    std::optional<BatchPlan> plan;
    for (int tries = 0; tries < 3; ++tries) plan = Plan();
    EXPECT_EQ(Text(*plan), "1{-a -b +a +b}");
    planner_.NoteWritten(*plan);
    EXPECT_TRUE(planner_.HasReplaced(1));
  }
  EXPECT_EQ(PlanText(), "1{a b}");
  planner_.NoteWritten(*Plan());
  EXPECT_FALSE(planner_.HasReplaced(1));
}

TEST_F(BatchPlannerTest, NothingIsPlannedOfTablesThatAreNotKnown) {
  const Target& one = Add(tables_.Make(1));
  const Target unknown = tables_.Make(2);
  changes_.Update(one, "a");
  EXPECT_EQ(PlanText(), "1{a}");
  Changes truncates;
  truncates.Truncate({one.relation, unknown.relation});
  EXPECT_FALSE(planner_.Plan(truncates.batch, 0, 1).has_value());
  changes_.Update(unknown, "a");
  EXPECT_FALSE(Plan().has_value());
  Add(unknown);
  EXPECT_EQ(PlanText(), "1{a} 2{a}");
  EXPECT_TRUE(planner_.Plan(truncates.batch, 0, 1).has_value());
}

TEST_F(BatchPlannerTest, APlanIsForItsChangesOnly) {
  const Target& one = Add(tables_.Make(1));
  changes_.Update(one, "a");
  changes_.Update(one, "b");
  std::optional<BatchPlan> plan = Plan();
  Batch moved = std::move(changes_.batch);
  EXPECT_TRUE(planner_.IsCurrent(*plan, moved, 0, 2));
  EXPECT_FALSE(planner_.IsCurrent(*plan, moved, 0, 1));
  EXPECT_FALSE(planner_.IsCurrent(*plan, moved, 1, 2));
  const std::vector<Change> others = moved.changes;
  moved.changes = others;
  moved.changes.reserve(100);
  EXPECT_FALSE(planner_.IsCurrent(*plan, moved, 0, 2));
}

TEST_F(BatchPlannerTest, WhateverIsLearntMakesAPlanOld) {
  const Target& one = Add(tables_.Make(1));
  changes_.Update(one, "a");
  const std::vector<std::function<void()>> lessons = {
      [&] { planner_.set_replaces(true); },   [&] { planner_.set_skips_locked(true); },
      [&] { planner_.NoteClash(7); },         [&] { planner_.Add(tables_.Make(2)); },
      [&] { planner_.NoteWritten(*Plan()); }, [&] { planner_.Forget(one.relation); },
      [&] { planner_.ForgetAll(); },
  };
  for (size_t i = 0; i < lessons.size(); ++i) {
    SCOPED_TRACE(i);
    std::optional<BatchPlan> plan = Plan();
    ASSERT_TRUE(plan.has_value());
    EXPECT_TRUE(IsCurrent(*plan));
    EXPECT_TRUE(Plan().has_value());
    EXPECT_TRUE(IsCurrent(*plan));
    lessons[i]();
    EXPECT_FALSE(IsCurrent(*plan));
    if (planner_.Find(changes_.batch.changes[0].relation) == nullptr) {
      Target again;
      again.relation = changes_.batch.changes[0].relation;
      again.table.oid = 1;
      planner_.Add(std::move(again));
      EXPECT_FALSE(IsCurrent(*plan));
    }
  }
}

// Rows of several tables, to which changes are applied; one that does not find what it says is an
// error.
class Rows {
 public:
  void Apply(const Target& target, const Change& change) {
    if (change.kind == ChangeKind::kTruncate) {
      for (const Relation* relation : *change.truncated) rows_[relation->oid].clear();
      return;
    }
    std::multiset<std::pair<std::string, std::string>>& rows = rows_[target.table.oid];
    if (change.kind != ChangeKind::kInsert) {
      const bool has_old = change.old_image != OldImage::kNone;
      const std::string key = KeyOf(has_old ? change.old_row : change.new_row);
      auto found = std::find_if(rows.begin(), rows.end(), [&](const auto& row) {
        if (change.old_image == OldImage::kFull) return row == ReadRow(change.old_row);
        return row.first == key;
      });
      ASSERT_NE(found, rows.end());
      rows.erase(found);
    }
    if (change.kind != ChangeKind::kDelete) rows.insert(ReadRow(change.new_row));
  }
  bool operator==(const Rows& other) const { return rows_ == other.rows_; }
  const std::multiset<std::pair<std::string, std::string>>& Of(Oid table) { return rows_[table]; }

 private:
  static std::pair<std::string, std::string> ReadRow(absl::string_view image) {
    RowReader reader(image);
    std::string key(reader.Next().bytes);
    return {key, std::string(reader.Next().bytes)};
  }
  std::map<Oid, std::multiset<std::pair<std::string, std::string>>> rows_;
};

// The tables of a segment are written in any order.
void Write(BatchPlan plan, const Batch& batch, std::mt19937* random, const BatchPlanner& planner,
           Rows* rows) {
  size_t written = 0;
  for (PlannedSegment& segment : plan.segments) {
    std::shuffle(segment.tables.begin(), segment.tables.end(), *random);
    for (const PlannedTable& table : segment.tables) {
      for (const PlannedWrite& write : table.writes) {
        for (const auto* set : {&write.net.deletes, &write.net.updates, &write.net.inserts}) {
          for (const NetChange& net : *set) rows->Apply(*write.target, net.change);
        }
        for (const uint32_t index : write.in_order) {
          rows->Apply(*write.target, batch.changes[index]);
        }
        written += write.in_order.size();
      }
    }
    if (segment.barrier.has_value()) {
      const Change& change = batch.changes[*segment.barrier];
      rows->Apply(*planner.Find(change.relation), change);
      ++written;
    }
  }
  ASSERT_LE(written, batch.changes.size());
}

TEST_F(BatchPlannerTest, RandomPlansGiveTheSameRows) {
  for (unsigned seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937 random(seed);
    auto below = [&random](unsigned limit) { return static_cast<int>(random() % limit); };
    BatchPlanner planner;
    std::vector<const Target*> targets;
    for (Oid table = 1; table <= 4; ++table) {
      const Matching matching = below(4) == 0 ? Matching::kExact : Matching::kKey;
      for (int descriptions = 1 + below(2); descriptions > 0; --descriptions) {
        Target target = tables_.Make(table, matching);
        target.can_fold = below(4) != 0;
        target.keeps_order = below(6) == 0;
        target.may_clash = matching == Matching::kKey && below(3) == 0;
        const Relation* relation = target.relation;
        planner.Add(std::move(target));
        targets.push_back(planner.Find(relation));
      }
      if (below(3) == 0) planner.NoteClash(table);
    }
    planner.set_replaces(below(4) == 0);
    planner.set_skips_locked(below(4) == 0);
    Changes changes;
    Rows source;
    for (int i = 0; i < 80; ++i) {
      const Target& target = *targets[static_cast<size_t>(below(unsigned(targets.size())))];
      const bool is_exact = target.matching == Matching::kExact;
      const auto& rows = source.Of(target.table.oid);
      const std::string key = absl::StrCat("k", below(4));
      auto found = std::find_if(rows.begin(), rows.end(),
                                [&key](const auto& row) { return row.first == key; });
      const std::string value = absl::StrCat("v", i);
      if (below(30) == 0) {
        changes.Truncate({target.relation, targets[0]->relation});
      } else if (found == rows.end()) {
        changes.Insert(target, key, value);
      } else {
        const std::string old = is_exact ? TextImage({key, found->second}) : TextImage({key});
        const OldImage old_image = is_exact ? OldImage::kFull : OldImage::kKey;
        const std::string other = absl::StrCat("k", below(4));
        const bool moves = std::none_of(rows.begin(), rows.end(),
                                        [&other](const auto& row) { return row.first == other; });
        if (below(4) == 0) {
          changes.Add(target, ChangeKind::kDelete, "", old_image, old);
        } else if (moves || is_exact) {
          changes.Add(target, ChangeKind::kUpdate, TextImage({moves ? other : key, value}),
                      old_image, old);
        } else {
          changes.Update(target, key, value);
        }
      }
      source.Apply(target, changes.batch.changes.back());
    }
    const Batch& batch = changes.batch;
    Rows whole;
    Write(*planner.Plan(batch, 0, batch.changes.size()), batch, &random, planner, &whole);
    EXPECT_TRUE(whole == source);
    Rows sliced;
    for (size_t begin = 0; begin < batch.changes.size();) {
      const size_t end = std::min(begin + 1 + static_cast<size_t>(below(20)), batch.changes.size());
      Write(*planner.Plan(batch, begin, end), batch, &random, planner, &sliced);
      begin = end;
    }
    EXPECT_TRUE(sliced == source);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace towline
