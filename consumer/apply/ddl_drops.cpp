#include "apply/ddl_drops.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// As pg_event_trigger_dropped_objects() names them; their identities are what DROP takes.
constexpr std::array<absl::string_view, 28> kTypes = {"access method",
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
                                                      "type",
                                                      "view"};

std::string KeywordsOf(absl::string_view type) {
  if (type == "foreign-data wrapper") return "FOREIGN DATA WRAPPER";
  if (type == "statistics object") return "STATISTICS";
  return absl::AsciiStrToUpper(type);
}

}  // namespace

std::vector<DdlObject> ObjectsOfDrop(const DdlCommand& command,
                                     const std::vector<DdlObject>& dropped) {
  static constexpr std::array<absl::string_view, 7> kTags = {
      "DROP INDEX", "DROP VIEW",  "DROP MATERIALIZED VIEW", "DROP SEQUENCE", "DROP FOREIGN TABLE",
      "DROP TYPE",  "DROP DOMAIN"};
  std::vector<DdlObject> objects;
  if (std::find(kTags.begin(), kTags.end(), command.tag) == kTags.end()) return objects;
  for (const DdlObject& object : dropped) {
    const bool is_own = absl::StrCat("DROP ", KeywordsOf(object.type)) == command.tag ||
                        (command.tag == "DROP DOMAIN" && object.type == "type");
    if (is_own) objects.push_back(object);
  }
  return objects;
}

std::vector<std::string> DropStatements(const DdlCommand& command,
                                        const std::vector<DdlObject>& dropped) {
  const bool cascades = absl::EndsWithIgnoreCase(command.statement, "CASCADE");
  std::vector<std::string> statements;
  for (const DdlObject& object : dropped) {
    if (object.type == "user mapping") {
      const std::vector<std::string> parts = absl::StrSplit(object.identity, " on server ");
      if (parts.size() != 2) continue;
      statements.push_back(absl::StrCat("DROP USER MAPPING IF EXISTS FOR ", parts[0], " SERVER ",
                                        QuoteIdentifier(parts[1])));
      continue;
    }
    if (std::find(kTypes.begin(), kTypes.end(), object.type) == kTypes.end()) continue;
    statements.push_back(absl::StrCat("DROP ", KeywordsOf(object.type), " IF EXISTS ",
                                      object.identity, cascades ? " CASCADE" : ""));
  }
  return statements;
}

}  // namespace towline
