// Reads again at the source what a row that has moved between ranges of keys came without
// (model/moved_row.h, docs/decisions/016).
//
// The row is looked up by its key, and taken only if its xmin says that the transaction, or the
// subtransaction of it that the stream names, has written this version. (Whichever of its ids
// that is: what has the key at its end is its last version of the row.) An older plugin names none
// but in transactions that come while in progress; what they have written then counts as gone. xmin
// has 32 bits and stays as it was when a row is frozen; two transactions of the same 32 bits are
// not mistaken, because only those less than 2^31 ids apart are considered, and the slot keeps the
// source from going further.
//
// In the very same statement the catalogs are asked whether the columns are still those that the
// stream has described: the statement's lock comes before its snapshot, so both are of one moment.
// What a type's output reads from the catalogs (enums, composites, names of objects) could have
// changed meanwhile, so only values of base types and of arrays and domains of such are taken; nor
// are values that a rule computes.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/shutdown.h"
#include "model/moved_row.h"
#include "model/oid.h"
#include "pg/connect_options.h"
#include "pg/connection.h"
#include "schema/table_rules.h"

namespace towline {

class MovedRows final : public MovedRowReader {
 public:
  struct Options {
    ConnectOptions source;
    std::string task;
    TableRules rules;
  };
  // The session is opened when it is needed. `shutdown` ends its waits and outlives this.
  MovedRows(Options options, const Shutdown& shutdown);

  absl::StatusOr<Answer> Read(const MovedRow& moved) override;
  void CloseIfIdle() override;

 private:
  struct Question;
  absl::Status Open(const Relation& relation);
  absl::StatusOr<std::optional<std::string>> NameOf(Oid table);
  absl::StatusOr<Verdict> Ask(const MovedRow& moved, const Question& question,
                              const std::string& table, std::optional<Result>* answer);

  const Options options_;
  const Shutdown& shutdown_;
  std::optional<Connection> session_;
  absl::Time used_at_;
  std::map<Oid, std::string> names_;  // quoted
};

}  // namespace towline
