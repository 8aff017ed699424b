#include "model/key_field.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace towline {
namespace {

Field FieldAt(absl::string_view image, size_t place) {
  RowReader reader(image);
  for (size_t i = 0; i < place; ++i) reader.Next();
  return reader.Next();
}

absl::Status Changed(const Relation& relation, const ChunkKey& key, absl::string_view what) {
  return absl::FailedPreconditionError(absl::StrCat("the column ", key.column, " of ",
                                                    relation.name.schema, ".", relation.name.name,
                                                    ", by which it is copied, ", what));
}

}  // namespace

absl::StatusOr<KeyField> KeyField::Find(const Relation& relation, const ChunkKey& key) {
  auto column = std::find_if(relation.columns.begin(), relation.columns.end(),
                             [&key](const Column& one) { return one.name == key.column; });
  if (column == relation.columns.end()) return Changed(relation, key, "is gone");
  if (column->type_oid != key.type_oid) return Changed(relation, key, "has got another type");
  if (column->collation != key.collation) {
    return Changed(relation, key, "has got another collation");
  }
  auto index = static_cast<int>(column - relation.columns.begin());
  auto sent = std::find(relation.sent.begin(), relation.sent.end(), index);
  if (sent == relation.sent.end()) return Changed(relation, key, "is not sent any more");
  auto in_key = std::find(relation.key.begin(), relation.key.end(), index);
  if (in_key == relation.key.end()) {
    return Changed(relation, key, "is no longer part of the replica identity");
  }
  return KeyField(key.type, column->format, static_cast<size_t>(sent - relation.sent.begin()),
                  static_cast<size_t>(in_key - relation.key.begin()));
}

absl::StatusOr<KeyValue> KeyField::Parse(const Field& field) const {
  if (field.kind != FieldKind::kValue) {
    return absl::DataLossError("a row came without a value in the column by which it is copied");
  }
  return format_ == ValueFormat::kBinary ? KeyFromBinary(type_, field.bytes)
                                         : KeyFromText(type_, field.bytes);
}

absl::StatusOr<ChangedKeys> KeyField::KeysOf(const Change& change) const {
  ChangedKeys keys;
  switch (change.old_image) {
    case OldImage::kNone:
      break;
    case OldImage::kKey: {
      TOWLINE_ASSIGN_OR_RETURN(keys.before, Parse(FieldAt(change.old_row, key_place_)));
      break;
    }
    case OldImage::kFull: {
      TOWLINE_ASSIGN_OR_RETURN(keys.before, Parse(FieldAt(change.old_row, sent_place_)));
      break;
    }
  }
  switch (change.kind) {
    case ChangeKind::kInsert: {
      TOWLINE_ASSIGN_OR_RETURN(keys.after, Parse(FieldAt(change.new_row, sent_place_)));
      return keys;
    }
    case ChangeKind::kUpdate: {
      Field field = FieldAt(change.new_row, sent_place_);
      if (field.kind == FieldKind::kUnchangedToast && keys.before.has_value()) {
        keys.after = keys.before;
        return keys;
      }
      TOWLINE_ASSIGN_OR_RETURN(keys.after, Parse(field));
      // Without an old image the key has not changed: the relation has one (Find).
      if (!keys.before.has_value()) keys.before = keys.after;
      return keys;
    }
    case ChangeKind::kDelete:
      if (keys.before.has_value()) return keys;
      return absl::FailedPreconditionError("a row was deleted without telling which");
    case ChangeKind::kTruncate:
      break;
  }
  return absl::InternalError("a TRUNCATE has no key");
}

}  // namespace towline
