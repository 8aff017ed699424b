#include "session_settings.h"

#include "text_encoding.h"

namespace towline::plugin {
namespace {

struct Setting {
  const char* name;
  const char* value;
};

constexpr int kForTheSession = 0;

// docs/protocol.md lists these: whoever compares text values with other sessions sets the same.
constexpr Setting kPinned[] = {
    {"DateStyle", "ISO, YMD"},
    {"IntervalStyle", "postgres"},
    {"TimeZone", "UTC"},
    {"timezone_abbreviations", "Default"},
    {"extra_float_digits", "3"},
    {"bytea_output", "hex"},
    // money as text (inside composites) depends on the locale's digits; as binary it does not.
    {"lc_monetary", "C"},
    // Names inside values (regclass and the like) come out with their schema.
    {"search_path", "pg_catalog, pg_temp"},
    {"quote_all_identifiers", "off"},
    // What the texts of table rules mean.
    {"standard_conforming_strings", "on"},
    {"transform_null_equals", "off"},
    {"array_nulls", "on"},
};

void Set(const char* name, const char* value, GucAction action) {
  (void)set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, action, true, 0, false);
}

// Where texts are converted, their functions are looked up in the catalogs now. The search_path
// that has just been pinned finds the server's own, never a conversion that a user has made the
// default. A walsender that begins to stream is not in a transaction.
void SetClientEncoding(GucAction action) {
  bool needs_transaction = TextsAreConverted() && !IsTransactionState();
  MemoryContext caller = CurrentMemoryContext;
  ResourceOwner owner = CurrentResourceOwner;
  if (needs_transaction) StartTransactionCommand();
  Set("client_encoding", SentEncodingName(), action);
  if (!needs_transaction) return;
  CommitTransactionCommand();
  MemoryContextSwitchTo(caller);
  CurrentResourceOwner = owner;
}

}  // namespace

int PinSessionSettings() {
  bool in_transaction = IsTransactionState();
  int nest_level = in_transaction ? NewGUCNestLevel() : kForTheSession;
  GucAction action = in_transaction ? GUC_ACTION_SAVE : GUC_ACTION_SET;
  for (const Setting& setting : kPinned) Set(setting.name, setting.value, action);
  // Send functions convert text to the client's encoding.
  SetClientEncoding(action);
  return nest_level;
}

int PinTextSettings() {
  int nest_level = NewGUCNestLevel();
  for (const Setting& setting : kPinned) Set(setting.name, setting.value, GUC_ACTION_SAVE);
  return nest_level;
}

void RestoreSessionSettings(int nest_level) {
  if (nest_level != kForTheSession) AtEOXact_GUC(true, nest_level);
}

}  // namespace towline::plugin
