// The chunk key in the rows of the stream: where it stands in the images of a relation, and its
// value before and after a change. What is not as it was when the key was chosen is an error.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "model/change.h"
#include "model/key_value.h"
#include "model/oid.h"
#include "model/row_image.h"

namespace towline {

// The column by which a table is divided (snapshot/key_choice.h chooses it).
struct ChunkKey {
  std::string column;
  Oid type_oid = 0;  // of the column; may be a domain's
  KeyType type = KeyType::kInt8;
  std::string collation;  // schema.name as the stream describes it; empty: the type's default
};

// The key of the row that a change removes and of the one that it leaves.
struct ChangedKeys {
  std::optional<KeyValue> before;  // none: an insert
  std::optional<KeyValue> after;   // none: a delete
};

class KeyField {
 public:
  // kFailedPrecondition if the relation's column is not the one that was chosen: of another type or
  // collation, not sent, or outside the replica identity.
  static absl::StatusOr<KeyField> Find(const Relation& relation, const ChunkKey& key);

  // Of an insert, update or delete of this relation. kFailedPrecondition where it does not tell
  // which row it means (hazards A14), kDataLoss where a key is NULL or is no value of its type.
  absl::StatusOr<ChangedKeys> KeysOf(const Change& change) const;

 private:
  KeyField(KeyType type, ValueFormat format, size_t sent_place, size_t key_place)
      : type_(type), format_(format), sent_place_(sent_place), key_place_(key_place) {}
  absl::StatusOr<KeyValue> Parse(const Field& field) const;

  KeyType type_;
  ValueFormat format_;
  size_t sent_place_;  // field in full images
  size_t key_place_;   // field in key images
};

}  // namespace towline
