#include "ddl_query.h"

namespace towline::plugin {
namespace {

void Prepare(CatalogQuery* query) {
  if (query->plan != nullptr) return;
  SPIPlanPtr plan = SPI_prepare(query->sql, 0, nullptr);
  if (plan == nullptr || SPI_keepplan(plan) != 0) elog(ERROR, "SPI_prepare failed: %s", query->sql);
  query->plan = plan;
}

void Set(const char* setting, const char* value) {
  (void)set_config_option(setting, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
                          false);
}

}  // namespace

int OpenQuery(CatalogQuery* query) {
  int nest_level = NewGUCNestLevel();
  Set("search_path", "pg_catalog, pg_temp");
  // The planner takes the server's lists of objects for a thousand rows, and would read whole
  // catalogs, or think that compiling is worth it.
  Set("enable_hashjoin", "off");
  Set("enable_mergejoin", "off");
  Set("jit", "off");
  if (SPI_connect() != SPI_OK_CONNECT) elog(ERROR, "SPI_connect failed");
  Prepare(query);
  // Not read-only, which would not see it.
  if (SPI_execute_plan(query->plan, nullptr, nullptr, false, 0) != SPI_OK_SELECT) {
    elog(ERROR, "SPI_execute_plan failed: %s", query->sql);
  }
  return nest_level;
}

void CloseQuery(int nest_level) {
  SPI_finish();
  AtEOXact_GUC(true, nest_level);
}

}  // namespace towline::plugin
