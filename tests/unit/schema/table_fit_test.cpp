#include "schema/table_fit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace towline {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TableColumn Column(const std::string& name, const std::string& type, int32_t typmod = -1) {
  TableColumn column;
  column.name = name;
  column.type_schema = "pg_catalog";
  column.type_name = type;
  column.type_text = type;
  column.typmod = typmod;
  return column;
}

Table TableOf(std::vector<TableColumn> columns) {
  Table table;
  table.oid = 1;
  table.name = {"public", "t"};
  table.columns = std::move(columns);
  return table;
}

TEST(TableFitTest, OrderOfColumnsDoesNotMatter) {
  EXPECT_THAT(DescribeMisfit(TableOf({Column("a", "int4"), Column("b", "text")}),
                             TableOf({Column("b", "text"), Column("a", "int4")})),
              IsEmpty());
}

TEST(TableFitTest, NamesEveryMisfit) {
  TableColumn required = Column("extra", "int4");
  required.is_not_null = true;
  EXPECT_THAT(
      DescribeMisfit(TableOf({Column("a", "int8"), Column("b", "text"), Column("c", "bpchar", 9)}),
                     TableOf({Column("a", "int4"), Column("c", "bpchar", 5), required})),
      ElementsAre("column \"a\" has type int4 instead of int8, from which it is not cast",
                  "column \"b\" (text) is missing",
                  "column \"c\" has type bpchar instead of bpchar, from which it is not cast",
                  "column \"extra\" gets no value from the source, is NOT NULL and without a "
                  "default"));
}

TEST(TableFitTest, ATableAsItIsAtTheSourceIsAdjustedToItsRule) {
  TableColumn added = Column("tag", "text");
  TableColumn listed = Column("a", "int4");
  listed.attnum = 1;
  TableColumn left_out = Column("b", "int4");
  left_out.is_not_null = true;
  Table published = TableOf({listed, added});
  Table created = TableOf({listed, left_out, Column("c", "int4")});
  EXPECT_THAT(AdjustingStatements(published, created),
              ElementsAre("ALTER TABLE \"public\".\"t\" ADD COLUMN IF NOT EXISTS \"tag\" text;",
                          "ALTER TABLE \"public\".\"t\" ALTER COLUMN \"b\" DROP NOT NULL;"));
  // Of a partition only the topmost table can be changed.
  created.ancestors = {{"public", "middle"}, {"top", "root"}};
  EXPECT_THAT(AdjustingStatements(published, created)[0],
              "ALTER TABLE \"top\".\"root\" ADD COLUMN IF NOT EXISTS \"tag\" text;");
  // A column that is missing without a rule is not ours to make.
  EXPECT_THAT(AdjustingStatements(TableOf({listed}), TableOf({})), IsEmpty());
}

TEST(TableFitTest, ExtraColumnsThatFillThemselvesFit) {
  TableColumn with_default = Column("x", "int4");
  with_default.is_not_null = true;
  with_default.has_default = true;
  EXPECT_THAT(DescribeMisfit(TableOf({Column("a", "int4")}),
                             TableOf({Column("a", "int4"), with_default, Column("y", "text")})),
              IsEmpty());
}

TEST(TableFitTest, GeneratedOnOneSideOnlyDoesNotFit) {
  TableColumn generated = Column("a", "int4");
  generated.generated = 's';
  EXPECT_THAT(DescribeMisfit(TableOf({generated}), TableOf({Column("a", "int4")})),
              ElementsAre("column \"a\" is not generated, at the source it is"));
  EXPECT_THAT(DescribeMisfit(TableOf({Column("a", "int4")}), TableOf({generated})),
              ElementsAre("column \"a\" is generated, at the source it is not"));
}

TEST(TableFitTest, PartitionedAndPlainDoNotFit) {
  Table partitioned = TableOf({});
  partitioned.kind = 'p';
  EXPECT_THAT(DescribeMisfit(partitioned, TableOf({})),
              ElementsAre("is not partitioned, at the source it is"));
}

TEST(TableFitTest, WhatDoesNotFitAnyMoreIsMendedByStatements) {
  TableColumn required = Column("extra", "int4");
  required.is_not_null = true;
  EXPECT_THAT(
      MendingStatements(TableOf({Column("a", "int8"), Column("b", "text")}),
                        TableOf({Column("a", "int4"), required})),
      ElementsAre("ALTER TABLE \"public\".\"t\" ALTER COLUMN \"a\" TYPE int8 USING \"a\"::int8;",
                  "ALTER TABLE \"public\".\"t\" ADD COLUMN \"b\" text;",
                  "ALTER TABLE \"public\".\"t\" ALTER COLUMN \"extra\" DROP NOT NULL;"));
  EXPECT_THAT(MendingStatements(TableOf({Column("a", "int8")}), Table()), IsEmpty());
  // Of a partition only the topmost table can be changed.
  Table partition = TableOf({});
  partition.ancestors = {{"top", "root"}};
  EXPECT_THAT(MendingStatements(TableOf({Column("a", "int8")}), partition),
              ElementsAre("ALTER TABLE \"top\".\"root\" ADD COLUMN \"a\" int8;"));
}

TEST(TableFitTest, UniqueIndexesThatAreMissingAreNamed) {
  Table source = TableOf({Column("a", "int8"), Column("b", "text")});
  Table destination = source;
  UniqueIndex primary{.name = "t_pkey", .columns = {"a"}, .is_primary = true};
  UniqueIndex both{.name = "t_ab", .columns = {"a", "b"}};
  UniqueIndex partial{.name = "t_p", .columns = {"b"}, .is_partial = true};
  UniqueIndex expression{.name = "t_e", .columns = {""}};
  source.unique_indexes = {primary, both, partial, expression};
  EXPECT_THAT(MissingKeyStatements(source, destination),
              ElementsAre("ALTER TABLE \"public\".\"t\" ADD PRIMARY KEY (\"a\");",
                          "CREATE UNIQUE INDEX ON \"public\".\"t\" (\"a\", \"b\");"));
  destination.unique_indexes = {both, primary};
  EXPECT_THAT(MissingKeyStatements(source, destination), IsEmpty());
}

}  // namespace
}  // namespace towline
