// Queries on the catalogs by which the event triggers learn what a command has done. Every name in
// them is qualified but those of operators, for which the path stands that they run under.
#pragma once

#include "pg_compat.h"

namespace towline::plugin {

// The table that an object is, or is of.
#define TOWLINE_TABLE_OF(class, object)                                                       \
  "CASE " class                                                                               \
      " WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN COALESCE((SELECT indrelid FROM " \
      "pg_catalog.pg_index WHERE indexrelid = " object "), " object                           \
      ") WHEN 'pg_catalog.pg_trigger'::pg_catalog.regclass THEN (SELECT tgrelid FROM "        \
      "pg_catalog.pg_trigger WHERE oid = " object                                             \
      ") WHEN 'pg_catalog.pg_policy'::pg_catalog.regclass THEN (SELECT polrelid FROM "        \
      "pg_catalog.pg_policy WHERE oid = " object                                              \
      ") WHEN 'pg_catalog.pg_rewrite'::pg_catalog.regclass THEN (SELECT ev_class FROM "       \
      "pg_catalog.pg_rewrite WHERE oid = " object                                             \
      ") WHEN 'pg_catalog.pg_constraint'::pg_catalog.regclass THEN (SELECT conrelid FROM "    \
      "pg_catalog.pg_constraint WHERE oid = " object                                          \
      ") WHEN 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass THEN (SELECT stxrelid FROM " \
      "pg_catalog.pg_statistic_ext WHERE oid = " object ") END"

// Kept for the session: planning would take most of a capture's time.
struct CatalogQuery {
  const char* sql;
  SPIPlanPtr plan;  // null: not planned yet
};

// Runs it, sees what the command itself has done. The rows are SPI's, in whose memory context the
// caller is then. Gives what CloseQuery takes.
int OpenQuery(CatalogQuery* query);
void CloseQuery(int nest_level);

}  // namespace towline::plugin
