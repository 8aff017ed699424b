// The part of the store that the initial copy keeps: its pieces and schema statements.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "schema/array_literal.h"
#include "state/parked_piece.h"
#include "state/state_store.h"
#include "state/task_row.h"

namespace towline {
namespace {

// Rows as parameters, many in a statement: one round trip per row would take minutes over a slow
// line, and the protocol carries at most 65535 parameters.
absl::Status InsertRows(Connection& connection, absl::string_view into,
                        const std::vector<absl::string_view>& types, std::vector<Param> values) {
  const size_t width = types.size();
  const size_t rows_max = 60'000 / width;
  for (size_t first = 0; first < values.size() / width; first += rows_max) {
    size_t count = std::min(rows_max, values.size() / width - first);
    std::string sql = absl::StrCat("INSERT INTO ", into, " VALUES ");
    for (size_t row = 0, number = 0; row < count; ++row) {
      absl::StrAppend(&sql, row == 0 ? "(" : ", (");
      for (size_t column = 0; column < width; ++column) {
        absl::StrAppend(&sql, column == 0 ? "$" : ", $", ++number, "::", types[column]);
      }
      sql.push_back(')');
    }
    TOWLINE_RETURN_IF_ERROR(
        connection.Query(sql, absl::MakeConstSpan(values).subspan(first * width, count * width))
            .status());
  }
  return absl::OkStatus();
}

// Of the task's tables all but OtherThan()'s.
constexpr char kOtherThanSql[] =
    "task = $1 AND (schema_name, table_name) NOT IN "
    "(SELECT s, n FROM unnest($2::text[], $3::text[]) AS k(s, n))";

// Of the columns that ReadPieces() selects.
absl::StatusOr<std::optional<ChunkKey>> ReadKey(const Result& pieces, int row) {
  if (pieces.IsNull(row, 10)) return std::optional<ChunkKey>();
  std::optional<KeyType> type = ParseKeyType(pieces.Get(row, 11));
  if (!type.has_value()) {
    return absl::DataLossError("towline_state.piece names a type of key that does not exist");
  }
  return std::optional(ChunkKey{.column = pieces.GetString(row, 10),
                                .type_oid = static_cast<Oid>(pieces.GetInt(row, 12)),
                                .type = *type,
                                .collation = pieces.GetString(row, 13)});
}

}  // namespace

absl::Status StateStore::StartCopy(const std::vector<PieceRow>& pieces,
                                   const std::vector<SchemaStatement>& statements,
                                   const std::optional<SnapshotRow>& snapshot, TaskState state) {
  absl::Status stored = InTransaction(connection_, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(UpdateTask(kStateAssignments, StateParams(state, "")));
    TOWLINE_RETURN_IF_ERROR(
        DeleteRows({"piece", "range", "snapshot", "shape", "schema_statement"}));
    if (snapshot.has_value()) {
      TOWLINE_RETURN_IF_ERROR(InsertSnapshot(*snapshot));
    } else {
      TOWLINE_RETURN_IF_ERROR(UpdateTask("lsn_after = NULL", {}));
    }
    TOWLINE_RETURN_IF_ERROR(InsertPieces(pieces));
    return InsertStatements(statements);
  });
  if (stored.ok()) on_state_(state);
  return stored;
}

absl::Status StateStore::InsertStatements(const std::vector<SchemaStatement>& statements) {
  std::vector<Param> values;
  for (const SchemaStatement& statement : statements) {
    values.insert(values.end(), {options_.task, statement.section, absl::StrCat(statement.ordinal),
                                 statement.is_setting ? "t" : "f", statement.statement,
                                 statement.is_done ? "t" : "f"});
  }
  return InsertRows(connection_,
                    "towline_state.schema_statement (task, section, ordinal, is_setting, "
                    "statement, is_done)",
                    {"text", "text", "bigint", "boolean", "text", "boolean"}, std::move(values));
}

std::vector<Param> StateStore::OtherThan(const std::set<TableName>& tables) const {
  ArrayLiteral schemas, names;
  for (const TableName& table : tables) {
    schemas.Add(table.schema);
    names.Add(table.name);
  }
  return {options_.task, schemas.ToString(), names.ToString()};
}

absl::Status StateStore::DeleteRows(std::initializer_list<const char*> tables) {
  for (const char* table : tables) {
    TOWLINE_RETURN_IF_ERROR(
        connection_
            .Query(absl::StrCat("DELETE FROM towline_state.", table, " WHERE task = $1"),
                   {options_.task})
            .status());
  }
  return absl::OkStatus();
}

absl::Status StateStore::InsertPieces(const std::vector<PieceRow>& pieces) {
  std::vector<Param> values;
  for (const PieceRow& piece : pieces) {
    values.insert(
        values.end(),
        {options_.task,
         piece.table.schema,
         piece.table.name,
         absl::StrCat(values.size()),
         absl::StrCat(piece.source_oid),
         piece.existing,
         piece.state,
         absl::StrCat(piece.bytes_total),
         absl::StrCat(piece.rows_done),
         piece.rule,
         piece.snapshot_number == 0 ? Param() : Param(absl::StrCat(piece.snapshot_number)),
         piece.key ? Param(piece.key->column) : Param(),
         piece.key ? Param(std::string(KeyTypeName(piece.key->type))) : Param(),
         piece.key ? Param(absl::StrCat(piece.key->type_oid)) : Param(),
         piece.key ? Param(piece.key->collation) : Param(),
         piece.source_form,
         piece.is_added ? "t" : "f",
         piece.reason,
         piece.was_empty ? "t" : "f",
         piece.has_left ? "t" : "f"});
  }
  return InsertRows(
      connection_,
      "towline_state.piece (task, schema_name, table_name, ordinal, source_oid, "
      "existing, state, bytes_total, rows_done, rule, snapshot_number, key_column, "
      "key_type, key_type_oid, key_collation, source_form, is_added, reason, was_empty, has_left)",
      {"text",   "text",   "text",    "bigint",  "bigint",  "text",   "text",
       "bigint", "bigint", "text",    "integer", "text",    "text",   "bigint",
       "text",   "text",   "boolean", "text",    "boolean", "boolean"},
      std::move(values));
}

// The greatest lsn_after is the last's: a log does not get shorter, and all others were
// taken before.
absl::Status StateStore::InsertSnapshot(const SnapshotRow& snapshot) {
  TOWLINE_RETURN_IF_ERROR(UpdateTask("lsn_after = $3::pg_lsn", {snapshot.lsn_after.ToString()}));
  return connection_
      .Query(
          "INSERT INTO towline_state.snapshot (task, number, snapshot, lsn_after, shape, catalogs) "
          "VALUES ($1, $2::integer, $3, $4::pg_lsn, $5, $6)",
          {options_.task, absl::StrCat(snapshot.number), snapshot.text,
           snapshot.lsn_after.ToString(), snapshot.shape, snapshot.catalogs})
      .status();
}

absl::Status StateStore::ResumeCopy(const SnapshotRow& snapshot) {
  return InTransaction(connection_, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(InsertSnapshot(snapshot));
    // What was begun of them has been emptied.
    TOWLINE_RETURN_IF_ERROR(
        connection_
            .Query("UPDATE towline_state.range r SET state = 'pending', rows_done = 0, "
                   "snapshot = NULL, lsn_after = NULL FROM towline_state.piece p "
                   "WHERE p.task = $1 AND p.state NOT IN ('copied', 'streamed', 'parked') "
                   "AND p.key_column IS NULL AND r.task = p.task "
                   "AND r.schema_name = p.schema_name AND r.table_name = p.table_name",
                   {options_.task})
            .status());
    return MovePieces(snapshot.number);
  });
}

absl::Status StateStore::MovePieces(int snapshot_number) {
  TOWLINE_RETURN_IF_ERROR(
      connection_
          .Query("UPDATE towline_state.piece SET snapshot_number = $2::integer, "
                 "state = CASE state WHEN 'again' THEN state ELSE 'pending' END, rows_done = 0, "
                 "bytes_done = 0 WHERE task = $1 "
                 "AND state NOT IN ('copied', 'streamed', 'parked')",
                 {options_.task, absl::StrCat(snapshot_number)})
          .status());
  return connection_
      .Query(
          "DELETE FROM towline_state.snapshot s WHERE task = $1 "
          "AND number <> $2::integer AND NOT EXISTS (SELECT FROM towline_state.piece p "
          "WHERE p.task = s.task AND p.snapshot_number = s.number)",
          {options_.task, absl::StrCat(snapshot_number)})
      .status();
}

// What has come by the stream is not ours to empty, until somebody has.
absl::Status StateStore::ForgetPieces(const std::set<TableName>& kept) {
  return InTransaction(connection_, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(UpdateTask(kStateAssignments, StateParams(TaskState::kCopying, "")));
    for (const char* table : {"shape", "range"}) {
      TOWLINE_RETURN_IF_ERROR(
          connection_
              .Query(absl::StrCat("DELETE FROM towline_state.", table, " WHERE ", kOtherThanSql),
                     OtherThan(kept))
              .status());
    }
    return connection_
        .Query(absl::StrCat("UPDATE towline_state.piece SET state = 'pending', rows_done = 0, "
                            "bytes_done = 0, key_column = NULL, key_type = NULL, "
                            "key_type_oid = NULL, key_collation = NULL, source_form = '' WHERE ",
                            kOtherThanSql,
                            " AND NOT (state = 'streamed' AND snapshot_number IS NULL)"),
               OtherThan(kept))
        .status();
  });
}

absl::Status StateStore::RestartCopy(const std::set<TableName>& kept,
                                     const std::vector<PieceRow>& pieces,
                                     const std::vector<SchemaStatement>& statements,
                                     const SnapshotRow& snapshot) {
  return InTransaction(connection_, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(InsertSnapshot(snapshot));
    TOWLINE_RETURN_IF_ERROR(
        connection_
            .Query(absl::StrCat("DELETE FROM towline_state.piece WHERE ", kOtherThanSql),
                   OtherThan(kept))
            .status());
    TOWLINE_RETURN_IF_ERROR(DeleteRows({"schema_statement"}));
    TOWLINE_RETURN_IF_ERROR(InsertPieces(pieces));
    TOWLINE_RETURN_IF_ERROR(InsertStatements(statements));
    return MovePieces(snapshot.number);
  });
}

absl::Status StateStore::AddShapes(const std::map<TableName, std::string>& shapes) {
  std::vector<Param> values;
  for (const auto& [table, shape] : shapes) {
    values.insert(values.end(), {options_.task, table.schema, table.name, shape});
  }
  return InTransaction(connection_, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(CheckEpoch(connection_, claim()));
    return InsertRows(connection_, "towline_state.shape (task, schema_name, table_name, shape)",
                      {"text", "text", "text", "text"}, std::move(values));
  });
}

absl::StatusOr<std::map<TableName, std::string>> StateStore::ReadShapes() {
  TOWLINE_ASSIGN_OR_RETURN(Result rows,
                           connection_.Query("SELECT schema_name, table_name, shape "
                                             "FROM towline_state.shape WHERE task = $1",
                                             {options_.task}));
  std::map<TableName, std::string> shapes;
  for (int i = 0; i < rows.row_count(); ++i) {
    shapes[{rows.GetString(i, 0), rows.GetString(i, 1)}] = rows.GetString(i, 2);
  }
  return shapes;
}

absl::StatusOr<std::vector<SnapshotRow>> StateStore::ReadSnapshots() {
  TOWLINE_ASSIGN_OR_RETURN(
      Result rows, connection_.Query("SELECT number, snapshot, lsn_after, shape, catalogs "
                                     "FROM towline_state.snapshot WHERE task = $1 ORDER BY number",
                                     {options_.task}));
  std::vector<SnapshotRow> snapshots;
  for (int i = 0; i < rows.row_count(); ++i) {
    TOWLINE_ASSIGN_OR_RETURN(Lsn lsn_after, Lsn::Parse(rows.Get(i, 2)));
    snapshots.push_back({static_cast<int>(rows.GetInt(i, 0)), rows.GetString(i, 1), lsn_after,
                         rows.GetString(i, 3), rows.GetString(i, 4)});
  }
  return snapshots;
}

absl::Status StateStore::ForgetSnapshots() {
  return InTransaction(connection_, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(UpdateTask("lsn_after = NULL", {}));
    return DeleteRows({"snapshot", "range", "shape"});
  });
}

absl::Status StateStore::AddRanges(const std::map<TableName, std::vector<KeyRange>>& ranges) {
  std::vector<Param> values;
  for (const auto& [table, of_table] : ranges) {
    for (size_t i = 0; i < of_table.size(); ++i) {
      values.insert(values.end(), {options_.task, table.schema, table.name, absl::StrCat(i + 1),
                                   of_table[i].from, of_table[i].until, "pending", "0"});
    }
  }
  return InTransaction(connection_, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(CheckEpoch(connection_, claim()));
    return InsertRows(connection_,
                      "towline_state.range (task, schema_name, table_name, ordinal, from_key, "
                      "until_key, state, rows_done)",
                      {"text", "text", "text", "bigint", "text", "text", "text", "bigint"},
                      std::move(values));
  });
}

absl::StatusOr<std::vector<RangeRow>> StateStore::ReadRanges() {
  TOWLINE_ASSIGN_OR_RETURN(
      Result rows,
      connection_.Query("SELECT schema_name, table_name, ordinal, from_key, until_key, state, "
                        "rows_done, COALESCE(snapshot, ''), lsn_after FROM towline_state.range "
                        "WHERE task = $1 ORDER BY schema_name, table_name, ordinal",
                        {options_.task}));
  auto key = [&rows](int row, int column) {
    return rows.IsNull(row, column) ? std::nullopt : std::optional(rows.GetString(row, column));
  };
  std::vector<RangeRow> ranges;
  for (int i = 0; i < rows.row_count(); ++i) {
    Lsn lsn_after;
    if (!rows.IsNull(i, 8)) {
      TOWLINE_ASSIGN_OR_RETURN(lsn_after, Lsn::Parse(rows.Get(i, 8)));
    }
    ranges.push_back({{rows.GetString(i, 0), rows.GetString(i, 1)},
                      rows.GetInt(i, 2),
                      {key(i, 3), key(i, 4)},
                      rows.GetString(i, 5),
                      rows.GetInt(i, 6),
                      rows.GetString(i, 7),
                      lsn_after});
  }
  return ranges;
}

absl::Status StateStore::EndRows() {
  absl::Status stored = InTransaction(connection_, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(UpdateTask(
        "lsn_after = GREATEST(lsn_after, (SELECT max(r.lsn_after) FROM towline_state.range r "
        "WHERE r.task = $1))",
        {}));
    return UpdateTask(kStateAssignments, StateParams(TaskState::kIndexing, ""));
  });
  if (stored.ok()) on_state_(TaskState::kIndexing);
  return stored;
}

absl::Status StateStore::CopyAgain(Oid table, absl::string_view why) {
  absl::Status stored = InTransaction(connection_, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(UpdateTask(kStateAssignments, StateParams(TaskState::kCopying, "")));
    TOWLINE_RETURN_IF_ERROR(
        connection_
            .Query("DELETE FROM towline_state.range r USING towline_state.piece p "
                   "WHERE p.task = $1 AND p.source_oid = $2::bigint AND r.task = p.task "
                   "AND r.schema_name = p.schema_name AND r.table_name = p.table_name",
                   {options_.task, absl::StrCat(table)})
            .status());
    return connection_
        .Query(
            "UPDATE towline_state.piece SET state = 'again', rows_done = 0, key_column = NULL, "
            "key_type = NULL, key_type_oid = NULL, key_collation = NULL, source_form = '', "
            "reason = $3 WHERE task = $1 AND source_oid = $2::bigint",
            {options_.task, absl::StrCat(table), std::string(why)})
        .status();
  });
  if (stored.ok()) on_state_(TaskState::kCopying);
  return stored;
}

absl::Status StateStore::ParkTable(const FailedTable& table, const std::string& rule,
                                   const std::string& reason) {
  return InTransaction(connection_, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(CheckEpoch(connection_, claim()));
    return ParkPiece(connection_, claim(), table, rule, reason);
  });
}

absl::Status StateStore::NoteLeft(const TableName& table) {
  return InTransaction(connection_, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(CheckEpoch(connection_, claim()));
    return connection_
        .Query(
            "UPDATE towline_state.piece SET has_left = true WHERE task = $1 AND "
            "schema_name = $2 AND table_name = $3",
            {options_.task, table.schema, table.name})
        .status();
  });
}

absl::StatusOr<std::vector<PieceRow>> StateStore::ReadPieces() {
  return ReadPieces(connection_, options_.task);
}

absl::StatusOr<std::vector<PieceRow>> StateStore::ReadPieces(Connection& session,
                                                             const std::string& task) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result rows,
      session.Query("SELECT schema_name, table_name, source_oid, existing, state, bytes_total, "
                    "rows_done, bytes_done, rule, COALESCE(snapshot_number, 0), key_column, "
                    "key_type, key_type_oid, COALESCE(key_collation, ''), source_form, "
                    "is_added, reason, was_empty, has_left "
                    "FROM towline_state.piece WHERE task = $1 ORDER BY ordinal",
                    {task}));
  std::vector<PieceRow> pieces;
  for (int i = 0; i < rows.row_count(); ++i) {
    TOWLINE_ASSIGN_OR_RETURN(std::optional<ChunkKey> key, ReadKey(rows, i));
    pieces.push_back({{rows.GetString(i, 0), rows.GetString(i, 1)},
                      static_cast<uint32_t>(rows.GetInt(i, 2)),
                      rows.GetString(i, 3),
                      rows.GetString(i, 4),
                      rows.GetInt(i, 5),
                      rows.GetInt(i, 6),
                      rows.GetInt(i, 7),
                      rows.GetString(i, 8),
                      static_cast<int>(rows.GetInt(i, 9)),
                      std::move(key),
                      rows.GetString(i, 14),
                      rows.GetBool(i, 15),
                      rows.GetString(i, 16),
                      rows.GetBool(i, 17),
                      rows.GetBool(i, 18)});
  }
  return pieces;
}

absl::Status StateStore::NotePieces(Connection& session, const TaskClaim& claim,
                                    const std::vector<PieceProgress>& pieces) {
  if (pieces.empty()) return absl::OkStatus();
  ArrayLiteral schemas, names, rows, bytes;
  for (const PieceProgress& piece : pieces) {
    schemas.Add(piece.table.schema);
    names.Add(piece.table.name);
    rows.Add(absl::StrCat(piece.rows_done));
    bytes.Add(absl::StrCat(piece.bytes_done));
  }
  return session
      .Query(
          "WITH seen AS (SELECT * FROM unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[]) "
          "AS s(schema_name, table_name, rows_done, bytes_done)), "
          "free AS (SELECT p.task, s.* FROM seen s JOIN towline_state.piece p "
          "USING (schema_name, table_name) WHERE p.task = $1 AND p.state IN ('pending', 'copying') "
          "AND EXISTS (SELECT FROM towline_state.task t WHERE t.task = $1 "
          "AND t.epoch = $2::bigint) FOR UPDATE OF p SKIP LOCKED) "
          "UPDATE towline_state.piece p SET state = 'copying', rows_done = free.rows_done, "
          "bytes_done = free.bytes_done FROM free WHERE p.task = free.task "
          "AND p.schema_name = free.schema_name AND p.table_name = free.table_name",
          {claim.task, absl::StrCat(claim.epoch), schemas.ToString(), names.ToString(),
           rows.ToString(), bytes.ToString()})
      .status();
}

absl::Status StateStore::SetPieceRules(const std::vector<PieceRow>& pieces) {
  return InTransaction(connection_, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(CheckEpoch(connection_, claim()));
    for (const PieceRow& piece : pieces) {
      TOWLINE_RETURN_IF_ERROR(
          connection_
              .Query("UPDATE towline_state.piece SET rule = $4 WHERE task = $1 AND schema_name = "
                     "$2 AND table_name = $3",
                     {options_.task, piece.table.schema, piece.table.name, piece.rule})
              .status());
    }
    return CheckEpoch(connection_, claim());
  });
}

absl::StatusOr<std::vector<SchemaStatement>> StateStore::ReadSchemaStatements(
    const std::string& section) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result rows,
      connection_.Query("SELECT section, ordinal, is_setting, statement, is_done "
                        "FROM towline_state.schema_statement WHERE task = $1 AND section = $2 "
                        "ORDER BY ordinal",
                        {options_.task, section}));
  std::vector<SchemaStatement> statements;
  for (int i = 0; i < rows.row_count(); ++i) {
    statements.push_back({rows.GetString(i, 0), rows.GetInt(i, 1), rows.GetBool(i, 2),
                          rows.GetString(i, 3), rows.GetBool(i, 4)});
  }
  return statements;
}

}  // namespace towline
