// What the reader of this connection already knows about relations, and how their rows are encoded.
//
// An entry is made at a relation's first change and made again after an invalidation touched it.
// Many invalidations change nothing that the reader can see (ANALYZE, an index, a new partition
// elsewhere): the description is then compared with the one that was sent, and only a different one
// is sent, under a new number.
#pragma once

#include "pg_compat.h"
#include "wire_writer.h"

namespace towline::plugin {

struct PluginState;
struct RowRules;

// How a value becomes bytes.
enum class ValueMethod : uint8_t {
  kBool,  // fixed-size types whose typsend is these bytes in network order
  kChar,
  kInt2,
  kInt4,
  kInt8,
  kFloat4,
  kFloat8,
  kUuid,
  kName,
  kVarlena,  // the value's own bytes: text, bytea and what is stored like them
  kText,     // the same where texts are converted
  kNumeric,  // numeric_bytes.h, or kSend
  kSend,     // typsend
  kOutput,   // typoutput
};

struct ColumnCodec {
  // In the tuple descriptor of the relation that was written to, or behind it: computed columns.
  int index;
  ValueMethod method;
  bool can_be_toasted;
  bool is_sent;    // in full images
  bool is_in_key;  // in key images
  const char* name;
  // Null but for computed columns: whether the row at hand, null there, leaves its value unchanged.
  const bool* is_unchanged;
  FmgrInfo* function;  // kNumeric and what follows
};

struct RelationEntry {
  Oid oid;  // of the relation that was written to; the hash table's key
  bool is_valid;
  bool is_outdated;  // invalidated since it was last made or used
  bool is_selected;  // else its changes are passed over
  bool is_ddl_log;   // captured commands, which are sent as such
  bool is_full_identity;
  bool is_rewrite;       // the new heap of a selected table, whose rows are not sent
  bool is_rewrite_told;  // and the reader has been told
  uint8_t operations;    // those that are sent (table_rules.h)
  uint32_t number;       // 0: not yet described in this connection
  Oid root_oid;

  // Everything below lives in this context, which is made again with the entry.
  MemoryContext context;
  char* display_name;     // for error messages
  RewriteFields rewrite;  // with is_rewrite
  int column_count;
  ColumnCodec* columns;
  int sent_count;
  int key_count;
  bool has_unsent_key;  // a key column is generated: full images lack a part of the key
  RowRules* rules;      // filter and computed columns; null if there are none
  // What else the description depends on: relations (partition ancestors, composite types), and
  // schemas, user types and collations by the hash values that their invalidations carry.
  Oid* related_oids;
  int related_count;
  uint32_t* dependency_hashes;
  int dependency_count;

  // The description, without its number, until it is sent, and what it hashes to: kept for as long
  // as the entry, the bytes of 100,000 tables would take more than all else.
  char* description;
  size_t description_size;
  uint64_t description_hash[2];
};

// The old and the new row taken apart; one change at a time uses them, so all relations share them.
struct RowSpace {
  size_t capacity;
  Datum* old_values;
  bool* old_nulls;
  Datum* new_values;
  bool* new_nulls;
};

// Which relations and catalog rows entries depend on, as a set that may hold more than was added:
// an invalidation of something else, and a source that makes tables all day sends many, must not
// look through all entries.
struct DependencySet {
  static constexpr uint32_t kBits = 1 << 16;
  uint64_t words[kBits / 64];

  void Add(uint32_t number) { words[Word(number)] |= Mask(number); }
  bool MayHold(uint32_t number) const { return (words[Word(number)] & Mask(number)) != 0; }

 private:
  static uint32_t Word(uint32_t number) { return number % kBits / 64; }
  static uint64_t Mask(uint32_t number) { return uint64_t{1} << (number % 64); }
};

struct RelationCache {
  HTAB* entries;
  DependencySet dependencies;  // of valid entries
  RelationEntry* last;         // looked up; may be null or invalid
  uint32_t last_number;
  RowSpace rows;     // for the widest relation so far
  long entries_max;  // when there are more, invalid entries are forgotten
};

void OpenRelationCache(PluginState* state);
// After this, or when the session's memory is released by an error, invalidations find no cache.
void CloseRelationCache();

// The valid entry of a relation; if its changes are sent, its description is in the frame already
// or has been sent. Call PrepareFrameIn() only when is_selected.
RelationEntry* LookUpRelation(PluginState* state, Relation relation);
// Writes the description if the reader does not have it. The transaction must be open.
void DescribeRelation(PluginState* state, RelationEntry* entry);

}  // namespace towline::plugin
