#include "apply/ddl_references.h"

#include <algorithm>
#include <compare>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "apply/ddl_names.h"
#include "apply/ddl_words.h"
#include "base/status_macros.h"
#include "model/name.h"
#include "pg/quoting.h"
#include "schema/array_literal.h"

namespace towline {
namespace {

// As the source asks it (plugin/ddl_references.cpp), but without what belongs to the objects
// themselves, and without what a partition has from the table above it (deptype P): no name has
// brought it there, and it may be the destination's own. Of the catalogs that are small all that is
// no part of the server is asked.
constexpr char kReferencesSql[] = R"sql(
WITH asked(kind, namespace, name) AS (
    SELECT a.kind, n.oid, a.name::pg_catalog.name
      FROM unnest($1::text[], $2::text[], $3::text[]) AS a(kind, schema, name)
      LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = a.schema::pg_catalog.name),
root(classid, objid) AS (
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, c.oid
      FROM asked a JOIN pg_catalog.pg_class c ON c.relnamespace = a.namespace AND c.relname = a.name
     WHERE a.kind = 'relation'
    UNION SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid
      FROM asked a JOIN pg_catalog.pg_type t ON t.typnamespace = a.namespace AND t.typname = a.name
     WHERE a.kind = 'type'
    UNION SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid
      FROM asked a JOIN pg_catalog.pg_proc p ON p.pronamespace = a.namespace AND p.proname = a.name
     WHERE a.kind = 'routine'
    UNION SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass, o.oid
      FROM asked a JOIN pg_catalog.pg_operator o ON a.kind = 'operator' WHERE o.oid >= 16384
    UNION SELECT 'pg_catalog.pg_opclass'::pg_catalog.regclass, o.oid FROM asked a
      JOIN pg_catalog.pg_opclass o ON a.kind IN ('operator class', 'operator family')
     WHERE o.oid >= 16384
    UNION SELECT 'pg_catalog.pg_opfamily'::pg_catalog.regclass, o.oid FROM asked a
      JOIN pg_catalog.pg_opfamily o ON a.kind IN ('operator class', 'operator family')
     WHERE o.oid >= 16384
    UNION SELECT 'pg_catalog.pg_cast'::pg_catalog.regclass, o.oid
      FROM asked a JOIN pg_catalog.pg_cast o ON a.kind = 'cast' WHERE o.oid >= 16384
    UNION SELECT 'pg_catalog.pg_conversion'::pg_catalog.regclass, o.oid
      FROM asked a JOIN pg_catalog.pg_conversion o ON a.kind = 'conversion' WHERE o.oid >= 16384
    UNION SELECT 'pg_catalog.pg_ts_config'::pg_catalog.regclass, o.oid
      FROM asked a JOIN pg_catalog.pg_ts_config o ON a.kind = 'text search configuration'
     WHERE o.oid >= 16384
    UNION SELECT 'pg_catalog.pg_ts_dict'::pg_catalog.regclass, o.oid
      FROM asked a JOIN pg_catalog.pg_ts_dict o ON a.kind = 'text search dictionary'
     WHERE o.oid >= 16384),
part(classid, objid) AS (
    SELECT r.classid, r.objid FROM root r
    UNION SELECT r.classid, i.indexrelid
      FROM root r JOIN pg_catalog.pg_index i ON i.indrelid = r.objid
     WHERE r.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
    UNION SELECT d.classid, d.objid
      FROM root r JOIN pg_catalog.pg_depend d ON d.refclassid = r.classid AND d.refobjid = r.objid
     WHERE d.deptype IN ('a', 'i') AND (d.classid <> 'pg_catalog.pg_class'::pg_catalog.regclass
           OR EXISTS (SELECT 1 FROM pg_catalog.pg_class k
                       WHERE k.oid = d.objid AND k.relkind IN ('i', 'I', 'c')))),
reference(classid, objid) AS (
    SELECT DISTINCT d.refclassid,
           CASE d.refclassid
           WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN coalesce(
               (SELECT i.indrelid FROM pg_catalog.pg_index i WHERE i.indexrelid = d.refobjid),
               (SELECT o.refobjid FROM pg_catalog.pg_depend o
                  JOIN pg_catalog.pg_class s ON s.oid = o.objid
                 WHERE o.classid = d.refclassid AND o.objid = d.refobjid
                   AND o.refclassid = d.refclassid AND o.deptype IN ('a', 'i')
                   AND s.relkind = 'S' LIMIT 1), d.refobjid)
           WHEN 'pg_catalog.pg_type'::pg_catalog.regclass THEN coalesce(
               (SELECT t.typelem FROM pg_catalog.pg_type t
                 WHERE t.oid = d.refobjid AND t.typcategory = 'A' AND t.typelem <> 0), d.refobjid)
           ELSE d.refobjid END
      FROM part p JOIN pg_catalog.pg_depend d ON d.classid = p.classid AND d.objid = p.objid
     WHERE d.refclassid IN (
         'pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_type'::pg_catalog.regclass,
         'pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass,
         'pg_catalog.pg_opclass'::pg_catalog.regclass,
         'pg_catalog.pg_opfamily'::pg_catalog.regclass,
         'pg_catalog.pg_collation'::pg_catalog.regclass,
         'pg_catalog.pg_conversion'::pg_catalog.regclass,
         'pg_catalog.pg_ts_config'::pg_catalog.regclass,
         'pg_catalog.pg_ts_dict'::pg_catalog.regclass,
         'pg_catalog.pg_ts_parser'::pg_catalog.regclass,
         'pg_catalog.pg_ts_template'::pg_catalog.regclass)
       AND d.refobjid >= 16384
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend b
                        WHERE b.classid = p.classid AND b.objid = p.objid AND b.deptype = 'P'))
SELECT DISTINCT CASE WHEN e.oid IS NULL THEN c.relname::pg_catalog.text || ' ' || i.identity
                     ELSE 'extension ' || e.extname::pg_catalog.text END
  FROM reference r
  JOIN pg_catalog.pg_class c ON c.oid = r.classid
 CROSS JOIN LATERAL pg_catalog.pg_identify_object(r.classid, r.objid, 0) i
  LEFT JOIN pg_catalog.pg_depend x ON x.classid = r.classid AND x.objid = r.objid
                                  AND x.deptype = 'e'
  LEFT JOIN pg_catalog.pg_extension e ON e.oid = x.refobjid
 WHERE i.identity IS NOT NULL
   AND NOT EXISTS (SELECT 1 FROM part p WHERE p.classid = r.classid AND p.objid = r.objid))sql";

}  // namespace

std::set<DdlRoot> RootsOf(const std::vector<DdlObject>& objects) {
  std::set<DdlRoot> roots;
  for (const DdlObject& object : objects) {
    const std::optional<TableName> own = NameInIdentity(object.identity);
    if (!object.table.name.empty()) {
      roots.insert({"relation", object.table.schema, object.table.name});
    } else if (object.type == "function" || object.type == "procedure" ||
               object.type == "aggregate") {
      if (own.has_value()) roots.insert({"routine", own->schema, own->name});
    } else if (object.type == "type") {
      if (own.has_value()) roots.insert({"type", own->schema, own->name});
    } else {
      roots.insert({object.type, "", ""});
    }
  }
  return roots;
}

absl::StatusOr<std::set<std::string>> ReadReferences(Connection* connection,
                                                     const std::vector<DdlObject>& objects) {
  ArrayLiteral kinds;
  ArrayLiteral schemas;
  ArrayLiteral names;
  for (const DdlRoot& root : RootsOf(objects)) {
    kinds.Add(root.kind);
    schemas.Add(root.schema);
    names.Add(root.name);
  }
  TOWLINE_ASSIGN_OR_RETURN(
      Result rows, connection->Query(kReferencesSql,
                                     {{kinds.ToString(), schemas.ToString(), names.ToString()}}));
  std::set<std::string> references;
  for (int row = 0; row < rows.row_count(); ++row) references.insert(rows.GetString(row, 0));
  return references;
}

namespace {

// "pg_proc s.f(integer)" without the arguments, which versions of the server write in different
// ways; nothing of what has no schema, or is known by its extension.
struct Reference {
  std::string kind;
  TableName name;

  friend auto operator<=>(const Reference&, const Reference&) = default;
};

std::optional<Reference> ReferenceOf(const std::string& text) {
  const size_t end = text.find(' ');
  if (end == std::string::npos) return std::nullopt;
  std::optional<TableName> name = NameInIdentity(text.substr(end + 1));
  if (!name.has_value()) return std::nullopt;
  return Reference{text.substr(0, end), *std::move(name)};
}

// What a text can find among the server's own. One that it does not name is here by another way:
// as the type of a column that is cast on purpose.
bool MayBeBuiltIn(const Reference& reference, const DdlWords& statement) {
  if (reference.kind != "pg_proc" && reference.kind != "pg_type") return false;
  for (size_t i = 0; i < statement.size(); ++i) {
    if (statement.IsName(i) && statement.NameAt(i) == reference.name.name) return true;
  }
  return false;
}

std::set<Reference> ReferencesOf(const std::set<std::string>& texts) {
  std::set<Reference> references;
  for (const std::string& text : texts) {
    if (std::optional<Reference> reference = ReferenceOf(text)) references.insert(*reference);
  }
  return references;
}

}  // namespace

std::string WhyOtherReferences(const std::set<std::string>& before,
                               const std::set<std::string>& after,
                               const std::set<std::string>& source, const std::string& statement) {
  const DdlWords words(statement);
  const std::set<Reference> there = ReferencesOf(source);
  const std::set<Reference> here = ReferencesOf(after);
  // What is an extension's at the source may be the user's own here.
  const bool may_be_extensions =
      std::any_of(source.begin(), source.end(),
                  [](const std::string& text) { return absl::StartsWith(text, "extension "); });
  for (const std::string& text : after) {
    const std::optional<Reference> added = ReferenceOf(text);
    if (before.contains(text) || !added.has_value() || there.contains(*added)) continue;
    bool is_named = false;
    for (const Reference& meant : there) {
      if (meant.kind != added->kind || meant.name.name != added->name.name) continue;
      is_named = true;
      if (here.contains(meant)) continue;
      return absl::StrCat("a name in it means ", text.substr(text.find(' ') + 1),
                          " at the destination, and that of schema ",
                          QuoteIdentifier(meant.name.schema), " at the source");
    }
    // Of the server's own the source tells nothing.
    if (is_named || may_be_extensions || !MayBeBuiltIn(*added, words)) continue;
    return absl::StrCat("a name in it means ", text.substr(text.find(' ') + 1),
                        " at the destination, and at the source what only that server has built "
                        "in");
  }
  return "";
}

}  // namespace towline
