#include "apply/row_writer.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/status_macros.h"
#include "model/failed_table.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// Prepared statements take memory in the server's session. Wide use of one table per statement
// shape stays far below; when a task has more in turn, all are made anew.
constexpr size_t kStatementsMax = 1000;

// The server takes no longer message (PQ_LARGE_MESSAGE_LIMIT is MaxAllocSize) and ends the
// connection that sends one, which would look like an error to try again.
constexpr size_t kMessageBytesMax = 0x3fffffff - (64 << 10);

// Smaller values of a change in steps stay parameters: those of 1600 columns are 13 MB. Larger ones
// do not fit into a page of the staging table, so they are stored out of line there.
constexpr size_t kStagedBytesMin = 8 << 10;

// Under FULL a new row brings unchanged values too. From here on comparing costs less than writing.
constexpr size_t kComparedBytesMin = 256 << 10;

void ReadFields(absl::string_view image, std::vector<Field>* fields) {
  RowReader reader(image);
  fields->resize(static_cast<size_t>(reader.field_count()));
  for (Field& field : *fields) field = reader.Next();
}

bool IsSame(const Field& a, const Field& b) { return a.kind == b.kind && a.bytes == b.bytes; }

// Where all there is to write is an identity that is always generated, the existing row stays.
int64_t OverwriteRowsMin(const Target& target) {
  return std::all_of(target.written.begin(), target.written.end(),
                     [&](int index) {
                       return target.columns[static_cast<size_t>(index)].is_always_identity;
                     })
             ? 0
             : 1;
}

// What has the type that the column's values are read as.
std::string StagedColumn(const Target& target, int index) {
  const TargetColumn& column = target.columns[static_cast<size_t>(index)];
  if (column.cast.empty()) return column.name;
  return absl::StrCat("NULL::", column.cast_from);
}

// The shape as a key of the cache.
std::string CacheKey(const Target& target, const StatementShape& shape) {
  std::string key = absl::StrCat(absl::Hex(reinterpret_cast<uintptr_t>(&target)), ".",
                                 static_cast<int>(shape.action), static_cast<int>(shape.old_image));
  auto append = [&key](char mark, const std::vector<bool>& flags) {
    if (flags.empty()) return;
    key.push_back(mark);
    for (bool flag : flags) key.push_back(flag ? '1' : '0');
  };
  append('u', shape.is_unchanged);
  append('n', shape.is_null);
  if (shape.skips_locked) key.push_back('s');
  return key;
}

}  // namespace

absl::Status RowWriter::CheckIdentity(const Target& target, const Change& change) const {
  bool has_old = change.old_image != OldImage::kNone;
  bool is_found = target.matching != Matching::kNone &&
                  (has_old || (change.kind == ChangeKind::kUpdate &&
                               target.relation->replica_identity != ReplicaIdentity::kFull)) &&
                  (change.old_image != OldImage::kKey || target.matching == Matching::kKey);
  if (is_found) return absl::OkStatus();
  absl::Status unknown = absl::FailedPreconditionError(absl::StrCat(
      target.label, ": ", change.kind == ChangeKind::kUpdate ? "an UPDATE" : "a DELETE",
      " arrived without identity: the source's log does not say which row it was"));
  return WithFailedTable(
      WithHint(unknown, absl::StrCat("At the source: ALTER TABLE ", target.sql_name,
                                     " REPLICA IDENTITY FULL; (or add a primary key), then "
                                     "`towline drop` and copy again: the change that has passed "
                                     "cannot be recovered.")),
      {target.relation->name, target.relation->oid});
}

absl::Status RowWriter::ReadImages(const Target& target, const Change& change) {
  new_fields_.clear();
  old_fields_.clear();
  image_bytes_ = change.new_row.size() + change.old_row.size();
  if (change.kind != ChangeKind::kDelete) ReadFields(change.new_row, &new_fields_);
  if (change.old_image != OldImage::kNone) ReadFields(change.old_row, &old_fields_);
  return change.kind == ChangeKind::kInsert ? absl::OkStatus() : CheckIdentity(target, change);
}

// Null: the old value was not sent.
const Field* RowWriter::OldField(const Target& target, const Change& change, int column) const {
  const TargetColumn& there = target.columns[static_cast<size_t>(column)];
  bool is_key_image = change.old_image == OldImage::kKey;
  int field = is_key_image ? there.key_field : there.field;
  // Without an old image only the key is known not to have changed.
  bool is_known = change.old_image != OldImage::kNone || there.key_field >= 0;
  if (field < 0 || !is_known) return nullptr;
  const std::vector<Field>& fields =
      change.old_image == OldImage::kNone ? new_fields_ : old_fields_;
  return &fields[static_cast<size_t>(field)];
}

bool RowWriter::ChangesAlwaysIdentity(const Target& target, const Change& change) const {
  return std::any_of(target.written.begin(), target.written.end(), [&](int index) {
    const TargetColumn& column = target.columns[static_cast<size_t>(index)];
    if (!column.is_always_identity) return false;
    const Field* old_field = OldField(target, change, index);
    return old_field == nullptr ||
           !IsSame(*old_field, new_fields_[static_cast<size_t>(column.field)]);
  });
}

bool RowWriter::MovesKey(const Target& target, const Change& change) const {
  return std::any_of(target.match.begin(), target.match.end(), [&](int index) {
    const Field* old_field = OldField(target, change, index);
    int field = target.columns[static_cast<size_t>(index)].field;
    return old_field == nullptr || field < 0 ||
           !IsSame(*old_field, new_fields_[static_cast<size_t>(field)]);
  });
}

StatementShape RowWriter::ShapeOf(const Target& target, const Change& change) const {
  StatementShape shape;
  shape.old_image = change.old_image;
  switch (change.kind) {
    case ChangeKind::kInsert:
      shape.action = target.overwrites ? Action::kOverwrite : Action::kInsert;
      return shape;
    case ChangeKind::kDelete:
      shape.action = Action::kDelete;
      break;
    case ChangeKind::kUpdate:
      shape.action = ChangesAlwaysIdentity(target, change) ? Action::kReplace : Action::kUpdate;
      break;
    case ChangeKind::kTruncate:
      TOWLINE_CHECK(change.kind != ChangeKind::kTruncate);
  }
  if (change.kind == ChangeKind::kUpdate) shape.is_unchanged = UnchangedOf(target, change);
  if (target.matching == Matching::kExact) {
    shape.skips_locked = skips_locked_;
    for (int index : target.match) {
      int field = target.columns[static_cast<size_t>(index)].field;
      shape.is_null.push_back(old_fields_[static_cast<size_t>(field)].kind == FieldKind::kNull);
    }
    if (std::none_of(shape.is_null.begin(), shape.is_null.end(), [](bool null) { return null; })) {
      shape.is_null.clear();
    }
  }
  return shape;
}

// The written columns whose values stay as they are; empty: none.
std::vector<bool> RowWriter::UnchangedOf(const Target& target, const Change& change) const {
  // What stood there before the copy gives way as a whole.
  const bool compares = change.old_image == OldImage::kFull && !target.overwrites &&
                        !target.may_differ && change.new_row.size() >= kComparedBytesMin;
  if (!change.has_unchanged_toast && !compares) return {};
  std::vector<bool> unchanged;
  bool has_any = false;
  for (int index : target.written) {
    const auto field = static_cast<size_t>(target.columns[static_cast<size_t>(index)].field);
    const Field& now = new_fields_[field];
    unchanged.push_back(
        now.kind == FieldKind::kUnchangedToast ||
        (compares && now.bytes.size() >= kComparedBytesMin && IsSame(now, old_fields_[field])));
    has_any |= unchanged.back();
  }
  if (!has_any) unchanged.clear();
  return unchanged;
}

absl::Status RowWriter::Write(const Target& target, const Change& change, size_t index) {
  TOWLINE_RETURN_IF_ERROR(ReadImages(target, change));
  StatementShape shape = ShapeOf(target, change);
  if (!target.overwrites) {
    bool may_miss = target.may_miss && change.kind != ChangeKind::kInsert;
    return WriteShape(target, shape, {index, may_miss ? 0 : 1, 1});
  }
  return WriteOver(target, change, std::move(shape), index);
}

// Rows may be there that the source does not have under this key (those from before the copy give
// way; or the source's DELETEs are not wanted), and none where it has one. Columns that only the
// destination has keep their values wherever a row stays.
absl::Status RowWriter::WriteOver(const Target& target, const Change& change, StatementShape shape,
                                  size_t index) {
  if (change.kind == ChangeKind::kInsert) {
    return WriteShape(target, shape, {index, OverwriteRowsMin(target), 1});
  }
  if (change.kind == ChangeKind::kDelete) return WriteShape(target, shape, {index, 0, 1});
  const bool moves = change.old_image != OldImage::kNone && MovesKey(target, change);
  const bool has_all = !change.has_unchanged_toast && !target.may_miss;
  if (has_all && !moves && shape.action != Action::kReplace) {
    shape = {};
    shape.action = Action::kOverwrite;
    return WriteShape(target, shape, {index, OverwriteRowsMin(target), 1});
  }
  if (moves && HasNewKey(target)) {
    // The key was free at the source.
    StatementShape occupant;
    occupant.action = Action::kDeleteOccupant;
    occupant.old_image = change.old_image;
    TOWLINE_RETURN_IF_ERROR(WriteShape(target, occupant, {index, 0, 1, false}));
  }
  const bool must_find = !has_all && !target.may_miss;
  TOWLINE_RETURN_IF_ERROR(WriteShape(target, shape, {index, must_find ? 1 : 0, 1}));
  if (!has_all) return absl::OkStatus();
  StatementShape missing;
  missing.action = Action::kInsertMissing;
  return WriteShape(target, missing, {index, 0, 1, false});
}

bool RowWriter::HasNewKey(const Target& target) const {
  return std::all_of(target.match.begin(), target.match.end(), [&](int index) {
    int field = target.columns[static_cast<size_t>(index)].field;
    return field >= 0 && new_fields_[static_cast<size_t>(field)].kind != FieldKind::kUnchangedToast;
  });
}

absl::Status RowWriter::WriteShape(const Target& target, const StatementShape& shape,
                                   const Pipeline::Expected& expected) {
  if (image_bytes_ > statement_bytes_max_) {
    Statement whole = BuildStatement(target, shape);
    if (BytesOf(whole) > statement_bytes_max_) return WriteInSteps(target, shape, whole, expected);
  }
  TOWLINE_ASSIGN_OR_RETURN(const Statement* statement, Prepared(target, shape, expected.change));
  return Send(target, *statement, expected);
}

absl::Status RowWriter::WriteInSteps(const Target& target, StatementShape shape,
                                     const Statement& whole, const Pipeline::Expected& expected) {
  TOWLINE_RETURN_IF_ERROR(pipeline_->Drain());
  absl::StatusOr<ValueStaging> staging = Stage(target, whole, &shape);
  if (!staging.ok()) {
    bool is_answer = !GetSqlState(staging.status()).empty() && connection_->is_alive();
    if (is_answer) failure_ = ApplyFailure{expected.change, staging.status(), 0, ""};
    return staging.status();
  }
  FaultPoint("apply:values-staged");
  Statement statement = BuildStatement(target, shape);
  std::vector<Oid> types;
  for (const ParamSource& param : statement.params) types.push_back(param.type_oid);
  TOWLINE_RETURN_IF_ERROR(pipeline_->Prepare("", statement.sql, types, expected.change));
  TOWLINE_RETURN_IF_ERROR(Send(target, statement, expected));
  TOWLINE_RETURN_IF_ERROR(pipeline_->Drain());
  return staging->Drop(*connection_);
}

absl::StatusOr<ValueStaging> RowWriter::Stage(const Target& target, const Statement& whole,
                                              StatementShape* shape) {
  std::vector<const ParamSource*> values;
  std::vector<std::string> columns;
  for (const ParamSource& param : whole.params) {
    const Field* field = FieldOf(param);
    if (field == nullptr || field->bytes.size() < kStagedBytesMin) continue;
    // A statement may take a value in two places.
    bool is_there = std::any_of(values.begin(), values.end(), [&](const ParamSource* other) {
      return other->is_old == param.is_old && other->field == param.field;
    });
    if (is_there) continue;
    values.push_back(&param);
    columns.push_back(StagedColumn(target, param.column));
  }
  TOWLINE_ASSIGN_OR_RETURN(
      ValueStaging staging,
      ValueStaging::Create(*connection_, absl::StrCat(target.only, target.sql_name), columns,
                           is_prepared_));
  shape->staged_new.resize(new_fields_.size());
  shape->staged_old.resize(old_fields_.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const ParamSource& param = *values[i];
    TOWLINE_RETURN_IF_ERROR(staging.Put(*connection_, i, FieldOf(param)->bytes, param.is_binary));
    auto& staged = param.is_old ? shape->staged_old : shape->staged_new;
    staged[static_cast<size_t>(param.field)] = staging.ValueSql(i);
  }
  return staging;
}

// Null: the image has no such field.
const Field* RowWriter::FieldOf(const ParamSource& param) const {
  const std::vector<Field>& fields = param.is_old ? old_fields_ : new_fields_;
  bool is_there = param.field >= 0 && static_cast<size_t>(param.field) < fields.size();
  return is_there ? &fields[static_cast<size_t>(param.field)] : nullptr;
}

size_t RowWriter::BytesOf(const Statement& statement) const {
  size_t bytes = 0;
  for (const ParamSource& param : statement.params) {
    const Field* field = FieldOf(param);
    if (field != nullptr) bytes += field->bytes.size();
  }
  return bytes;
}

void RowWriter::ForgetStatements() {
  statements_.clear();
  for (auto& row : last_) std::fill(std::begin(row), std::end(row), nullptr);
  failure_.reset();
}

absl::Status RowWriter::WriteNewRow(const Target& target, const Change& change, Action action,
                                    size_t index) {
  TOWLINE_RETURN_IF_ERROR(ReadImages(target, change));
  StatementShape shape;
  shape.action = action;
  const int64_t rows_min = action == Action::kOverwrite ? OverwriteRowsMin(target) : 1;
  return WriteShape(target, shape, {index, rows_min, 1});
}

absl::StatusOr<std::vector<std::string>> RowWriter::Occupants(const Target& target,
                                                              const Change& change, Action action,
                                                              const UniqueKey& key,
                                                              bool keeps_own) {
  TOWLINE_RETURN_IF_ERROR(ReadImages(target, change));
  std::vector<std::string> texts;
  const bool is_insert = change.kind == ChangeKind::kInsert;
  if (image_bytes_ > statement_bytes_max_ || !KnowsValuesOf(target, key, !is_insert)) return texts;
  StatementShape shape;
  if (!is_insert) shape = ShapeOf(target, change);
  shape.action = action;
  shape.occupied = &key;
  shape.keeps_own = keeps_own;
  Statement statement = BuildStatement(target, shape);
  TOWLINE_RETURN_IF_ERROR(Bind(target, statement));
  std::vector<Oid> types;
  for (const ParamSource& param : statement.params) types.push_back(param.type_oid);
  TOWLINE_ASSIGN_OR_RETURN(Result rows, AskWithValues(*connection_, statement.sql, types,
                                                      {values_, lengths_, formats_}));
  for (int row = 0; row < rows.row_count(); ++row) texts.push_back(rows.GetString(row, 0));
  return texts;
}

absl::StatusOr<const Statement*> RowWriter::Prepared(const Target& target,
                                                     const StatementShape& shape, size_t index) {
  bool is_plain = shape.is_unchanged.empty() && shape.is_null.empty() && !shape.skips_locked;
  if (last_target_ != &target) {
    last_target_ = &target;
    for (auto& row : last_) std::fill(std::begin(row), std::end(row), nullptr);
  }
  const Statement*& last =
      last_[static_cast<size_t>(shape.action)][static_cast<size_t>(shape.old_image)];
  if (is_plain && last != nullptr) return last;
  std::string key = CacheKey(target, shape);
  auto found = statements_.find(key);
  if (found == statements_.end()) {
    if (statements_.size() >= kStatementsMax) {
      TOWLINE_RETURN_IF_ERROR(pipeline_->Drain());
      std::string all;  // of ours: not those of the sets
      for (const auto& [unused, old] : statements_)
        absl::StrAppend(&all, "DEALLOCATE ", old->name, ";");
      TOWLINE_RETURN_IF_ERROR(connection_->Exec(all).status());
      ForgetStatements();
    }
    auto statement = std::make_unique<Statement>(BuildStatement(target, shape));
    statement->name = absl::StrCat("change_", ++statement_number_);
    std::vector<Oid> types;
    for (const ParamSource& param : statement->params) types.push_back(param.type_oid);
    TOWLINE_RETURN_IF_ERROR(pipeline_->Prepare(statement->name, statement->sql, types, index));
    found = statements_.emplace(std::move(key), std::move(statement)).first;
  }
  if (is_plain) last = found->second.get();
  return found->second.get();
}

absl::Status RowWriter::Send(const Target& target, const Statement& statement,
                             const Pipeline::Expected& expected) {
  TOWLINE_RETURN_IF_ERROR(Bind(target, statement));
  return pipeline_->Send(statement.name, {values_, lengths_, formats_}, expected);
}

absl::Status RowWriter::Bind(const Target& target, const Statement& statement) {
  size_t count = statement.params.size();
  values_.resize(count);
  lengths_.resize(count);
  formats_.resize(count);
  size_t text_bytes = 0;
  size_t bytes = 0;
  for (const ParamSource& param : statement.params) {
    const Field* field = FieldOf(param);
    if (field == nullptr || field->kind == FieldKind::kUnchangedToast) {
      // A key column that the source generates, or keeps out of line without telling.
      return WithHint(absl::FailedPreconditionError(absl::StrCat(
                          target.label, ": a change arrived without all values of its key")),
                      absl::StrCat("At the source: ALTER TABLE ", target.sql_name,
                                   " REPLICA IDENTITY FULL; then `towline drop` and copy again."));
    }
    bytes += field->bytes.size();
    if (!param.is_binary) text_bytes += field->bytes.size() + 1;
  }
  TOWLINE_CHECK(bytes <= kMessageBytesMax);
  texts_.clear();
  texts_.reserve(text_bytes);  // values_ points into it
  for (size_t i = 0; i < count; ++i) {
    const ParamSource& param = statement.params[i];
    const Field& field = *FieldOf(param);
    formats_[i] = param.is_binary ? 1 : 0;
    lengths_[i] = static_cast<int>(field.bytes.size());
    values_[i] = nullptr;
    if (field.kind == FieldKind::kNull) continue;
    // An empty value's view need not point anywhere, and a null pointer would mean NULL.
    values_[i] = field.bytes.empty() ? "" : field.bytes.data();
    if (param.is_binary) continue;
    values_[i] = texts_.data() + texts_.size();
    texts_.append(field.bytes.data(), field.bytes.size());
    texts_.push_back('\0');
  }
  return absl::OkStatus();
}

}  // namespace towline
