#include "schema/shared_rows.h"

#include <algorithm>
#include <array>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// Types of which values that look different are different, given a collation that says so too.
bool TellsByText(const TableColumn& column) {
  static constexpr std::array<absl::string_view, 6> kTypes = {"text", "varchar", "int2",
                                                              "int4", "int8",    "uuid"};
  if (column.type_kind == 'e') return true;
  return column.type_kind == 'b' && column.type_schema == "pg_catalog" &&
         std::find(kTypes.begin(), kTypes.end(), column.type_name) != kTypes.end();
}

// $1: the table, $2: the column, $3: the value; $TYPE$: the column's type. Exclusion
// constraints are no unique indexes, and may look at rows of all tasks.
constexpr char kTellsSql[] = R"sql(
SELECT ($3::text)::$TYPE$::text = $3::text,
       COALESCE((SELECT c.collisdeterministic FROM pg_catalog.pg_attribute a
                 JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation
                 WHERE a.attrelid = $1::bigint::oid AND a.attname = $2), true),
       EXISTS (SELECT FROM pg_catalog.pg_constraint
               WHERE conrelid = $1::bigint::oid AND contype = 'x')
)sql";

// By which the source tells rows apart; empty: by nothing, or all columns (REPLICA IDENTITY FULL).
std::vector<std::string> IdentityOf(const Table& source) {
  for (const UniqueIndex& index : source.unique_indexes) {
    const bool is_meant =
        source.replica_identity == ReplicaIdentity::kIndex
            ? index.is_replica_identity
            : source.replica_identity == ReplicaIdentity::kDefault && index.is_primary;
    if (is_meant) return index.columns;
  }
  return {};
}

// Rows are found by it.
bool HasSharedKey(const TableRule& rule, const Table& source, const Table& there) {
  std::vector<std::string> identity = IdentityOf(source);
  if (identity.empty()) return true;
  std::set<std::string> key(identity.begin(), identity.end());
  key.insert(rule.shared);
  return std::any_of(
      there.unique_indexes.begin(), there.unique_indexes.end(), [&key](const UniqueIndex& index) {
        return !index.is_partial && !index.is_deferrable &&
               std::set<std::string>(index.columns.begin(), index.columns.end()) == key;
      });
}

absl::Status Refuse(const Table& table, absl::string_view what) {
  return WithHint(
      absl::FailedPreconditionError(absl::StrCat("table ",
                                                 QuoteQualified(table.name.schema, table.name.name),
                                                 " of the destination cannot be shared: ", what)),
      "Make it with the column of shared in each of its keys, and without exclusion constraints "
      "(docs/shared.md).");
}

absl::Status CheckTells(Connection& destination, const TableRule& rule, const Table& there) {
  const TableColumn& column = *there.FindColumn(rule.shared);
  std::string sql = kTellsSql;
  const std::string place = "$TYPE$";
  sql.replace(sql.find(place), place.size(), QuoteQualified(column.type_schema, column.type_name));
  absl::StatusOr<Result> told =
      destination.Query(sql, {{absl::StrCat(there.oid), rule.shared, rule.shared_value}});
  if (!told.ok()) {
    // data exceptions: no value of that type
    if (GetSqlState(told.status()).substr(0, 2) != "22") return told.status();
    return Refuse(there, absl::StrCat("column ", QuoteIdentifier(rule.shared), " does not take ",
                                      QuoteLiteral(rule.shared_value)));
  }
  if (!told->GetBool(0, 0)) {
    return Refuse(there, absl::StrCat("column ", QuoteIdentifier(rule.shared),
                                      " has another text "
                                      "for ",
                                      QuoteLiteral(rule.shared_value)));
  }
  if (!told->GetBool(0, 1)) {
    return Refuse(there, absl::StrCat("the collation of column ", QuoteIdentifier(rule.shared),
                                      " takes different values for the same"));
  }
  if (told->GetBool(0, 2)) return Refuse(there, "it has an exclusion constraint");
  return absl::OkStatus();
}

}  // namespace

ExtensionRows OwnRows(const ExtensionRows& extension_rows, const TableRules& rules) {
  ExtensionRows rows = extension_rows;
  for (const auto& [table, rule] : rules) {
    if (rule.shared.empty()) continue;
    std::string& condition = rows[table];
    const std::string own = SharedCondition(rule);
    condition = condition.empty() ? own : absl::StrCat(AsOperand(condition), " AND ", own);
  }
  return rows;
}

std::vector<std::string> DescribeSharedMisfit(const TableRule* rule, const Table& destination) {
  std::vector<std::string> misfits;
  if (rule == nullptr || rule->shared.empty()) return misfits;
  const std::string name = QuoteIdentifier(rule->shared);
  if (rule->table != destination.name || destination.kind != 'r' ||
      !destination.ancestors.empty()) {
    misfits.emplace_back("is partitioned or a partition, and such a table cannot be shared");
  }
  const TableColumn* column = destination.FindColumn(rule->shared);
  if (column == nullptr) {
    misfits.push_back(absl::StrCat("has no column ", name, ", which tells whose a row is"));
  } else if (!TellsByText(*column)) {
    misfits.push_back(absl::StrCat("has column ", name, " of type ", column->type_text,
                                   "; what tells whose a row is must be text, varchar, an integer, "
                                   "uuid or an enum"));
  }
  for (const UniqueIndex& index : destination.unique_indexes) {
    const bool has_column =
        std::find(index.columns.begin(), index.columns.end(), rule->shared) != index.columns.end();
    if (has_column) continue;
    misfits.push_back(absl::StrCat("has the unique index ", QuoteIdentifier(index.name),
                                   " without column ", name,
                                   ": tasks would be in each other's way"));
  }
  return misfits;
}

absl::Status CheckSharedFit(Connection& destination, const TableRules& rules,
                            const std::vector<Table>& source, const std::vector<Table>& there) {
  for (size_t i = 0; i < source.size(); ++i) {
    const TableRule* rule = FindRule(rules, source[i]);
    if (rule == nullptr || rule->shared.empty()) continue;
    if (there[i].oid == 0) return Refuse(source[i], "it is missing");
    const std::vector<std::string> misfits = DescribeSharedMisfit(rule, there[i]);
    if (!misfits.empty())
      return Refuse(there[i], absl::StrCat("it ", absl::StrJoin(misfits, "; it ")));
    if (!HasSharedKey(*rule, source[i], there[i])) {
      return Refuse(there[i], absl::StrCat("it has no unique index on the source's key and column ",
                                           QuoteIdentifier(rule->shared), " together"));
    }
    TOWLINE_RETURN_IF_ERROR(CheckTells(destination, *rule, there[i]));
  }
  return absl::OkStatus();
}

}  // namespace towline
