#include "snapshot/schema_runner.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/dump_script.h"
#include "schema/post_data.h"
#include "snapshot/wait_blockers.h"

namespace towline {
namespace {

constexpr size_t kShortBytesMax = 120;
// Of one message to the server: a batch of large function bodies stays small.
constexpr size_t kBatchBytesMax = 256 << 10;

// Takes a quoted name and the dot behind it, if any, off the front.
bool TakePart(absl::string_view* text, std::string* name) {
  if (!TakeQuotedName(text, name)) return false;
  absl::ConsumePrefix(text, ".");
  return true;
}

// duplicate_table (also indexes, views, sequences, types of tables), _object, _function, _schema,
// _column, _alias, _database.
bool IsDuplicate(absl::string_view sqlstate) {
  for (absl::string_view code : {"42P07", "42710", "42723", "42P06", "42701", "42712", "42P04"}) {
    if (sqlstate == code) return true;
  }
  return false;
}

bool IsUndefined(absl::string_view sqlstate) {
  for (absl::string_view code : {"42P01", "42704", "42883", "3F000", "42703"}) {
    if (sqlstate == code) return true;
  }
  return false;
}

bool IsAddingPrimaryKey(absl::string_view statement) {
  return absl::StartsWith(statement, "ALTER TABLE ") &&
         absl::StrContains(statement, "ADD CONSTRAINT ") &&
         absl::StrContains(statement, "PRIMARY KEY");
}

enum class Outcome { kFailed, kAlreadyThere, kNotOurs, kDropped };

Outcome Judge(const SchemaRun& run, const std::string& statement, const absl::Status& status) {
  std::string sqlstate = GetSqlState(status);
  if (IsAlreadyThere(statement, sqlstate, run.existed.contains(TableOfStatement(statement)))) {
    return Outcome::kAlreadyThere;
  }
  if (sqlstate == "42704" && ClassifyPostData(statement).kind == PostDataKind::kValidation) {
    return Outcome::kDropped;
  }
  // Neither a comment nor an owner or right is worth a stop: extensions and the schema public often
  // belong to a superuser.
  bool can_be_left_out = absl::StartsWith(statement, "COMMENT ON ") || IsAboutRights(statement);
  return can_be_left_out && sqlstate == "42501" ? Outcome::kNotOurs : Outcome::kFailed;
}

// Of an index or constraint that the rows do not fit: unique_violation, exclusion_violation,
// not_null_violation, foreign_key_violation.
std::string HintForRows(const PostData& made, absl::string_view sqlstate) {
  std::string table = QuoteQualified(made.table.schema, made.table.name);
  std::string name = QuoteIdentifier(made.name);
  if (sqlstate == "23503" &&
      (made.kind == PostDataKind::kForeignKey || made.kind == PostDataKind::kValidation)) {
    std::string hint = absl::StrCat(
        "Rows of ", table,
        " at the destination have no parent. If they are the source's, mend them "
        "there and run towline again: what you change is streamed first, then ",
        name,
        " is tried again. If they are the destination's own, or their parents were not selected, "
        "delete them there");
    if (made.kind == PostDataKind::kForeignKey) return hint + ".";
    return absl::StrCat(hint, "; or do without: at the destination ALTER TABLE ", table,
                        " DROP CONSTRAINT ", name, ";");
  }
  if (made.kind != PostDataKind::kIndex && made.kind != PostDataKind::kKey) return "";
  if (sqlstate == "23505" || sqlstate == "23P01" || sqlstate == "23502") {
    return absl::StrCat("Rows of ", table, " at the destination do not fit ", name,
                        ", such as those that were there before the copy: change or delete them "
                        "there, then run towline again. It goes on at this statement.");
  }
  return "";
}

absl::Status ExplainStatementError(const SchemaRun& run, const absl::Status& status,
                                   absl::string_view statement) {
  absl::Status explained =
      WithContext(status, absl::StrCat("schema statement failed: ", ShortStatement(statement)));
  // What the server finds wrong with a statement it will find wrong again.
  if (status.code() == absl::StatusCode::kUnknown) {
    explained = WithCode(explained, absl::StatusCode::kFailedPrecondition);
  }
  std::string sqlstate = GetSqlState(status);
  if (std::string hint = HintForRows(ClassifyPostData(statement), sqlstate); !hint.empty()) {
    return WithHint(explained, hint);
  }
  if (run.is_partial && IsUndefined(sqlstate)) {
    return WithHint(explained,
                    "If it needs something that is not selected, select that as well, or make the "
                    "object at the destination yourself. Then run towline again: what is there "
                    "already is left as it is.");
  }
  if (!GetHint(status).empty()) return explained;
  if (sqlstate == "42501") {
    return WithHint(explained,
                    "Give the destination's role the right, or let a role that has it "
                    "run the statement, then run towline again: what is there already "
                    "is left as it is.");
  }
  if (sqlstate == "58P01" || sqlstate == "0A000") {
    return WithHint(explained,
                    "Install what the statement needs (an extension's package, a build "
                    "option) on the destination's host, then run towline again.");
  }
  return WithHint(explained,
                  "Mend the cause, or make the object at the destination yourself, then "
                  "run towline again: what is there already is left as it is.");
}

void LogOutcome(const SchemaRun& run, Outcome outcome, const std::string& statement,
                const absl::Status& status) {
  std::string text = ShortStatement(statement);
  switch (outcome) {
    case Outcome::kAlreadyThere:
      if (run.made_before != nullptr && run.made_before->contains(statement)) {
        LogDebug("made by an earlier try", {{"statement", text}});
      } else if (ComesWithTables(statement)) {
        LogInfo("already at the destination and left as it is", {{"statement", text}});
      } else {
        LogWarning(
            "an object of this name was at the destination already and is left as it is; "
            "towline verify --schema-only shows whether it differs from the source's",
            {{"statement", text}});
      }
      return;
    case Outcome::kNotOurs:
      LogWarning("no right to run a statement at the destination; left out",
                 {{"statement", text}, {"error", std::string(status.message())}});
      return;
    case Outcome::kDropped:
      LogWarning("a foreign key was dropped at the destination before it was validated; left out",
                 {{"statement", text}});
      return;
    case Outcome::kFailed:
      return;
  }
}

// An index shares its names with all relations of its schema, so "already exists" may speak of
// another table's index, or of a table. Then the key would be missing without a word.
absl::Status CheckIsThatIndex(Connection& session, const std::string& statement) {
  PostData index = ClassifyPostData(statement);
  if (index.kind != PostDataKind::kIndex && index.kind != PostDataKind::kKey) {
    return absl::OkStatus();
  }
  TOWLINE_ASSIGN_OR_RETURN(
      Result found, session.Query("SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_index i "
                                  "WHERE i.indexrelid = c.oid AND i.indrelid = t.oid) "
                                  "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
                                  "ON n.oid = c.relnamespace AND n.nspname = $1 AND c.relname = $2 "
                                  "LEFT JOIN pg_catalog.pg_class t "
                                  "ON t.relnamespace = n.oid AND t.relname = $3",
                                  {{index.table.schema, index.name, index.table.name}}));
  if (found.row_count() == 0 || found.GetBool(0, 0)) return absl::OkStatus();
  std::string name = QuoteQualified(index.table.schema, index.name);
  return WithHint(absl::FailedPreconditionError(absl::StrCat(
                      "an index or constraint of ",
                      QuoteQualified(index.table.schema, index.table.name), " cannot be made: ",
                      name, " exists at the destination and is something else; the statement is ",
                      ShortStatement(statement))),
                  absl::StrCat("Rename what is there (ALTER INDEX or ALTER TABLE ", name,
                               " RENAME TO ...), then run towline again."));
}

// lock_timeout has ended the statement: whose locks it has waited for, on its table or the one that
// it references. They may be gone meanwhile.
absl::Status NameLockHolders(Connection& session, const std::string& statement,
                             const absl::Status& status) {
  if (GetSqlState(status) != "55P03" || !session.is_alive()) return status;
  TOWLINE_RETURN_IF_ERROR(session.Exec("ROLLBACK").status());
  PostData made = ClassifyPostData(statement);
  for (const TableName& table : {made.table, made.referenced}) {
    if (table.name.empty()) continue;
    bool with_readers = made.kind == PostDataKind::kKey;
    TOWLINE_ASSIGN_OR_RETURN(std::string holders, DescribeTableLocks(session, table, with_readers));
    if (holders.empty()) continue;
    return WithHint(
        WithContext(status, absl::StrCat("table ", QuoteQualified(table.schema, table.name),
                                         " is locked at the destination by ", holders)),
        "Let that transaction end: the statement is tried again.");
  }
  return status;
}

// A foreign key that somebody else has made is left as it is, validated or not.
absl::Status LeaveUnvalidated(Connection& session, const TaskClaim& claim,
                              const SchemaStatement& statement) {
  std::string validation = ValidationOf(statement.statement);
  if (validation.empty()) return absl::OkStatus();
  return session
      .Query(
          "UPDATE towline_state.schema_statement SET is_done = true "
          "WHERE task = $1 AND section = $2 AND statement = $3",
          {claim.task, statement.section, validation})
      .status();
}

// For the right to create a schema the server asks before it looks whether there is one.
absl::StatusOr<bool> IsSchemaThere(Connection& session, absl::string_view statement) {
  std::string name;
  if (!absl::ConsumePrefix(&statement, "CREATE SCHEMA ") || !TakeQuotedName(&statement, &name)) {
    return false;
  }
  TOWLINE_ASSIGN_OR_RETURN(
      Result found,
      session.Query("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1", {name}));
  return found.row_count() == 1;
}

absl::Status RunStatement(Connection& session, const TaskClaim& claim, const SchemaRun& run,
                          const SchemaStatement& statement) {
  TOWLINE_RETURN_IF_ERROR(session.Exec("BEGIN").status());
  TOWLINE_RETURN_IF_ERROR(CheckEpoch(session, claim));
  TOWLINE_RETURN_IF_ERROR(session.Exec("SAVEPOINT towline_statement").status());
  absl::Status status = session.Exec(statement.statement).status();
  if (!status.ok()) {
    Outcome outcome =
        session.is_alive() ? Judge(run, statement.statement, status) : Outcome::kFailed;
    if (session.is_alive()) {
      TOWLINE_RETURN_IF_ERROR(session.Exec("ROLLBACK TO SAVEPOINT towline_statement").status());
    }
    if (outcome == Outcome::kFailed && GetSqlState(status) == "42501") {
      TOWLINE_ASSIGN_OR_RETURN(bool is_there, IsSchemaThere(session, statement.statement));
      if (is_there) outcome = Outcome::kAlreadyThere;
    }
    if (outcome == Outcome::kFailed) {
      return ExplainStatementError(run, NameLockHolders(session, statement.statement, status),
                                   statement.statement);
    }
    LogOutcome(run, outcome, statement.statement, status);
    if (outcome == Outcome::kAlreadyThere) {
      TOWLINE_RETURN_IF_ERROR(CheckIsThatIndex(session, statement.statement));
      TOWLINE_RETURN_IF_ERROR(LeaveUnvalidated(session, claim, statement));
    }
  }
  TOWLINE_RETURN_IF_ERROR(
      MarkSchemaStatementDone(session, claim, statement.section, statement.ordinal));
  return session.Exec("COMMIT").status();
}

}  // namespace

// A newer pg_dump sets what an older destination does not know, and a destination may lack the
// access method or the tablespace that is the default at the source.
absl::Status ApplySchemaSetting(Connection& session, const std::string& statement) {
  absl::Status status = session.Exec(statement).status();
  std::string sqlstate = GetSqlState(status);
  if (sqlstate != "42704" && sqlstate != "22023") return status;
  LogWarning("a setting of the schema dump does not exist at the destination; left out",
             {{"statement", statement}});
  return absl::OkStatus();
}

absl::Status RunSchemaStatement(Connection& session, const TaskClaim& claim, const SchemaRun& run,
                                const SchemaStatement& statement) {
  TOWLINE_RETURN_IF_ERROR(RunStatement(session, claim, run, statement));
  if (run.done != nullptr) run.done->fetch_add(1);
  if (run.fault_point != nullptr) FaultPoint(run.fault_point);
  return absl::OkStatus();
}

namespace {

absl::Status RunOneByOne(Connection& session, const TaskClaim& claim, const SchemaRun& run,
                         absl::Span<const SchemaStatement> batch) {
  for (const SchemaStatement& statement : batch) {
    if (statement.is_setting) {
      TOWLINE_RETURN_IF_ERROR(ApplySchemaSetting(session, statement.statement));
    } else if (!statement.is_done) {
      TOWLINE_RETURN_IF_ERROR(RunSchemaStatement(session, claim, run, statement));
    }
  }
  return absl::OkStatus();
}

// How many statements from the front make a batch: neither settings nor done ones among several.
size_t BatchSize(absl::Span<const SchemaStatement> left, size_t batch_max) {
  size_t count = 0;
  size_t bytes = 0;
  while (count < left.size() && count < batch_max && bytes < kBatchBytesMax &&
         !left[count].is_setting && !left[count].is_done) {
    bytes += left[count].statement.size();
    ++count;
  }
  return std::max<size_t>(count, 1);
}

// All in one round trip and one transaction; if one of them fails, one by one, where each error is
// judged.
absl::Status RunBatch(Connection& session, const TaskClaim& claim, const SchemaRun& run,
                      absl::Span<const SchemaStatement> batch) {
  if (batch.size() == 1) return RunOneByOne(session, claim, run, batch);
  std::string sql;  // a statement may end in a comment, which its line ends
  for (const SchemaStatement& statement : batch)
    absl::StrAppend(&sql, statement.statement, "\n;\n");
  TOWLINE_RETURN_IF_ERROR(session.Exec("BEGIN").status());
  TOWLINE_RETURN_IF_ERROR(CheckEpoch(session, claim));
  absl::Status status = session.Exec(sql).status();
  if (!status.ok()) {
    if (!session.is_alive() || absl::IsCancelled(status)) return status;
    TOWLINE_RETURN_IF_ERROR(session.Exec("ROLLBACK").status());
    return RunOneByOne(session, claim, run, batch);
  }
  TOWLINE_RETURN_IF_ERROR(MarkSchemaStatementsDone(session, claim, run.section,
                                                   batch.front().ordinal, batch.back().ordinal));
  TOWLINE_RETURN_IF_ERROR(session.Exec("COMMIT").status());
  if (run.done != nullptr) run.done->fetch_add(static_cast<int64_t>(batch.size()));
  return absl::OkStatus();
}

}  // namespace

bool IsAlreadyThere(absl::string_view statement, absl::string_view sqlstate, bool existed) {
  if (IsDuplicate(sqlstate)) return true;
  // Of text search objects and their mappings the catalog's unique index speaks.
  if (sqlstate == "23505" && (absl::StartsWith(statement, "ALTER TEXT SEARCH ") ||
                              absl::StartsWith(statement, "CREATE TEXT SEARCH "))) {
    return true;
  }
  if (!existed) return false;
  // multiple primary keys, already an identity column, already a partition
  return (sqlstate == "42P16" && IsAddingPrimaryKey(statement)) ||
         (sqlstate == "55000" && absl::StrContains(statement, " ADD GENERATED ")) ||
         (sqlstate == "42809" && absl::StrContains(statement, " ATTACH PARTITION "));
}

bool ComesWithTables(absl::string_view statement) {
  for (absl::string_view beginning :
       {"CREATE TABLE ", "CREATE UNLOGGED TABLE ", "CREATE INDEX ", "CREATE UNIQUE INDEX ",
        "CREATE SEQUENCE ", "CREATE UNLOGGED SEQUENCE ", "CREATE SCHEMA ", "ALTER "}) {
    if (absl::StartsWith(statement, beginning)) return true;
  }
  return false;
}

TableName TableOfStatement(absl::string_view statement) {
  TableName name;
  absl::ConsumePrefix(&statement, "CREATE ") || absl::ConsumePrefix(&statement, "ALTER ");
  absl::ConsumePrefix(&statement, "UNLOGGED ");
  if (!absl::ConsumePrefix(&statement, "TABLE ")) return {};
  absl::ConsumePrefix(&statement, "ONLY ");
  // ATTACH PARTITION stands in a statement about the parent; the partition is what it changes.
  if (size_t at = statement.find(" ATTACH PARTITION "); at != absl::string_view::npos) {
    statement.remove_prefix(at + sizeof(" ATTACH PARTITION ") - 1);
  }
  if (!TakePart(&statement, &name.schema) || !TakePart(&statement, &name.name)) {
    return {};
  }
  return name;
}

std::string ShortStatement(absl::string_view statement) {
  // OPTIONS of servers and user mappings may hold a password.
  statement = statement.substr(0, statement.find("OPTIONS ("));
  std::string line;
  for (char c : statement) {
    bool is_space = absl::ascii_isspace(static_cast<unsigned char>(c));
    if (is_space && (line.empty() || line.back() == ' ')) continue;
    line.push_back(is_space ? ' ' : c);
    if (line.size() > kShortBytesMax) break;
  }
  if (line.size() <= kShortBytesMax) return std::string(absl::StripAsciiWhitespace(line));
  // Not in the middle of a character: bytes 10xxxxxx go on one.
  size_t end = kShortBytesMax;
  while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xC0) == 0x80) --end;
  return line.substr(0, end) + "...";
}

absl::Status RunSchemaStatements(Connection& session, StateStore& store, const SchemaRun& run) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<SchemaStatement> statements,
                           store.ReadSchemaStatements(run.section));
  TaskClaim claim = store.claim();
  absl::Span<const SchemaStatement> left = statements;
  while (!left.empty()) {
    size_t count = BatchSize(left, run.batch_max);
    absl::Span<const SchemaStatement> batch = left.subspan(0, count);
    left.remove_prefix(count);
    TOWLINE_RETURN_IF_ERROR(RunBatch(session, claim, run, batch));
  }
  return absl::OkStatus();
}

}  // namespace towline
