// Runs the stored statements of the schema dump at the destination, in transactions with their
// marks, so that a crash goes on at the next one.
#pragma once

#include <atomic>
#include <cstdint>
#include <set>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "model/name.h"
#include "state/position.h"
#include "state/state_store.h"

namespace towline {

struct SchemaRun {
  std::string section;          // pre, post, final
  std::set<TableName> existed;  // tables that were at the destination before the statements
  bool is_partial = false;      // not all tables are selected: for the hint of an error
  // Statements that an earlier try has run: what they make is there, which is not worth a line
  // each. Null: none. Outlives the run.
  const std::set<std::string>* made_before = nullptr;
  // So many statements share a transaction while all goes well: thousands of small ones (pre) would
  // otherwise cost a round trip for each step. 1 for those that take long and are not to be lost.
  size_t batch_max = 1;
  std::atomic<int64_t>* done = nullptr;  // counted for progress; may be null
  const char* fault_point = nullptr;     // passed after each statement; may be null
};

// Whether the error says that what the statement makes is there already. `existed`: the table it
// belongs to was at the destination before us.
bool IsAlreadyThere(absl::string_view statement, absl::string_view sqlstate, bool existed);

// Whether such a statement makes a schema, a table or what comes with tables: keys, indexes,
// sequences. Whoever makes the tables beforehand makes these too, and the checks have looked at
// what stands in the way of rows. Of others (functions, views, types, triggers, rules, ...) the
// name is all that is known when it is taken.
bool ComesWithTables(absl::string_view statement);

// The table in "CREATE TABLE "s"."t"", "ALTER TABLE [ONLY] "s"."t"" and the like, as pg_dump writes
// them with all names quoted; empty names if the statement is about something else.
TableName TableOfStatement(absl::string_view statement);

// For messages: the statement's beginning on one line, without what may be secret.
std::string ShortStatement(absl::string_view statement);

absl::Status RunSchemaStatements(Connection& session, StateStore& store, const SchemaRun& run);

// One of them, which is no setting, in a transaction with its mark, counted. Any thread.
absl::Status RunSchemaStatement(Connection& session, const TaskClaim& claim, const SchemaRun& run,
                                const SchemaStatement& statement);

// SET and set_config, in this session.
absl::Status ApplySchemaSetting(Connection& session, const std::string& statement);

}  // namespace towline
