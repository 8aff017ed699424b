// How to reach one server: a URI or "key=value" string as libpq takes it, with the password kept
// apart so that it is never printed.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace towline {

class ConnectOptions {
 public:
  // `side` ("source", "destination") is for messages. kInvalidArgument names what libpq found
  // wrong.
  static absl::StatusOr<ConnectOptions> Parse(absl::string_view side, absl::string_view conninfo);

  const std::string& side() const { return side_; }
  // The conninfo with the password in it: for libpq and for child processes' environment only.
  const std::string& conninfo() const { return conninfo_; }
  // host, port, user, database as given (may be empty); for messages.
  const std::string& host() const { return host_; }
  const std::string& port() const { return port_; }
  const std::string& user() const { return user_; }
  const std::string& database() const { return database_; }
  // "host=... port=... user=... dbname=..." without password or key material.
  std::string Describe() const;

 private:
  std::string side_;
  std::string conninfo_;
  std::string host_;
  std::string port_;
  std::string user_;
  std::string database_;
};

}  // namespace towline
