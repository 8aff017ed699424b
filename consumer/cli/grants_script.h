// What the parts of `towline grants` share: the servers, what the task touches, and the text.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "model/name.h"
#include "model/table.h"
#include "pg/connection.h"

namespace towline {

struct GrantsServer {
  explicit GrantsServer(Connection opened) : connection(std::move(opened)) {}

  Connection connection;
  std::string database;   // quoted
  std::string role;       // quoted
  std::string role_name;  // as the catalog has it
  bool role_exists = false;
};

// What the task touches at the source.
struct GrantsTouched {
  std::vector<Table> tables;
  std::vector<TableName> extension_tables;  // of these, those that belong to an extension
  std::vector<TableName> sequences;
  std::vector<TableName> extension_sequences;  // of these
  bool has_row_security = false;
  bool has_forced_row_security = false;
  bool has_large_objects = false;  // and they are copied
};

class GrantsScript {
 public:
  // A name in it may hold line breaks, and what follows one is not to be executed. psql ends a
  // comment at either character.
  void Say(absl::string_view text) {
    absl::StrAppend(&text_, "-- ", absl::StrReplaceAll(text, {{"\n", "\n-- "}, {"\r", "\n-- "}}),
                    "\n");
  }
  void Add(absl::string_view statement) { absl::StrAppend(&text_, statement, ";\n"); }
  void Grant(absl::string_view rights, const std::vector<std::string>& objects,
             const GrantsServer& server) {
    for (const std::string& object : objects) {
      Add(absl::StrCat("GRANT ", rights, " ", object, " TO ", server.role));
    }
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace towline
