#include "apply/statement.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// Of a row that is written into towline_state.conflict.
constexpr int kShownBytesMax = 64 << 10;

class Builder {
 public:
  Builder(const Target& target, const StatementShape& shape) : target_(target), shape_(shape) {}

  Statement Build() {
    switch (shape_.action) {
      case Action::kInsert:
        Insert();
        break;
      case Action::kOverwrite:
        Insert();
        Overwrite();
        break;
      case Action::kInsertMissing:
        Insert();
        absl::StrAppend(&statement_.sql, " ON CONFLICT (", Key(), ") DO NOTHING");
        break;
      case Action::kDeleteOccupant:
        DeleteOccupant();
        break;
      case Action::kFindOccupants:
      case Action::kDeleteOccupants:
        Occupants();
        break;
      case Action::kUpdate:
        Update();
        break;
      case Action::kReplace:
        Replace();
        break;
      case Action::kDelete:
        statement_.sql = absl::StrCat("DELETE FROM ", Table(), " WHERE ", Where());
        break;
    }
    return std::move(statement_);
  }

 private:
  const TargetColumn& Column(int index) const {
    return target_.columns[static_cast<size_t>(index)];
  }
  std::string Table() const { return target_.only + target_.sql_name; }
  bool IsUnchanged(size_t written) const {
    return !shape_.is_unchanged.empty() && shape_.is_unchanged[written];
  }

  std::string Param(const TargetColumn& column, bool is_old, int field) {
    const std::vector<std::string>& staged = is_old ? shape_.staged_old : shape_.staged_new;
    const auto at = static_cast<size_t>(field);
    if (at < staged.size() && !staged[at].empty()) return staged[at] + column.cast;
    const auto index = static_cast<int>(&column - target_.columns.data());
    statement_.params.push_back({is_old, field, column.is_binary, index, column.type_oid});
    return absl::StrCat("$", statement_.params.size(), column.cast);
  }
  std::string NewValue(const TargetColumn& column) { return Param(column, false, column.field); }
  // Without an old image the key has not changed and stands in the new row.
  std::string OldValue(const TargetColumn& column) {
    bool is_generated = column.field < 0 && !column.generation.empty();
    if (shape_.old_image != OldImage::kKey && is_generated) return Generated(column);
    return shape_.old_image == OldImage::kKey
               ? Param(column, true, column.key_field)
               : Param(column, shape_.old_image == OldImage::kFull, column.field);
  }

  // A generated key is not sent but follows from the row. Columns whose values were not sent either
  // are found outside, in the row that is looked at.
  std::string Generated(const TargetColumn& generated) {
    std::vector<std::string> values;
    for (size_t i = 0; i < target_.written.size(); ++i) {
      const TargetColumn& column = Column(target_.written[i]);
      absl::string_view name(column.name);
      name = name.substr(1, name.size() - 2);  // the quotes, which the expression may do without
      if (IsUnchanged(i) || !absl::StrContains(generated.generation, name)) continue;
      values.push_back(absl::StrCat(
          Param(column, shape_.old_image == OldImage::kFull, column.field), " AS ", column.name));
    }
    return absl::StrCat("(SELECT ", generated.generation, " FROM (SELECT ",
                        absl::StrJoin(values, ","), ") AS sent)");
  }

  void Insert() {
    std::vector<std::string> names;
    std::vector<std::string> values;
    for (int index : target_.written) {
      names.push_back(Column(index).name);
      values.push_back(NewValue(Column(index)));
    }
    if (names.empty()) {
      statement_.sql = absl::StrCat("INSERT INTO ", target_.sql_name, " DEFAULT VALUES");
      return;
    }
    statement_.sql = absl::StrCat("INSERT INTO ", target_.sql_name, " (", absl::StrJoin(names, ","),
                                  ")", Overriding(), " VALUES (", absl::StrJoin(values, ","), ")");
  }

  // Values of identity columns come from the source, whatever their kind here.
  std::string Overriding() const { return target_.has_identity ? " OVERRIDING SYSTEM VALUE" : ""; }

  std::string Key() const {
    std::vector<std::string> key;
    for (int index : target_.match) key.push_back(Column(index).name);
    const bool has_shared =
        target_.shared.empty() || std::find(key.begin(), key.end(), target_.shared) != key.end();
    if (!has_shared) key.push_back(target_.shared);
    return absl::StrJoin(key, ",");
  }

  // Two keys may be equal and look different.
  void DeleteOccupant() {
    std::vector<std::string> terms;
    for (int index : target_.match) {
      const TargetColumn& column = Column(index);
      std::string equals = column.equals.empty() ? "=" : column.equals;
      terms.push_back(absl::StrCat(column.name, " ", equals, " ", NewValue(column)));
    }
    statement_.sql = absl::StrCat("DELETE FROM ", Table(), " WHERE ", absl::StrJoin(terms, " AND "),
                                  target_.AndOwn(), " AND NOT (", Where(), ")");
  }

  // The new row's key is put together first, once, so that the rows are found by the index. Names
  // of columns mean those of the new row there, and of the table's row in the outer statement.
  void Occupants() {
    const UniqueKey& key = *shape_.occupied;
    std::vector<std::string> made;
    std::vector<std::string> terms;
    for (size_t i = 0; i < key.expressions.size(); ++i) {
      made.push_back(absl::StrCat(key.expressions[i], " AS key", i));
      const std::string value = absl::StrCat("(SELECT wanted.key", i, " FROM wanted)");
      std::string term = absl::StrCat(key.expressions[i], " ", key.equals[i], " ", value);
      if (key.are_nulls_equal) {
        term = absl::StrCat("(", term, " OR (", key.expressions[i], " IS NULL AND ", value,
                            " IS NULL))");
      }
      terms.push_back(std::move(term));
    }
    terms.emplace_back("EXISTS (SELECT FROM wanted)");
    const std::string row = NewValuesOf(key);
    const std::string with =
        absl::StrCat("WITH wanted AS (SELECT ", absl::StrJoin(made, ", "), " FROM (", row,
                     ") AS new", key.predicate.empty() ? "" : " WHERE ", key.predicate, ") ");
    if (!key.predicate.empty()) terms.push_back(absl::StrCat("(", key.predicate, ")"));
    if (shape_.keeps_own) terms.push_back(absl::StrCat("NOT (", Where(), ")"));
    statement_.sql = absl::StrCat(
        with, shape_.action == Action::kFindOccupants ? ShownRow() : "DELETE", " FROM ", Table(),
        " AS there WHERE ", absl::StrJoin(terms, " AND "), target_.AndOwn("there."));
  }

  // Values that an UPDATE does not bring stay those of its own row.
  std::string NewValuesOf(const UniqueKey& key) {
    std::vector<std::string> values;
    bool needs_own = false;
    for (const std::string& name : key.columns) {
      std::string value;
      for (size_t i = 0; i < target_.written.size(); ++i) {
        const TargetColumn& column = Column(target_.written[i]);
        if (column.name == name && !IsUnchanged(i)) value = NewValue(column);
      }
      const bool is_own = value.empty();
      needs_own |= is_own;
      values.push_back(absl::StrCat(is_own ? absl::StrCat("own.", name) : value, " AS ", name));
    }
    std::string row = absl::StrCat("SELECT ", absl::StrJoin(values, ", "));
    if (needs_own) absl::StrAppend(&row, " FROM ", Table(), " AS own WHERE ", Where());
    return row;
  }

  // Asks for the sizes as they are stored, which takes no value in hand.
  std::string ShownRow() const {
    std::vector<std::string> sizes;
    for (const TableColumn& column : target_.table.columns) {
      sizes.push_back(absl::StrCat("COALESCE(pg_catalog.pg_column_size(there.",
                                   QuoteIdentifier(column.name), "), 0)"));
    }
    const std::string bytes = sizes.empty() ? "0" : absl::StrJoin(sizes, "+");
    return absl::StrCat("SELECT CASE WHEN ", bytes, " > ", kShownBytesMax,
                        " THEN '(large row)' ELSE (there.*)::pg_catalog.text END");
  }

  void Overwrite() {
    std::vector<std::string> set;
    for (int index : target_.written) {
      const TargetColumn& column = Column(index);
      if (column.is_always_identity) continue;
      set.push_back(absl::StrCat(column.name, "=EXCLUDED.", column.name));
    }
    absl::StrAppend(&statement_.sql, " ON CONFLICT (", Key(), ") DO ");
    absl::StrAppend(&statement_.sql,
                    set.empty() ? "NOTHING" : "UPDATE SET " + absl::StrJoin(set, ","));
  }

  void Update() {
    std::vector<std::string> set;
    for (size_t i = 0; i < target_.written.size(); ++i) {
      const TargetColumn& column = Column(target_.written[i]);
      if (column.is_always_identity || IsUnchanged(i)) continue;
      set.push_back(absl::StrCat(column.name, "=", NewValue(column)));
    }
    // Nothing to write, but the row must be there.
    statement_.sql = set.empty()
                         ? absl::StrCat("SELECT FROM ", Table(), " WHERE ", Where(), " FOR UPDATE")
                         : absl::StrCat("UPDATE ", Table(), " SET ", absl::StrJoin(set, ","),
                                        " WHERE ", Where());
  }

  // What the stream does not bring is taken from the row that goes.
  void Replace() {
    std::string gone =
        absl::StrCat("WITH gone AS (DELETE FROM ", Table(), " WHERE ", Where(), " RETURNING *) ");
    std::vector<std::string> names;
    std::vector<std::string> values;
    for (size_t i = 0; i < target_.written.size(); ++i) {
      const TargetColumn& column = Column(target_.written[i]);
      names.push_back(column.name);
      values.push_back(IsUnchanged(i) ? absl::StrCat("gone.", column.name) : NewValue(column));
    }
    for (const std::string& name : target_.unsent) {
      names.push_back(name);
      values.push_back(absl::StrCat("gone.", name));
    }
    statement_.sql =
        absl::StrCat(gone, "INSERT INTO ", target_.sql_name, " (", absl::StrJoin(names, ","), ")",
                     Overriding(), " SELECT ", absl::StrJoin(values, ","), " FROM gone");
  }

  std::string Where() {
    if (target_.matching == Matching::kKey) {
      std::vector<std::string> terms;
      for (int index : target_.match) {
        const TargetColumn& column = Column(index);
        std::string equals = column.equals.empty() ? "=" : column.equals;
        terms.push_back(absl::StrCat(column.name, " ", equals, " ", OldValue(column)));
      }
      return absl::StrCat(absl::StrJoin(terms, " AND "), target_.AndOwn());
    }
    std::string same = SameRow();
    std::string from =
        absl::StrCat(" FROM ", Table(), same.empty() ? "" : " WHERE ", same, target_.AndOwn(),
                     " LIMIT 1", shape_.skips_locked ? " FOR UPDATE SKIP LOCKED)" : ")");
    // Rows that are equal in every column: any one of them, but only one. Partitions number their
    // rows apart, so there the partition is part of the row's address.
    return target_.table.kind == 'p'
               ? absl::StrCat("(tableoid, ctid) = (SELECT tableoid, ctid", from)
               : absl::StrCat("ctid = (SELECT ctid", from);
  }

  // NULLs and plain equality, so that an index can be used, then identity of the bytes for types
  // whose equal values may differ (numeric's 1.0 and 1.00) or that have no equality (json, point).
  // *= on records compares the values as they are stored, whatever their type.
  std::string SameRow() {
    std::vector<std::string> terms;
    std::vector<std::string> stored;
    std::vector<std::string> expected;
    auto compare_stored = [&]() {
      if (stored.empty()) return;
      terms.push_back(absl::StrCat("ROW(", absl::StrJoin(stored, ","),
                                   ")::pg_catalog.record *= ROW(", absl::StrJoin(expected, ","),
                                   ")::pg_catalog.record"));
      stored.clear();
      expected.clear();
    };
    for (size_t i = 0; i < target_.match.size(); ++i) {
      const TargetColumn& column = Column(target_.match[i]);
      if (!shape_.is_null.empty() && shape_.is_null[i]) {
        terms.push_back(absl::StrCat(column.name, " IS NULL"));
        continue;
      }
      std::string value = OldValue(column);
      if (!column.equals.empty()) {
        terms.push_back(absl::StrCat(column.name, " ", column.equals, " ", value));
      }
      if (!column.equals_exactly) {
        stored.push_back(column.name);
        expected.push_back(value);
        // A record holds its values whole, and no more than 1 GB of them.
        if (!shape_.staged_old.empty()) compare_stored();
      }
    }
    compare_stored();
    return absl::StrJoin(terms, " AND ");
  }

  const Target& target_;
  const StatementShape& shape_;
  Statement statement_;
};

}  // namespace

bool KnowsValuesOf(const Target& target, const UniqueKey& key, bool is_update) {
  return std::all_of(key.columns.begin(), key.columns.end(), [&](const std::string& name) {
    const bool is_written = std::any_of(
        target.written.begin(), target.written.end(),
        [&](int index) { return target.columns[static_cast<size_t>(index)].name == name; });
    const bool is_kept =
        std::find(target.unsent.begin(), target.unsent.end(), name) != target.unsent.end();
    return is_written || (is_update && is_kept);
  });
}

Statement BuildStatement(const Target& target, const StatementShape& shape) {
  return Builder(target, shape).Build();
}

std::string BuildCopy(const Target& target) {
  std::vector<std::string> names;
  for (int index : target.written) names.push_back(target.columns[static_cast<size_t>(index)].name);
  return absl::StrCat("COPY ", target.sql_name, " (", absl::StrJoin(names, ","),
                      ") FROM STDIN (FORMAT binary)");
}

}  // namespace towline
