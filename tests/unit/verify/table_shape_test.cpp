#include "verify/table_shape.h"

#include "gtest/gtest.h"

namespace towline {
namespace {

TableColumn Column(const std::string& name, int attnum, Oid type) {
  TableColumn column;
  column.name = name;
  column.attnum = attnum;
  column.type_oid = type;
  return column;
}

Table Shaped() {
  Table table;
  table.oid = 20;
  table.columns = {Column("id", 1, 23), Column("v", 2, 25)};
  return table;
}

TEST(TableShapeTest, WhatAComparisonReliesOnIsInTheShape) {
  const std::string shape = ShapeOf(Shaped());
  EXPECT_EQ(ShapeOf(Shaped()), shape);
  EXPECT_EQ(ShapeOf(Table()), "");

  Table table = Shaped();
  table.oid = 21;
  EXPECT_NE(ShapeOf(table), shape);
  table = Shaped();
  table.columns.pop_back();
  EXPECT_NE(ShapeOf(table), shape);
  table = Shaped();
  table.columns[1].name = "w";
  EXPECT_NE(ShapeOf(table), shape);
  table = Shaped();
  table.columns[1].attnum = 3;  // dropped, and added again
  EXPECT_NE(ShapeOf(table), shape);
  table = Shaped();
  table.columns[1].type_oid = 1043;
  EXPECT_NE(ShapeOf(table), shape);
  table = Shaped();
  table.columns[1].typmod = 8;
  EXPECT_NE(ShapeOf(table), shape);
  table = Shaped();
  table.columns[0].is_not_null = true;  // before it a NULL may be in no range
  EXPECT_NE(ShapeOf(table), shape);
}

}  // namespace
}  // namespace towline
