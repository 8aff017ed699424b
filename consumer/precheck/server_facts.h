// What most checks ask of a server, read in two queries.
#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "pg/connection.h"

namespace towline {

// From 14 on a new slot may misread changes of the catalogs, and is read from behind one of our
// own, a temporary table (docs/decisions/014).
inline constexpr int kTemporaryVersionMin = 140000;

struct Setting {
  std::string value;
  std::string unit;         // "kB", "8kB", "MB", "s", "ms" or empty
  bool is_reload = false;   // a reload suffices; else a restart
  bool is_pending = false;  // changed in the files, waits for a restart
  // Where the value is from, as pg_settings says: "database", "user" and "database user" are set
  // over what ALTER SYSTEM writes.
  std::string source;
};

struct ServerFacts {
  int version = 0;  // libpq's form, 150020
  bool is_in_recovery = false;
  bool is_source_standby = false;  // the server of source_standby: set by whoever connects to it
  std::string database;
  std::string encoding;
  std::string client_address;  // ours, as the server sees it; empty: Unix socket
  bool has_tls = false;        // of this session
  // The role that `run` uses.
  std::string role;
  bool is_current_role = true;  // the session is that role's
  bool role_exists = true;
  bool is_superuser = false;
  bool has_replication = false;
  bool bypasses_row_security = false;
  bool has_temporary = true;                // may make temporary tables in the database
  std::map<std::string, Setting> settings;  // those that the session may see

  // Empty if the server has no such setting or hides it.
  std::string Value(const std::string& name) const {
    auto found = settings.find(name);
    return found == settings.end() ? "" : found->second.value;
  }
  std::string QuotedRole() const;
};

// `role` empty: the session's own.
absl::StatusOr<ServerFacts> ReadServerFacts(Connection& connection, const std::string& role);

}  // namespace towline
