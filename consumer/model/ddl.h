// A DDL command of the source, as its extension has captured it (wire.proto, Ddl).
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/name.h"
#include "model/oid.h"

namespace towline {

enum class DdlPhase : uint8_t {
  kStart,    // CREATE TABLE AS: the table's rows follow, then kEnd
  kRewrite,  // a table is about to be rewritten: its new rows follow, then kEnd
  kEnd,
  kDrop,  // what the command has dropped; kEnd follows
};

struct DdlObject {
  Oid class_oid = 0;
  Oid oid = 0;
  std::string type;  // "table", "index", "table column", ...
  std::string schema;
  std::string name;
  std::string identity;
  TableName table;  // that it is, or is of; empty: none
};

struct DdlFill {
  TableName table;
  std::string column;
  std::string value;
};

struct DdlCommand {
  uint64_t number = 0;  // the same in all phases of one command
  DdlPhase phase = DdlPhase::kEnd;
  std::string tag;
  std::string statement;
  std::string search_path;
  std::string role;
  std::vector<DdlObject> objects;
  std::vector<std::string> actions;  // what an ALTER consists of
  std::vector<std::pair<std::string, std::string>> settings;
  std::vector<DdlFill> fills;  // values of added columns that cannot be computed again
  std::string structure;     // kStart: makes the table, whatever its query reads; empty: not told.
                             // kEnd of CREATE TABLE PARTITION OF: its bounds
  std::string named_schema;  // of what the statement names first; empty: the objects tell
  // kEnd, kRewrite: what its objects depend on, as ddl_references.h writes it. None: it is not
  // told.
  std::optional<std::set<std::string>> references;
  std::string gap;  // not empty: why it could not be captured
};

inline bool HasAction(const DdlCommand& command, absl::string_view action) {
  return std::find(command.actions.begin(), command.actions.end(), action) != command.actions.end();
}

}  // namespace towline
