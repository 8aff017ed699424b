// What the checks share: sessions, facts, the selected tables, and the list that they add to. Each
// check is a function on it that adds one finding or several; none returns early for another's
// sake, so a user sees everything that is wrong at once.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/shutdown.h"
#include "model/table.h"
#include "pg/connection.h"
#include "precheck/finding.h"
#include "precheck/precheck.h"
#include "precheck/server_facts.h"
#include "schema/sequences.h"

namespace towline {

struct Mend {
  std::string statement = "";     // SQL; several: one a line
  std::string needs = "nothing";  // then: nothing, reload or restart
  std::string text = "";          // in words, where no statement mends it or to say more
  // Where the statement belongs, if not where the check's group says: "standby".
  const char* where = nullptr;
};

class CheckContext {
 public:
  CheckContext(const CheckOptions& check_options, const Shutdown& check_shutdown)
      : options(check_options), shutdown(check_shutdown) {}

  void Pass(const char* id, std::string found);
  void Warn(const char* id, std::string found, Mend mend);
  void Fail(const char* id, std::string found, Mend mend);
  // For what depends on rows that only the user can know: a warning if its id is accepted.
  void FailUnlessAccepted(const char* id, std::string found, Mend mend);
  // A question of ours that the server did not answer: fails, with the server's words.
  void FailBy(const char* id, const absl::Status& status);
  // Passes if nothing is named, else warns of "3 tables <what>: a, b, c".
  void WarnOf(const char* id, const std::vector<std::string>& names, absl::string_view noun,
              absl::string_view what, std::string pass, Mend mend);
  // The rows, or nothing after FailBy().
  std::optional<Result> Ask(const char* id, Connection& connection, absl::string_view sql,
                            absl::Span<const Param> params = {});

  // The server whose log is decoded, the source or its standby; null if it is not connected.
  Connection* stream_server();
  const ServerFacts& stream_facts() const;
  // "source" or "standby".
  const char* stream_side() const { return options.source_standby ? "standby" : "source"; }

  CheckOptions options;
  const Shutdown& shutdown;
  // Checks of a side run only when its session and facts are there.
  std::optional<Connection> source;
  std::optional<Connection> standby;  // of the source, if one is to be streamed from
  std::optional<Connection> destination;
  ServerFacts source_facts;
  ServerFacts standby_facts;
  ServerFacts destination_facts;
  std::vector<Table> tables;  // selected at the source, none if they cannot be read
  // The same as their rules publish them; where a rule does not fit, as they are.
  std::vector<Table> published;
  std::vector<SequenceValue> sequences;  // that go with the tables, without their values
  // Before the copy: the destination's tables of these names, by the same index; oid 0: not there.
  std::vector<Table> existing;
  bool is_rule_change = false;    // of tables that are copied; names may be meant for older log
  bool is_same_database = false;  // then nothing at the destination is worth a question
  CheckReport report;

 private:
  bool IsAccepted(const char* id) const;
  void Add(const char* id, FindingLevel level, std::string found, Mend mend);
};

// "a, b, c and 7 more"; nobody reads a thousand names.
std::string ListNames(const std::vector<std::string>& names, size_t shown_max = 5);
std::string QuotedName(const TableName& name);
// An oid[] literal of the tables.
std::string OidsOf(const std::vector<Table>& tables);
int64_t NumberOf(const ServerFacts& facts, const std::string& setting);
// Sessions of clients at the server, whoever's; nothing after FailBy(). Of what the role may not
// see a background worker of a database counts as well.
std::optional<int64_t> CountClients(CheckContext& context, const char* id, Connection& connection);
// "1 table", "3 tables".
std::string Counted(size_t count, absl::string_view noun);

// ALTER SYSTEM SET name = 'value'; with what it needs. Where the value is the role's or the
// database's own, that is altered.
Mend AlterSystem(const ServerFacts& facts, const std::string& name, const std::string& value);

// Each file's checks, in the order in which a reader mends them.
void CheckSourceServer(CheckContext& context);    // source_checks.cpp
void CheckSourceSettings(CheckContext& context);  // source_settings_checks.cpp
void CheckSourceStream(CheckContext& context);    // source_checks.cpp, after the settings
void CheckSourceTables(CheckContext& context);    // source_table_checks.cpp: reads context.tables
void CheckTableRules(CheckContext& context);      // rule_checks.cpp: reads context.published
void CheckDestinationServer(CheckContext& context);
void CheckDestinationTables(CheckContext& context);
void CheckDestinationOwners(CheckContext& context);  // destination_owner_checks.cpp
void CheckTask(CheckContext& context);
void CheckTaskSlot(CheckContext& context);          // slot_checks.cpp: part of CheckTask()
void CheckSourceLimits(CheckContext& context);      // source_limits_checks.cpp
void CheckSourceObjects(CheckContext& context);     // source_objects_checks.cpp: what goes by name
void CheckTableFamilies(CheckContext& context);     // table_family_checks.cpp
void CheckBothServers(CheckContext& context);       // both_servers_checks.cpp: compares the two
void CheckDestinationTypes(CheckContext& context);  // destination_types_checks.cpp
void CheckExistingRows(CheckContext& context);  // existing_rows_checks.cpp: reads context.existing
void CheckDestinationKeys(CheckContext& context);  // destination_keys_checks.cpp
void CheckOtherWriters(CheckContext& context);     // other_writers_checks.cpp
void CheckCapacity(CheckContext& context);         // capacity_checks.cpp
void CheckStandbys(CheckContext& context);         // standby_checks.cpp
void CheckStandby(CheckContext& context);          // standby_checks.cpp: what is streamed from
void CheckSourceSequences(CheckContext& context);  // sequence_checks.cpp: reads context.sequences
void CheckDestinationSequences(CheckContext& context);  // sequence_checks.cpp
void CheckDestinationObjects(CheckContext& context);    // destination_objects_checks.cpp

}  // namespace towline
