#include "snapshot/moved_rows.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "model/row_image.h"
#include "model/snapshot.h"
#include "pg/quoting.h"
#include "pg/sqlstate.h"
#include "snapshot/exported_snapshot.h"
#include "state/task_name.h"

namespace towline {
namespace {

// Shorter than deadlock_timeout: a deadlock with us never ends the user's transaction.
constexpr char kLockTimeoutSql[] = "SET lock_timeout = '500ms'";
// A row of nearly 1 GB takes seconds.
constexpr absl::Duration kAnswerWaitMax = absl::Minutes(2);
constexpr absl::Duration kIdleMax = absl::Seconds(10);

constexpr uint64_t kXidsApartMax = uint64_t{1} << 31;

// Columns of the answer; the values follow.
enum : int { kSnapshot, kColumnsFound, kTable, kXmin, kValues };

// Whether a value's output is told by the value alone; b: its type, or the base of that domain, e:
// the type of its elements.
constexpr char kIsOfItself[] =
    "b.typtype = 'b' AND COALESCE(e.typtype, 'b') = 'b' AND NOT EXISTS ("
    "SELECT FROM pg_catalog.pg_type AS named WHERE named.oid IN (b.oid, e.oid) AND "
    "named.typnamespace = 'pg_catalog'::pg_catalog.regnamespace AND "
    "(named.typname LIKE 'reg%' OR named.typname = 'aclitem'))";

// The table, or what is known of it, is another one than then.
bool IsOfTheTable(const absl::Status& status) {
  const std::string sqlstate = GetSqlState(status);
  if (sqlstate == "42501") return false;
  return absl::StartsWith(sqlstate, "42") || absl::StartsWith(sqlstate, "3F") ||
         absl::StartsWith(sqlstate, "22") || absl::StartsWith(sqlstate, "23") ||
         absl::StartsWith(sqlstate, "0A");
}

// Of any table: a rule of a partitioned one holds for its partitions, whose families are not known
// here.
bool MayBeComputed(const TableRules& rules, const std::string& column) {
  return std::any_of(rules.begin(), rules.end(), [&column](const auto& entry) {
    const RuleColumn* listed = entry.second.FindColumn(column);
    return listed != nullptr && listed->expression.has_value();
  });
}

}  // namespace

// What is asked for in one form.
struct MovedRows::Question {
  const Column* key = nullptr;
  Field key_field;
  ValueFormat format = ValueFormat::kBinary;
  std::vector<const Column*> columns;

  std::string Sql(const Relation& relation, const std::string& table) const;
};

// A row in any case, which tells of the snapshot.
std::string MovedRows::Question::Sql(const Relation& relation, const std::string& table) const {
  std::vector<std::string> described;
  std::vector<std::string> values;
  auto describe = [&described](const Column& column) {
    described.push_back(absl::StrCat("(", column.attnum, ", ", QuoteLiteral(column.name), ", '",
                                     column.type_oid, "'::pg_catalog.oid)"));
  };
  describe(*key);
  for (const Column* column : columns) {
    describe(*column);
    values.push_back(absl::StrCat("t.", QuoteIdentifier(column->name)));
  }
  return absl::StrCat(
      "SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text, (SELECT pg_catalog.count(*) FROM "
      "pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS d ON d.oid = a.atttypid JOIN "
      "pg_catalog.pg_type AS b ON b.oid = CASE WHEN d.typtype = 'd' THEN d.typbasetype ELSE d.oid "
      "END LEFT JOIN pg_catalog.pg_type AS e ON e.oid = b.typelem WHERE a.attrelid = '",
      relation.oid,
      "'::pg_catalog.oid AND NOT a.attisdropped AND (a.attnum, a.attname, a.atttypid) IN (",
      absl::StrJoin(described, ", "), ") AND (a.attnum = ", key->attnum, " OR (", kIsOfItself,
      ")))::pg_catalog.text, r.* FROM (SELECT) AS one LEFT JOIN (SELECT "
      "t.tableoid::pg_catalog.text, t.xmin::pg_catalog.text, ",
      absl::StrJoin(values, ", "), " FROM ONLY ", table, " AS t WHERE t.",
      QuoteIdentifier(key->name), " OPERATOR(pg_catalog.=) $1) AS r ON true");
}

MovedRows::MovedRows(Options options, const Shutdown& shutdown)
    : options_(std::move(options)), shutdown_(shutdown) {}

absl::Status MovedRows::Open(const Relation& relation) {
  used_at_ = SteadyNow();
  if (session_.has_value()) return absl::OkStatus();
  Connection::Purpose purpose;
  purpose.application_name = SourceApplication(options_.task, "values");
  purpose.settings = {kRuleSearchPathSql, kLockTimeoutSql};
  TOWLINE_ASSIGN_OR_RETURN(Connection session,
                           Connection::Open(options_.source, purpose, shutdown_));
  session.set_answer_wait_max(kAnswerWaitMax);
  session_.emplace(std::move(session));
  LogInfo("large values of rows that have moved between ranges are read again at the source",
          {{"table", QuoteQualified(relation.name.schema, relation.name.name)}});
  return absl::OkStatus();
}

void MovedRows::CloseIfIdle() {
  if (session_.has_value() && SteadyNow() - used_at_ > kIdleMax) session_.reset();
}

// It may have been renamed since; which one is read the answer tells.
absl::StatusOr<std::optional<std::string>> MovedRows::NameOf(Oid table) {
  auto known = names_.find(table);
  if (known != names_.end()) return std::optional<std::string>(known->second);
  TOWLINE_ASSIGN_OR_RETURN(
      Result found,
      session_->Query("SELECT n.nspname, c.relname FROM pg_catalog.pg_class AS c JOIN "
                      "pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "
                      "WHERE c.oid = $1::pg_catalog.oid",
                      {{absl::StrCat(table)}}));
  if (found.row_count() == 0) return std::optional<std::string>();
  std::string name = QuoteQualified(found.GetString(0, 0), found.GetString(0, 1));
  names_[table] = name;
  return std::optional<std::string>(std::move(name));
}

absl::StatusOr<MovedRows::Verdict> MovedRows::Ask(const MovedRow& moved, const Question& question,
                                                  const std::string& table,
                                                  std::optional<Result>* answer) {
  const TypedParam key{.type = question.key->type_oid,
                       .is_binary = question.key->format == ValueFormat::kBinary,
                       .bytes = std::string(question.key_field.bytes)};
  absl::StatusOr<Result> asked = session_->QueryTyped(question.Sql(*moved.relation, table), {key},
                                                      question.format == ValueFormat::kBinary);
  if (IsLockRefused(asked.status())) return Verdict::kNotYet;
  if (IsOfTheTable(asked.status()) || IsTooLarge(asked.status())) return Verdict::kGone;
  if (!asked.ok()) {
    return WithContext(asked.status(), "cannot read the large values of a row that has moved");
  }
  const Result& found = answer->emplace(*std::move(asked));
  TOWLINE_ASSIGN_OR_RETURN(Snapshot snapshot, Snapshot::Parse(found.Get(0, kSnapshot)));
  if (!snapshot.IsVisible(moved.xid)) return Verdict::kNotYet;
  if (snapshot.xmax() - moved.xid >= kXidsApartMax || found.row_count() != 1) return Verdict::kGone;
  const auto value_count = static_cast<int>(question.columns.size());
  for (int i = 0; i < kValues + value_count; ++i) {
    if (found.IsNull(0, i)) return Verdict::kGone;
  }
  const bool is_it = found.Get(0, kTable) == absl::StrCat(moved.relation->oid) &&
                     found.Get(0, kXmin) == absl::StrCat(static_cast<uint32_t>(moved.writer)) &&
                     found.Get(0, kColumnsFound) == absl::StrCat(1 + value_count);
  return is_it ? Verdict::kRead : Verdict::kGone;
}

absl::StatusOr<MovedRowReader::Answer> MovedRows::Read(const MovedRow& moved) {
  const Relation& relation = *moved.relation;
  Question binary;
  Question text;
  text.format = ValueFormat::kText;
  RowReader fields(moved.row);
  for (int index : relation.sent) {
    const Column& column = relation.columns[static_cast<size_t>(index)];
    const Field field = fields.Next();
    if (column.name == moved.key_column) {
      if (field.kind != FieldKind::kValue) return Answer{};
      binary.key = text.key = &column;
      binary.key_field = text.key_field = field;
    } else if (field.kind == FieldKind::kUnchangedToast) {
      if (MayBeComputed(options_.rules, column.name)) return Answer{};
      Question& question = column.format == ValueFormat::kBinary ? binary : text;
      question.columns.push_back(&column);
    }
  }
  if (binary.key == nullptr) return Answer{};

  TOWLINE_RETURN_IF_ERROR(Open(relation));
  TOWLINE_ASSIGN_OR_RETURN(const std::optional<std::string> table, NameOf(relation.oid));
  if (!table.has_value()) return Answer{};
  // Both see the same version, if each sees one that the transaction has written.
  std::optional<Result> of_binary;
  std::optional<Result> of_text;
  for (auto [question, answer] : {std::pair(&binary, &of_binary), std::pair(&text, &of_text)}) {
    if (question->columns.empty()) continue;
    TOWLINE_ASSIGN_OR_RETURN(const Verdict verdict, Ask(moved, *question, *table, answer));
    if (verdict != Verdict::kRead) return Answer{.verdict = verdict};
  }

  Answer whole{.verdict = Verdict::kRead};
  AppendFieldCount(static_cast<int>(relation.sent.size()), &whole.row);
  int next_binary = kValues;
  int next_text = kValues;
  fields = RowReader(moved.row);
  for (int index : relation.sent) {
    Field field = fields.Next();
    if (field.kind == FieldKind::kUnchangedToast) {
      const bool is_binary =
          relation.columns[static_cast<size_t>(index)].format == ValueFormat::kBinary;
      field = {FieldKind::kValue,
               is_binary ? of_binary->Get(0, next_binary++) : of_text->Get(0, next_text++)};
    }
    AppendField(field, &whole.row);
  }
  return whole;
}

}  // namespace towline
