#include "apply/mirror.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/error.h"
#include "model/row_image.h"
#include "pg/quoting.h"
#include "state/state_schema.h"

namespace towline {
namespace {

constexpr uint64_t kStartLsn = 1000;

[[noreturn]] void Fail(const absl::Status& status, const std::string& what) {
  ADD_FAILURE() << what << ": " << Describe(status);
  std::abort();
}

}  // namespace

Mirror::Mirror(const std::string& uri) {
  auto destination = ConnectOptions::Parse("destination", uri);
  if (!destination.ok()) Fail(destination.status(), "TOWLINE_TEST_DESTINATION");
  Connection::Purpose purpose;
  purpose.application_name = "towline test";
  auto connection = Connection::Open(*destination, purpose, shutdown_);
  if (!connection.ok()) Fail(connection.status(), "connect");
  connection_ = std::make_unique<Connection>(*std::move(connection));
  RollBackPrepared();
  Sql("DROP SCHEMA IF EXISTS src CASCADE; DROP SCHEMA IF EXISTS dst CASCADE; "
      "DROP SCHEMA IF EXISTS towline_state CASCADE; CREATE SCHEMA src; CREATE SCHEMA dst");
  if (auto status = EnsureStateSchema(*connection_); !status.ok()) Fail(status, "state schema");
  Sql(absl::StrCat(
      "INSERT INTO towline_state.task (task, epoch, position, state, phase, "
      "source_system_identifier, source_timeline, source_database_oid, source_database, "
      "destination_system_identifier, destination_timeline, destination_database_oid, "
      "destination_database, host, pid) VALUES ('mirror', 3, '",
      Lsn{kStartLsn}.ToString(),
      "', 'streaming', 'streaming', 1, 1, 1, 's', 1, 1, 1, 'd', 'h', 1)"));
  options.destination = *destination;
  options.claim = {"mirror", 3};
  options.durable_interval_max = absl::Seconds(1);
  options.conflict_rows_max = 5;
}

void Mirror::Sql(const std::string& sql) {
  if (auto result = connection_->Exec(sql); !result.ok()) Fail(result.status(), sql);
}

// What a test has left prepared would hold its locks.
void Mirror::RollBackPrepared() {
  while (true) {
    std::string gid = Value(
        "SELECT COALESCE((SELECT gid FROM pg_prepared_xacts WHERE database = current_database() "
        "LIMIT 1), '')");
    if (gid.empty()) return;
    Sql(absl::StrCat("ROLLBACK PREPARED ", QuoteLiteral(gid)));
  }
}

std::string Mirror::Value(const std::string& sql) {
  auto value = connection_->QueryValue(sql);
  if (!value.ok()) Fail(value.status(), sql);
  return *value;
}

void Mirror::Create(const std::string& table, const std::string& definition) {
  for (const char* schema : {"src", "dst"}) {
    Sql(absl::StrCat("SET search_path = ", schema, ", public; CREATE TABLE ", schema, ".", table,
                     " ", definition, "; SET search_path = ''"));
  }
}

Relation Mirror::Describe(const std::string& table, const std::vector<std::string>& text_types) {
  auto columns =
      connection_->Query(absl::StrCat(R"(
      SELECT a.attname, a.attnum, t.oid, n.nspname, t.typname, a.atttypmod, t.typtype, a.attnotnull,
             a.attgenerated, a.attidentity, c.relreplident,
             COALESCE((SELECT a.attnum = ANY (i.indkey) FROM pg_index i WHERE i.indrelid = c.oid
                       AND CASE c.relreplident WHEN 'd' THEN i.indisprimary AND i.indimmediate
                                               ELSE i.indisreplident END), false), c.oid, c.relkind
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid
      JOIN pg_namespace n ON n.oid = t.typnamespace
      WHERE c.oid = 'src.)",
                                      table, R"('::regclass AND a.attnum > 0 AND NOT a.attisdropped
      ORDER BY a.attnum)"));
  if (!columns.ok()) Fail(columns.status(), table);
  Relation relation;
  relation.number = static_cast<uint32_t>(tables_.size() + 1);
  relation.name = {"dst", table};
  relation.oid = static_cast<Oid>(columns->GetInt(0, 12));
  relation.root_oid = relation.oid;
  relation.kind = columns->Get(0, 13)[0];
  char identity = columns->Get(0, 10)[0];
  relation.replica_identity = identity == 'f'   ? ReplicaIdentity::kFull
                              : identity == 'n' ? ReplicaIdentity::kNothing
                              : identity == 'i' ? ReplicaIdentity::kIndex
                                                : ReplicaIdentity::kDefault;
  for (int row = 0; row < columns->row_count(); ++row) {
    Column column;
    column.name = columns->GetString(row, 0);
    column.attnum = static_cast<int>(columns->GetInt(row, 1));
    column.type_oid = static_cast<Oid>(columns->GetInt(row, 2));
    column.type_schema = columns->GetString(row, 3);
    column.type_name = columns->GetString(row, 4);
    column.typmod = static_cast<int32_t>(columns->GetInt(row, 5));
    column.type_kind = columns->Get(row, 6)[0];
    column.is_not_null = columns->GetBool(row, 7);
    column.generated = columns->Get(row, 8).empty() ? '\0' : columns->Get(row, 8)[0];
    column.identity = columns->Get(row, 9).empty() ? '\0' : columns->Get(row, 9)[0];
    column.is_in_key = identity == 'f' || (identity != 'n' && columns->GetBool(row, 11));
    column.is_sent = column.generated == '\0';
    bool is_text =
        std::find(text_types.begin(), text_types.end(), column.type_name) != text_types.end();
    column.format = is_text ? ValueFormat::kText : ValueFormat::kBinary;
    if (column.is_sent) relation.sent.push_back(row);
    if (column.is_in_key) relation.key.push_back(row);
    relation.columns.push_back(std::move(column));
  }
  return relation;
}

void Mirror::Record(const std::string& table, const std::vector<std::string>& text_types) {
  Table recorded{table, Describe(table, text_types), ""};
  std::vector<std::string> selected;
  for (const Column& column : recorded.relation.columns) {
    selected.push_back(absl::StrCat("(r).", QuoteIdentifier(column.name),
                                    column.format == ValueFormat::kText ? "::text" : ""));
  }
  recorded.selected = absl::StrJoin(selected, ",");
  std::string record = absl::StrCat("src.record_", table);
  Sql(absl::StrCat("CREATE SEQUENCE IF NOT EXISTS src.recorded_number; CREATE TABLE ", record,
                   " (number bigint, operation text, old src.", table, ", new src.", table, ");",
                   "CREATE FUNCTION ", record, "() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ",
                   "INSERT INTO ", record,
                   " VALUES (nextval('src.recorded_number'), tg_op, old, "
                   "new); RETURN NULL; END $$; CREATE TRIGGER record AFTER INSERT OR UPDATE OR "
                   "DELETE ON src.",
                   table, " FOR EACH ROW EXECUTE FUNCTION ", record, "()"));
  tables_.push_back(std::move(recorded));
}

void Mirror::Source(const std::string& sql) {
  Sql(absl::StrCat("SET search_path = src, public; ", sql, "; SET search_path = ''"));
}

// One row as COPY BINARY writes it, which is the image.
std::string Mirror::ReadImage(const Table& table, int64_t number, const char* which) {
  std::string sql = absl::StrCat("COPY (SELECT ", table.selected, " FROM (SELECT ", which,
                                 " AS r FROM src.record_", table.name, " WHERE number = ", number,
                                 ") x) TO STDOUT (FORMAT binary)");
  if (auto status = connection_->CopyOutBegin(sql); !status.ok()) Fail(status, sql);
  std::string bytes;
  while (true) {
    auto chunk = connection_->CopyRead();
    if (!chunk.ok()) Fail(chunk.status(), sql);
    if (!chunk->has_value()) break;
    bytes.append((*chunk)->bytes.data(), (*chunk)->bytes.size());
  }
  constexpr size_t kHeaderBytes = 19;
  constexpr size_t kTrailerBytes = 2;
  return bytes.substr(kHeaderBytes, bytes.size() - kHeaderBytes - kTrailerBytes);
}

std::vector<Mirror::Recorded> Mirror::ReadRecorded(size_t index) {
  const Table& table = tables_[index];
  std::string record = absl::StrCat("src.record_", table.name);
  auto rows = connection_->Query(absl::StrCat("SELECT number, operation FROM ", record));
  if (!rows.ok()) Fail(rows.status(), record);
  std::vector<Recorded> recorded;
  for (int row = 0; row < rows->row_count(); ++row) {
    Recorded change;
    change.number = rows->GetInt(row, 0);
    change.table = index;
    change.operation = rows->Get(row, 1)[0];
    if (change.operation != 'I') change.old_row = ReadImage(table, change.number, "old");
    if (change.operation != 'D') change.new_row = ReadImage(table, change.number, "new");
    recorded.push_back(std::move(change));
  }
  Sql(absl::StrCat("TRUNCATE ", record));
  return recorded;
}

Change Mirror::MakeChange(const Table& table, const Recorded& recorded, Batch* batch) {
  const Relation& relation = table.relation;
  Change change;
  change.relation = &relation;
  change.kind = recorded.operation == 'I'   ? ChangeKind::kInsert
                : recorded.operation == 'U' ? ChangeKind::kUpdate
                                            : ChangeKind::kDelete;
  bool is_full = relation.replica_identity == ReplicaIdentity::kFull;
  std::vector<Field> old_fields;
  std::vector<Field> new_fields;
  for (auto [image, fields] :
       {std::pair(&recorded.old_row, &old_fields), std::pair(&recorded.new_row, &new_fields)}) {
    if (image->empty()) continue;
    RowReader reader(*image);
    for (int i = 0; i < reader.field_count(); ++i) fields->push_back(reader.Next());
  }
  auto same = [](const Field& a, const Field& b) { return a.kind == b.kind && a.bytes == b.bytes; };
  auto keep = [batch](const std::vector<Field>& fields) -> absl::string_view {
    std::string image;
    AppendFieldCount(static_cast<int>(fields.size()), &image);
    for (const Field& field : fields) AppendField(field, &image);
    image.reserve(64);
    batch->spliced_rows.push_back(std::move(image));
    return batch->spliced_rows.back();
  };
  // Key images have the key columns, generated ones too; full images those that are sent.
  bool is_key_changed = false;
  std::vector<Field> key;
  std::vector<Field> old_sent;
  std::vector<Field> new_sent;
  for (size_t i = 0; i < relation.columns.size(); ++i) {
    bool is_in_key = relation.columns[i].is_in_key;
    if (relation.columns[i].is_sent && !old_fields.empty()) old_sent.push_back(old_fields[i]);
    if (relation.columns[i].is_sent && !new_fields.empty()) new_sent.push_back(new_fields[i]);
    if (!is_in_key || old_fields.empty()) continue;
    key.push_back(old_fields[i]);
    is_key_changed |= !new_fields.empty() && !same(old_fields[i], new_fields[i]);
  }
  old_fields = old_sent;
  new_fields = new_sent;
  if (change.kind != ChangeKind::kInsert && is_full) {
    change.old_image = OldImage::kFull;
    change.old_row = keep(old_fields);
  } else if (!key.empty() && (change.kind == ChangeKind::kDelete || is_key_changed)) {
    change.old_image = OldImage::kKey;
    change.old_row = keep(key);
  }
  for (size_t i = 0; i < new_fields.size() && !old_fields.empty() && !is_full; ++i) {
    if (new_fields[i].bytes.size() < toast_bytes || !same(old_fields[i], new_fields[i])) continue;
    new_fields[i] = {FieldKind::kUnchangedToast, {}};
    change.has_unchanged_toast = true;
  }
  if (!new_fields.empty()) change.new_row = keep(new_fields);
  return change;
}

Batch Mirror::TakeBatch() {
  std::vector<Recorded> recorded;
  for (size_t i = 0; i < tables_.size(); ++i) {
    for (Recorded& change : ReadRecorded(i)) recorded.push_back(std::move(change));
  }
  std::sort(recorded.begin(), recorded.end(),
            [](const Recorded& a, const Recorded& b) { return a.number < b.number; });
  Batch batch;
  batch.end_lsn = {next_lsn_ += 100};
  batch.transactions.push_back({0, next_xid_++, batch.end_lsn});
  batch.transaction_count = 1;
  for (const Recorded& change : recorded) {
    batch.changes.push_back(MakeChange(tables_[change.table], change, &batch));
  }
  return batch;
}

Batch Mirror::PrepareBatch(uint64_t xid) {
  Batch batch = TakeBatch();
  batch.two_phase = TwoPhase::kPrepare;
  batch.prepared_xid = batch.transactions[0].xid = xid;
  batch.prepared_gid = absl::StrCat("it's ", xid);
  batch.transaction_count = 0;
  return batch;
}

Batch Mirror::EndBatch(uint64_t xid, bool is_commit) {
  Batch batch;
  batch.end_lsn = {next_lsn_ += 100};
  batch.two_phase = is_commit ? TwoPhase::kCommitPrepared : TwoPhase::kRollbackPrepared;
  batch.prepared_xid = xid;
  batch.prepared_gid = absl::StrCat("it's ", xid);
  return batch;
}

Batch Mirror::TruncateBatch(const std::vector<std::string>& tables, bool restarts_identity) {
  auto relations = std::make_shared<std::vector<const Relation*>>();
  for (const Table& table : tables_) {
    if (std::find(tables.begin(), tables.end(), table.name) != tables.end()) {
      relations->push_back(&table.relation);
    }
  }
  TOWLINE_CHECK(relations->size() == tables.size());
  Batch batch = TakeBatch();
  Change change;
  change.kind = ChangeKind::kTruncate;
  change.relation = relations->front();
  change.truncated = relations;
  change.truncate_restarts_identity = restarts_identity;
  batch.changes.push_back(std::move(change));
  return batch;
}

std::string Mirror::Rows(const std::string& schema, const std::string& table) {
  return Value(
      absl::StrCat("SELECT COALESCE(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE "
                   "\"C\"), '') FROM ",
                   schema, ".", table, " t"));
}

Applier& Mirror::applier() {
  if (applier_ == nullptr) {
    options.position = Lsn::Parse(Value("SELECT position FROM towline_state.task")).value();
    auto applier = Applier::Open(options, shutdown_);
    if (!applier.ok()) Fail(applier.status(), "open the applier");
    applier_ = *std::move(applier);
  }
  return *applier_;
}

}  // namespace towline
