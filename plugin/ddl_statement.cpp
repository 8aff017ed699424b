#include "ddl_statement.h"

namespace towline::plugin {
namespace {

ProcessUtility_hook_type previous_hook = nullptr;
RunningCommand* innermost = nullptr;

void RunCommand(TOWLINE_UTILITY_PARAMETERS) {
  if (previous_hook != nullptr) {
    previous_hook(TOWLINE_UTILITY_ARGUMENTS);
  } else {
    standard_ProcessUtility(TOWLINE_UTILITY_ARGUMENTS);
  }
}

void OnUtility(TOWLINE_UTILITY_PARAMETERS) {
  // The parts of a command (the tables of CREATE SCHEMA) belong to it.
  if (where == PROCESS_UTILITY_SUBCOMMAND) {
    RunCommand(TOWLINE_UTILITY_ARGUMENTS);
    return;
  }
  RunningCommand command{innermost,
                         text,
                         statement->stmt_location,
                         statement->stmt_len,
                         nodeTag(statement->utilityStmt),
                         GetUserId(),
                         {}};
  innermost = &command;
  PG_TRY();
  { RunCommand(TOWLINE_UTILITY_ARGUMENTS); }
  PG_CATCH();
  {
    innermost = command.outer;
    PG_RE_THROW();
  }
  PG_END_TRY();
  innermost = command.outer;
}

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }

const char* Cut(const char* text, int location, int length) {
  std::string_view part(text);
  if (location > 0) part.remove_prefix(Min(static_cast<size_t>(location), part.size()));
  if (length > 0) part = {part.data(), Min(static_cast<size_t>(length), part.size())};
  while (!part.empty() && IsBlank(part.front())) part.remove_prefix(1);
  while (!part.empty() && (IsBlank(part.back()) || part.back() == ';')) part.remove_suffix(1);
  return pnstrdup(part.data(), part.size());
}

// Of a command that the client has sent. A cached plan's tree (`is_copy`) is copied before it is
// run, and holds one command.
const char* TextInPortal(const Node* parsetree, bool is_copy) {
  if (ActivePortal == nullptr || ActivePortal->sourceText == nullptr) return nullptr;
  ListCell* cell;
  foreach (cell, ActivePortal->stmts) {
    const PlannedStmt* statement = lfirst_node(PlannedStmt, cell);
    if (statement->utilityStmt == nullptr) continue;
    bool is_alone = is_copy && list_length(ActivePortal->stmts) == 1 &&
                    nodeTag(statement->utilityStmt) == nodeTag(parsetree);
    if (statement->utilityStmt == parsetree || is_alone) {
      return Cut(ActivePortal->sourceText, statement->stmt_location, statement->stmt_len);
    }
  }
  return nullptr;
}

#ifdef ENABLE_NLS
const char* Translated(const char* text) { return ::dgettext(PG_TEXTDOMAIN("postgres"), text); }
#else
const char* Translated(const char* text) { return text; }
#endif

// What a function executes is told by the context that errors would have; no other way leads there.
const char* TextInContext() {
  if (error_context_stack == nullptr) return nullptr;
  ErrorContextCallback top = *error_context_stack;
  ErrorContextCallback* stack = error_context_stack;
  top.previous = nullptr;
  error_context_stack = &top;
  char* context = GetErrorContextStack();
  error_context_stack = stack;
  if (context == nullptr) return nullptr;
  const char* format = Translated("SQL statement \"%s\"");
  const char* place = strstr(format, "%s");
  if (place == nullptr) return nullptr;
  auto before = static_cast<size_t>(place - format);
  const char* after = place + 2;
  size_t size = strlen(context);
  if (size < before + strlen(after) || strncmp(context, format, before) != 0 ||
      strcmp(context + size - strlen(after), after) != 0) {
    return nullptr;
  }
  std::string_view found(context + before, size - before - strlen(after));
  return pnstrdup(found.data(), found.size());
}

// EXECUTE may run several at once. The tree may have been worked on since it was parsed, so a kind
// that is there once tells more than comparing does.
const char* PickCommand(const char* text, const Node* parsetree) {
  const RawStmt *of_kind = nullptr, *equal_one = nullptr;
  int kind_count = 0, equal_count = 0;
  ListCell* cell;
  List* commands = ParseRaw(text);
  foreach (cell, commands) {
    const RawStmt* command = lfirst_node(RawStmt, cell);
    if (nodeTag(command->stmt) != nodeTag(parsetree)) continue;
    of_kind = command;
    ++kind_count;
    if (!equal(command->stmt, parsetree)) continue;
    equal_one = command;
    ++equal_count;
  }
  const RawStmt* found = kind_count == 1 ? of_kind : equal_count == 1 ? equal_one : nullptr;
  return found == nullptr ? nullptr : Cut(text, found->stmt_location, found->stmt_len);
}

}  // namespace

void InstallUtilityHook() {
  previous_hook = ProcessUtility_hook;
  ProcessUtility_hook = OnUtility;
}

RunningCommand* FindRunningCommand(const Node* parsetree) {
  return innermost != nullptr && innermost->tag == nodeTag(parsetree) ? innermost : nullptr;
}

const char* StatementText(const RunningCommand* command, Node* parsetree) {
  if (command != nullptr) return Cut(command->text, command->location, command->length);
  if (const char* text = TextInPortal(parsetree, false)) return text;
  const char* text = TextInContext();
  return text == nullptr ? TextInPortal(parsetree, true) : PickCommand(text, parsetree);
}

}  // namespace towline::plugin
