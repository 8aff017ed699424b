#include "snapshot/copy_plan.h"

#include <gtest/gtest.h>

#include "snapshot/copy_statements.h"

namespace towline {
namespace {

Table TableOf(int64_t pages, int64_t bytes, char kind = 'r', char persistence = 'p') {
  Table table;
  table.oid = 1;
  table.name = {"s", "t"};
  table.kind = kind;
  table.persistence = persistence;
  table.page_count = pages;
  table.total_bytes = bytes;
  return table;
}

PlanOptions PartsOf(int64_t bytes) {
  PlanOptions options;
  options.part_bytes = bytes;
  return options;
}

TEST(CopyPlanTest, LargestTableComesFirst) {
  std::vector<CopyPart> parts =
      PlanParts({TableOf(1, 100), TableOf(1, 300), TableOf(0, 0), TableOf(1, 200)}, {});
  ASSERT_EQ(parts.size(), 4u);
  EXPECT_EQ(parts[0].table, 1u);
  EXPECT_EQ(parts[1].table, 3u);
  EXPECT_EQ(parts[2].table, 0u);
  EXPECT_EQ(parts[3].table, 2u);
  for (const CopyPart& part : parts) EXPECT_TRUE(part.is_whole);
}

TEST(CopyPlanTest, PartitionedAndUnloggedTablesHaveNoParts) {
  EXPECT_TRUE(PlanParts({TableOf(0, 0, 'p'), TableOf(5, 500, 'r', 'u')}, {}).empty());
}

TEST(CopyPlanTest, RangesCoverEveryPageOnceAndTheLastIsOpen) {
  for (int64_t pages : {2, 3, 10, 1001, 1 << 20}) {
    for (int64_t part_bytes : {1, 100, 8192, 1 << 20}) {
      int64_t bytes = pages * 8192 + 5;
      std::vector<CopyPart> parts = PlanParts({TableOf(pages, bytes)}, PartsOf(part_bytes));
      int64_t next = 0;
      int64_t sum = 0;
      for (size_t i = 0; i < parts.size(); ++i) {
        EXPECT_EQ(parts[i].first_page, next);
        EXPECT_EQ(parts[i].end_page == -1, i + 1 == parts.size());
        EXPECT_TRUE(parts[i].end_page == -1 || parts[i].end_page > next);
        next = parts[i].end_page;
        sum += parts[i].bytes;
        if (pages > 1 << 10) i = parts.size();  // the first will do
      }
      if (pages <= 1 << 10) {
        EXPECT_EQ(sum, bytes) << pages << " pages by " << part_bytes;
      }
    }
  }
}

TEST(CopyPlanTest, ToastCountsForTheSizeOfParts) {
  // 100 pages of heap stand for 1 GB of values: ten parts of ten pages.
  std::vector<CopyPart> parts = PlanParts({TableOf(100, 1'000'000'000)}, PartsOf(100'000'000));
  ASSERT_EQ(parts.size(), 10u);
  EXPECT_EQ(parts[3].first_page, 30);
  EXPECT_EQ(parts[3].end_page, 40);
}

TEST(CopyPlanTest, ServerWithoutRangeScansGetsWholeTables) {
  PlanOptions options = PartsOf(100);
  options.has_ctid_ranges = false;
  std::vector<CopyPart> parts = PlanParts({TableOf(100, 819200)}, options);
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_TRUE(parts[0].is_whole);
}

TEST(CopyPlanTest, ConditionsNameTheRange) {
  std::vector<CopyPart> parts = PlanParts({TableOf(3, 3 * 8192)}, PartsOf(8192));
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(PartCondition(parts[0]), "ctid < '(1,0)'::tid");
  EXPECT_EQ(PartCondition(parts[1]), "ctid >= '(1,0)'::tid AND ctid < '(2,0)'::tid");
  EXPECT_EQ(PartCondition(parts[2]), "ctid >= '(2,0)'::tid");
  EXPECT_EQ(PartCondition(CopyPart{}), "");
  parts[1].after = "(1,7)";
  EXPECT_EQ(PartCondition(parts[1]),
            "ctid >= '(1,0)'::tid AND ctid < '(2,0)'::tid AND ctid > '(1,7)'::tid");
}

TableColumn Column(const std::string& name, bool is_portable, char generated = '\0') {
  TableColumn column;
  column.name = name;
  column.is_portable_binary = is_portable;
  column.generated = generated;
  return column;
}

TEST(CopyStatementsTest, ColumnsAreNamedAndGeneratedOnesLeftOut) {
  Table table = TableOf(10, 100);
  table.columns = {Column("a\"b", true), Column("g", false, 's'), Column("select", true)};
  CopyTarget target = MakeTarget(table, table, nullptr);
  EXPECT_TRUE(target.is_binary);
  EXPECT_EQ(CopyOutSql(table, target, CopyPart{}),
            "COPY \"s\".\"t\" (\"a\"\"b\", \"select\") TO STDOUT (FORMAT binary)");
  EXPECT_EQ(CopyInSql(target),
            "COPY \"s\".\"t\" (\"a\"\"b\", \"select\") FROM STDIN (FORMAT binary)");
}

TEST(CopyStatementsTest, TheSourceCastsToTheDestinationsType) {
  Table table = TableOf(10, 100);
  table.columns = {Column("id", true), Column("j", true)};
  for (TableColumn& column : table.columns) column.type_schema = "pg_catalog";
  table.columns[0].type_name = "int4";
  table.columns[1].type_name = "json";
  Table other = table;
  other.columns[0].type_name = "int8";
  other.columns[0].type_text = "bigint";
  CopyTarget target = MakeTarget(table, other, nullptr);
  EXPECT_TRUE(target.is_binary);
  EXPECT_EQ(CopyOutSql(table, target, CopyPart{}),
            "COPY (SELECT \"id\"::bigint, \"j\" FROM ONLY \"s\".\"t\") TO STDOUT (FORMAT binary)");
  // The value's form is that of the type it is cast to.
  other.columns[0].is_portable_binary = false;
  EXPECT_FALSE(MakeTarget(table, other, nullptr).is_binary);
  // On top of what a rule says.
  TableRule rule;
  rule.has_columns = true;
  rule.columns = {{"id", "id + 1"}, {"j", std::nullopt}};
  EXPECT_EQ(MakeTarget(table, other, &rule).values[0],
            "(\nid + 1\n)::\"pg_catalog\".\"int4\"::bigint");
}

TEST(CopyStatementsTest, OneTextColumnOnEitherSideMakesTheTableText) {
  Table table = TableOf(10, 100);
  table.columns = {Column("a", true), Column("b", true)};
  Table other = table;
  other.columns[1].is_portable_binary = false;
  EXPECT_FALSE(MakeTarget(table, other, nullptr).is_binary);
  EXPECT_FALSE(MakeTarget(other, table, nullptr).is_binary);
  CopyPart part;
  part.is_whole = false;
  part.first_page = 7;
  EXPECT_EQ(
      CopyOutSql(table, MakeTarget(table, other, nullptr), part),
      "COPY (SELECT \"a\", \"b\" FROM ONLY \"s\".\"t\" WHERE ctid >= '(7,0)'::tid) TO STDOUT");
}

TEST(CopyStatementsTest, AnOlderDestinationGetsTextUnlessAllTypesAreBasic) {
  ServerPair older;
  older.is_destination_older = true;
  Table table = TableOf(10, 100);
  table.columns = {Column("a", true)};
  table.columns[0].base_type_oid = 23;  // int4
  EXPECT_TRUE(MakeTarget(table, table, nullptr, older).is_binary);
  table.columns.push_back(Column("b", true));
  table.columns[1].base_type_oid = 1700;  // numeric
  EXPECT_FALSE(MakeTarget(table, table, nullptr, older).is_binary);
  EXPECT_TRUE(MakeTarget(table, table, nullptr).is_binary);
}

TEST(CopyStatementsTest, ValuesThatTextWouldChangeAreLookedFor) {
  ServerPair pair;
  pair.encodings_differ = true;
  pair.destination_encoding = "UTF8";
  Table table = TableOf(10, 100);
  table.columns = {Column("c", true), Column("n", true)};
  table.columns[0].base_type_oid = 18;
  table.columns[1].base_type_oid = 1003;
  table.columns[1].base_type_oid = 19;
  EXPECT_EQ(MakeTarget(table, table, nullptr, pair).inexact, "");  // in binary they are safe
  table.columns[1].base_type_oid = 1003;
  table.columns.push_back(Column("r", false));
  EXPECT_EQ(MakeTarget(table, table, nullptr).inexact, "");
  CopyTarget target = MakeTarget(table, table, nullptr, pair);
  EXPECT_EQ(
      FindInexactSql(table, target, CopyPart{}),
      "SELECT true FROM ONLY \"s\".\"t\" WHERE ("
      "(\"c\")::pg_catalog.\"char\"::pg_catalog.int4 < 0 OR "
      "EXISTS (SELECT FROM pg_catalog.unnest(\"n\") AS towline_elements(towline_element) WHERE "
      "pg_catalog.octet_length(pg_catalog.convert(pg_catalog.convert_to((towline_element)"
      "::pg_catalog.text, 'UTF8'), 'UTF8', 'UTF8')) > 63)) LIMIT 1");
}

TEST(CopyStatementsTest, ARuleSelectsRowsAndValues) {
  Table table = TableOf(10, 100);
  TableColumn replaced = Column("email", true);
  replaced.type_schema = "pg_catalog";
  replaced.type_name = "varchar";
  TableColumn added = Column("tag", true);
  added.type_schema = "odd \"s\"";
  added.type_name = "t";
  table.columns = {Column("id", true), replaced, added};
  TableRule rule;
  rule.where = "a = 1 -- all";
  rule.has_columns = true;
  rule.columns = {{"id", std::nullopt}, {"email", "left(email, 2)"}, {"tag", "'eu'"}};
  CopyTarget target = MakeTarget(table, table, &rule);
  EXPECT_EQ(CopyOutSql(table, target, CopyPart{}),
            "COPY (SELECT \"id\", (\nleft(email, 2)\n)::\"pg_catalog\".\"varchar\", "
            "(\n'eu'\n)::\"odd \"\"s\"\"\".\"t\" FROM ONLY \"s\".\"t\" WHERE (\na = 1 -- all\n)) "
            "TO STDOUT "
            "(FORMAT binary)");
  EXPECT_EQ(CopyInSql(target),
            "COPY \"s\".\"t\" (\"id\", \"email\", \"tag\") FROM STDIN (FORMAT binary)");
  CopyPart part;
  part.is_whole = false;
  part.first_page = 7;
  rule.columns.clear();
  rule.has_columns = false;
  table.columns = {Column("id", true)};
  EXPECT_EQ(CopyOutSql(table, MakeTarget(table, table, &rule), part),
            "COPY (SELECT \"id\" FROM ONLY \"s\".\"t\" WHERE ctid >= '(7,0)'::tid AND (\na = 1 -- "
            "all\n)) TO STDOUT (FORMAT binary)");
  table.columns.clear();
  target = MakeTarget(table, table, &rule);
  EXPECT_EQ(CountRowsSql(table, target, CopyPart{}),
            "SELECT pg_catalog.count(*) FROM ONLY \"s\".\"t\" WHERE (\na = 1 -- all\n)");
}

TEST(CopyStatementsTest, ARowGoesColumnByColumn) {
  Table table = TableOf(10, 100);
  table.columns = {Column("a", true), Column("b", false)};
  CopyTarget target = MakeTarget(table, table, nullptr);
  CopyPart rest;
  rest.after = "(3,1)";
  EXPECT_EQ(CopyOutSql(table, target, rest),
            "COPY (SELECT \"a\", \"b\" FROM ONLY \"s\".\"t\" WHERE ctid > '(3,1)'::tid) TO STDOUT");
  EXPECT_EQ(FindPlaceSql(table, target, rest, 12),
            "SELECT ctid FROM ONLY \"s\".\"t\" WHERE ctid > '(3,1)'::tid OFFSET 12 LIMIT 1");
  // Each in its own format, whatever that of the table is.
  EXPECT_EQ(ValueOutSql(table, target, 0, "(4,2)"),
            "COPY (SELECT 0, \"a\" FROM ONLY \"s\".\"t\" WHERE ctid = '(4,2)'::tid) TO STDOUT "
            "(FORMAT binary)");
  target.values = {"1", "upper(b)"};
  EXPECT_EQ(ValueOutSql(table, target, 1, "(4,2)"),
            "COPY (SELECT 1, upper(b) FROM ONLY \"s\".\"t\" WHERE ctid = '(4,2)'::tid) TO STDOUT");
  EXPECT_EQ(InsertSql(target, {"(x)", "(y)"}),
            "INSERT INTO \"s\".\"t\" (\"a\", \"b\") OVERRIDING SYSTEM VALUE VALUES ((x), (y))");
}

TEST(CopyStatementsTest, TableWithoutColumnsIsCounted) {
  Table table = TableOf(10, 100);
  table.columns = {Column("g", true, 's')};
  CopyTarget target = MakeTarget(table, table, nullptr);
  EXPECT_TRUE(target.columns.empty());
  EXPECT_EQ(CountRowsSql(table, target, CopyPart{}),
            "SELECT pg_catalog.count(*) FROM ONLY \"s\".\"t\"");
  EXPECT_EQ(MakeRowsSql(target, 7),
            "INSERT INTO \"s\".\"t\" SELECT FROM pg_catalog.generate_series(1, 7::bigint)");
}

}  // namespace
}  // namespace towline
