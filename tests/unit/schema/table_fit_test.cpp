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
      DescribeMisfit(TableOf({Column("a", "int4"), Column("b", "text"), Column("c", "bpchar", 9)}),
                     TableOf({Column("a", "int8"), Column("c", "bpchar", 5), required})),
      ElementsAre("column \"a\" has type int8 instead of int4", "column \"b\" (text) is missing",
                  "column \"c\" has type bpchar instead of bpchar",
                  "column \"extra\" is not at the source, NOT NULL and without a default"));
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

}  // namespace
}  // namespace towline
