// Pins the settings that change how values look as text, so that two readers of one slot, and the
// initial copy, get the same bytes whatever the role, database or client has set.
#pragma once

namespace towline::plugin {

// Pins them in the current session. In a walsender, which has no transaction at this point and does
// nothing else, for the rest of the session; within an SQL function until
// RestoreSessionSettings(), or until the transaction fails. Returns what that needs to know.
int PinSessionSettings();
void RestoreSessionSettings(int nest_level);

// The same within a transaction, but for the encoding, which the session's own client has chosen.
int PinTextSettings();

}  // namespace towline::plugin
