// The destination as a server: version, encoding, what our role may do there.
#include <algorithm>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "pg/quoting.h"
#include "precheck/check_context.h"
#include "schema/array_literal.h"
#include "schema/role_fit.h"
#include "state/origin.h"
#include "state/state_store.h"

namespace towline {
namespace {

constexpr int kVersionMin = 130000;
// From 15 on a superuser can let others set a parameter.
constexpr int kVersionOfParameterGrants = 150000;
constexpr int kVersionOfSharedOrigins = 190000;
// Besides the copy's workers: state, heartbeat of sessions, schema, applier, and one to spare.
constexpr int64_t kOtherSessions = 5;

void CheckVersion(CheckContext& context) {
  int version = context.destination_facts.version;
  std::string found = absl::StrCat("version ", version / 10000, ".", version % 10000);
  int source_major = context.source ? context.source_facts.version / 10000 : 0;
  if (version < kVersionMin) {
    context.Fail("destination.version", found, {});
  } else if (version / 10000 < source_major) {
    context.Warn("destination.version",
                 absl::StrCat(found, ", older than the source's version ", source_major), {});
  } else {
    context.Pass("destination.version", found);
  }
}

void CheckWritable(CheckContext& context) {
  // default_transaction_read_only does not matter: our sessions set it off for themselves.
  if (context.destination_facts.is_in_recovery) {
    context.Fail("destination.writable", "the server is a standby and read-only", {});
  } else {
    context.Pass("destination.writable", "the server takes writes");
  }
}

void CheckEncoding(CheckContext& context) {
  const std::string& encoding = context.destination_facts.encoding;
  std::string source = context.source ? context.source_facts.encoding : "";
  std::string found = absl::StrCat("the encoding is ", encoding);
  if (encoding == "UTF8" || encoding == source) {
    context.Pass("destination.encoding", found);
  } else if (encoding == "SQL_ASCII") {
    context.Warn("destination.encoding", absl::StrCat(found, ": text arrives as UTF-8 bytes"), {});
  } else {
    context.Warn("destination.encoding",
                 absl::StrCat(found, source.empty() ? "" : ", the source's is ", source,
                              ": a character that ", encoding, " lacks stops the task"),
                 {});
  }
}

void CheckNotSource(CheckContext& context) {
  if (!context.source) return;
  absl::StatusOr<ServerIdentity> source = ReadServerIdentity(*context.source);
  absl::StatusOr<ServerIdentity> destination = ReadServerIdentity(*context.destination);
  // Where the role may not ask, `run` will by other means.
  if (!source.ok() || !destination.ok()) return;
  if (source->system_identifier == destination->system_identifier &&
      source->database_oid == destination->database_oid) {
    context.is_same_database = true;
    context.Fail("destination.same_database", "source and destination are the same database", {});
  } else {
    context.Pass("destination.same_database", "source and destination are two databases");
  }
}

// With the role's name as $1; a question about a role that does not exist would be an error.
std::optional<bool> Has(CheckContext& context, const char* id, absl::string_view privilege_sql,
                        std::vector<Param> more = {}) {
  const ServerFacts& facts = context.destination_facts;
  if (!facts.role_exists) return false;
  std::vector<Param> params = {facts.role};
  for (Param& param : more) params.push_back(std::move(param));
  std::optional<Result> result =
      context.Ask(id, *context.destination,
                  absl::StrCat("SELECT ", privilege_sql, " AND $1::text IS NOT NULL"), params);
  if (!result) return std::nullopt;
  return result->GetBool(0, 0);
}

void CheckCreateSchema(CheckContext& context) {
  constexpr char kId[] = "destination.create_schema";
  const ServerFacts& facts = context.destination_facts;
  if (!facts.role_exists) {
    context.Fail(kId, absl::StrCat("there is no role ", facts.QuotedRole()),
                 {.statement = absl::StrCat("CREATE ROLE ", facts.QuotedRole(),
                                            " LOGIN;\nGRANT "
                                            "CREATE ON DATABASE ",
                                            QuoteIdentifier(facts.database), " TO ",
                                            facts.QuotedRole(), ";"),
                  .text = "Give it a password with psql's \\password."});
    return;
  }
  std::optional<Result> owner =
      context.Ask(kId, *context.destination,
                  "SELECT r.rolname, pg_catalog.pg_has_role($1::name, n.nspowner, 'USAGE') "
                  "FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner "
                  "WHERE n.nspname = 'towline_state'",
                  {{facts.role}});
  if (!owner) return;
  if (owner->row_count() == 1) {
    if (owner->GetBool(0, 1)) {
      context.Pass(kId, "the schema towline_state is there and ours");
    } else {
      context.Fail(kId, absl::StrCat("the schema towline_state belongs to role ", owner->Get(0, 0)),
                   {.statement = absl::StrCat("GRANT ", QuoteIdentifier(owner->Get(0, 0)), " TO ",
                                              facts.QuotedRole(), ";")});
    }
    return;
  }
  std::optional<bool> may =
      Has(context, kId,
          "pg_catalog.has_database_privilege($1::name, pg_catalog.current_database(), "
          "'CREATE')");
  if (!may) return;
  if (*may) {
    context.Pass(kId, absl::StrCat("role ", facts.QuotedRole(), " may create schemas"));
  } else {
    context.Fail(
        kId,
        absl::StrCat("role ", facts.QuotedRole(),
                     " may not create the schema "
                     "towline_state"),
        {.statement = absl::StrCat("GRANT CREATE ON DATABASE ", QuoteIdentifier(facts.database),
                                   " TO ", facts.QuotedRole(), ";")});
  }
}

// Hazards D1: what a source's user puts into a command runs here.
void CheckDdlRole(CheckContext& context) {
  constexpr char kId[] = "destination.ddl_role";
  if (!context.options.ddl) return;
  const ServerFacts& facts = context.destination_facts;
  std::vector<std::string> unfit;
  for (const std::string& role : context.options.ddl_roles) {
    absl::StatusOr<std::string> why = WhyRoleUnfit(*context.destination, role, facts.role);
    if (!why.ok()) return context.FailBy(kId, why.status());
    if (!why->empty()) unfit.push_back(*std::move(why));
  }
  if (!unfit.empty()) {
    context.Fail(
        kId, absl::StrJoin(unfit, "; "),
        {.text = absl::StrCat("Name roles that are no superusers, and GRANT them to ",
                              facts.QuotedRole(), " (from version 16 on WITH SET TRUE).")});
    return;
  }
  if (facts.is_superuser) {
    context.Warn(kId,
                 absl::StrCat("role ", facts.QuotedRole(),
                              " is a superuser: who may make schema changes at the source may do "
                              "anything here"),
                 {.text = "Connect as a role that owns what it is to alter and is no superuser."});
  } else {
    context.Pass(kId, absl::StrCat("role ", facts.QuotedRole(), " is no superuser"));
  }
}

void CheckReplicationRoleSetting(CheckContext& context) {
  constexpr char kId[] = "destination.replication_role_setting";
  const ServerFacts& facts = context.destination_facts;
  std::string role = facts.QuotedRole();
  bool may = facts.is_superuser;
  if (!may && facts.is_current_role) {
    // Trying it also finds what managed servers allow by ways of their own.
    may = context.destination->Exec("BEGIN; SET LOCAL session_replication_role = 'replica'").ok();
    context.destination->Exec("ROLLBACK").status().IgnoreError();
  } else if (!may && facts.version >= kVersionOfParameterGrants) {
    may = Has(context, kId,
              "pg_catalog.has_parameter_privilege($1::name, 'session_replication_role', 'SET')")
              .value_or(false);
  }
  if (may) {
    context.Pass(kId, absl::StrCat("role ", role, " may set session_replication_role"));
    return;
  }
  std::string statement =
      facts.version >= kVersionOfParameterGrants
          ? absl::StrCat("GRANT SET ON PARAMETER session_replication_role TO ", role, ";")
          : absl::StrCat("ALTER ROLE ", role, " SUPERUSER;");
  context.Fail(kId, absl::StrCat("role ", role, " may not set session_replication_role"),
               {.statement = statement});
}

// A convenience for others; the task works without it, unless it is one of a loop.
void CheckReplicationOrigin(CheckContext& context) {
  constexpr char kId[] = "destination.replication_origin";
  const ServerFacts& facts = context.destination_facts;
  bool is_limit_own = facts.settings.count("max_active_replication_origins") > 0;  // 18 and later
  const char* limit = is_limit_own ? "max_active_replication_origins" : "max_replication_slots";
  std::string may = "true";
  std::vector<std::string> functions;
  // From 19 on a second argument, with a default, names the process that holds the origin.
  const char* setup = facts.version >= kVersionOfSharedOrigins ? "session_setup(text, integer)"
                                                               : "session_setup(text)";
  for (const char* function : {"oid(text)", "create(text)", setup, "drop(text)"}) {
    functions.push_back(absl::StrCat("pg_catalog.pg_replication_origin_", function));
    absl::StrAppend(&may, " AND pg_catalog.has_function_privilege($1::name, '", functions.back(),
                    "', 'EXECUTE')");
  }
  std::optional<bool> allowed = Has(context, kId, may);
  std::optional<Result> used = context.Ask(
      kId, *context.destination,
      absl::StrCat("SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_origin WHERE NOT (",
                   OriginsCondition("$1"), ")"),
      {{context.options.task}});
  if (!allowed || !used) return;
  int64_t max = 0;
  if (!absl::SimpleAtoi(facts.Value(limit), &max)) max = 0;
  std::string role = facts.QuotedRole();
  auto refuse = [&](std::string found, Mend mend) {
    if (context.options.requires_origin) {
      context.Fail(kId, std::move(found), std::move(mend));
    } else {
      context.Warn(kId, std::move(found), std::move(mend));
    }
  };
  // The applier's, and those of the copy: schema, each worker, and each worker for ranges of keys;
  // later those that build indexes (state/origin.h).
  const int64_t copying =
      std::max<int64_t>(1 + 2 * context.options.copy_workers, context.options.index_workers);
  const int64_t needed = 1 + (context.options.is_first_start ? copying : 0);
  if (!*allowed) {
    refuse(absl::StrCat("role ", role, " may not set a replication origin"),
           {.statement = absl::StrCat("GRANT EXECUTE ON FUNCTION ", absl::StrJoin(functions, ", "),
                                      " TO ", role, ";")});
  } else if (used->GetInt(0, 0) + needed > max) {
    refuse(absl::StrCat(used->GetInt(0, 0), " replication origins, towline needs ", needed, ", ",
                        limit, " is ", max),
           AlterSystem(facts, limit, absl::StrCat(used->GetInt(0, 0) + needed + 10)));
  } else {
    context.Pass(kId, absl::StrCat("role ", role, " may set a replication origin"));
  }
}

void CheckTwoPhase(CheckContext& context) {
  constexpr char kId[] = "destination.two_phase";
  constexpr char kSetting[] = "max_prepared_transactions";
  if (!context.options.two_phase) return;
  auto number = [&](const ServerFacts& server) {
    int64_t value = 0;
    return absl::SimpleAtoi(server.Value(kSetting), &value) ? value : 0;
  };
  const ServerFacts& facts = context.destination_facts;
  const int64_t here = number(facts);
  const int64_t there = context.source ? number(context.source_facts) : 0;
  std::string found = absl::StrCat(kSetting, " is ", here);
  Mend mend = AlterSystem(facts, kSetting, absl::StrCat(there > 0 ? there : 100));
  if (here == 0) {
    context.Fail(kId, found, mend);
  } else if (here < there) {
    context.Warn(kId, absl::StrCat(found, ", and ", there, " at the source"), mend);
  } else {
    context.Pass(kId, found);
  }
}

void CheckConnectionsFree(CheckContext& context) {
  const ServerFacts& facts = context.destination_facts;
  const std::optional<int64_t> used =
      CountClients(context, "destination.connections_free", *context.destination);
  if (!used) return;
  auto number = [&facts](const char* name) {
    int64_t value = 0;
    return absl::SimpleAtoi(facts.Value(name), &value) ? value : 0;
  };
  int64_t max = number("max_connections");
  if (!facts.is_superuser) {
    max -= number("superuser_reserved_connections") + number("reserved_connections");
  }
  int64_t needed =
      std::max(context.options.copy_workers, context.options.index_workers) + kOtherSessions;
  std::string found = absl::StrCat(*used, " of ", max,
                                   " connections are in use, towline needs up "
                                   "to ",
                                   needed);
  if (*used + needed <= max) {
    context.Pass("destination.connections_free", found);
  } else {
    context.Warn(
        "destination.connections_free", found,
        AlterSystem(facts, "max_connections",
                    absl::StrCat(number("max_connections") + std::max<int64_t>(needed, 20))));
  }
}

// Into the schema that it has at the source, where that is the user's choice; with our empty
// search_path there is no other.
std::string CreateExtension(const std::string& name, const std::string& schema) {
  std::string quoted = QuoteIdentifier(schema);
  std::string create = absl::StrCat("CREATE EXTENSION ", QuoteIdentifier(name));
  if (schema.empty()) return absl::StrCat(create, ";");
  bool is_there = schema == "public" || schema == "pg_catalog";
  return absl::StrCat(is_there ? "" : absl::StrCat("CREATE SCHEMA IF NOT EXISTS ", quoted, ";\n"),
                      create, " SCHEMA ", quoted, ";");
}

// What the schema dump's CREATE EXTENSION would meet.
void CheckExtensions(CheckContext& context) {
  constexpr char kId[] = "destination.extensions";
  const CheckOptions& options = context.options;
  if (!context.source || !options.is_first_start || !options.copies_schema) return;
  std::optional<Result> used =
      context.Ask(kId, *context.source,
                  "SELECT e.extname, CASE WHEN v.schema IS NULL THEN n.nspname ELSE '' END "
                  "FROM pg_catalog.pg_extension e "
                  "JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace "
                  "LEFT JOIN pg_catalog.pg_available_extension_versions v "
                  "  ON v.name = e.extname AND v.version = e.extversion "
                  "WHERE e.extname NOT IN ('plpgsql', 'towline') ORDER BY e.extname");
  if (!used) return;
  ArrayLiteral names;
  std::map<std::string, std::string> schemas;  // empty: the extension knows its own
  for (int row = 0; row < used->row_count(); ++row) {
    names.Add(used->Get(row, 0));
    schemas[used->GetString(row, 0)] = used->GetString(row, 1);
  }
  // A trusted one may be created by whoever may create in the database; others by superusers only.
  std::optional<Result> missing = context.Ask(
      kId, *context.destination,
      "SELECT wanted.name, a.name IS NOT NULL, a.installed_version IS NOT NULL, "
      "  COALESCE((SELECT pg_catalog.bool_or(v.trusted) FROM "
      "pg_catalog.pg_available_extension_versions v "
      "            WHERE v.name = wanted.name AND v.version = a.default_version), false) "
      "FROM pg_catalog.unnest($1::text[]) AS wanted(name) "
      "LEFT JOIN pg_catalog.pg_available_extensions a ON a.name = wanted.name ORDER BY 1",
      {{names.ToString()}});
  if (!missing) return;
  std::vector<std::string> absent;
  std::vector<std::string> statements;
  for (int row = 0; row < missing->row_count(); ++row) {
    std::string name = missing->GetString(row, 0);
    if (!missing->GetBool(row, 1)) {
      absent.push_back(name);
    } else if (!missing->GetBool(row, 2) && !missing->GetBool(row, 3) &&
               !context.destination_facts.is_superuser) {
      statements.push_back(CreateExtension(name, schemas[name]));
    }
  }
  if (!absent.empty()) {
    context.Fail(
        kId, absl::StrCat("not installed on the destination's host: ", ListNames(absent, 20)),
        {.text = absl::StrCat(
             "Install the packages of these extensions there: ", ListNames(absent, 20), ".")});
  }
  if (!statements.empty()) {
    context.Fail(
        kId,
        absl::StrCat(Counted(statements.size(), "extension"), " that only a superuser may create"),
        {.statement = absl::StrJoin(statements, "\n")});
  }
  if (absent.empty() && statements.empty()) {
    context.Pass(kId, missing->row_count() == 0
                          ? "the source uses no extension"
                          : absl::StrCat(Counted(missing->row_count(), "extension"),
                                         " of the source can be had"));
  }
}

}  // namespace

void CheckDestinationServer(CheckContext& context) {
  CheckVersion(context);
  CheckWritable(context);
  CheckEncoding(context);
  CheckNotSource(context);
  if (context.is_same_database) return;
  CheckCreateSchema(context);
  CheckReplicationRoleSetting(context);
  CheckReplicationOrigin(context);
  CheckDdlRole(context);
  CheckTwoPhase(context);
  CheckConnectionsFree(context);
  CheckExtensions(context);
}

}  // namespace towline
