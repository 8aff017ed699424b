#include "apply/set_writer.h"

#include <algorithm>
#include <utility>

#include "absl/base/internal/endian.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "model/row_image.h"

namespace towline {
namespace {

// Beyond some thousands of rows a statement gets no cheaper per row, while what the server holds of
// it (the arrays, and their rows in work_mem, 4 MB by default) grows.
constexpr size_t kSetRowsMax = 10'000;
constexpr size_t kSetBytesMax = 2 << 20;

// Prepared statements take memory in the server's session: as in row_writer.cpp.
constexpr size_t kStatementsMax = 1000;

constexpr size_t kLengthBytes = 4;
constexpr size_t kDimensionAt = 12;  // in an array's head

void AppendInt32(uint32_t value, std::string* bytes) {
  char buffer[sizeof value];
  absl::big_endian::Store32(buffer, value);
  bytes->append(buffer, sizeof buffer);
}

// One element of an array as text.
void AppendQuoted(absl::string_view value, std::string* text) {
  text->push_back('"');
  for (char c : value) {
    if (c == '"' || c == '\\') text->push_back('\\');
    text->push_back(c);
  }
  text->push_back('"');
}

std::string CacheKey(const Target& target, const SetShape& shape) {
  std::string key = absl::StrCat(absl::Hex(reinterpret_cast<uintptr_t>(&target)), ".",
                                 static_cast<int>(shape.kind));
  for (bool flag : shape.is_unchanged) key.push_back(flag ? '1' : '0');
  return key;
}

}  // namespace

absl::StatusOr<const SetWriter::Prepared*> SetWriter::Prepare(const Target& target,
                                                              const SetShape& shape,
                                                              size_t change) {
  std::string key = CacheKey(target, shape);
  auto found = statements_.find(key);
  if (found != statements_.end()) return found->second.get();
  if (statements_.size() >= kStatementsMax) {
    TOWLINE_RETURN_IF_ERROR(pipeline_->Drain());
    std::string all;  // of ours: not those of single changes
    for (const auto& [unused, old] : statements_) {
      absl::StrAppend(&all, "DEALLOCATE ", old->name, ";");
    }
    TOWLINE_RETURN_IF_ERROR(connection_->Exec(all).status());
    statements_.clear();
  }
  auto prepared = std::make_unique<Prepared>();
  prepared->statement = BuildSetStatement(target, shape);
  prepared->name = absl::StrCat("set_", ++statement_number_);
  TOWLINE_RETURN_IF_ERROR(pipeline_->Prepare(prepared->name, prepared->statement.sql,
                                             prepared->statement.types, change));
  return statements_.emplace(std::move(key), std::move(prepared)).first->second.get();
}

// PostgreSQL's binary form of an array (array_recv): dimensions, whether there are NULLs, type of
// the elements; length and lower bound of the one dimension. The elements are as in a row image.
void SetWriter::Begin(const Target& target, const SetStatement& statement) {
  arrays_.resize(statement.types.size());
  row_count_ = 0;
  bytes_ = 0;
  constexpr uint32_t kInt8Oid = 20;  // pg_type.dat
  for (size_t i = 0; i < arrays_.size(); ++i) {
    std::string& array = arrays_[i];
    array.clear();
    const bool is_count = i >= statement.columns.size();
    const TargetColumn* column =
        is_count ? nullptr : &target.columns[static_cast<size_t>(statement.columns[i])];
    if (!is_count && !column->is_binary) {
      array.push_back('{');
      continue;
    }
    AppendInt32(1, &array);
    AppendInt32(1, &array);
    AppendInt32(is_count ? kInt8Oid : column->type_oid, &array);
    AppendInt32(0, &array);
    AppendInt32(1, &array);
  }
}

void SetWriter::AddRow(const Target& target, const SetStatement& statement, const Change& change) {
  const bool is_old = change.kind == ChangeKind::kDelete;
  RowReader reader(is_old ? change.old_row : change.new_row);
  const bool is_key_image = is_old && change.old_image == OldImage::kKey;
  fields_.clear();
  for (int i = 0; i < reader.field_count(); ++i) {
    const Field field = reader.Next();
    // A NULL is a null view here, a value its length and bytes.
    fields_.push_back(field.kind == FieldKind::kValue
                          ? absl::string_view(field.bytes.data() - kLengthBytes,
                                              field.bytes.size() + kLengthBytes)
                          : absl::string_view());
  }
  for (size_t i = 0; i < statement.columns.size(); ++i) {
    const TargetColumn& column = target.columns[static_cast<size_t>(statement.columns[i])];
    const int at = is_key_image ? column.key_field : column.field;
    absl::string_view value = fields_[static_cast<size_t>(at)];
    std::string& array = arrays_[i];
    if (column.is_binary) {
      if (value.empty()) {
        AppendInt32(static_cast<uint32_t>(kNullLength), &array);
      } else {
        array.append(value.data(), value.size());
      }
    } else {
      if (row_count_ > 0) array.push_back(column.array_delimiter);
      if (value.empty()) {
        array.append("NULL");
      } else {
        AppendQuoted(value.substr(kLengthBytes), &array);
      }
    }
    bytes_ += value.size();
  }
  ++row_count_;
}

absl::Status SetWriter::Send(const Target& target, const SetStatement& statement,
                             const std::string& name, const Pipeline::Expected& expected) {
  std::vector<const char*> values;
  std::vector<int> lengths;
  std::vector<int> formats;
  for (size_t i = 0; i < arrays_.size(); ++i) {
    std::string& array = arrays_[i];
    const bool is_text = i < statement.columns.size() &&
                         !target.columns[static_cast<size_t>(statement.columns[i])].is_binary;
    if (is_text) {
      array.push_back('}');
    } else {
      absl::big_endian::Store32(array.data() + kDimensionAt, static_cast<uint32_t>(row_count_));
    }
    values.push_back(array.c_str());
    lengths.push_back(static_cast<int>(array.size()));
    formats.push_back(is_text ? 0 : 1);
  }
  return pipeline_->Send(name, {values, lengths, formats}, expected);
}

absl::Status SetWriter::Write(const Target& target, const SetShape& shape,
                              absl::Span<const NetChange> changes) {
  while (!changes.empty()) {
    TOWLINE_ASSIGN_OR_RETURN(const Prepared* prepared,
                             Prepare(target, shape, changes.front().index));
    Begin(target, prepared->statement);
    while (row_count_ < changes.size() && row_count_ < kSetRowsMax && bytes_ < kSetBytesMax) {
      AddRow(target, prepared->statement, changes[row_count_].change);
    }
    const auto rows = static_cast<int64_t>(row_count_);
    TOWLINE_RETURN_IF_ERROR(Send(target, prepared->statement, prepared->name,
                                 {changes.front().index, rows, rows, true, true}));
    changes.remove_prefix(row_count_);
  }
  return absl::OkStatus();
}

// All in one statement, because each reads the whole table, and planned for the table as it is now:
// one hash of the rows that go, or an index if there is one.
absl::Status SetWriter::DeleteEqualRows(const Target& target, const SetShape& shape,
                                        absl::Span<const NetChange> changes) {
  TOWLINE_RETURN_IF_ERROR(pipeline_->Drain());
  TOWLINE_RETURN_IF_ERROR(connection_->Exec("SET LOCAL enable_seqscan = on").status());
  const SetStatement statement = BuildSetStatement(target, shape);
  Begin(target, statement);
  std::string& counts = arrays_.back();
  for (size_t i = 0; i < changes.size();) {
    const char* image = changes[i].change.old_row.data();
    size_t end = i;
    while (end < changes.size() && changes[end].change.old_row.data() == image) ++end;
    AddRow(target, statement, changes[i].change);
    AppendInt32(sizeof(int64_t), &counts);
    AppendInt32(0, &counts);
    AppendInt32(static_cast<uint32_t>(end - i), &counts);
    i = end;
  }
  const auto rows = static_cast<int64_t>(changes.size());
  const size_t change = changes.front().index;
  TOWLINE_RETURN_IF_ERROR(pipeline_->Prepare("", statement.sql, statement.types, change));
  TOWLINE_RETURN_IF_ERROR(Send(target, statement, "", {change, rows, rows, true, true}));
  TOWLINE_RETURN_IF_ERROR(pipeline_->Drain());
  return connection_->Exec("SET LOCAL enable_seqscan = off").status();
}

}  // namespace towline
