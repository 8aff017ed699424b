#include "apply/target.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/error.h"
#include "model/failed_table.h"
#include "pg/quoting.h"
#include "schema/shared_rows.h"
#include "schema/type_passage.h"

namespace towline {
namespace {

std::string Label(const TableName& name) { return absl::StrCat(name.schema, ".", name.name); }

// Types whose equality compares every byte of the value. Of the others equal values may look
// different (1.0 and 1.00, '1 day' and '24:00').
bool EqualsExactly(const Column& column) {
  if (column.type_kind == 'e') return true;
  if (column.type_schema != "pg_catalog") return false;
  if (column.type_name == "text" || column.type_name == "varchar") return column.collation.empty();
  static constexpr std::array<absl::string_view, 21> kExact = {
      "bool",    "bytea",    "char",      "date",        "int2",   "int4",     "int8",
      "macaddr", "macaddr8", "name",      "oid",         "pg_lsn", "regclass", "regproc",
      "regtype", "time",     "timestamp", "timestamptz", "uuid",   "xid",      "xid8"};
  return std::find(kExact.begin(), kExact.end(), column.type_name) != kExact.end();
}

// "numeric(10,2)" for the hint; modifiers of other types are left to the reader.
std::string TypeText(const Column& column) {
  std::string text = column.type_schema == "pg_catalog"
                         ? absl::StrCat("pg_catalog.", QuoteIdentifier(column.type_name))
                         : QuoteQualified(column.type_schema, column.type_name);
  constexpr int kHeaderBytes = 4;  // VARHDRSZ, which these types add to their modifier
  int modifier = column.typmod - kHeaderBytes;
  if (column.typmod < kHeaderBytes || column.type_schema != "pg_catalog") return text;
  if (column.type_name == "varchar" || column.type_name == "bpchar") {
    absl::StrAppend(&text, "(", modifier, ")");
  } else if (column.type_name == "numeric") {
    // The scale is signed since 15, in eleven bits.
    absl::StrAppend(&text, "(", (modifier >> 16) & 0xffff, ",", ((modifier & 0x7ff) ^ 1024) - 1024,
                    ")");
  }
  return text;
}

absl::Status Unfit(const Relation& relation, absl::string_view what, absl::string_view hint) {
  return WithFailedTable(WithHint(absl::FailedPreconditionError(absl::StrCat(
                                      "destination table ", Label(relation.name), ": ", what)),
                                  hint),
                         {relation.name, relation.oid, relation.rewrite_of != 0});
}

std::string AlterTable(const Relation& relation) {
  return absl::StrCat("At the destination: ALTER TABLE ",
                      QuoteQualified(relation.name.schema, relation.name.name));
}

// What the source ran may have computed values for the rows that were there, which the stream does
// not bring; what is known here of the column says nothing of them.
std::string RunTheSame(const Relation& relation, absl::string_view with, absl::string_view action) {
  return absl::StrCat(
      "At the destination run the very statement that was run at the source, with its ", with,
      ". What fits at least: ALTER TABLE ",
      QuoteQualified(relation.name.schema, relation.name.name), " ", action,
      "; Where the source's statement computes values (a volatile default, "
      "identity, USING) they may be others here: run again, then bring the rows by "
      "`towline table recopy` or `towline verify --repair`.");
}

// As in the copy, or more than it needed. A type that the source has changed since is a DDL that
// the destination must repeat, also where the new values could be cast (state/column_types.h).
bool HasFittingType(const Relation& relation, const Column& column, const TableColumn& there,
                    const TargetCatalog& catalog) {
  const ColumnType type = TypeOf(column, catalog.domains);
  if (FindPassage(type, TypeOf(there)) == Passage::kNone) return false;
  if (there.type_name == column.type_name && there.type_schema == column.type_schema) {
    const bool only_limits = there.type_name == "varchar" || there.type_name == "varbit";
    if (there.typmod == column.typmod || there.typmod == -1 || only_limits) return true;
  }
  auto copied = catalog.copied.find({relation.name, column.name});
  if (copied == catalog.copied.end()) return false;
  const CopiedType& before = copied->second;
  return before.schema == column.type_schema && before.name == column.type_name &&
         FindPassage({before.schema, before.name, column.type_kind, before.typmod}, type) ==
             Passage::kAsIs;
}

absl::Status CheckColumn(const Relation& relation, const Column& column, const TableColumn* there,
                         const TargetCatalog& catalog) {
  if (!column.is_sent) {
    if (there != nullptr && there->generated == '\0' && column.generated != '\0') {
      return Unfit(relation,
                   absl::StrCat("column \"", column.name,
                                "\" is generated at the source and not "
                                "at the destination, where it would stay empty"),
                   absl::StrCat(AlterTable(relation), " DROP COLUMN ", QuoteIdentifier(column.name),
                                "; and add it again, GENERATED ALWAYS AS the same expression."));
    }
    if (!column.is_in_key) return absl::OkStatus();
  }
  if (there == nullptr) {
    return Unfit(relation, absl::StrCat("column \"", column.name, "\" is missing"),
                 RunTheSame(relation, "DEFAULT and constraints",
                            absl::StrCat("ADD COLUMN ", QuoteIdentifier(column.name), " ",
                                         TypeText(column))));
  }
  if (!HasFittingType(relation, column, *there, catalog)) {
    return Unfit(relation,
                 absl::StrCat("column \"", column.name, "\" has type ", there->type_text,
                              ", the source's has ", TypeText(column)),
                 RunTheSame(relation, "USING",
                            absl::StrCat("ALTER COLUMN ", QuoteIdentifier(column.name), " TYPE ",
                                         TypeText(column))));
  }
  return absl::OkStatus();
}

void FillColumn(const Column& column, const Table& table, const TargetCatalog& catalog,
                TargetColumn* target) {
  const TableColumn* there = table.FindColumn(column.name);
  target->name = QuoteIdentifier(column.name);
  target->is_binary = column.format == ValueFormat::kBinary;
  if (there == nullptr) return;
  target->type_oid = there->type_oid;
  const ColumnType type = TypeOf(column, catalog.domains);
  if (FindPassage(type, TypeOf(*there)) == Passage::kCast) {
    // A type of the server itself: the same everywhere.
    target->type_oid = type.base == nullptr ? column.type_oid : type.base->oid;
    target->cast_from = type.base == nullptr ? QuoteQualified(type.schema, type.name)
                                             : QuoteQualified(type.base->schema, type.base->name);
    target->cast = absl::StrCat("::", there->type_text);
  }
  auto equals = catalog.equals.find(there->type_oid);
  if (!there->has_equality) {
    target->equals = "";
  } else if (equals != catalog.equals.end()) {
    target->equals = equals->second;
  }
  auto array = catalog.arrays.find(target->type_oid);
  if (array != catalog.arrays.end()) {
    target->array_oid = array->second.oid;
    target->array_delimiter = array->second.delimiter;
  }
  target->equals_exactly = target->cast.empty() && EqualsExactly(column);
  target->is_written = column.is_sent && there->generated == '\0';
  target->is_always_identity = there->identity == 'a';
  auto generation = catalog.generation.find({table.oid, column.name});
  if (generation != catalog.generation.end()) target->generation = generation->second;
}

bool HasColumn(const std::vector<std::string>& columns, const std::string& name) {
  return std::find(columns.begin(), columns.end(), name) != columns.end();
}

// By these columns, in any order.
bool IsUniqueOn(const UniqueIndex& index, const std::vector<std::string>& columns) {
  return index.columns.size() == columns.size() &&
         std::all_of(columns.begin(), columns.end(),
                     [&](const std::string& column) { return HasColumn(index.columns, column); });
}

// Under FULL the old row is known whole, so any key of the destination finds it.
std::vector<int> FindKey(const Target& target) {
  const Relation& relation = *target.relation;
  std::vector<int> best;
  for (const UniqueIndex& index : target.table.unique_indexes) {
    if (index.is_partial || index.is_deferrable || !index.is_null_free) continue;
    std::vector<int> key;
    for (int column : relation.sent) {
      if (HasColumn(index.columns, relation.columns[static_cast<size_t>(column)].name)) {
        key.push_back(column);
      }
    }
    if (key.empty() || key.size() != index.columns.size()) continue;
    if (index.is_primary) return key;
    if (best.empty()) best = key;
  }
  return best;
}

void ChooseMatching(Target* target) {
  const Relation& relation = *target->relation;
  if (relation.replica_identity == ReplicaIdentity::kFull) {
    target->match = FindKey(*target);
    target->matching = target->match.empty() ? Matching::kExact : Matching::kKey;
    if (target->match.empty()) target->match = relation.sent;
  } else if (relation.replica_identity != ReplicaIdentity::kNothing && !relation.key.empty()) {
    target->match = relation.key;
    target->matching = Matching::kKey;
  }
}

bool CanFold(const Target& target) {
  if (target.overwrites || target.keeps_order) return false;
  const bool is_found_by_fields =
      std::all_of(target.match.begin(), target.match.end(),
                  [&](int index) { return target.columns[static_cast<size_t>(index)].field >= 0; });
  const bool makes_anew = target.replaces || target.matching == Matching::kExact;
  return target.matching != Matching::kNone && is_found_by_fields &&
         (!makes_anew || !target.keeps_rows);
}

bool HasUsableKey(const Target& target, const TableRule* rule) {
  std::vector<std::string> key;
  for (int column : target.match) {
    key.push_back(target.relation->columns[static_cast<size_t>(column)].name);
  }
  if (!target.shared.empty() && !HasColumn(key, rule->shared)) key.push_back(rule->shared);
  return std::any_of(target.table.unique_indexes.begin(), target.table.unique_indexes.end(),
                     [&](const UniqueIndex& index) {
                       return !index.is_partial && !index.is_deferrable && IsUniqueOn(index, key);
                     });
}

// Columns that only the destination has: their defaults must do.
absl::Status CheckUnsent(Target* target) {
  const Relation& relation = *target->relation;
  for (const TableColumn& there : target->table.columns) {
    target->has_identity |= there.identity != '\0';
    bool is_sent = std::any_of(relation.sent.begin(), relation.sent.end(), [&](int column) {
      return relation.columns[static_cast<size_t>(column)].name == there.name;
    });
    if (is_sent || there.generated != '\0') continue;
    if (there.is_not_null && !there.has_default) {
      return Unfit(relation,
                   absl::StrCat("column \"", there.name,
                                "\" is NOT NULL without a default, and the source sends no such "
                                "column"),
                   absl::StrCat(AlterTable(relation), " ALTER COLUMN ", QuoteIdentifier(there.name),
                                " DROP NOT NULL;"));
    }
    target->unsent.push_back(QuoteIdentifier(there.name));
  }
  return absl::OkStatus();
}

// Of a table in which other tasks have rows.
absl::Status Share(const Relation& relation, const TableRule* rule, Target* target) {
  if (rule == nullptr || rule->shared.empty()) return absl::OkStatus();
  std::vector<std::string> misfits = DescribeSharedMisfit(rule, target->table);
  const bool is_written =
      std::any_of(target->written.begin(), target->written.end(), [&](int column) {
        return relation.columns[static_cast<size_t>(column)].name == rule->shared;
      });
  if (!is_written) {
    misfits.push_back(absl::StrCat("gets no value for column ", QuoteIdentifier(rule->shared)));
  }
  if (!misfits.empty()) {
    return Unfit(relation, absl::StrCat("it is shared, and ", absl::StrJoin(misfits, "; ")),
                 "Mend that at the destination (docs/shared.md), then run again.");
  }
  target->shared = QuoteIdentifier(rule->shared);
  target->shared_value = QuoteLiteral(rule->shared_value);
  return absl::OkStatus();
}

void FillColumns(const Relation& relation, const TargetCatalog& catalog, Target* target) {
  target->columns.resize(relation.columns.size());
  for (size_t i = 0; i < relation.columns.size(); ++i) {
    FillColumn(relation.columns[i], target->table, catalog, &target->columns[i]);
  }
  for (size_t i = 0; i < relation.key.size(); ++i) {
    target->columns[static_cast<size_t>(relation.key[i])].key_field = static_cast<int>(i);
  }
  bool can_pass_bytes = true;
  for (size_t i = 0; i < relation.sent.size(); ++i) {
    TargetColumn& column = target->columns[static_cast<size_t>(relation.sent[i])];
    column.field = static_cast<int>(i);
    can_pass_bytes &= column.is_binary && column.cast.empty();
    if (column.is_written) target->written.push_back(relation.sent[i]);
  }
  target->can_copy = can_pass_bytes && !target->written.empty() && !target->overwrites &&
                     !target->keeps_order && target->written.size() == relation.sent.size();
}

}  // namespace

std::string Target::AndOwn(absl::string_view alias) const {
  if (shared.empty()) return "";
  return absl::StrCat(" AND ", alias, shared, " OPERATOR(pg_catalog.=) ", shared_value);
}

absl::StatusOr<Target> MakeTarget(const Relation& relation, const Table& table,
                                  const TargetCatalog& catalog, bool overwrites, bool may_fold,
                                  const TableRule* rule) {
  Target target;
  target.relation = &relation;
  target.table = table;
  target.label = Label(relation.name);
  target.sql_name = QuoteQualified(relation.name.schema, relation.name.name);
  if (table.oid == 0) {
    return Unfit(relation, "it does not exist",
                 "Create it as it is at the source (pg_dump --schema-only --table).");
  }
  // At the source it was unlogged when the copy made it, empty, and has become logged since; or a
  // crash here would empty it.
  if (table.persistence == 'u') {
    return Unfit(relation, "it is unlogged: its rows were not copied, and a crash would lose them",
                 absl::StrCat(AlterTable(relation),
                              " SET LOGGED; after filling it from the source, "
                              "or drop the task and copy anew."));
  }
  target.only = table.kind == 'p' ? "" : "ONLY ";
  for (const Column& column : relation.columns) {
    absl::Status checked = CheckColumn(relation, column, table.FindColumn(column.name), catalog);
    if (!checked.ok()) return checked;
  }
  target.overwrites = overwrites;
  // What fires for a row may look at any other, and be told of it once for a whole COPY.
  target.keeps_order = !may_fold || table.has_always_triggers;
  FillColumns(relation, catalog, &target);
  absl::Status unsent = CheckUnsent(&target);
  if (!unsent.ok()) return unsent;
  // A row that is made anew has all its values from the image, and its removal may cascade.
  target.keeps_rows = !target.unsent.empty() || catalog.has_foreign_triggers.contains(table.oid);
  ChooseMatching(&target);
  absl::Status shared = Share(relation, rule, &target);
  if (!shared.ok()) return shared;
  target.is_key_unique = target.matching == Matching::kKey && HasUsableKey(target, rule);
  if (!target.shared.empty() && target.matching == Matching::kKey && !target.is_key_unique) {
    std::vector<std::string> key;
    for (int column : target.match) {
      key.push_back(target.columns[static_cast<size_t>(column)].name);
    }
    key.push_back(target.shared);
    return Unfit(relation,
                 absl::StrCat("it is shared and has no unique index on its key and column ",
                              target.shared, " together"),
                 absl::StrCat("At the destination: CREATE UNIQUE INDEX ON ", target.sql_name, " (",
                              absl::StrJoin(key, ", "), ");"));
  }
  target.overwrites = overwrites && target.is_key_unique;
  for (int column : target.written) {
    bool is_matched =
        std::find(target.match.begin(), target.match.end(), column) != target.match.end();
    target.may_change_always_identity |=
        target.columns[static_cast<size_t>(column)].is_always_identity &&
        (!is_matched || target.matching == Matching::kExact);
  }
  if (target.matching == Matching::kKey) {
    // An UPDATE does not tell whether it changes such an identity. A row of a partitioned table may
    // move between partitions, which the server does not let every UPDATE do, and of partitions'
    // own indexes nothing is known here.
    target.replaces = table.kind != 'r' || target.may_change_always_identity;
    // What is known of its indexes does not tell: one may be new, or only be enforced by a trigger
    // that fires for us. The refusal does.
    target.may_clash = !target.replaces;
  }
  target.can_fold = CanFold(target);
  return target;
}

bool MayFold(const std::map<TableName, bool>& folds, const TableName& table,
             const std::vector<TableName>& ancestors) {
  if (auto own = folds.find(table); own != folds.end()) return own->second;
  for (const TableName& ancestor : ancestors) {
    if (auto above = folds.find(ancestor); above != folds.end()) return above->second;
  }
  return true;
}

absl::Status CheckRedescription(const Relation& before, const Relation& now, const Table& table) {
  constexpr absl::string_view kThenRun = "; then run again.";
  if (before.oid != now.oid) {
    if (now.kind == 'p') return absl::OkStatus();  // partitions that are published as their root
    return Unfit(
        now, "the source has made another table of this name",
        "Bring the destination's table to what the source's is, or `towline drop` and copy "
        "again; then run again.");
  }
  for (const Column& old_column : before.columns) {
    // Columns that a rule adds have no number, and stay as long as the connection.
    auto same = std::find_if(now.columns.begin(), now.columns.end(), [&](const Column& column) {
      return column.attnum == old_column.attnum &&
             (column.attnum != 0 || column.name == old_column.name);
    });
    const TableColumn* there = table.FindColumn(old_column.name);
    if (same == now.columns.end() && there != nullptr) {
      return Unfit(now, absl::StrCat("the source has dropped column \"", old_column.name, "\""),
                   absl::StrCat(AlterTable(now), " DROP COLUMN ", QuoteIdentifier(old_column.name),
                                kThenRun));
    }
    if (same != now.columns.end() && same->name != old_column.name && there != nullptr) {
      return Unfit(
          now,
          absl::StrCat("the source has renamed column \"", old_column.name, "\" to \"", same->name,
                       "\""),
          absl::StrCat(AlterTable(now), " RENAME COLUMN ", QuoteIdentifier(old_column.name), " TO ",
                       QuoteIdentifier(same->name), kThenRun));
    }
  }
  return absl::OkStatus();
}

}  // namespace towline
