#include "apply/ddl_drops.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "apply/ddl_text.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// As pg_event_trigger_dropped_objects() names them; their identities are what DROP takes.
constexpr std::array<absl::string_view, 29> kTypes = {"access method",
                                                      "aggregate",
                                                      "collation",
                                                      "conversion",
                                                      "domain",
                                                      "foreign table",
                                                      "foreign-data wrapper",
                                                      "function",
                                                      "index",
                                                      "language",
                                                      "materialized view",
                                                      "operator",
                                                      "operator class",
                                                      "operator family",
                                                      "policy",
                                                      "procedure",
                                                      "rule",
                                                      "schema",
                                                      "sequence",
                                                      "server",
                                                      "statistics object",
                                                      "table",
                                                      "text search configuration",
                                                      "text search dictionary",
                                                      "text search parser",
                                                      "text search template",
                                                      "trigger",
                                                      "type",
                                                      "view"};

// The rest goes with it.
bool IsNamedBy(absl::string_view tag, const DdlObject& object) {
  if (!IsDroppable(object)) return false;
  if (tag == "DROP DOMAIN") return object.type == "type";
  if (tag == "DROP ROUTINE") {
    return object.type == "function" || object.type == "procedure" || object.type == "aggregate";
  }
  return tag == absl::StrCat("DROP ", KeywordsOf(object.type));
}

}  // namespace

bool IsDroppable(const DdlObject& object) {
  return std::find(kTypes.begin(), kTypes.end(), object.type) != kTypes.end();
}

std::string KeywordsOf(absl::string_view type) {
  if (type == "foreign-data wrapper") return "FOREIGN DATA WRAPPER";
  if (type == "statistics object") return "STATISTICS";
  return absl::AsciiStrToUpper(type);
}

std::string NameAs(absl::string_view keywords, const DdlObject& object) {
  const absl::string_view name = object.identity;
  if (keywords != "AGGREGATE" || !absl::EndsWith(name, "()")) return std::string(name);
  return absl::StrCat(name.substr(0, name.size() - 1), "*)");
}

std::string DropByWholeNames(const DdlCommand& command, const std::vector<DdlObject>& dropped) {
  std::vector<std::string> names;
  for (const DdlObject& object : dropped) {
    if (!IsNamedBy(command.tag, object)) continue;
    names.push_back(NameAs(absl::StripPrefix(command.tag, "DROP "), object));
  }
  return names.empty() ? "" : AsDropOf(command.tag, command.statement, names);
}

std::vector<std::string> DropStatements(const DdlCommand& command,
                                        const std::vector<DdlObject>& dropped) {
  const bool cascades = Cascades(command.tag, command.statement);
  std::vector<std::string> statements;
  for (const DdlObject& object : dropped) {
    if (object.type == "user mapping") {
      const std::vector<std::string> parts = absl::StrSplit(object.identity, " on server ");
      if (parts.size() != 2) continue;
      statements.push_back(absl::StrCat("DROP USER MAPPING IF EXISTS FOR ", parts[0], " SERVER ",
                                        QuoteIdentifier(parts[1])));
      continue;
    }
    if (!IsDroppable(object)) continue;
    const std::string keywords = KeywordsOf(object.type);
    statements.push_back(absl::StrCat("DROP ", keywords, " IF EXISTS ", NameAs(keywords, object),
                                      cascades ? " CASCADE" : ""));
  }
  return statements;
}

}  // namespace towline
