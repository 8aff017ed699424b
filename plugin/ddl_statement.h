// The exact text of the command that an event trigger is fired for. The server hands triggers the
// whole string that the command stands in, or that of the function around it; a hook around every
// utility command knows the place. The library may be loaded by the first trigger of a session,
// when it is too late for that command: then what the session is executing is looked through.
#pragma once

#include "pg_compat.h"

namespace towline::plugin {

// What its triggers have seen of a command, one after another.
struct SeenOfCommand {
  uint64_t number;  // 0: not asked for yet
  bool has_drops;
  bool drops_only_temporary;
};

// A utility command while it runs; on the stack of the hook.
struct RunningCommand {
  RunningCommand* outer;
  const char* text;  // the string that it stands in
  int location;      // -1 or 0 and length 0: all of it
  int length;
  NodeTag tag;
  Oid role;  // who ran it
  SeenOfCommand seen;
};

void InstallUtilityHook();

// The command that a trigger with this tree is fired for; null if it began before the hook.
RunningCommand* FindRunningCommand(const Node* parsetree);

// Its text in the current memory context; null if it cannot be told for sure.
const char* StatementText(const RunningCommand* command, Node* parsetree);

}  // namespace towline::plugin
