// Sequences on either side: whether those that the copy and the stream carry over can be read at
// the source, are there at the destination, and may be set.
#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "precheck/check_context.h"
#include "schema/array_literal.h"

namespace towline {
namespace {

// Both arrays of names, and the role.
std::vector<Param> Asked(const CheckContext& context, const ServerFacts& facts) {
  ArrayLiteral schemas;
  ArrayLiteral names;
  for (const SequenceValue& sequence : context.sequences) {
    schemas.Add(sequence.name.schema);
    names.Add(sequence.name.name);
  }
  return {schemas.ToString(), names.ToString(), facts.role};
}

// A privilege question about a role that does not exist is an error; then it has none. In a select
// list: as a condition the server may ask it of what is no sequence.
std::string May(const ServerFacts& facts, absl::string_view has_privileges) {
  return facts.role_exists ? std::string(has_privileges) : "$3::text IS NULL";
}

bool IsLeftAlone(const CheckOptions& options, const std::vector<Table>& tables) {
  if (!options.copies_rows && !options.streams) return true;
  if (!options.requires_origin) return false;
  // Both sides may write.
  return !options.is_first_start || !options.copies_rows ||
         std::any_of(tables.begin(), tables.end(), [&options](const Table& table) {
           return options.existing.For(table) == ExistingTables::kAppend;
         });
}

}  // namespace

void CheckSourceSequences(CheckContext& context) {
  constexpr char kId[] = "source.sequence_privileges";
  const ServerFacts& facts = context.source_facts;
  SequenceSelection selection;
  selection.is_all = context.options.selection.include.empty();
  for (const Table& table : context.tables) selection.tables.push_back(table.name);
  absl::StatusOr<std::vector<SequenceValue>> found = FindSequences(*context.source, selection);
  if (!found.ok()) return context.FailBy(kId, found.status());
  context.sequences = *std::move(found);
  std::optional<Result> rights = context.Ask(
      kId, *context.source,
      absl::StrCat("SELECT pg_catalog.quote_ident(n.nspname), "
                   "pg_catalog.format('%I.%I', n.nspname, c.relname), ",
                   May(facts, "pg_catalog.has_schema_privilege($3::name, n.oid, 'USAGE')"), ", ",
                   May(facts, "pg_catalog.has_sequence_privilege($3::name, c.oid, 'SELECT')"),
                   " FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS "
                   "wanted(nspname, relname, number) "
                   "JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.nspname "
                   "JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = "
                   "wanted.relname AND c.relkind = 'S' ORDER BY wanted.number"),
      Asked(context, facts));
  if (!rights) return;
  std::set<std::string> schemas;
  std::vector<std::string> sequences;
  for (int row = 0; row < rights->row_count(); ++row) {
    if (!rights->GetBool(row, 2)) schemas.insert(rights->GetString(row, 0));
    if (!rights->GetBool(row, 3)) sequences.push_back(rights->GetString(row, 1));
  }
  if (schemas.empty() && sequences.empty()) {
    context.Pass(kId, absl::StrCat("role ", facts.QuotedRole(), " may read every sequence"));
    return;
  }
  std::vector<std::string> lacks;
  std::vector<std::string> statements;
  if (!schemas.empty()) {
    lacks.push_back(absl::StrCat("USAGE on ", Counted(schemas.size(), "schema"), " (",
                                 ListNames({schemas.begin(), schemas.end()}), ")"));
    statements.push_back(absl::StrCat("GRANT USAGE ON SCHEMA ", absl::StrJoin(schemas, ", "),
                                      " TO ", facts.QuotedRole(), ";"));
  }
  if (!sequences.empty()) {
    lacks.push_back(absl::StrCat("SELECT on ", Counted(sequences.size(), "sequence"), " (",
                                 ListNames(sequences), ")"));
    statements.push_back(absl::StrCat("GRANT SELECT ON SEQUENCE ", absl::StrJoin(sequences, ", "),
                                      " TO ", facts.QuotedRole(), ";"));
  }
  context.Warn(kId,
               absl::StrCat("role ", facts.QuotedRole(), " lacks ", absl::StrJoin(lacks, ", ")),
               {.statement = absl::StrJoin(statements, "\n")});
}

void CheckDestinationSequences(CheckContext& context) {
  constexpr char kId[] = "destination.sequences";
  const CheckOptions& options = context.options;
  if (!context.source || context.is_same_database || IsLeftAlone(options, context.tables)) return;
  const ServerFacts& facts = context.destination_facts;
  // pg_sequence_last_value() wants one of two rights, setval() its own.
  std::optional<Result> there = context.Ask(
      kId, *context.destination,
      absl::StrCat("SELECT pg_catalog.format('%I.%I', wanted.nspname, wanted.relname), "
                   "c.oid IS NOT NULL, COALESCE(",
                   May(facts,
                       "pg_catalog.has_sequence_privilege($3::name, c.oid, 'UPDATE') AND "
                       "pg_catalog.has_sequence_privilege($3::name, c.oid, 'SELECT, USAGE')"),
                   ", false) AND $3::text IS NOT NULL FROM unnest($1::text[], $2::text[]) WITH "
                   "ORDINALITY AS wanted(nspname, relname, number) "
                   "LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.nspname "
                   "LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = "
                   "wanted.relname AND c.relkind = 'S' ORDER BY wanted.number"),
      Asked(context, facts));
  if (!there) return;
  std::vector<std::string> missing;
  std::vector<std::string> closed;
  for (int row = 0; row < there->row_count(); ++row) {
    if (there->GetBool(row, 1)) {
      if (!there->GetBool(row, 2)) closed.push_back(there->GetString(row, 0));
    } else if (!options.copies_schema) {
      missing.push_back(there->GetString(row, 0));
    }
  }
  if (!missing.empty()) {
    context.Warn(kId,
                 absl::StrCat(Counted(missing.size(), "sequence"),
                              " of the source missing: ", ListNames(missing)),
                 {.text = "Create them as the source has them, with the defaults that use them, "
                          "or set schema: copy."});
  }
  if (!closed.empty()) {
    std::string found = absl::StrCat("role ", facts.QuotedRole(), " may not set ",
                                     Counted(closed.size(), "sequence"), ": ", ListNames(closed));
    Mend mend = {.statement =
                     absl::StrCat("GRANT SELECT, UPDATE ON SEQUENCE ", absl::StrJoin(closed, ", "),
                                  " TO ", facts.QuotedRole(), ";")};
    // The copy ends with setting them; the stream goes on without.
    if (options.is_first_start && options.copies_rows) {
      context.Fail(kId, std::move(found), std::move(mend));
    } else {
      context.Warn(kId, std::move(found), std::move(mend));
    }
  }
  if (missing.empty() && closed.empty()) {
    context.Pass(kId, absl::StrCat("role ", facts.QuotedRole(), " may set every sequence",
                                   options.copies_schema ? " that is there" : ""));
  }
}

}  // namespace towline
