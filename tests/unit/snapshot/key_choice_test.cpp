#include "snapshot/key_choice.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

TableColumn ColumnOf(const std::string& name, Oid base_type, const std::string& type_text) {
  TableColumn column;
  column.name = name;
  column.type_oid = base_type;
  column.base_type_oid = base_type;
  column.type_text = type_text;
  column.is_not_null = true;
  return column;
}

UniqueIndex IndexOf(const std::string& name, std::vector<std::string> columns) {
  UniqueIndex index;
  index.name = name;
  index.columns = std::move(columns);
  index.is_null_free = true;
  return index;
}

// A primary key over int8 `id`, a unique index over uuid `u`.
struct Asked {
  Asked() {
    table.replica_identity = ReplicaIdentity::kDefault;
    table.columns = {ColumnOf("id", 20, "bigint"), ColumnOf("u", 2950, "uuid"),
                     ColumnOf("x", 23, "integer")};
    table.unique_indexes = {IndexOf("t_pkey", {"id"}), IndexOf("t_u", {"u"})};
    table.unique_indexes[0].is_primary = true;
    candidates = {{"t_pkey", "id", "", true, true, 0.5}, {"t_u", "u", "", true, true, -0.9}};
  }

  KeyChoice Choose() const { return ChooseKey(table, rule, candidates, encoding); }
  std::string Reason() const {
    KeyChoice choice = Choose();
    EXPECT_FALSE(choice.key.has_value());
    return choice.reason;
  }

  Table table;
  std::vector<KeyCandidate> candidates;
  const TableRule* rule = nullptr;
  std::string encoding = "UTF8";
};

TEST(KeyChoiceTest, ThePrimaryKeyIsTheKey) {
  KeyChoice choice = Asked().Choose();
  ASSERT_TRUE(choice.key.has_value());
  EXPECT_EQ(choice.key->column, "id");
  EXPECT_EQ(choice.key->type, KeyType::kInt8);
  EXPECT_EQ(choice.key->type_oid, 20u);
  EXPECT_EQ(choice.index, "t_pkey");
  EXPECT_EQ(choice.correlation, 0.5);
  EXPECT_EQ(choice.reason, "");
}

TEST(KeyChoiceTest, OutsideTheReplicaIdentityThereIsNoKey) {
  Asked asked;
  asked.table.replica_identity = ReplicaIdentity::kNothing;
  EXPECT_EQ(asked.Reason(), "its replica identity is NOTHING");
  asked.table.replica_identity = ReplicaIdentity::kIndex;
  EXPECT_EQ(asked.Reason(), "the index of its replica identity is gone");
  asked.table.unique_indexes[1].is_replica_identity = true;
  EXPECT_EQ(asked.Choose().key->column, "u");
  asked.table.unique_indexes[1].columns.push_back("x");
  EXPECT_EQ(asked.Reason(), "its key has 2 columns");
  asked.table.replica_identity = ReplicaIdentity::kDefault;
  asked.table.unique_indexes[0].is_deferrable = true;
  EXPECT_EQ(asked.Reason(), "its primary key is deferrable");
  asked.table.unique_indexes.erase(asked.table.unique_indexes.begin());
  EXPECT_EQ(asked.Reason(), "it has no primary key");
  asked.table.replica_identity = ReplicaIdentity::kFull;
  EXPECT_EQ(asked.Reason(), "its key has 2 columns");
  asked.table.unique_indexes.clear();
  EXPECT_EQ(asked.Reason(), "it has no unique index");
}

TEST(KeyChoiceTest, UnderFullTheKeyThatFollowsTheHeapBest) {
  Asked asked;
  asked.table.replica_identity = ReplicaIdentity::kFull;
  EXPECT_EQ(asked.Choose().key->column, "u");
  asked.candidates[1].correlation.reset();
  EXPECT_EQ(asked.Choose().key->column, "id");
  asked.table.unique_indexes[0].columns = {"id", "x"};
  EXPECT_EQ(asked.Choose().key->column, "u");
}

TEST(KeyChoiceTest, OnlyAColumnThatIsSentAsItIs) {
  Asked asked;
  TableRule rule;
  rule.where = "id > 5";
  asked.rule = &rule;
  EXPECT_TRUE(asked.Choose().key.has_value());
  rule.has_columns = true;
  rule.columns = {{"id", std::nullopt}, {"x", std::nullopt}};
  EXPECT_TRUE(asked.Choose().key.has_value());
  rule.columns = {{"id", "id + 1"}};
  EXPECT_EQ(asked.Reason(), "its key \"id\" is sent as an expression of the table's rule");
  rule.columns = {{"x", std::nullopt}};
  EXPECT_EQ(asked.Reason(), "its key \"id\" is left out by the table's rule");
  asked.rule = nullptr;
  asked.table.columns[0].generated = 's';
  EXPECT_EQ(asked.Reason(), "its key \"id\" is generated, so it is not sent");
  asked.table.columns.erase(asked.table.columns.begin());
  EXPECT_EQ(asked.Reason(), "its key \"id\" is not sent");
}

TEST(KeyChoiceTest, OnlyATypeWhoseOrderIsKnown) {
  Asked asked;
  asked.table.columns[0] = ColumnOf("id", 701, "double precision");
  EXPECT_EQ(asked.Reason(),
            "its key \"id\" is of type double precision, whose order is not known here");
  // A domain over int8.
  asked.table.columns[0] = ColumnOf("id", 20, "s.positive");
  asked.table.columns[0].type_oid = 100'000;
  EXPECT_EQ(asked.Choose().key->type, KeyType::kInt8);
  EXPECT_EQ(asked.Choose().key->type_oid, 100'000u);
}

TEST(KeyChoiceTest, OnlyTextsSortedByBytesOfTheStreamsEncoding) {
  Asked asked;
  for (Oid type : {25, 1043, 1042}) {
    asked.table.columns[0] = ColumnOf("id", type, "text");
    asked.candidates[0].is_sorted_by_bytes = false;
    EXPECT_EQ(asked.Reason(), "its key \"id\" is not sorted by its bytes (COLLATE \"C\")");
    asked.candidates[0].is_sorted_by_bytes = true;
    asked.candidates[0].collation = "pg_catalog.C";
    EXPECT_EQ(asked.Choose().key->collation, "pg_catalog.C");
    asked.encoding = "SQL_ASCII";
    EXPECT_TRUE(asked.Choose().key.has_value());
    asked.encoding = "LATIN1";
    EXPECT_EQ(asked.Reason(), "its key \"id\" is a text in LATIN1, and the stream brings UTF-8");
    asked.encoding = "UTF8";
  }
  asked.encoding = "LATIN1";
  asked.table.columns[0] = ColumnOf("id", 17, "bytea");
  EXPECT_TRUE(asked.Choose().key.has_value());
}

TEST(KeyChoiceTest, OnlyAnIndexThatFindsARangeOfEveryRow) {
  Asked asked;
  asked.candidates[0].is_index_in_order = false;
  EXPECT_EQ(asked.Reason(), "the index \"t_pkey\" of its key has another order");
  asked.candidates.clear();
  EXPECT_EQ(asked.Reason(), "its key \"id\" has no full index");
  asked = Asked();
  asked.table.replica_identity = ReplicaIdentity::kFull;
  asked.table.unique_indexes = {IndexOf("t_u", {"u"})};
  asked.table.unique_indexes[0].is_null_free = false;
  EXPECT_EQ(asked.Reason(), "its key \"u\" may be NULL");
  asked.table.unique_indexes[0].columns = {""};
  EXPECT_EQ(asked.Reason(), "its key is an expression");
}

}  // namespace
}  // namespace towline
