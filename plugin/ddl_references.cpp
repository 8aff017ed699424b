#include "ddl_references.h"

#include "ddl_objects.h"
#include "ddl_query.h"

namespace towline::plugin {
namespace {

#define TOWLINE_CATALOG(name) "'pg_catalog." name "'::pg_catalog.regclass"

// With what belongs to the objects: constraints, defaults, rules, triggers, indexes, members of an
// operator family, which belong to it or to a class. Indexes and sequences of a table stand for it,
// as their names are often the server's choice; array types for their elements; members of an
// extension for it, as it may be in another schema. The destination asks the same
// (consumer/apply/ddl_references.cpp). `objects`: classid and objid of what is asked about.
// clang-format off
#define TOWLINE_REFERENCES_OF(objects) \
    "WITH command(classid, objid) AS (" objects "), " \
    "root(classid, objid) AS (SELECT c.classid, c.objid FROM command c UNION " \
    "SELECT " TOWLINE_CATALOG("pg_class") "::pg_catalog.oid, " \
    TOWLINE_TABLE_OF("c.classid", "c.objid") " FROM command c UNION " \
    "SELECT " TOWLINE_CATALOG("pg_opfamily") "::pg_catalog.oid, o.opcfamily FROM command c JOIN " \
    "pg_catalog.pg_opclass o ON o.oid = c.objid WHERE c.classid = " TOWLINE_CATALOG("pg_opclass") \
    " UNION SELECT " TOWLINE_CATALOG("pg_opclass") "::pg_catalog.oid, o.oid FROM command c JOIN " \
    "pg_catalog.pg_opclass o ON o.opcfamily = c.objid WHERE c.classid = " \
    TOWLINE_CATALOG("pg_opfamily") "), " \
    "part(classid, objid) AS (SELECT r.classid, r.objid FROM root r UNION " \
    "SELECT r.classid, i.indexrelid FROM root r JOIN pg_catalog.pg_index i ON i.indrelid = r.objid " \
    "WHERE r.classid = " TOWLINE_CATALOG("pg_class") " UNION " \
    "SELECT d.classid, d.objid FROM root r JOIN pg_catalog.pg_depend d ON d.refclassid = r.classid " \
    "AND d.refobjid = r.objid WHERE d.deptype IN ('a', 'i') AND (d.classid <> " \
    TOWLINE_CATALOG("pg_class") " OR EXISTS (SELECT 1 FROM pg_catalog.pg_class k WHERE " \
    "k.oid = d.objid AND k.relkind IN ('i', 'I', 'c')))), " \
    "reference(classid, objid) AS (SELECT DISTINCT d.refclassid, CASE d.refclassid " \
    "WHEN " TOWLINE_CATALOG("pg_class") " THEN COALESCE((SELECT i.indrelid FROM " \
    "pg_catalog.pg_index i WHERE i.indexrelid = d.refobjid), (SELECT o.refobjid FROM " \
    "pg_catalog.pg_depend o JOIN pg_catalog.pg_class s ON s.oid = o.objid WHERE o.classid = " \
    "d.refclassid AND o.objid = d.refobjid AND o.refclassid = d.refclassid AND " \
    "o.deptype IN ('a', 'i') AND s.relkind = 'S' LIMIT 1), d.refobjid) " \
    "WHEN " TOWLINE_CATALOG("pg_type") " THEN COALESCE((SELECT t.typelem FROM pg_catalog.pg_type t " \
    "WHERE t.oid = d.refobjid AND t.typcategory = 'A' AND t.typelem <> 0), d.refobjid) " \
    "ELSE d.refobjid END FROM part p JOIN pg_catalog.pg_depend d ON d.classid = p.classid AND " \
    "d.objid = p.objid WHERE d.refobjid >= 16384 AND d.refclassid IN (" TOWLINE_CATALOG("pg_class") ", " \
    TOWLINE_CATALOG("pg_type") ", " TOWLINE_CATALOG("pg_proc") ", " TOWLINE_CATALOG("pg_operator") \
    ", " TOWLINE_CATALOG("pg_opclass") ", " TOWLINE_CATALOG("pg_opfamily") ", " \
    TOWLINE_CATALOG("pg_collation") ", " TOWLINE_CATALOG("pg_conversion") ", " \
    TOWLINE_CATALOG("pg_ts_config") ", " TOWLINE_CATALOG("pg_ts_dict") ", " \
    TOWLINE_CATALOG("pg_ts_parser") ", " TOWLINE_CATALOG("pg_ts_template") ")) " \
    "SELECT DISTINCT CASE WHEN e.oid IS NULL THEN c.relname::pg_catalog.text || ' ' || i.identity " \
    "ELSE 'extension ' || e.extname::pg_catalog.text END " \
    "FROM reference r JOIN pg_catalog.pg_class c ON c.oid = r.classid " \
    "CROSS JOIN LATERAL pg_catalog.pg_identify_object(r.classid, r.objid, 0) i " \
    "LEFT JOIN pg_catalog.pg_depend x ON x.classid = r.classid AND x.objid = r.objid AND " \
    "x.deptype = 'e' LEFT JOIN pg_catalog.pg_extension e ON e.oid = x.refobjid " \
    "WHERE i.identity IS NOT NULL"
// clang-format on

constexpr char kOfCommandsSql[] = TOWLINE_REFERENCES_OF(
    "SELECT c.classid, c.objid FROM pg_catalog.pg_event_trigger_ddl_commands() c "
    "WHERE c.objid IS NOT NULL");
constexpr char kOfRewrittenSql[] = TOWLINE_REFERENCES_OF("SELECT " TOWLINE_CATALOG(
    "pg_class") "::pg_catalog.oid, "
                "pg_catalog.pg_event_trigger_table_rewrite_oid()");

CatalogQuery of_commands_query = {kOfCommandsSql, nullptr};
CatalogQuery of_rewritten_query = {kOfRewrittenSql, nullptr};

// Their arguments have types.
bool IsOfRoutine(ObjectType kind) {
  return kind == OBJECT_FUNCTION || kind == OBJECT_PROCEDURE || kind == OBJECT_ROUTINE ||
         kind == OBJECT_AGGREGATE;
}

bool OnlyNames(const Node* parsetree) {
  switch (nodeTag(parsetree)) {
    case T_AlterObjectSchemaStmt:
      return !IsOfRoutine(reinterpret_cast<const AlterObjectSchemaStmt*>(parsetree)->objectType);
    case T_AlterOwnerStmt:
      return !IsOfRoutine(reinterpret_cast<const AlterOwnerStmt*>(parsetree)->objectType);
    case T_RenameStmt:
      return !IsOfRoutine(reinterpret_cast<const RenameStmt*>(parsetree)->renameType);
    case T_AlterExtensionContentsStmt:
    case T_AlterExtensionStmt:
    case T_CommentStmt:
    case T_CreateExtensionStmt:
    case T_DropStmt:
    case T_GrantStmt:
    case T_RefreshMatViewStmt:
    case T_SecLabelStmt:
      return true;
    default:
      return false;
  }
}

// The structure of such a table is told at the start of the command. A materialized view is made of
// the text.
bool MakesTableAsQuery(const Node* parsetree, const DdlFields& ddl) {
  return IsA(parsetree, CreateTableAsStmt) && ddl.objects[0].type != "materialized view";
}

}  // namespace

void ReadReferences(const Node* parsetree, DdlFields* ddl) {
  if (OnlyNames(parsetree) || ddl->object_count == 0) return;
  if (MakesTableAsQuery(parsetree, *ddl)) return;
  MemoryContext caller = CurrentMemoryContext;
  int nest_level =
      OpenQuery(ddl->phase == DdlPhase::kRewrite ? &of_rewritten_query : &of_commands_query);
  uint64 count = SPI_processed;
  SPITupleTable* table = SPI_tuptable;
  MemoryContext spi = MemoryContextSwitchTo(caller);
  auto* references = static_cast<std::string_view*>(
      palloc0(Max(count, static_cast<uint64>(1)) * sizeof(std::string_view)));
  for (uint64 i = 0; i < count; ++i) {
    references[i] = DdlText(SPI_getvalue(table->vals[i], table->tupdesc, 1));
  }
  MemoryContextSwitchTo(spi);
  CloseQuery(nest_level);
  MemoryContextSwitchTo(caller);
  ddl->tells_references = true;
  ddl->references = references;
  ddl->reference_count = count;
}

}  // namespace towline::plugin
