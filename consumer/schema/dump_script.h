// What of pg_dump's script goes to the destination. Pure.
//
// All identifiers come quoted (--quote-all-identifiers), so that statements can be recognised by
// their beginnings. Which object a statement is about pg_dump says in the comment before it
// (--verbose): "TOC entry 5 (class 1259 OID 16385)", the object as pg_depend has it; comments,
// rights and the like have no object of their own but "Dependencies: 5", the entry they belong to.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "schema/excluded_objects.h"

namespace towline {

struct DumpStatement {
  std::string text;
  bool is_setting = false;  // SET or set_config: to be run again in each session
};

struct LeftOutEntry {
  ObjectId object;   // all zero: of no object of its own
  std::string name;  // as people read it: VIEW public.v
};

struct DumpScript {
  std::vector<DumpStatement> statements;
  std::vector<LeftOutEntry> left_out;  // because of `excluded`
};

// The script's statements without those that must not reach a destination: the extension towline,
// timeouts, and what is excluded. kUnimplemented if the script does not say what its statements are
// about and something is excluded.
absl::StatusOr<DumpScript> ParseDumpScript(absl::string_view script,
                                           const ExcludedObjects& excluded);

// Takes a name in double quotes, as the dump writes all of them, off the front; false if none
// stands there.
bool TakeQuotedName(absl::string_view* text, std::string* name);

// Whether the statement gives an object to a role or says what roles may do: OWNER TO, GRANT,
// REVOKE, ALTER DEFAULT PRIVILEGES, also as another role.
bool IsAboutRights(absl::string_view statement);

// The roles that such a statement, or CREATE USER MAPPING, names. PUBLIC and the like are none.
std::vector<std::string> RolesOf(absl::string_view statement);

}  // namespace towline
