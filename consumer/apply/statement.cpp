#include "apply/statement.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace towline {
namespace {

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
                                  " AND NOT (", Where(), ")");
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
      return absl::StrJoin(terms, " AND ");
    }
    std::string same = SameRow();
    std::string from =
        absl::StrCat(" FROM ", Table(), same.empty() ? "" : " WHERE ", same, " LIMIT 1",
                     shape_.skips_locked ? " FOR UPDATE SKIP LOCKED)" : ")");
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
