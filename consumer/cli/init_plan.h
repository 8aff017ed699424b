// What the findings of a check ask for, sorted by server: SQL that can be executed without harm,
// and what somebody has to look at first. Pure, so that tests need no server.
#pragma once

#include <string>
#include <vector>

#include "precheck/finding.h"

namespace towline {

struct InitSide {
  std::string where;                    // "source", "standby" or "destination"
  std::vector<std::string> statements;  // roles, grants, settings, extensions: safe to execute
  std::vector<std::string> by_hand;     // a decision, a package, a user's table: one item each
  bool needs_reload = false;
  bool needs_restart = false;
};

struct InitPlan {
  InitSide source;
  InitSide standby;  // of the source, where one is to be streamed from
  InitSide destination;
  bool is_empty() const;
};

InitPlan MakeInitPlan(const CheckReport& report);

// The side as an SQL script: what is not to be executed stands in comments, so that it can be
// piped into psql. `pg_hba` is the line that lets towline in, empty: none.
std::string FormatInitSide(const InitSide& side, const std::string& server,
                           const std::string& pg_hba);

// "hostssl  shop  towline  10.0.0.7/32  scram-sha-256"; an empty address is a Unix socket.
std::string PgHbaLine(const std::string& database, const std::string& role,
                      const std::string& address, bool has_tls);

}  // namespace towline
