// What the source has beside ordinary tables: what a pattern may be meant for and does not get, and
// what is not copied at all.
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "precheck/check_context.h"
#include "schema/array_literal.h"
#include "schema/table_patterns.h"

namespace towline {
namespace {

constexpr char kIsOfUser[] =
    "n.nspname NOT IN ('information_schema', 'towline', 'towline_state') AND NOT EXISTS (SELECT 1 "
    "FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = "
    "c.oid AND d.deptype = 'e')";

std::vector<std::string> Names(const Result& result, int column) {
  std::vector<std::string> names;
  for (int row = 0; row < result.row_count(); ++row) names.push_back(result.GetString(row, column));
  return names;
}

// Both arrays, as the reader of tables matches them. False: a pattern that source.tables refuses.
bool AddPatterns(const std::vector<std::string>& patterns, std::vector<Param>& params) {
  ArrayLiteral schemas;
  ArrayLiteral names;
  for (const std::string& text : patterns) {
    absl::StatusOr<TablePattern> pattern = ParseTablePattern(text);
    if (!pattern.ok()) return false;
    schemas.Add(pattern->schema_regex);
    names.Add(pattern->name_regex);
  }
  params.push_back(schemas.ToString());
  params.push_back(names.ToString());
  return true;
}

std::string Matches(int schemas, int names) {
  return absl::StrCat("EXISTS (SELECT 1 FROM unnest($", schemas, "::text[], $", names,
                      "::text[]) AS p(s, t) WHERE n.nspname COLLATE pg_catalog.\"default\" ~ p.s "
                      "AND c.relname COLLATE pg_catalog.\"default\" ~ p.t)");
}

// A temporary table only where a pattern is given: without one, nobody means another session's.
void CheckOtherRelations(CheckContext& context) {
  constexpr char kId[] = "source.other_relations";
  const TableSelection& selection = context.options.selection;
  std::vector<Param> params;
  if (!AddPatterns(selection.include, params) || !AddPatterns(selection.exclude, params)) return;
  const bool is_all = selection.include.empty();
  std::optional<Result> result = context.Ask(
      kId, *context.source,
      absl::StrCat("SELECT CASE WHEN c.relkind = 'f' THEN 'foreign table ' WHEN c.relkind = 'm' "
                   "THEN 'materialized view ' ELSE 'temporary table ' END "
                   "|| pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c "
                   "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE ",
                   "(c.relkind IN ('f', 'm') AND n.nspname !~ '^pg_' OR ",
                   is_all ? "false" : "c.relkind IN ('r', 'p') AND c.relpersistence = 't'",
                   ") AND ", kIsOfUser,
                   is_all ? " AND $1::text[] IS NOT NULL AND $2::text[] IS NOT NULL"
                          : absl::StrCat(" AND ", Matches(1, 2)),
                   " AND NOT ", Matches(3, 4), " ORDER BY 1"),
      params);
  if (!result) return;
  context.WarnOf(kId, Names(*result, 0), "relation", "whose rows are not copied",
                 "the selection names ordinary tables only", {});
}

// Of the copy only, which is over at a later start.
std::optional<std::string> FindUnreadable(CheckContext& context, const char* id) {
  std::optional<Result> result = context.Ask(
      id, *context.source,
      "SELECT m.oid FROM pg_catalog.pg_largeobject_metadata m WHERE NOT "
      "(pg_catalog.pg_has_role(m.lomowner, 'USAGE') OR EXISTS (SELECT 1 FROM "
      "pg_catalog.aclexplode(m.lomacl) a WHERE a.privilege_type = 'SELECT' AND (a.grantee = 0 OR "
      "pg_catalog.pg_has_role(a.grantee, 'USAGE')))) ORDER BY m.oid LIMIT 1");
  if (!result) return std::nullopt;
  return result->row_count() > 0 ? result->GetString(0, 0) : "";
}

// The first of so many that has the number of one of the destination's own.
std::optional<std::string> FindTaken(CheckContext& context, const char* id, int64_t count_max) {
  if (!context.destination || context.is_same_database) return "";
  std::optional<Result> numbers =
      context.Ask(id, *context.source,
                  absl::StrCat("SELECT oid FROM pg_catalog.pg_largeobject_metadata ORDER BY oid "
                               "LIMIT ",
                               count_max));
  if (!numbers) return std::nullopt;
  std::optional<Result> taken =
      context.Ask(id, *context.destination,
                  "SELECT oid FROM pg_catalog.pg_largeobject_metadata WHERE oid = ANY ($1::oid[]) "
                  "ORDER BY oid LIMIT 1",
                  {{absl::StrCat("{", absl::StrJoin(Names(*numbers, 0), ","), "}")}});
  if (!taken) return std::nullopt;
  return taken->row_count() > 0 ? taken->GetString(0, 0) : "";
}

void CheckLargeObjects(CheckContext& context) {
  constexpr char kId[] = "source.large_objects";
  constexpr int64_t kCountMax = 100'000;
  std::optional<Result> result =
      context.Ask(kId, *context.source,
                  absl::StrCat("SELECT pg_catalog.count(*) FROM (SELECT 1 FROM "
                               "pg_catalog.pg_largeobject_metadata LIMIT ",
                               kCountMax, ") counted"));
  if (!result) return;
  const int64_t count = result->GetInt(0, 0);
  if (count == 0) {
    context.Pass(kId, "there are no large objects");
    return;
  }
  const std::string counted = absl::StrCat(count == kCountMax ? "at least " : "",
                                           Counted(static_cast<size_t>(count), "large object"));
  if (!context.options.copies_large_objects) {
    context.Warn(kId, absl::StrCat(counted, ", not copied"), {});
    return;
  }
  if (context.options.is_first_start) {
    std::optional<std::string> unreadable = FindUnreadable(context, kId);
    if (!unreadable) return;
    std::optional<std::string> taken = FindTaken(context, kId, kCountMax);
    if (!taken) return;
    if (!unreadable->empty()) {
      context.Fail(kId, absl::StrCat("large object ", *unreadable, " may not be read"),
                   {.text = "GRANT SELECT ON LARGE OBJECT, or large_objects: off."});
      return;
    }
    if (!taken->empty()) {
      context.Fail(kId, absl::StrCat("large object ", *taken, " is at the destination already"),
                   {.text = absl::StrCat("At the destination: SELECT lo_unlink(", *taken,
                                         "); if nothing there needs it, or large_objects: off.")});
      return;
    }
  }
  context.Warn(kId, absl::StrCat(counted, ": later changes of them do not follow"), {});
}

// Tables of extensions whose rows are the users' in part: the extension says by a condition in
// which part (pg_extension_config_dump()), as the text of a WHERE clause that pg_dump runs too.
void CheckExtensionTables(CheckContext& context) {
  constexpr char kId[] = "source.extension_tables";
  std::optional<Result> tables = context.Ask(
      kId, *context.source,
      "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), e.extname, member.condition, "
      "pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND "
      "pg_catalog.has_table_privilege(c.oid, 'SELECT'), n.nspname, c.relname FROM "
      "pg_catalog.pg_extension e CROSS JOIN "
      "LATERAL unnest(e.extconfig, e.extcondition) AS member(oid, condition) JOIN "
      "pg_catalog.pg_class c ON c.oid = member.oid JOIN pg_catalog.pg_namespace n ON n.oid = "
      "c.relnamespace WHERE c.relkind IN ('r', 'p') AND e.extname <> 'towline' ORDER BY 1");
  if (!tables) return;
  std::vector<std::string> found;
  std::set<std::string> selected;
  for (const auto& [table, condition] : context.options.extension_rows) {
    selected.insert(QuotedName(table));
  }
  for (int row = 0; row < tables->row_count(); ++row) {
    if (selected.contains(QuotedName({tables->GetString(row, 4), tables->GetString(row, 5)}))) {
      continue;
    }
    std::string name = absl::StrCat(tables->Get(row, 0), " of ", tables->Get(row, 1));
    if (!tables->GetBool(row, 3)) {
      found.push_back(absl::StrCat(name, " (may not be read)"));
      continue;
    }
    std::optional<Result> has_rows =
        context.Ask(kId, *context.source,
                    absl::StrCat("SELECT EXISTS (SELECT 1 FROM ONLY ", tables->Get(row, 0), " ",
                                 tables->Get(row, 2), "\n)"));
    if (!has_rows) return;
    if (has_rows->GetBool(0, 0)) found.push_back(name);
  }
  context.WarnOf(kId, found, "table", "of extensions with rows of users, which are not copied",
                 selected.empty() ? "no user has added rows to a table of an extension"
                                  : absl::StrCat(Counted(selected.size(), "table"),
                                                 " of extensions whose users' rows are copied"),
                 {});
}

void CheckEventTriggers(CheckContext& context) {
  constexpr char kId[] = "source.event_triggers";
  const CheckOptions& options = context.options;
  if (!options.is_first_start || !options.copies_schema || !context.destination) return;
  std::optional<Result> result = context.Ask(
      kId, *context.source,
      "SELECT pg_catalog.quote_ident(e.evtname) FROM pg_catalog.pg_event_trigger e WHERE NOT "
      "EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = "
      "'pg_catalog.pg_event_trigger'::regclass AND d.objid = e.oid AND d.deptype = 'e') ORDER BY "
      "1");
  if (!result) return;
  std::vector<std::string> names = Names(*result, 0);
  if (names.empty()) {
    context.Pass(kId, "there are no event triggers");
  } else if (context.destination_facts.is_superuser) {
    context.Pass(kId, absl::StrCat(Counted(names.size(), "event trigger"),
                                   " will be created: ", ListNames(names)));
  } else {
    context.Fail(kId,
                 absl::StrCat(Counted(names.size(), "event trigger"), ", which only a superuser ",
                              "may create at the destination: ", ListNames(names)),
                 {});
  }
}

// Names are told apart by case; patterns and unquoted SQL mean the one in lower case. Where the
// other is selected alone it was meant.
void CheckNameCase(CheckContext& context) {
  constexpr char kId[] = "source.name_case";
  std::optional<Result> result = context.Ask(
      kId, *context.source,
      "WITH selected AS MATERIALIZED (SELECT pg_catalog.unnest($1::oid[]) AS oid) "
      "SELECT pg_catalog.string_agg(pg_catalog.format('%I.%I', n.nspname, c.relname), ' and ' "
      "ORDER BY c.relname) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = "
      "c.relnamespace LEFT JOIN selected s ON s.oid = c.oid WHERE c.relkind IN ('r', 'p') "
      "GROUP BY n.nspname, pg_catalog.lower(c.relname) "
      "HAVING pg_catalog.count(*) > 1 AND (pg_catalog.count(s.oid) > 1 OR pg_catalog.bool_or(s.oid "
      "IS NOT NULL AND c.relname = pg_catalog.lower(c.relname))) ORDER BY 1",
      {{OidsOf(context.tables)}});
  if (!result) return;
  context.WarnOf(kId, Names(*result, 0), "pair", "of names that differ by case only",
                 "no two names differ by case only", {});
}

// What TimescaleDB keeps in its own catalog does not come along: chunks would arrive as tables that
// nothing knows.
void CheckHypertables(CheckContext& context) {
  constexpr char kId[] = "source.hypertables";
  std::optional<Result> known =
      context.Ask(kId, *context.source,
                  "SELECT COALESCE((SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND "
                  "pg_catalog.has_table_privilege(c.oid, 'SELECT') FROM pg_catalog.pg_class c JOIN "
                  "pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = "
                  "'_timescaledb_catalog' AND c.relname = 'hypertable'), false)");
  if (!known) return;
  if (!known->GetBool(0, 0)) {
    context.Pass(kId, "there are no hypertables");
    return;
  }
  std::optional<Result> result = context.Ask(
      kId, *context.source,
      "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c JOIN "
      "pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ($1::oid[]) AND "
      "EXISTS (SELECT 1 FROM _timescaledb_catalog.hypertable h WHERE h.schema_name = n.nspname AND "
      "h.table_name = c.relname) ORDER BY 1",
      {{OidsOf(context.tables)}});
  if (!result) return;
  std::vector<std::string> names = Names(*result, 0);
  if (names.empty()) {
    context.Pass(kId, "no hypertable is selected");
  } else {
    context.Fail(kId, absl::StrCat(Counted(names.size(), "hypertable"), ": ", ListNames(names)),
                 {});
  }
}

}  // namespace

void CheckSourceObjects(CheckContext& context) {
  CheckOtherRelations(context);
  CheckLargeObjects(context);
  CheckExtensionTables(context);
  CheckEventTriggers(context);
  if (context.tables.empty()) return;
  CheckNameCase(context);
  CheckHypertables(context);
}

}  // namespace towline
