// A source played by a second schema of the destination: whatever SQL does to tables of schema src
// is recorded by row triggers and handed to an applier as the stream would, which writes to the
// tables of the same names in schema dst. So a test is SQL and a comparison.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "apply/applier.h"
#include "base/shutdown.h"
#include "model/batch.h"
#include "model/relation.h"
#include "pg/connection.h"

namespace towline {

class Mirror {
 public:
  // Empties the schemas src, dst and towline_state of the database and starts a task there.
  explicit Mirror(const std::string& uri);

  void Sql(const std::string& sql);
  std::string Value(const std::string& sql);
  void RollBackPrepared();

  // "name (columns...)" with what may follow; the table is created in both schemas.
  void Create(const std::string& table, const std::string& definition);
  // Starts to record src.<table>. Columns of the types in text_types travel as text.
  void Record(const std::string& table, const std::vector<std::string>& text_types = {});
  // Records what the statement does.
  void Source(const std::string& sql);
  // Values of unchanged columns beyond this size are not sent, as if they were toasted.
  size_t toast_bytes = 2000;

  // What was recorded since the last call, as one batch (the next position).
  Batch TakeBatch();
  // The same as a prepared transaction, and its end.
  Batch PrepareBatch(uint64_t xid);
  Batch EndBatch(uint64_t xid, bool is_commit);
  Batch TruncateBatch(const std::vector<std::string>& tables, bool restarts_identity);
  absl::Status Apply(const Batch& batch) { return applier().Apply(batch); }
  absl::Status ApplyRecorded() { return Apply(TakeBatch()); }

  // All rows as text, sorted; of src and dst.
  std::string Rows(const std::string& schema, const std::string& table);

  Applier& applier();
  // Throws the applier away, as after an error; the next one starts at the stored position.
  void Restart() { applier_.reset(); }
  Applier::Options options;

 private:
  struct Table {
    std::string name;
    Relation relation;
    std::string selected;  // all columns, out of the composite `r`
  };
  struct Recorded {
    int64_t number = 0;
    size_t table = 0;
    char operation = 0;
    std::string old_row;
    std::string new_row;
  };

  Relation Describe(const std::string& table, const std::vector<std::string>& text_types);
  std::vector<Recorded> ReadRecorded(size_t table);
  std::string ReadImage(const Table& table, int64_t number, const char* which);
  Change MakeChange(const Table& table, const Recorded& recorded, Batch* batch);
  std::string ReadCell(const std::string& sql);

  Shutdown shutdown_;
  std::unique_ptr<Connection> connection_;
  std::unique_ptr<Applier> applier_;
  std::deque<Table> tables_;
  uint64_t next_lsn_ = 2000;
  uint64_t next_xid_ = 700;
};

}  // namespace towline
