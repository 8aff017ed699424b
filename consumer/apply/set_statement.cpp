#include "apply/set_statement.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace towline {
namespace {

constexpr Oid kInt8ArrayOid = 1016;  // pg_type.dat

bool HasFlag(const std::vector<bool>& flags, size_t at) { return !flags.empty() && flags[at]; }

const TargetColumn& ColumnOf(const Target& target, int index) {
  return target.columns[static_cast<size_t>(index)];
}

bool IsMatched(const Target& target, int column) {
  return std::find(target.match.begin(), target.match.end(), column) != target.match.end();
}

// The key stays as it is, down to its bytes (fold.h).
std::vector<int> SetColumns(const Target& target, const std::vector<bool>& is_unchanged) {
  std::vector<int> set;
  for (size_t i = 0; i < target.written.size(); ++i) {
    const int column = target.written[i];
    const bool is_kept = HasFlag(is_unchanged, i) || IsMatched(target, column) ||
                         ColumnOf(target, column).is_always_identity;
    if (!is_kept) set.push_back(column);
  }
  return set;
}

bool HaveArrays(const Target& target, const std::vector<int>& columns) {
  return std::all_of(columns.begin(), columns.end(),
                     [&](int column) { return ColumnOf(target, column).array_oid != 0; });
}

class Builder {
 public:
  Builder(const Target& target, const SetShape& shape) : target_(target), shape_(shape) {}

  SetStatement Build() {
    switch (shape_.kind) {
      case ChangeKind::kInsert:
        Insert();
        break;
      case ChangeKind::kUpdate:
        Update();
        break;
      case ChangeKind::kDelete:
        target_.matching == Matching::kExact ? DeleteEqualRows() : Delete();
        break;
      case ChangeKind::kTruncate:
        break;
    }
    return std::move(statement_);
  }

 private:
  const TargetColumn& Column(int index) const { return ColumnOf(target_, index); }
  std::string Table() const { return target_.only + target_.sql_name; }

  std::string Value(int index) {
    statement_.columns.push_back(index);
    statement_.types.push_back(Column(index).array_oid);
    return absl::StrCat("s.c", statement_.columns.size(), Column(index).cast);
  }

  // After all values are known. unnest() of several arrays is a grammar of its own, without schema.
  std::string Rows() const {
    std::vector<std::string> params;
    std::vector<std::string> names;
    for (size_t i = 1; i <= statement_.types.size(); ++i) {
      params.push_back(absl::StrCat("$", i));
      names.push_back(absl::StrCat("c", i));
    }
    return absl::StrCat("unnest(", absl::StrJoin(params, ","), ") ",
                        statement_.has_counts ? "WITH ORDINALITY " : "", "AS s(",
                        absl::StrJoin(names, ","), statement_.has_counts ? ",ord)" : ")");
  }

  // In this form it is no clause to join by, sorted or hashed: with seqscan off nothing is left but
  // to look up row by row in the key's index, whatever the statistics say of the table's size when
  // the plan is made.
  std::string SameKey() {
    std::vector<std::string> terms;
    for (int index : target_.match) {
      const TargetColumn& column = Column(index);
      std::string equals = column.equals.empty() ? "=" : column.equals;
      terms.push_back(
          absl::StrCat("d.", column.name, " ", equals, " ANY (ARRAY[", Value(index), "])"));
    }
    return absl::StrCat(absl::StrJoin(terms, " AND "), target_.AndOwn("d."));
  }

  void Delete() {
    const std::string same = SameKey();
    statement_.sql = absl::StrCat("DELETE FROM ", Table(), " AS d USING ", Rows(), " WHERE ", same);
  }

  void Update() {
    const std::string same = SameKey();
    std::vector<std::string> set;
    for (int index : SetColumns(target_, shape_.is_unchanged)) {
      set.push_back(absl::StrCat(Column(index).name, "=", Value(index)));
    }
    statement_.sql = absl::StrCat("UPDATE ", Table(), " AS d SET ", absl::StrJoin(set, ","),
                                  " FROM ", Rows(), " WHERE ", same);
  }

  void Insert() {
    std::vector<std::string> names;
    std::vector<std::string> values;
    for (int index : target_.written) {
      names.push_back(Column(index).name);
      values.push_back(Value(index));
    }
    statement_.sql = absl::StrCat("INSERT INTO ", target_.sql_name, " (", absl::StrJoin(names, ","),
                                  ")", target_.has_identity ? " OVERRIDING SYSTEM VALUE" : "",
                                  " SELECT ", absl::StrJoin(values, ","), " FROM ", Rows());
  }

  // As many of the rows that are equal as are meant. What is equal: statement.cpp, SameRow().
  void DeleteEqualRows() {
    std::vector<std::string> terms;
    std::vector<std::string> stored;
    std::vector<std::string> expected;
    for (size_t i = 0; i < target_.match.size(); ++i) {
      const TargetColumn& column = Column(target_.match[i]);
      if (HasFlag(shape_.is_null, i)) {
        terms.push_back(absl::StrCat("d.", column.name, " IS NULL"));
        continue;
      }
      std::string value = Value(target_.match[i]);
      if (!column.equals.empty()) {
        terms.push_back(absl::StrCat("d.", column.name, " ", column.equals, " ", value));
      }
      if (column.equals_exactly) continue;
      stored.push_back("d." + column.name);
      expected.push_back(value);
    }
    if (!stored.empty()) {
      terms.push_back(absl::StrCat("ROW(", absl::StrJoin(stored, ","),
                                   ")::pg_catalog.record *= ROW(", absl::StrJoin(expected, ","),
                                   ")::pg_catalog.record"));
    }
    statement_.has_counts = true;
    statement_.types.push_back(kInt8ArrayOid);
    const std::string count = absl::StrCat("s.c", statement_.types.size());
    statement_.sql = absl::StrCat(
        "DELETE FROM ", Table(), " WHERE ctid = ANY (ARRAY(SELECT m.ctid FROM (SELECT d.ctid, ",
        count, " AS meant, pg_catalog.row_number() OVER (PARTITION BY s.ord) AS number FROM ",
        Table(), " AS d, ", Rows(), " WHERE ", absl::StrJoin(terms, " AND "), target_.AndOwn("d."),
        ") AS m WHERE m.number <= m.meant))");
  }

  const Target& target_;
  const SetShape& shape_;
  SetStatement statement_;
};

}  // namespace

bool CanDeleteSet(const Target& target) {
  return target.matching == Matching::kKey && target.is_key_unique &&
         HaveArrays(target, target.match);
}

bool CanUpdateSet(const Target& target, const std::vector<bool>& is_unchanged) {
  const std::vector<int> set = SetColumns(target, is_unchanged);
  return !set.empty() && HaveArrays(target, set) && CanDeleteSet(target);
}

bool CanInsertSet(const Target& target) {
  return !target.written.empty() && HaveArrays(target, target.written);
}

bool CanDeleteEqualRows(const Target& target, const std::vector<bool>& is_null) {
  if (target.table.kind != 'r') return false;  // ctid alone is not an address there
  bool has_equality = false;
  for (size_t i = 0; i < target.match.size(); ++i) {
    if (HasFlag(is_null, i)) continue;
    const TargetColumn& column = ColumnOf(target, target.match[i]);
    if (column.array_oid == 0) return false;
    has_equality |= !column.equals.empty();
  }
  return has_equality;
}

SetStatement BuildSetStatement(const Target& target, const SetShape& shape) {
  return Builder(target, shape).Build();
}

}  // namespace towline
