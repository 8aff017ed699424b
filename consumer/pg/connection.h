// An ordinary session with a server over libpq. One owner, one thread at a time; movable.
//
// Every wait listens to a Shutdown and has a deadline; a wait that ends so leaves the connection
// unusable (the statement is cancelled as far as the server can be reached). Errors carry
// sqlstate, detail and hint (base/error.h) and the codes of sqlstate.h; a lost connection is
// kUnavailable.
#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/shutdown.h"
#include "model/oid.h"
#include "pg/connect_options.h"

namespace towline {

struct PgConnCloser {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
struct PgResultClearer {
  void operator()(PGresult* result) const { PQclear(result); }
};
using PgConnPtr = std::unique_ptr<PGconn, PgConnCloser>;
using PgResultPtr = std::unique_ptr<PGresult, PgResultClearer>;

// A finished statement's rows. Text format unless asked otherwise.
class Result {
 public:
  explicit Result(PgResultPtr result) : result_(std::move(result)) {}

  int row_count() const { return PQntuples(result_.get()); }
  bool IsNull(int row, int column) const { return PQgetisnull(result_.get(), row, column) != 0; }
  // Valid as long as the Result.
  absl::string_view Get(int row, int column) const {
    return {PQgetvalue(result_.get(), row, column),
            static_cast<size_t>(PQgetlength(result_.get(), row, column))};
  }
  std::string GetString(int row, int column) const { return std::string(Get(row, column)); }
  int64_t GetInt(int row, int column) const;  // 0 if it is no number
  bool GetBool(int row, int column) const { return Get(row, column) == "t"; }
  // Rows touched, by the command tag; 0 if the tag has none.
  int64_t affected_rows() const;
  PGresult* raw() const { return result_.get(); }

 private:
  PgResultPtr result_;
};

// A text parameter; nullopt is NULL.
using Param = std::optional<std::string>;

// A parameter of a type that is said, in one of its two forms.
struct TypedParam {
  Oid type = 0;
  bool is_binary = false;
  std::string bytes;
};

class Connection {
 public:
  struct Purpose {
    std::string application_name;  // "towline_<task> apply"
    absl::Duration connect_timeout = absl::Seconds(15);
    // Statements run at once after connecting. The pinned settings of A16 (timeouts off, formats,
    // search_path empty, UTF8) are always set before them.
    std::vector<std::string> settings;
    bool is_replication = false;  // only ReplicationConnection sets it
  };

  static absl::StatusOr<Connection> Open(const ConnectOptions& options, const Purpose& purpose,
                                         const Shutdown& shutdown);
  Connection(Connection&&) = default;
  Connection& operator=(Connection&&) = default;

  // One or several statements as text without parameters; the last one's result.
  absl::StatusOr<Result> Exec(absl::string_view sql);
  // One statement; parameters are text.
  absl::StatusOr<Result> Query(absl::string_view sql, absl::Span<const Param> params = {});
  // The same with parameters of said types, all columns of the answer in one form.
  absl::StatusOr<Result> QueryTyped(absl::string_view sql, absl::Span<const TypedParam> params,
                                    bool is_answer_binary);
  // The first column of the first row; kNotFound if there is none.
  absl::StatusOr<std::string> QueryValue(absl::string_view sql,
                                         absl::Span<const Param> params = {});

  // COPY TO STDOUT: `sql` is started; then CopyRead gives one CopyData a time until it gives none
  // (the statement has then ended well).
  absl::Status CopyOutBegin(absl::string_view sql);
  struct CopyChunk {
    std::unique_ptr<char, void (*)(void*)> buffer;
    absl::string_view bytes;
  };
  // `on_large` is called (again and again) while a message of many megabytes comes in, before more
  // of it is taken.
  absl::StatusOr<std::optional<CopyChunk>> CopyRead(absl::FunctionRef<absl::Status()> on_large =
                                                        [] { return absl::OkStatus(); });
  // How many rows the server says that the COPY TO STDOUT which ended last was of.
  int64_t copied_out_rows() const { return copied_out_rows_; }

  // COPY FROM STDIN. CopyWrite waits for the socket, so libpq's buffer stays bounded. CopyInEnd
  // gives the number of rows.
  absl::Status CopyInBegin(absl::string_view sql);
  absl::Status CopyWrite(absl::string_view bytes);
  absl::StatusOr<int64_t> CopyInEnd();
  // Sends the end without waiting for the answer, which is NextResult()'s until there is none.
  absl::Status CopyInPutEnd();
  // Ends a COPY FROM STDIN so that it fails with `reason`; the transaction is then aborted.
  void CopyInAbort(absl::string_view reason);

  // For a client of libpq's pipeline mode: the connection itself and the two waits it needs.
  PGconn* raw() const { return connection_.get(); }
  // Waits until the socket can be read (or written, if asked) or the deadline of `timeout` is over.
  absl::Status WaitSocket(bool for_write, absl::Duration timeout);
  // Writes out all and waits for the next result of what was sent; null: there is none left.
  absl::StatusOr<PgResultPtr> NextResult();
  // Status of a result or of the connection's last failure.
  absl::Status ErrorOf(const PGresult* result) const;

  // A statement without an answer for so long is a lost connection (kUnavailable): for sessions
  // whose statements are always quick, where a silent network should be noticed. Infinite unless
  // set.
  void set_answer_wait_max(absl::Duration wait_max) { answer_wait_max_ = wait_max; }

  // For a session that gets another owner, who ends its waits by another wish. That outlives us.
  void set_shutdown(const Shutdown& shutdown) { shutdown_ = &shutdown; }

  int server_version() const { return PQserverVersion(connection_.get()); }
  // Of the database: "UTF8".
  std::string server_encoding() const {
    const char* name = PQparameterStatus(connection_.get(), "server_encoding");
    return name == nullptr ? "" : name;
  }
  int backend_pid() const { return PQbackendPID(connection_.get()); }
  const std::string& side() const { return side_; }
  bool is_stopping() const { return shutdown_->is_requested(); }
  bool is_alive() const { return PQstatus(connection_.get()) == CONNECTION_OK; }

  // Asks the server to cancel what runs; from any thread.
  void Cancel();

 private:
  friend class ReplicationConnection;
  Connection(PgConnPtr connection, std::string side, const Shutdown* shutdown);
  absl::StatusOr<Result> LastResult(ExecStatusType also_good);
  absl::Status Flush();

  PgConnPtr connection_;
  std::string side_;
  const Shutdown* shutdown_;
  absl::Duration answer_wait_max_ = absl::InfiniteDuration();
  int64_t copied_out_rows_ = 0;
};

}  // namespace towline
