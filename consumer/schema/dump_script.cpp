#include "schema/dump_script.h"

#include <cstdint>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "schema/script_splitter.h"

namespace towline {
namespace {

bool IsSessionAuthorization(absl::string_view text) {
  return absl::StartsWith(text, "SET SESSION AUTHORIZATION ");
}

bool IsSetting(absl::string_view text) {
  return absl::StartsWith(text, "SET ") || absl::StartsWith(text, "SELECT pg_catalog.set_config(");
}

// Sessions pin their timeouts themselves, and an older destination does not know all of these.
bool IsTimeout(absl::string_view text) {
  for (absl::string_view name : {"statement_timeout", "lock_timeout", "transaction_timeout",
                                 "idle_in_transaction_session_timeout"}) {
    if (absl::StartsWith(text, absl::StrCat("SET ", name, " "))) return true;
  }
  return false;
}

// The extension is the source's: at the destination its event triggers would capture our own DDL.
bool IsAboutTowline(absl::string_view text) {
  return absl::StartsWith(text, "CREATE EXTENSION IF NOT EXISTS \"towline\"") ||
         absl::StartsWith(text, "CREATE EXTENSION \"towline\"") ||
         absl::StartsWith(text, "COMMENT ON EXTENSION \"towline\"");
}

struct Entry {
  int64_t number = 0;  // 0: none yet
  ObjectId object;
  std::vector<int64_t> dependencies;
  std::string name;
};

// "-- TOC entry 5 (class 1259 OID 16385)"
bool ParseEntryLine(absl::string_view line, Entry* entry) {
  std::vector<absl::string_view> words =
      absl::StrSplit(line, absl::ByAnyChar(" ()"), absl::SkipEmpty());
  return words.size() == 8 && absl::SimpleAtoi(words[3], &entry->number) &&
         absl::SimpleAtoi(words[5], &entry->object.class_oid) &&
         absl::SimpleAtoi(words[7], &entry->object.oid);
}

// "-- Name: v; Type: VIEW; Schema: public; Owner: -". A name may hold anything, so from the back.
std::string ReadableName(absl::string_view line) {
  size_t owner = line.rfind("; Owner: ");
  line = line.substr(0, owner);
  size_t schema = line.rfind("; Schema: ");
  size_t type = line.rfind("; Type: ", schema);
  if (schema == absl::string_view::npos || type == absl::string_view::npos) {
    return std::string(line);
  }
  absl::string_view schema_name = line.substr(schema + sizeof("; Schema: ") - 1);
  return absl::StrCat(
      line.substr(type + sizeof("; Type: ") - 1, schema - type - sizeof("; Type: ") + 1), " ",
      schema_name == "-" ? "" : absl::StrCat(schema_name, "."), line.substr(0, type));
}

// Takes the last entry of the comments before a statement; none: the statement belongs to the entry
// before.
void ReadHeading(absl::string_view heading, Entry* entry) {
  for (absl::string_view line : absl::StrSplit(heading, '\n')) {
    Entry next;
    if (absl::StartsWith(line, "-- TOC entry ") && ParseEntryLine(line, &next)) {
      *entry = std::move(next);
    } else if (absl::ConsumePrefix(&line, "-- Dependencies: ")) {
      for (absl::string_view word : absl::StrSplit(line, ' ', absl::SkipEmpty())) {
        int64_t number = 0;
        if (absl::SimpleAtoi(word, &number)) entry->dependencies.push_back(number);
      }
    } else if (absl::ConsumePrefix(&line, "-- Name: ")) {
      entry->name = ReadableName(line);
    }
  }
}

bool TakeRelation(absl::string_view* text, TableName* relation) {
  return TakeQuotedName(text, &relation->schema) && absl::ConsumePrefix(text, ".") &&
         TakeQuotedName(text, &relation->name);
}

// ALTER TABLE ONLY "s"."p" ATTACH PARTITION "s"."c", ALTER INDEX the same: entries without an
// object, about two relations.
bool AttachesExcluded(absl::string_view text, const std::set<TableName>& relations) {
  TableName parent;
  TableName child;
  if (!absl::ConsumePrefix(&text, "ALTER TABLE ONLY ") &&
      !absl::ConsumePrefix(&text, "ALTER INDEX ")) {
    return false;
  }
  return TakeRelation(&text, &parent) && absl::ConsumePrefix(&text, " ATTACH PARTITION ") &&
         TakeRelation(&text, &child) && (relations.contains(parent) || relations.contains(child));
}

class Filter {
 public:
  explicit Filter(const ExcludedObjects& excluded) : excluded_(excluded) {}

  absl::StatusOr<bool> IsLeftOut(const ScriptStatement& statement) {
    if (excluded_.objects.empty()) return false;
    ReadHeading(statement.heading, &entry_);
    if (IsSetting(statement.text)) return false;
    if (entry_.number == 0) {
      return absl::UnimplementedError(
          "pg_dump does not say which object a statement is about, so a part of the tables cannot "
          "be selected");
    }
    bool is_new = entry_.number != last_;
    last_ = entry_.number;
    if (!IsGone(statement.text)) return false;
    if (is_new) {
      left_out_.insert(entry_.number);
      // What belongs to another entry goes without saying.
      bool is_own = entry_.object.oid != 0 || entry_.dependencies.empty();
      if (is_own) entries_.push_back({entry_.object, entry_.name});
    }
    return true;
  }
  std::vector<LeftOutEntry> TakeEntries() { return std::move(entries_); }

 private:
  bool IsGone(absl::string_view text) const {
    if (left_out_.contains(entry_.number) || excluded_.objects.contains(entry_.object)) return true;
    if (entry_.object.oid != 0) return false;
    for (int64_t number : entry_.dependencies) {
      if (left_out_.contains(number)) return true;
    }
    return AttachesExcluded(text, excluded_.relations);
  }

  const ExcludedObjects& excluded_;
  Entry entry_;
  int64_t last_ = 0;
  std::set<int64_t> left_out_;
  std::vector<LeftOutEntry> entries_;
};

}  // namespace

bool TakeQuotedName(absl::string_view* text, std::string* name) {
  if (!absl::ConsumePrefix(text, "\"")) return false;
  name->clear();
  while (!text->empty()) {
    char c = text->front();
    text->remove_prefix(1);
    if (c != '"') {
      name->push_back(c);
    } else if (absl::ConsumePrefix(text, "\"")) {
      name->push_back('"');
    } else {
      return true;
    }
  }
  return false;
}

absl::StatusOr<DumpScript> ParseDumpScript(absl::string_view script,
                                           const ExcludedObjects& excluded) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<ScriptStatement> statements, SplitScript(script));
  DumpScript parsed;
  Filter filter(excluded);
  // A right that another than the owner gave is given as that role. The three statements become
  // one, so that no session goes on as somebody else.
  std::string as_role;
  for (ScriptStatement& statement : statements) {
    TOWLINE_ASSIGN_OR_RETURN(bool is_left_out, filter.IsLeftOut(statement));
    if (IsSessionAuthorization(statement.text)) {
      as_role = std::move(statement.text);
      continue;
    }
    if (statement.text == "RESET SESSION AUTHORIZATION") {
      as_role.clear();
      continue;
    }
    if (is_left_out || IsAboutTowline(statement.text) || IsTimeout(statement.text)) continue;
    if (!as_role.empty()) {
      parsed.statements.push_back(
          {absl::StrCat(as_role, ";\n", statement.text, ";\nRESET SESSION AUTHORIZATION"), false});
    } else {
      bool is_setting = IsSetting(statement.text);
      parsed.statements.push_back({std::move(statement.text), is_setting});
    }
  }
  parsed.left_out = filter.TakeEntries();
  return parsed;
}

bool IsAboutRights(absl::string_view statement) {
  for (absl::string_view start :
       {"GRANT ", "REVOKE ", "ALTER DEFAULT PRIVILEGES ", "SET SESSION AUTHORIZATION "}) {
    if (absl::StartsWith(statement, start)) return true;
  }
  if (!absl::StartsWith(statement, "ALTER ")) return false;
  // At the end: OWNER TO "role". A name may hold these words, but not before an unpaired quote.
  size_t owner = statement.rfind(" OWNER TO \"");
  if (owner == absl::string_view::npos) return false;
  absl::string_view rest = statement.substr(owner + sizeof(" OWNER TO ") - 1);
  std::string role;
  return TakeQuotedName(&rest, &role) && rest.empty();
}

std::vector<std::string> RolesOf(absl::string_view statement) {
  std::vector<std::string> roles;
  std::string word;    // the last
  std::string before;  // and the one before
  while (!statement.empty()) {
    char c = statement.front();
    if (c == '"') {
      std::string name;
      if (!TakeQuotedName(&statement, &name)) break;
      bool is_role = word == "TO" || word == "FROM" || word == "ROLE" || word == "AUTHORIZATION" ||
                     (word == "FOR" && before == "MAPPING");
      // No role can be called public; CREATE USER MAPPING writes it in quotes.
      if (is_role && name != "public") roles.push_back(std::move(name));
      before = word = "";
    } else if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_') {
      size_t end = 0;
      while (end < statement.size() &&
             (absl::ascii_isalnum(static_cast<unsigned char>(statement[end])) ||
              statement[end] == '_')) {
        ++end;
      }
      before = std::move(word);
      word = std::string(statement.substr(0, end));
      statement.remove_prefix(end);
    } else {
      if (c == '\'') break;  // options, behind everything that interests here
      statement.remove_prefix(1);
    }
  }
  return roles;
}

}  // namespace towline
