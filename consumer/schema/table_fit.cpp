#include "schema/table_fit.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "pg/quoting.h"
#include "schema/type_passage.h"

namespace towline {

bool HasFittingType(const TableColumn& source, const TableColumn& destination) {
  Passage passage = FindPassage(TypeOf(source), TypeOf(destination));
  return passage == Passage::kAsIs || (passage == Passage::kCast && source.generated == '\0');
}

std::vector<std::string> DescribeMisfit(const Table& source, const Table& destination) {
  std::vector<std::string> misfits;
  if (source.kind != destination.kind) {
    misfits.push_back(destination.kind == 'p' ? "is partitioned, at the source it is not"
                                              : "is not partitioned, at the source it is");
  }
  // A crash empties an unlogged table, and not the position beside it.
  if (source.persistence == 'p' && destination.persistence == 'u') {
    misfits.push_back(
        "is unlogged, so that a crash would lose its rows (ALTER TABLE ... SET LOGGED)");
  }
  for (const TableColumn& column : source.columns) {
    std::string name = QuoteIdentifier(column.name);
    const TableColumn* other = destination.FindColumn(column.name);
    if (other == nullptr) {
      misfits.push_back(absl::StrCat("column ", name, " (", column.type_text, ") is missing"));
    } else if (!HasFittingType(column, *other)) {
      misfits.push_back(absl::StrCat("column ", name, " has type ", other->type_text,
                                     " instead of ", column.type_text,
                                     ", from which it is not cast"));
    } else if ((column.generated != '\0') != (other->generated != '\0')) {
      misfits.push_back(absl::StrCat("column ", name,
                                     other->generated != '\0'
                                         ? " is generated, at the source it is not"
                                         : " is not generated, at the source it is"));
    }
  }
  for (const TableColumn* column : UnfilledColumns(source, destination)) {
    misfits.push_back(absl::StrCat("column ", QuoteIdentifier(column->name),
                                   " gets no value from the source, is NOT NULL and without a "
                                   "default"));
  }
  return misfits;
}

std::vector<const TableColumn*> UnfilledColumns(const Table& source, const Table& destination) {
  std::vector<const TableColumn*> unfilled;
  for (const TableColumn& column : destination.columns) {
    bool is_unfilled =
        source.FindColumn(column.name) == nullptr && column.is_not_null && !column.has_default;
    if (is_unfilled) unfilled.push_back(&column);
  }
  return unfilled;
}

std::vector<std::string> MendingStatements(const Table& source, const Table& destination) {
  std::vector<std::string> statements;
  if (destination.oid == 0) return statements;
  const TableName& top =
      destination.ancestors.empty() ? destination.name : destination.ancestors.back();
  const std::string alter = absl::StrCat("ALTER TABLE ", QuoteQualified(top.schema, top.name), " ");
  if (source.persistence == 'p' && destination.persistence == 'u') {
    statements.push_back(absl::StrCat(alter, "SET LOGGED;"));
  }
  for (const TableColumn& column : source.columns) {
    const std::string name = QuoteIdentifier(column.name);
    const TableColumn* other = destination.FindColumn(column.name);
    if (other == nullptr) {
      statements.push_back(absl::StrCat(alter, "ADD COLUMN ", name, " ", column.type_text, ";"));
    } else if (!HasFittingType(column, *other)) {
      statements.push_back(absl::StrCat(alter, "ALTER COLUMN ", name, " TYPE ", column.type_text,
                                        " USING ", name, "::", column.type_text, ";"));
    }
  }
  for (const TableColumn* column : UnfilledColumns(source, destination)) {
    statements.push_back(
        absl::StrCat(alter, "ALTER COLUMN ", QuoteIdentifier(column->name), " DROP NOT NULL;"));
  }
  return statements;
}

std::vector<std::string> MissingKeyStatements(const Table& source, const Table& destination) {
  std::vector<std::string> statements;
  if (destination.oid == 0) return statements;
  auto is_plain = [](const UniqueIndex& index) {
    return !index.is_partial && !index.is_deferrable &&
           std::none_of(index.columns.begin(), index.columns.end(),
                        [](const std::string& column) { return column.empty(); });
  };
  for (const UniqueIndex& index : source.unique_indexes) {
    if (!is_plain(index)) continue;
    bool is_there = std::any_of(destination.unique_indexes.begin(),
                                destination.unique_indexes.end(), [&](const UniqueIndex& other) {
                                  return !other.is_partial && other.columns == index.columns;
                                });
    if (is_there) continue;
    std::vector<std::string> columns;
    for (const std::string& column : index.columns) columns.push_back(QuoteIdentifier(column));
    const std::string table = QuoteQualified(destination.name.schema, destination.name.name);
    const std::string list = absl::StrJoin(columns, ", ");
    statements.push_back(index.is_primary
                             ? absl::StrCat("ALTER TABLE ", table, " ADD PRIMARY KEY (", list, ");")
                             : absl::StrCat("CREATE UNIQUE INDEX ON ", table, " (", list, ");"));
  }
  return statements;
}

std::vector<std::string> AdjustingStatements(const Table& source, const Table& destination) {
  const TableName& top =
      destination.ancestors.empty() ? destination.name : destination.ancestors.back();
  std::string alter = absl::StrCat("ALTER TABLE ", QuoteQualified(top.schema, top.name), " ");
  std::vector<std::string> statements;
  for (const TableColumn& column : source.columns) {
    if (column.attnum != 0 || destination.FindColumn(column.name) != nullptr) continue;
    statements.push_back(absl::StrCat(alter, "ADD COLUMN IF NOT EXISTS ",
                                      QuoteIdentifier(column.name), " ", column.type_text, ";"));
  }
  for (const TableColumn* column : UnfilledColumns(source, destination)) {
    statements.push_back(
        absl::StrCat(alter, "ALTER COLUMN ", QuoteIdentifier(column->name), " DROP NOT NULL;"));
  }
  return statements;
}

}  // namespace towline
