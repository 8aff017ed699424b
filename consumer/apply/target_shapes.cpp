#include "apply/target_shapes.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/array_literal.h"

namespace towline {
namespace {

// Of pg_class c: which columns it has (each change writes the column's row anew, by another
// transaction), how many triggers fire for us, those of constraints among them, and whether rules
// do.
constexpr char kShape[] =
    "pg_catalog.concat_ws(' ', c.relnatts, c.relkind, c.relpersistence, "
    "(SELECT pg_catalog.sum(a.xmin::text::bigint) FROM pg_catalog.pg_attribute a "
    "WHERE a.attrelid = c.oid AND a.attnum > 0), "
    "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid "
    "AND t.tgenabled IN ('A', 'R')), "
    "EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid "
    "AND r.ev_enabled IN ('A', 'R')), "
    "CASE WHEN c.relkind = 'p' THEN (SELECT pg_catalog.count(*) "
    "FROM pg_catalog.pg_partition_tree(c.oid) p JOIN pg_catalog.pg_trigger t "
    "ON t.tgrelid = p.relid WHERE t.tgenabled IN ('A', 'R')) END)";

// The cast fails, and its error has the table's name.
constexpr char kCheck[] =
    "PREPARE towline_shapes (pg_catalog.oid[], pg_catalog.text[]) AS "
    "SELECT pg_catalog.max(CASE WHEN k.shape IS DISTINCT FROM (SELECT ";
constexpr char kCheckEnd[] =
    " FROM pg_catalog.pg_class c WHERE c.oid = k.oid) "
    "THEN ('table ' || k.oid::pg_catalog.regclass::pg_catalog.text)::pg_catalog.int4 END) "
    "FROM unnest($1, $2) AS k(oid, shape)";

constexpr char kCannotCast[] = "22P02";  // invalid_text_representation

absl::Status Explain(const absl::Status& refused) {
  if (GetSqlState(refused) != kCannotCast) return refused;
  absl::string_view name = refused.message();
  name.remove_prefix(std::min(name.size(), name.find("\"table ") + 1));
  if (!name.empty()) name.remove_suffix(1);
  return absl::AbortedError(absl::StrCat(
      name, " of the destination was altered while changes were applied to it: it is read again"));
}

}  // namespace

absl::Status TargetShapes::Read(absl::Span<const TableName> tables) {
  ArrayLiteral names;
  for (const TableName& name : tables) names.Add(QuoteQualified(name.schema, name.name));
  TOWLINE_ASSIGN_OR_RETURN(
      Result shapes,
      connection_->Query(absl::StrCat("SELECT c.oid, ", kShape,
                                      " FROM unnest($1::pg_catalog.text[]) AS k(name) JOIN "
                                      "pg_catalog.pg_class c ON c.oid = "
                                      "pg_catalog.to_regclass(k.name)"),
                         {{names.ToString()}}));
  for (int row = 0; row < shapes.row_count(); ++row) {
    Oid oid = 0;
    if (absl::SimpleAtoi(shapes.Get(row, 0), &oid)) shapes_[oid] = shapes.GetString(row, 1);
  }
  return absl::OkStatus();
}

void TargetShapes::Check(const std::vector<Oid>& tables) {
  ArrayLiteral shapes;
  std::vector<Oid> known;
  for (Oid oid : tables) {
    auto found = shapes_.find(oid);
    if (found == shapes_.end()) continue;
    known.push_back(oid);
    shapes.Add(found->second);
  }
  if (known.empty()) return;
  auto passed = [](const PGresult*) { return absl::OkStatus(); };
  if (!has_statement_) pipeline_->Before({absl::StrCat(kCheck, kShape, kCheckEnd), passed, {}});
  has_statement_ = true;
  pipeline_->Before({absl::StrCat("EXECUTE towline_shapes ('{", absl::StrJoin(known, ","), "}', ",
                                  QuoteLiteral(shapes.ToString()), ")"),
                     passed, Explain});
}

}  // namespace towline
