#include "pg/connection.h"

#include <poll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/format.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "pg/error_object.h"
#include "pg/quoting.h"
#include "pg/sqlstate.h"

namespace towline {
namespace {

// A16: nothing that a role, database or server sets by default may kill a copy, change a text or
// resolve a name. Settings a server does not know are left out by asking it; pg_settings would make
// its text of all settings there are for that, which took longer than all else at the start of a
// session. A database in SQL_ASCII has bytes of any kind, which would be refused as a client's
// UTF-8.
constexpr char kPinnedSettings[] = R"(
  SELECT pg_catalog.set_config(pinned.name, pinned.value, false)
  FROM (VALUES ('statement_timeout', '0'), ('lock_timeout', '0'),
               ('idle_in_transaction_session_timeout', '0'), ('idle_session_timeout', '0'),
               ('transaction_timeout', '0'), ('row_security', 'off'), ('datestyle', 'ISO, YMD'),
               ('intervalstyle', 'postgres'), ('extra_float_digits', '3'),
               ('bytea_output', 'hex'), ('search_path', ''), ('timezone', 'UTC'),
               ('standard_conforming_strings', 'on'), ('synchronize_seqscans', 'off'),
               ('default_transaction_isolation', 'read committed'),
               ('default_transaction_read_only', 'off'),
               ('default_transaction_deferrable', 'off'), ('xmlbinary', 'base64'),
               ('xmloption', 'content'), ('array_nulls', 'on'),
               ('timezone_abbreviations', 'Default'), ('lc_monetary', 'C'), ('quote_all_identifiers', 'off'),
               ('transform_null_equals', 'off'), ('client_min_messages', 'warning'), ('jit', 'off'),
               ('client_encoding', CASE pg_catalog.current_setting('server_encoding')
                                     WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END))
       AS pinned(name, value)
  WHERE pg_catalog.current_setting(pinned.name, true) IS NOT NULL)";

// Of a message that is not whole yet: from here on CopyRead() calls it large.
constexpr int64_t kLargeMessageBytes = 8 << 20;

std::string FirstLine(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  return std::string(text.substr(0, text.find('\n')));
}

// A refused connection leaves only a text, but with PQERRORS_VERBOSE the text holds the SQLSTATE
// ("FATAL:  28P01: ..."), which does not depend on the server's language. Takes code and LOCATION
// out of the text.
std::string TakeSqlState(std::string* text) {
  for (size_t at = text->find(":  "); at != std::string::npos; at = text->find(":  ", at + 3)) {
    std::string code = text->substr(at + 3, 5);
    bool is_code = code.size() == 5 && text->compare(at + 8, 2, ": ") == 0 &&
                   std::all_of(code.begin(), code.end(), [](char c) {
                     return absl::ascii_isdigit(static_cast<unsigned char>(c)) ||
                            absl::ascii_isupper(static_cast<unsigned char>(c));
                   });
    if (!is_code) continue;
    text->erase(at + 3, 7);
    // The last line of the verbose form is the place in the server's source.
    if (size_t line = text->rfind('\n'); line != std::string::npos) text->erase(line);
    return code;
  }
  return "";
}

// The code says whether to retry or to tell the user; the hint how to mend it.
absl::Status ConnectError(PGconn* connection, const ConnectOptions& options) {
  std::string text(absl::StripAsciiWhitespace(PQerrorMessage(connection)));
  std::string sqlstate = TakeSqlState(&text);
  std::string message = absl::StrCat("cannot connect to the ", options.side(), ": ", text);
  auto fail = [&](absl::StatusCode code, absl::string_view state, absl::string_view hint) {
    return WithSqlState(WithHint(absl::Status(code, message), hint), state);
  };
  if (sqlstate == "28P01" || PQconnectionNeedsPassword(connection) != 0) {
    return fail(absl::StatusCode::kUnauthenticated, "28P01",
                PQconnectionNeedsPassword(connection) != 0
                    ? "Give the password in PGPASSWORD, in ~/.pgpass or in the URI."
                    : "Check user and password (URI, PGPASSWORD or ~/.pgpass).");
  }
  if (sqlstate == "28000") {
    return fail(absl::StatusCode::kUnauthenticated, sqlstate,
                "Check that the role exists and may log in, and that the server's pg_hba.conf has "
                "a line for this host, user and database; `towline init` prints the line.");
  }
  if (sqlstate == "3D000") {
    return fail(absl::StatusCode::kFailedPrecondition, sqlstate,
                "Create the database or correct its name in the URI.");
  }
  if (sqlstate == "42501") {
    return fail(absl::StatusCode::kPermissionDenied, sqlstate,
                absl::StrCat("ALTER ROLE ", QuoteIdentifier(PQuser(connection)), " REPLICATION;"));
  }
  if (!sqlstate.empty()) {
    return fail(CodeOfSqlState(sqlstate), sqlstate,
                sqlstate == "53300"
                    ? "Raise max_connections, max_wal_senders or, where the message names a "
                      "role or database, its CONNECTION LIMIT; or close sessions."
                    : "");
  }
  // No answer of a server: libpq's own words. A URI that libpq cannot use will not mend itself.
  for (absl::string_view part : {"invalid connection option", "invalid port", "invalid integer",
                                 "invalid sslmode", "invalid channel_binding", "invalid value"}) {
    if (absl::StrContains(text, part)) return absl::InvalidArgumentError(message);
  }
  if (absl::StrContains(text, "SSL") || absl::StrContains(text, "certificate")) {
    return fail(
        absl::StatusCode::kUnavailable, "08001",
        "Check sslmode, sslrootcert, sslcert and sslkey in the URI, and ssl at the server.");
  }
  if (absl::StrContains(text, "translate host name")) {
    return fail(absl::StatusCode::kUnavailable, "08001",
                "Check the host name in the URI and the name service.");
  }
  return fail(absl::StatusCode::kUnavailable, "08001",
              "Check that the server runs and that host and port are right.");
}

}  // namespace

int64_t Result::GetInt(int row, int column) const {
  int64_t value = 0;
  return absl::SimpleAtoi(Get(row, column), &value) ? value : 0;
}

int64_t Result::affected_rows() const {
  int64_t rows = 0;
  return absl::SimpleAtoi(PQcmdTuples(result_.get()), &rows) ? rows : 0;
}

Connection::Connection(PgConnPtr connection, std::string side, const Shutdown* shutdown)
    : connection_(std::move(connection)), side_(std::move(side)), shutdown_(shutdown) {}

absl::StatusOr<Connection> Connection::Open(const ConnectOptions& options, const Purpose& purpose,
                                            const Shutdown& shutdown) {
  // TCP settings notice a dead peer within about a minute where the URI says nothing else (a value
  // in the URI wins: libpq expands dbname last, and later keywords override).
  const char* keywords[] = {"keepalives_idle",
                            "keepalives_interval",
                            "keepalives_count",
                            "tcp_user_timeout",
                            "dbname",
                            "client_encoding",
                            "application_name",
                            purpose.is_replication ? "replication" : nullptr,
                            nullptr};
  const char* values[] = {"20",
                          "10",
                          "3",
                          "60000",
                          options.conninfo().c_str(),
                          "UTF8",
                          purpose.application_name.c_str(),
                          "database",
                          nullptr};
  PgConnPtr raw(PQconnectStartParams(keywords, values, 1));
  if (raw == nullptr) return absl::ResourceExhaustedError("out of memory");
  PQsetErrorVerbosity(raw.get(), PQERRORS_VERBOSE);
  absl::Time deadline = SteadyNow() + purpose.connect_timeout;
  PostgresPollingStatusType state = PGRES_POLLING_WRITING;
  if (PQstatus(raw.get()) == CONNECTION_BAD) return ConnectError(raw.get(), options);
  while (state != PGRES_POLLING_OK) {
    pollfd waiting[2] = {{PQsocket(raw.get()),
                          static_cast<short>(state == PGRES_POLLING_READING ? POLLIN : POLLOUT), 0},
                         {shutdown.fd(), POLLIN, 0}};
    int64_t left_ms = absl::ToInt64Milliseconds(deadline - SteadyNow());
    int ready = left_ms > 0 ? poll(waiting, 2, static_cast<int>(left_ms)) : 0;
    if (shutdown.is_requested()) return absl::CancelledError("shutting down");
    if (ready == 0) {
      return WithSqlState(
          WithHint(absl::UnavailableError(absl::StrCat(
                       "cannot connect to the ", options.side(), " (", options.Describe(),
                       "): no answer within ", towline::FormatDuration(purpose.connect_timeout))),
                   "Check the network between here and the server (firewall, routes)."),
          "08001");
    }
    if (ready < 0 && errno != EINTR) return absl::InternalError("poll failed");
    state = PQconnectPoll(raw.get());
    if (state == PGRES_POLLING_FAILED) return ConnectError(raw.get(), options);
  }
  PQsetErrorVerbosity(raw.get(), PQERRORS_DEFAULT);
  PQsetnonblocking(raw.get(), 1);
  PQsetNoticeProcessor(
      raw.get(), [](void*, const char*) {}, nullptr);
  Connection connection(std::move(raw), options.side(), &shutdown);
  if (!purpose.is_replication) {
    TOWLINE_RETURN_IF_ERROR(connection.Exec(kPinnedSettings).status());
    for (const std::string& setting : purpose.settings) {
      TOWLINE_RETURN_IF_ERROR(connection.Exec(setting).status());
    }
  }
  return connection;
}

absl::Status Connection::ErrorOf(const PGresult* result) const {
  const char* sqlstate = result != nullptr ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : nullptr;
  if (sqlstate == nullptr) {
    std::string text = FirstLine(PQerrorMessage(connection_.get()));
    if (text.empty() && result != nullptr) text = FirstLine(PQresultErrorMessage(result));
    if (PQstatus(connection_.get()) == CONNECTION_OK && result != nullptr &&
        PQresultStatus(result) != PGRES_FATAL_ERROR) {
      return absl::InternalError(absl::StrCat("unexpected answer of the ", side_, ": ",
                                              PQresStatus(PQresultStatus(result)), " ", text));
    }
    return WithSqlState(
        absl::UnavailableError(absl::StrCat("lost the connection to the ", side_, ": ", text)),
        "08006");
  }
  auto field = [result](int code) {
    const char* value = PQresultErrorField(result, code);
    return absl::string_view(value != nullptr ? value : "");
  };
  absl::Status status(CodeOfSqlState(sqlstate),
                      absl::StrCat(side_, ": ", field(PG_DIAG_MESSAGE_PRIMARY)));
  // A violated constraint's detail shows key values: they belong in towline_state, not in a log.
  if (!absl::StartsWith(sqlstate, "23") && !absl::StartsWith(sqlstate, "22")) {
    status = WithDetail(status, field(PG_DIAG_MESSAGE_DETAIL));
  }
  status = WithHint(status, field(PG_DIAG_MESSAGE_HINT));
  auto text = [&field](int code) { return std::string(field(code)); };
  status = WithErrorObject(status, {text(PG_DIAG_SCHEMA_NAME), text(PG_DIAG_TABLE_NAME),
                                    text(PG_DIAG_CONSTRAINT_NAME), text(PG_DIAG_MESSAGE_DETAIL)});
  return WithSqlState(status, sqlstate);
}

absl::Status Connection::WaitSocket(bool for_write, absl::Duration timeout) {
  absl::Time deadline = SteadyNow() + timeout;
  while (true) {
    if (shutdown_->is_requested()) return absl::CancelledError("shutting down");
    int fd = PQsocket(connection_.get());
    if (fd < 0) return ErrorOf(nullptr);
    pollfd waiting[2] = {{fd, static_cast<short>(POLLIN | (for_write ? POLLOUT : 0)), 0},
                         {shutdown_->fd(), POLLIN, 0}};
    int wait_ms = -1;
    if (timeout != absl::InfiniteDuration()) {
      int64_t left_ms =
          absl::ToInt64Milliseconds(absl::Ceil(deadline - SteadyNow(), absl::Milliseconds(1)));
      wait_ms = static_cast<int>(std::clamp<int64_t>(left_ms, 0, 3'600'000));
    }
    int ready = poll(waiting, 2, wait_ms);
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return absl::InternalError("poll failed");
    if (shutdown_->is_requested()) return absl::CancelledError("shutting down");
    if (ready == 0) return absl::DeadlineExceededError("no answer in time");
    return absl::OkStatus();
  }
}

absl::Status Connection::Flush() {
  while (true) {
    int left = PQflush(connection_.get());
    if (left < 0) return ErrorOf(nullptr);
    if (left == 0) return absl::OkStatus();
    TOWLINE_RETURN_IF_ERROR(WaitSocket(true, absl::InfiniteDuration()));
    if (PQconsumeInput(connection_.get()) == 0) return ErrorOf(nullptr);
  }
}

absl::StatusOr<PgResultPtr> Connection::NextResult() {
  TOWLINE_RETURN_IF_ERROR(Flush());
  while (PQisBusy(connection_.get()) != 0) {
    absl::Status waited = WaitSocket(false, answer_wait_max_);
    if (absl::IsCancelled(waited)) Cancel();
    if (absl::IsDeadlineExceeded(waited)) {
      return absl::UnavailableError(absl::StrCat("no answer from the ", side_, " for ",
                                                 towline::FormatDuration(answer_wait_max_)));
    }
    TOWLINE_RETURN_IF_ERROR(waited);
    if (PQconsumeInput(connection_.get()) == 0) return ErrorOf(nullptr);
  }
  return PgResultPtr(PQgetResult(connection_.get()));
}

// Takes results until there is none; the first error wins.
absl::StatusOr<Result> Connection::LastResult(ExecStatusType also_good) {
  absl::Status failure;
  PgResultPtr last;
  while (true) {
    TOWLINE_ASSIGN_OR_RETURN(PgResultPtr result, NextResult());
    if (result == nullptr) break;
    ExecStatusType status = PQresultStatus(result.get());
    if (status == also_good) return Result(std::move(result));
    if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
      return absl::InternalError("COPY started where none was expected");
    }
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY) {
      if (failure.ok()) failure = ErrorOf(result.get());
      if (PQstatus(connection_.get()) != CONNECTION_OK) break;
    } else {
      last = std::move(result);
    }
  }
  TOWLINE_RETURN_IF_ERROR(failure);
  if (last == nullptr) return ErrorOf(nullptr);
  return Result(std::move(last));
}

absl::StatusOr<Result> Connection::Exec(absl::string_view sql) {
  if (PQsendQuery(connection_.get(), std::string(sql).c_str()) == 0) return ErrorOf(nullptr);
  return LastResult(PGRES_NONFATAL_ERROR);
}

absl::StatusOr<Result> Connection::Query(absl::string_view sql, absl::Span<const Param> params) {
  std::vector<const char*> values;
  values.reserve(params.size());
  for (const Param& param : params) values.push_back(param ? param->c_str() : nullptr);
  if (PQsendQueryParams(connection_.get(), std::string(sql).c_str(),
                        static_cast<int>(params.size()), nullptr, values.data(), nullptr, nullptr,
                        0) == 0) {
    return ErrorOf(nullptr);
  }
  return LastResult(PGRES_NONFATAL_ERROR);
}

absl::StatusOr<Result> Connection::QueryTyped(absl::string_view sql,
                                              absl::Span<const TypedParam> params,
                                              bool is_answer_binary) {
  std::vector<::Oid> types;
  std::vector<const char*> values;
  std::vector<int> lengths;
  std::vector<int> formats;
  for (const TypedParam& param : params) {
    types.push_back(param.type);
    values.push_back(param.bytes.c_str());
    lengths.push_back(static_cast<int>(param.bytes.size()));
    formats.push_back(param.is_binary ? 1 : 0);
  }
  if (PQsendQueryParams(connection_.get(), std::string(sql).c_str(),
                        static_cast<int>(params.size()), types.data(), values.data(),
                        lengths.data(), formats.data(), is_answer_binary ? 1 : 0) == 0) {
    return ErrorOf(nullptr);
  }
  return LastResult(PGRES_NONFATAL_ERROR);
}

absl::StatusOr<std::string> Connection::QueryValue(absl::string_view sql,
                                                   absl::Span<const Param> params) {
  TOWLINE_ASSIGN_OR_RETURN(Result result, Query(sql, params));
  if (result.row_count() == 0) return absl::NotFoundError(absl::StrCat(side_, ": no row"));
  return result.GetString(0, 0);
}

absl::Status Connection::CopyOutBegin(absl::string_view sql) {
  if (PQsendQuery(connection_.get(), std::string(sql).c_str()) == 0) return ErrorOf(nullptr);
  TOWLINE_ASSIGN_OR_RETURN(Result result, LastResult(PGRES_COPY_OUT));
  if (PQresultStatus(result.raw()) != PGRES_COPY_OUT) return absl::InternalError("no COPY started");
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Connection::CopyChunk>> Connection::CopyRead(
    absl::FunctionRef<absl::Status()> on_large) {
  int64_t seen_bytes = 0;
  while (true) {
    char* buffer = nullptr;
    int length = PQgetCopyData(connection_.get(), &buffer, 1);
    if (length > 0) {
      CopyChunk chunk{{buffer, PQfreemem}, {buffer, static_cast<size_t>(length)}};
      return std::optional<CopyChunk>(std::move(chunk));
    }
    if (length == -1) {
      TOWLINE_ASSIGN_OR_RETURN(Result ended, LastResult(PGRES_NONFATAL_ERROR));
      copied_out_rows_ = ended.affected_rows();
      return std::optional<CopyChunk>();
    }
    if (length == -2) return ErrorOf(nullptr);
    absl::Status waited = WaitSocket(false, absl::InfiniteDuration());
    if (absl::IsCancelled(waited)) Cancel();
    TOWLINE_RETURN_IF_ERROR(waited);
    // libpq does not say how much of the message it has.
    int readable = 0;
    ioctl(PQsocket(connection_.get()), FIONREAD, &readable);
    seen_bytes += readable;
    if (seen_bytes >= kLargeMessageBytes) TOWLINE_RETURN_IF_ERROR(on_large());
    if (PQconsumeInput(connection_.get()) == 0) return ErrorOf(nullptr);
  }
}

absl::Status Connection::CopyInBegin(absl::string_view sql) {
  if (PQsendQuery(connection_.get(), std::string(sql).c_str()) == 0) return ErrorOf(nullptr);
  TOWLINE_ASSIGN_OR_RETURN(Result result, LastResult(PGRES_COPY_IN));
  if (PQresultStatus(result.raw()) != PGRES_COPY_IN) return absl::InternalError("no COPY started");
  return absl::OkStatus();
}

absl::Status Connection::CopyWrite(absl::string_view bytes) {
  // libpq keeps what the socket does not take at once, so large chunks go piece by piece.
  constexpr size_t kPieceBytesMax = 1 << 20;
  while (!bytes.empty()) {
    absl::string_view piece = bytes.substr(0, kPieceBytesMax);
    int done = PQputCopyData(connection_.get(), piece.data(), static_cast<int>(piece.size()));
    if (done < 0) return ErrorOf(nullptr);
    if (done == 1) bytes.remove_prefix(piece.size());
    // A server that failed meanwhile goes on reading and throws away; its error shows at the end.
    TOWLINE_RETURN_IF_ERROR(Flush());
  }
  return absl::OkStatus();
}

absl::Status Connection::CopyInPutEnd() {
  int done = 0;
  while ((done = PQputCopyEnd(connection_.get(), nullptr)) == 0) {
    TOWLINE_RETURN_IF_ERROR(WaitSocket(true, absl::InfiniteDuration()));
    if (PQconsumeInput(connection_.get()) == 0) return ErrorOf(nullptr);
  }
  return done < 0 ? ErrorOf(nullptr) : Flush();
}

absl::StatusOr<int64_t> Connection::CopyInEnd() {
  TOWLINE_RETURN_IF_ERROR(CopyInPutEnd());
  TOWLINE_ASSIGN_OR_RETURN(Result result, LastResult(PGRES_NONFATAL_ERROR));
  return result.affected_rows();
}

void Connection::CopyInAbort(absl::string_view reason) {
  if (PQputCopyEnd(connection_.get(), std::string(reason).c_str()) == 1) {
    LastResult(PGRES_NONFATAL_ERROR).status().IgnoreError();
  }
}

void Connection::Cancel() {
  std::unique_ptr<PGcancel, decltype(&PQfreeCancel)> cancel(PQgetCancel(connection_.get()),
                                                            &PQfreeCancel);
  char ignored[256];
  if (cancel != nullptr) PQcancel(cancel.get(), ignored, sizeof ignored);
}

}  // namespace towline
