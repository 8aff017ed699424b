// The SQL of one kind of change of one table, and where its parameters come from. Pure text: what
// is prepared, cached and sent is the business of row_writer.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apply/target.h"
#include "model/change.h"
#include "model/oid.h"

namespace towline {

enum class Action : uint8_t {
  kInsert,
  kOverwrite,  // INSERT that replaces an existing row of the same key
  kUpdate,
  kReplace,  // UPDATE as DELETE and INSERT: a GENERATED ALWAYS identity column changes (C3)
  kDelete,
  kInsertMissing,   // INSERT unless a row has the key already
  kDeleteOccupant,  // DELETE of the row that has the new key, unless it is the change's own
};

// What decides the text of a statement.
struct StatementShape {
  Action action = Action::kInsert;
  OldImage old_image = OldImage::kNone;
  std::vector<bool> is_unchanged;  // of target.written: unchanged TOAST values; empty: none
  std::vector<bool> is_null;       // of target.match under kExact: the old row's NULLs; empty: none
  bool skips_locked = false;       // kExact: of equal rows, one that nobody has locked
  // Values that the statement does not bring as parameters (state/value_staging.h): by field of the
  // images, new and old, the SQL that takes each; empty: it is a parameter.
  std::vector<std::string> staged_new;
  std::vector<std::string> staged_old;
};

struct ParamSource {
  bool is_old = false;  // from the old image, else from the new one
  int field = 0;        // there
  bool is_binary = false;
  int column = 0;    // of Target::columns
  Oid type_oid = 0;  // that it is read as: given to the server, so that it infers none
};

struct Statement {
  std::string sql;
  std::vector<ParamSource> params;
  std::string name;  // once prepared
};

// kKey and kExact matching need an old image or, for kKey, key columns in the new one.
Statement BuildStatement(const Target& target, const StatementShape& shape);

// COPY of rows in the form of their images.
std::string BuildCopy(const Target& target);

}  // namespace towline
