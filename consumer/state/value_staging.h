// Single values of one row that is too large to be sent at once, waiting in a table of
// towline_state until a statement puts them where they belong.
//
// A message holds 1 GB, and so does a row that is put together in memory; but a row holds of a
// large value only where it is stored. So each value is stored for itself, and the statement takes
// them by sub-selects that hand on the place and not the bytes: to constraints, triggers and row
// counts it is one statement with the whole row. Also, COPY passes through us in small pieces,
// where libpq would hold a parameter once more.
//
// The table lives in the caller's transaction only. It is temporary where it can be, else an
// ordinary one of towline_state, whose bytes the server then logs once more. Never an unlogged one:
// if the transaction that made it is rolled back, and the server crashes before its log says so,
// recovery makes the table's initial file again, finds the emptied main file in its way, and the
// server does not start ("could not create file ...: File exists"). Its name holds the
// transaction's id: one that is only prepared would keep others from using the same name.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "pg/connection.h"

namespace towline {

class ValueStaging {
 public:
  // Value i has the type of columns[i], a column (quoted) of `relation` (quoted) or an expression.
  // `is_prepared`: the transaction is to be prepared, which one that has used temporary tables
  // cannot be.
  static absl::StatusOr<ValueStaging> Create(Connection& session, const std::string& relation,
                                             const std::vector<std::string>& columns,
                                             bool is_prepared);

  // COPY FROM STDIN of one row: the value's number (int4) and the value.
  std::string CopySql(size_t value, bool is_binary) const;
  absl::Status Put(Connection& session, size_t value, absl::string_view bytes,
                   bool is_binary) const;
  // A sub-select: the value, or NULL if none was put there.
  std::string ValueSql(size_t value) const;

  // Gives the values' room back at once.
  absl::Status Empty(Connection& session) const;
  absl::Status Drop(Connection& session) const;

 private:
  explicit ValueStaging(std::string name) : name_(std::move(name)) {}
  std::string name_;  // quoted
};

}  // namespace towline
