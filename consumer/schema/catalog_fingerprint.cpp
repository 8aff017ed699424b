#include "schema/catalog_fingerprint.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"

namespace towline {
namespace {

// `lasting`: schemas without those of temporary objects, of TOAST tables, which are made anew by
// each VACUUM FULL and REFRESH MATERIALIZED VIEW, and without ours. `passing`: what is in the
// others and may have comments.
//
// Rows of pg_class count by what they say: TRUNCATE, REFRESH, CLUSTER and REINDEX write them too,
// and say nothing new but the file. User mappings can be read by a view only, which has no xmin.
constexpr char kHeadSql[] = R"sql(
WITH lasting AS MATERIALIZED (
  SELECT oid FROM pg_catalog.pg_namespace
  WHERE nspname !~ '^pg_(temp|toast)' AND nspname NOT IN ('towline', 'towline_state')),
relation AS MATERIALIZED (
  SELECT oid FROM pg_catalog.pg_class WHERE relnamespace IN (SELECT oid FROM lasting)),
passing(class_oid, oid) AS MATERIALIZED (
  SELECT c.tableoid, c.oid FROM pg_catalog.pg_class c
  WHERE NOT EXISTS (SELECT 1 FROM lasting l WHERE l.oid = c.relnamespace)
  UNION ALL
  SELECT k.tableoid, k.oid FROM pg_catalog.pg_constraint k
  WHERE NOT EXISTS (SELECT 1 FROM lasting l WHERE l.oid = k.connamespace)),
entry(words) AS (
  SELECT ROW(c.tableoid, c.oid, c.relname, c.relnamespace, c.reloftype, c.relowner, c.relam,
             c.relkind, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity,
             c.relispopulated, c.relreplident, c.relispartition, c.relacl, c.reloptions,
             c.relpartbound, t.reloptions)::text
  FROM pg_catalog.pg_class c
  LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid
  WHERE c.relnamespace IN (SELECT oid FROM lasting)
  UNION ALL
  SELECT ROW('mapping'::text, umid, umoptions)::text FROM pg_catalog.pg_user_mappings)sql";

constexpr char kTailSql[] = R"sql()
SELECT pg_catalog.concat(pg_catalog.count(*), '/',
                         pg_catalog.sum(pg_catalog.hashtextextended(words, 0)))
FROM entry
)sql";

struct Catalog {
  const char* name;
  const char* key;
  const char* where;  // null: all rows
};

constexpr char kOfLastingComment[] =
    "classoid <> 'pg_catalog.pg_largeobject'::regclass AND NOT EXISTS "
    "(SELECT 1 FROM passing p WHERE p.class_oid = classoid AND p.oid = objoid)";

// A row that is written has another xmin from then on, which stays through freezing and VACUUM
// FULL; what VACUUM and ANALYZE write in place does not change it. Not here are rows that change
// only along with one of these (pg_aggregate, pg_partitioned_table, pg_range), what is not carried
// (publications, subscriptions, large objects), and what a newer server alone has.
constexpr Catalog kCatalogs[] = {
    {"pg_am", "oid", nullptr},
    {"pg_amop", "oid", nullptr},
    {"pg_amproc", "oid", nullptr},
    {"pg_attrdef", "oid", "adrelid IN (SELECT oid FROM relation)"},
    {"pg_attribute", "attrelid, attnum", "attrelid IN (SELECT oid FROM relation)"},
    {"pg_cast", "oid", nullptr},
    {"pg_collation", "oid", nullptr},
    {"pg_constraint", "oid", "connamespace IN (SELECT oid FROM lasting)"},
    {"pg_conversion", "oid", nullptr},
    {"pg_default_acl", "oid", nullptr},
    // What belongs to an extension, or is to be dropped with it.
    {"pg_depend", "classid, objid, objsubid, refclassid, refobjid", "deptype IN ('e', 'x')"},
    {"pg_description", "classoid, objoid, objsubid", kOfLastingComment},
    {"pg_enum", "oid",
     "enumtypid IN (SELECT t.oid FROM pg_catalog.pg_type t "
     "WHERE t.typnamespace IN (SELECT oid FROM lasting))"},
    {"pg_event_trigger", "oid", nullptr},
    {"pg_extension", "oid", nullptr},
    {"pg_foreign_data_wrapper", "oid", nullptr},
    {"pg_foreign_server", "oid", nullptr},
    {"pg_foreign_table", "ftrelid", nullptr},
    {"pg_index", "indexrelid", "indexrelid IN (SELECT oid FROM relation)"},
    {"pg_inherits", "inhrelid, inhparent", "inhrelid IN (SELECT oid FROM relation)"},
    {"pg_language", "oid", nullptr},
    {"pg_namespace", "oid", "oid IN (SELECT oid FROM lasting)"},
    {"pg_opclass", "oid", nullptr},
    {"pg_operator", "oid", nullptr},
    {"pg_opfamily", "oid", nullptr},
    {"pg_policy", "oid", "polrelid IN (SELECT oid FROM relation)"},
    {"pg_proc", "oid", "pronamespace IN (SELECT oid FROM lasting)"},
    {"pg_rewrite", "oid", "ev_class IN (SELECT oid FROM relation)"},
    {"pg_seclabel", "classoid, objoid, objsubid, provider", kOfLastingComment},
    {"pg_sequence", "seqrelid", "seqrelid IN (SELECT oid FROM relation)"},
    {"pg_statistic_ext", "oid", "stxrelid IN (SELECT oid FROM relation)"},
    {"pg_transform", "oid", nullptr},
    {"pg_trigger", "oid", "tgrelid IN (SELECT oid FROM relation)"},
    {"pg_ts_config", "oid", nullptr},
    {"pg_ts_config_map", "mapcfg, maptokentype, mapseqno", nullptr},
    {"pg_ts_dict", "oid", nullptr},
    {"pg_ts_parser", "oid", nullptr},
    {"pg_ts_template", "oid", nullptr},
    {"pg_type", "oid", "typnamespace IN (SELECT oid FROM lasting)"},
};

std::string FingerprintSql() {
  std::string sql = kHeadSql;
  for (const Catalog& catalog : kCatalogs) {
    absl::StrAppend(&sql, "\n  UNION ALL\n  SELECT ROW(tableoid, ", catalog.key,
                    ", xmin)::text FROM pg_catalog.", catalog.name);
    if (catalog.where != nullptr) absl::StrAppend(&sql, " WHERE ", catalog.where);
  }
  return absl::StrCat(sql, kTailSql);
}

}  // namespace

absl::StatusOr<std::string> ReadCatalogFingerprint(Connection& source) {
  // The transaction goes on, perhaps for hours, and is to hold no locks on all the catalogs and
  // their indexes meanwhile: they go with a savepoint that is taken back.
  TOWLINE_RETURN_IF_ERROR(source.Exec("SAVEPOINT fingerprint").status());
  absl::StatusOr<std::string> fingerprint = source.QueryValue(FingerprintSql());
  if (!fingerprint.ok()) {
    return WithContext(fingerprint.status(), "looking for changes of the source's schema");
  }
  TOWLINE_RETURN_IF_ERROR(
      source.Exec("ROLLBACK TO SAVEPOINT fingerprint; RELEASE SAVEPOINT fingerprint").status());
  return fingerprint;
}

}  // namespace towline
