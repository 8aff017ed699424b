#include "snapshot/range_plan.h"

#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/array_literal.h"
#include "schema/post_data.h"
#include "snapshot/copy_plan.h"
#include "snapshot/key_choice.h"
#include "snapshot/key_plan.h"
#include "snapshot/key_reader.h"

namespace towline {
namespace {

constexpr char kFormSql[] = R"sql(
SELECT n.nspname, c.relname,
  pg_catalog.concat_ws('/', c.oid, pg_catalog.pg_relation_filenode(c.oid),
  (SELECT pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat_ws(',', a.attnum, a.attname,
            a.atttypid, a.atttypmod, a.attnotnull, a.attcollation), ';' ORDER BY a.attnum))
   FROM pg_catalog.pg_attribute a
   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN unnest($1::text[], $2::text[]) AS k(s, t) ON n.nspname = k.s AND c.relname = k.t
)sql";

bool IsOfKey(const UniqueIndex& index, const ChunkKey& key) {
  return index.columns.size() == 1 && index.columns.front() == key.column && !index.is_partial;
}

absl::StatusOr<std::set<Oid>> ReadExcluding(Connection& connection) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result rows,
      connection.Query("SELECT conrelid FROM pg_catalog.pg_constraint WHERE contype = 'x'"));
  std::set<Oid> oids;
  for (int row = 0; row < rows.row_count(); ++row) {
    oids.insert(static_cast<Oid>(rows.GetInt(row, 0)));
  }
  return oids;
}

}  // namespace

bool FitTogether(const std::vector<Table>& tables, int64_t part_bytes) {
  int64_t bytes = 0;
  for (const Table& table : tables) {
    if (HasRowsToCopy(table)) bytes += table.total_bytes;
  }
  return bytes <= kPartsTogetherMax * part_bytes;
}

int64_t SharedPartBytes(const std::vector<Table>& tables, int64_t part_bytes) {
  return FitTogether(tables, part_bytes) ? kPartsTogetherMax / 2 * part_bytes : part_bytes;
}

bool HaveSameColumns(const std::string& form, const std::string& other) {
  auto without_file = [](const std::string& text) {
    std::vector<std::string> parts = absl::StrSplit(text, '/');
    if (parts.size() == 3) parts[1] = "";
    return parts;
  };
  return without_file(form) == without_file(other);
}

std::set<Oid> TooManyTogether(const std::vector<Table>& tables, int64_t part_bytes) {
  if (part_bytes <= 0) return {};
  std::vector<const Table*> small;
  for (const Table& table : tables) {
    if (HasRowsToCopy(table) && table.total_bytes <= part_bytes) small.push_back(&table);
  }
  std::stable_sort(small.begin(), small.end(),
                   [](const Table* a, const Table* b) { return a->total_bytes < b->total_bytes; });
  std::set<Oid> others;
  int64_t bytes = 0;
  for (const Table* table : small) {
    bytes += table->total_bytes;
    if (bytes > kPartsTogetherMax * part_bytes) others.insert(table->oid);
  }
  return others;
}

absl::StatusOr<std::map<TableName, std::string>> ReadSourceForms(
    Connection& source, const std::vector<TableName>& tables) {
  ArrayLiteral schemas;
  ArrayLiteral names;
  for (const TableName& table : tables) {
    schemas.Add(table.schema);
    names.Add(table.name);
  }
  TOWLINE_ASSIGN_OR_RETURN(Result rows,
                           source.Query(kFormSql, {{schemas.ToString(), names.ToString()}}));
  std::map<TableName, std::string> forms;
  for (int row = 0; row < rows.row_count(); ++row) {
    forms[{rows.GetString(row, 0), rows.GetString(row, 1)}] = rows.GetString(row, 2);
  }
  return forms;
}

absl::StatusOr<std::string> ReadSourceForm(Connection& source, const TableName& table) {
  using Forms = std::map<TableName, std::string>;
  TOWLINE_ASSIGN_OR_RETURN(const Forms forms, ReadSourceForms(source, {table}));
  if (forms.empty()) {
    return absl::NotFoundError(
        absl::StrCat("there is no table ", QuoteQualified(table.schema, table.name)));
  }
  return forms.begin()->second;
}

std::set<std::string> KeyIndexes(const Table& table, const ChunkKey& key,
                                 const std::string& index) {
  std::set<std::string> names = {index};
  for (const UniqueIndex& each : table.unique_indexes) {
    if (each.is_primary && IsOfKey(each, key)) names.insert(each.name);
  }
  return names;
}

std::string WhyNotRanged(const Table& there, const ChunkKey& key, const TableRule* rule,
                         bool has_exclusion, const std::string& cannot_wait) {
  for (const UniqueIndex& index : there.unique_indexes) {
    if (IsOfKey(index, key)) continue;
    return absl::StrCat("values of the unique index ", QuoteIdentifier(index.name),
                        " that the destination has already may move between ranges");
  }
  if (has_exclusion) return "the destination has an exclusion constraint on it already";
  if (!cannot_wait.empty()) {
    return absl::StrCat("values of its unique index ", QuoteIdentifier(cannot_wait),
                        " may move between ranges, and something else needs that index early");
  }
  if (rule != nullptr && rule->operations != RuleOperations()) {
    return "its rule leaves out operations";
  }
  if (rule != nullptr && !rule->shared.empty()) return "other tasks write the table as well";
  return "";
}

absl::StatusOr<std::map<TableName, RangedPlan>> PlanRanged(
    const CopierOptions& options, Connection& source, Connection& destination,
    const std::vector<Table>& tables, const std::vector<Table>& there,
    const std::vector<DumpStatement>& post, std::map<TableName, std::string>* reasons) {
  std::map<TableName, RangedPlan> plans;
  const KeyPlanOptions wanted{options.planner, options.part_bytes};
  for (const Table& table : tables) {
    if (!HasRowsToCopy(table)) continue;
    KeyPlan plan = PlanKeys(table, {}, wanted);
    (*reasons)[table.name] = plan.mode == CopyMode::kWhole
                                 ? std::move(plan.reason)
                                 : "no stream follows, in which ranges of keys would come to agree";
  }
  if (options.is_once) return plans;
  std::set<Oid> large;
  bool has_append = false;
  for (const Table& table : tables) {
    if (!HasRowsToCopy(table)) continue;
    has_append = has_append || options.existing(table) == "append";
    if (PlanKeys(table, {}, wanted).mode != CopyMode::kWhole) large.insert(table.oid);
  }
  // A copy that starts over keeps what is not ours, so it must not have streamed anything; and a
  // command is in the rows of all tables or behind them.
  const bool may_follow = !has_append && !options.follows_ddl;
  const bool has_ctid_ranges = source.server_version() >= kCtidRangesVersionMin;
  const std::set<Oid> others =
      may_follow ? TooManyTogether(tables, options.part_bytes) : std::set<Oid>();
  if (large.empty() && others.empty()) return plans;
  if (options.planner == CopyPlanner::kAuto) {
    std::string why;
    if (FitTogether(tables, options.part_bytes)) {
      why = absl::StrCat("all tables together are no larger than ",
                         FormatBytes(kPartsTogetherMax * options.part_bytes));
    } else if (options.follows_ddl) {
      why = "schema changes are followed, and one between the snapshots of ranges has no place";
    }
    if (!why.empty()) {
      for (const Table& table : tables) {
        if (large.contains(table.oid)) (*reasons)[table.name] = why;
      }
      return plans;
    }
  }
  using Candidates = std::map<Oid, std::vector<KeyCandidate>>;
  TOWLINE_ASSIGN_OR_RETURN(Candidates candidates,
                           ReadKeyCandidates(source, std::vector<Oid>(large.begin(), large.end())));
  TOWLINE_ASSIGN_OR_RETURN(std::set<Oid> excluding, ReadExcluding(destination));
  std::vector<TableName> planned;
  for (const Table& table : tables) {
    if (large.contains(table.oid) || others.contains(table.oid)) planned.push_back(table.name);
  }
  using Forms = std::map<TableName, std::string>;
  TOWLINE_ASSIGN_OR_RETURN(Forms forms, ReadSourceForms(source, planned));
  // They are locked, so each is there; one without would count as copied under the first snapshot.
  if (forms.size() != planned.size()) {
    return absl::AbortedError("a table was dropped while its copy was planned");
  }
  for (size_t i = 0; i < tables.size(); ++i) {
    const Table& table = tables[i];
    if (others.contains(table.oid)) {
      absl::StrAppend(&(*reasons)[table.name],
                      "; all such tables together are more than one snapshot is held for");
      plans[table.name] = {std::nullopt, forms[table.name], {}};
    }
    if (!large.contains(table.oid)) continue;
    const TableRule* rule = FindRule(options.rules, table);
    KeyChoice choice = ChooseKey(table, rule, candidates[table.oid], source.server_encoding());
    std::set<std::string> early_keys;
    if (choice.key.has_value()) {
      early_keys = KeyIndexes(table, *choice.key, choice.index);
      std::string why = WhyNotRanged(there[i], *choice.key, rule, excluding.contains(there[i].oid),
                                     UniqueThatCannotWait(post, table.name, early_keys));
      if (why.empty() && has_append) why = "rows of other tables are kept (existing: append)";
      if (!why.empty()) {
        choice.key.reset();
        choice.reason = std::move(why);
      }
    }
    KeyPlan plan = PlanKeys(table, choice, wanted);
    LogInfo("a large table is copied in parts",
            {{"table", QuoteQualified(table.name.schema, table.name.name)},
             {"by", absl::StrCat(NameOf(plan.mode), " because ", plan.reason)},
             {"parts", absl::StrCat(plan.range_count)}});
    (*reasons)[table.name] = std::move(plan.reason);
    if (plan.mode == CopyMode::kKeys) {
      plans[table.name] = {choice.key, forms[table.name], std::move(early_keys)};
    } else if (may_follow && has_ctid_ranges) {
      plans[table.name] = {std::nullopt, forms[table.name], {}};
    }
  }
  return plans;
}

}  // namespace towline
