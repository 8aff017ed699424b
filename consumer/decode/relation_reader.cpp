#include "decode/relation_reader.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace towline {
namespace {

// MaxTupleAttributeNumber of every supported server is 1664; a row's field count is 16 bits wide.
constexpr int kColumnsMax = 1664;

char FirstOr(const std::string& text, char fallback) { return text.empty() ? fallback : text[0]; }

absl::StatusOr<Column> ReadColumn(const v1::Column& message) {
  Column column;
  column.name = message.name();
  column.attnum = message.attnum();
  column.type_oid = message.type_oid();
  column.type_schema = message.type_schema();
  column.type_name = message.type_name();
  column.typmod = message.typmod();
  column.type_kind = FirstOr(message.type_kind(), 'b');
  column.collation = message.collation();
  column.is_not_null = message.not_null();
  column.generated = FirstOr(message.generated(), '\0');
  column.identity = FirstOr(message.identity(), '\0');
  column.is_in_key = message.in_key();
  column.is_sent = message.sent();
  switch (message.format()) {
    case v1::Column::BINARY:
      column.format = ValueFormat::kBinary;
      break;
    case v1::Column::TEXT:
      column.format = ValueFormat::kText;
      break;
    default:
      return absl::DataLossError(
          absl::StrCat("column \"", column.name, "\" has unknown format ", message.format()));
  }
  return column;
}

absl::StatusOr<ReplicaIdentity> ReadIdentity(v1::Relation::ReplicaIdentity identity) {
  switch (identity) {
    case v1::Relation::DEFAULT:
      return ReplicaIdentity::kDefault;
    case v1::Relation::NOTHING:
      return ReplicaIdentity::kNothing;
    case v1::Relation::FULL:
      return ReplicaIdentity::kFull;
    case v1::Relation::INDEX:
      return ReplicaIdentity::kIndex;
    default:
      return absl::DataLossError(
          absl::StrCat("unknown replica identity ", static_cast<int>(identity)));
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Relation>> ReadRelation(const v1::Relation& message) {
  auto bad = [&message](absl::string_view what) {
    return absl::DataLossError(absl::StrCat("description ", message.number(), " of relation ",
                                            message.schema(), ".", message.name(), ": ", what));
  };
  if (message.number() == 0) return bad("it has no number");
  if (message.oid() == 0) return bad("it has no OID");
  if (message.schema().empty() || message.name().empty()) return bad("it has no name");
  if (message.columns_size() > kColumnsMax) return bad("it has too many columns");
  auto relation = std::make_unique<Relation>();
  relation->number = message.number();
  relation->oid = message.oid();
  relation->root_oid = message.root_oid();
  relation->rewrite_of = message.rewrite_of();
  relation->name = {message.schema(), message.name()};
  relation->kind = FirstOr(message.kind(), 'r');
  relation->shape_hash = message.shape_hash();
  auto identity = ReadIdentity(message.replica_identity());
  if (!identity.ok()) return bad(identity.status().message());
  relation->replica_identity = *identity;
  relation->columns.reserve(static_cast<size_t>(message.columns_size()));
  for (const v1::Column& column_message : message.columns()) {
    auto column = ReadColumn(column_message);
    if (!column.ok()) return bad(column.status().message());
    int index = static_cast<int>(relation->columns.size());
    if (column->name.empty()) return bad("a column has no name");
    // Columns that a table's rule adds have no number and stand at the end.
    int last = index == 0 ? 0 : relation->columns.back().attnum;
    bool follows_added = index > 0 && last == 0;
    if (column->attnum != 0 && (follows_added || column->attnum <= last)) {
      return bad("its columns are not in order");
    }
    if (column->is_sent) relation->sent.push_back(index);
    if (column->is_in_key) relation->key.push_back(index);
    relation->columns.push_back(*std::move(column));
  }
  return relation;
}

}  // namespace towline
