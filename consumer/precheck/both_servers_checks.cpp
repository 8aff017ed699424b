// What the two servers are compared in, and the way to each.
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "pg/quoting.h"
#include "precheck/check_context.h"

namespace towline {
namespace {

constexpr double kClockSecondsMax = 5;

void CheckTls(CheckContext& context, const char* id, const ServerFacts& facts) {
  const std::string& address = facts.client_address;
  bool is_loopback = absl::StartsWith(address, "127.") || address == "::1";
  if (facts.has_tls) {
    context.Pass(id, "the connection uses TLS");
  } else if (address.empty() || is_loopback) {
    context.Pass(id, "the connection does not leave this host");
  } else {
    context.Warn(id, absl::StrCat("connected over the network, from ", address, ", without TLS"),
                 {});
  }
}

struct Locale {
  std::string provider;  // c, i (ICU), b; empty before 15
  std::string collate;
  std::string ctype;
  std::string icu;
};

std::optional<Locale> ReadLocale(CheckContext& context, const char* id, Connection& connection) {
  // By way of JSON: not every version has every column, and two have changed their names.
  std::optional<Result> result =
      context.Ask(id, connection,
                  "SELECT COALESCE(j->>'datlocprovider', 'c'), COALESCE(j->>'datcollate', ''), "
                  "COALESCE(j->>'datctype', ''), COALESCE(j->>'datlocale', j->>'daticulocale', '') "
                  "FROM (SELECT "
                  "pg_catalog.to_jsonb(d) AS j FROM pg_catalog.pg_database d WHERE d.datname = "
                  "pg_catalog.current_database()) own");
  if (!result || result->row_count() == 0) return std::nullopt;
  return Locale{result->GetString(0, 0), result->GetString(0, 1), result->GetString(0, 2),
                result->GetString(0, 3)};
}

// "en_US.UTF-8" and "en_US.utf8" are one locale.
std::string Plain(const std::string& name) {
  return absl::StrReplaceAll(absl::AsciiStrToLower(name), {{"-", ""}});
}

std::string Described(const Locale& locale) {
  if (locale.provider == "c") {
    return locale.collate == locale.ctype
               ? locale.collate
               : absl::StrCat(locale.collate, " (ctype ", locale.ctype, ")");
  }
  return absl::StrCat(locale.provider == "i" ? "ICU " : "builtin ", locale.icu);
}

void CheckCollations(CheckContext& context) {
  constexpr char kId[] = "destination.collation";
  std::optional<Locale> source = ReadLocale(context, kId, *context.source);
  std::optional<Locale> destination = ReadLocale(context, kId, *context.destination);
  if (!source || !destination) return;
  bool is_same = source->provider == destination->provider &&
                 (source->provider == "c" ? Plain(source->collate) == Plain(destination->collate)
                                          : Plain(source->icu) == Plain(destination->icu)) &&
                 Plain(source->ctype) == Plain(destination->ctype);
  if (is_same) {
    context.Pass(kId, absl::StrCat("both databases sort text by ", Described(*source)));
    return;
  }
  context.Warn(kId,
               absl::StrCat("the source sorts text by ", Described(*source),
                            ", the destination by ", Described(*destination)),
               {});
}

// The server's own default, below what our sessions set. Names of one and the same zone are many.
std::optional<std::string> ReadTimeZone(CheckContext& context, const char* id,
                                        Connection& connection) {
  std::optional<Result> result = context.Ask(
      id, connection, "SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'TimeZone'");
  if (!result || result->row_count() == 0) return std::nullopt;
  std::string zone = result->GetString(0, 0);
  for (const char* utc : {"Etc/UTC", "UCT", "Etc/UCT", "GMT", "Etc/GMT", "Zulu", "Universal"}) {
    if (zone == utc) return "UTC";
  }
  return zone;
}

void CheckTimeZone(CheckContext& context) {
  constexpr char kId[] = "destination.time_zone";
  std::optional<std::string> source = ReadTimeZone(context, kId, *context.source);
  std::optional<std::string> destination = ReadTimeZone(context, kId, *context.destination);
  if (!source || !destination) return;
  size_t affected = 0;
  for (const Table& table : context.tables) {
    bool has_zone = false;
    for (const TableColumn& column : table.columns) {
      has_zone = has_zone || column.type_name == "timestamptz" || column.type_name == "timetz";
    }
    affected += has_zone ? 1 : 0;
  }
  if (*source == *destination || affected == 0) {
    context.Pass(kId,
                 absl::StrCat("the source's is ", *source, ", the destination's ", *destination));
    return;
  }
  context.Warn(
      kId,
      absl::StrCat("the source's is ", *source, ", the destination's ", *destination, ", and ",
                   Counted(affected, "table"), " with times that are shown by it"),
      {.statement =
           absl::StrCat("ALTER DATABASE ", QuoteIdentifier(context.destination_facts.database),
                        " SET timezone = ", QuoteLiteral(*source), ";")});
}

// A server's clock against ours, and how far that may be off: half of the round trip.
struct ClockReading {
  double ahead_seconds = 0;
  double error_seconds = 0;
};

std::optional<ClockReading> ReadClock(CheckContext& context, const char* id,
                                      Connection& connection) {
  absl::Time before = absl::Now();
  std::optional<Result> result = context.Ask(
      id, connection, "SELECT EXTRACT(epoch FROM pg_catalog.clock_timestamp())::float8");
  absl::Time after = absl::Now();
  double there = 0;
  if (!result || !absl::SimpleAtod(result->Get(0, 0), &there)) return std::nullopt;
  double half = absl::ToDoubleSeconds(after - before) / 2;
  return ClockReading{there - (absl::ToDoubleSeconds(before - absl::UnixEpoch()) + half), half};
}

void CheckClock(CheckContext& context) {
  constexpr char kId[] = "destination.clock";
  std::optional<ClockReading> source = ReadClock(context, kId, *context.source);
  std::optional<ClockReading> destination = ReadClock(context, kId, *context.destination);
  if (!source || !destination) return;
  double ahead = destination->ahead_seconds - source->ahead_seconds;
  double error = source->error_seconds + destination->error_seconds;
  std::string found = absl::StrFormat("the destination's clock is %.1f s %s the source's",
                                      std::abs(ahead), ahead >= 0 ? "ahead of" : "behind");
  if (std::abs(ahead) - error > kClockSecondsMax) {
    context.Warn(kId, found, {});
  } else {
    context.Pass(kId, found);
  }
}

}  // namespace

void CheckBothServers(CheckContext& context) {
  if (context.source) CheckTls(context, "source.tls", context.source_facts);
  if (context.standby) CheckTls(context, "source.tls", context.standby_facts);
  CheckTls(context, "destination.tls", context.destination_facts);
  if (!context.source || context.is_same_database) return;
  CheckCollations(context);
  CheckTimeZone(context);
  CheckClock(context);
}

}  // namespace towline
