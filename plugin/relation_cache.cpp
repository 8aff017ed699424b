#include "relation_cache.h"

#include "frame.h"
#include "plugin_state.h"
#include "relation_description.h"

namespace towline::plugin {
namespace {

// Invalid entries are of relations that were dropped or altered; a source that creates and drops
// tables all day must not make the walsender grow.
constexpr long kEntriesMax = 10000;

// The cache that invalidations are for. Invalidation callbacks cannot be unregistered, so they
// outlive the session whose memory this points into: null while there is none.
RelationCache* active_cache = nullptr;

void Invalidate(RelationEntry* entry) {
  entry->is_valid = false;
  entry->is_outdated = true;
}

bool DependsOnRelation(const RelationEntry* entry, Oid oid) {
  for (int i = 0; i < entry->related_count; ++i) {
    if (entry->related_oids[i] == oid) return true;
  }
  return false;
}

bool DependsOnHash(const RelationEntry* entry, uint32_t hash) {
  for (int i = 0; i < entry->dependency_count; ++i) {
    if (entry->dependency_hashes[i] == hash) return true;
  }
  return false;
}

void OnRelationInvalidation(Datum, Oid relation_oid) {
  if (active_cache == nullptr) return;
  if (relation_oid != InvalidOid) {
    void* entry = hash_search(active_cache->entries, &relation_oid, HASH_FIND, nullptr);
    if (entry != nullptr) Invalidate(static_cast<RelationEntry*>(entry));
    if (!active_cache->dependencies.MayHold(relation_oid)) return;
  }
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, active_cache->entries);
  while (auto* entry = static_cast<RelationEntry*>(hash_seq_search(&scan))) {
    if (relation_oid == InvalidOid || DependsOnRelation(entry, relation_oid)) Invalidate(entry);
  }
}

// Schemas, types, collations: a rename of one changes descriptions.
void OnCatalogInvalidation(Datum, SysCacheId, uint32 hash) {
  if (active_cache == nullptr) return;
  if (hash != 0 && !active_cache->dependencies.MayHold(hash)) return;
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, active_cache->entries);
  while (auto* entry = static_cast<RelationEntry*>(hash_seq_search(&scan))) {
    if (hash == 0 || DependsOnHash(entry, hash)) Invalidate(entry);
  }
}

void RegisterCallbacks() {
  static bool is_registered = false;
  if (is_registered) return;
  CacheRegisterRelcacheCallback(OnRelationInvalidation, static_cast<Datum>(0));
  CacheRegisterSyscacheCallback(NAMESPACEOID, OnCatalogInvalidation, static_cast<Datum>(0));
  CacheRegisterSyscacheCallback(TYPEOID, OnCatalogInvalidation, static_cast<Datum>(0));
  CacheRegisterSyscacheCallback(COLLOID, OnCatalogInvalidation, static_cast<Datum>(0));
  is_registered = true;
}

void OnMemoryReset(void* cache) {
  if (active_cache == cache) active_cache = nullptr;
}

void ForgetDescription(RelationEntry* entry) {
  if (entry->description != nullptr) pfree(entry->description);
  entry->description = nullptr;
}

// 128 bits: that two descriptions of one table are taken for each other does not happen.
void HashDescription(const ByteBuffer& description, uint64_t hash[2]) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(description.data);
  for (uint64_t seed : {0, 1}) {
    hash[seed] = hash_bytes_extended(bytes, static_cast<int>(description.size), seed);
  }
}

void FreeEntryMemory(RelationEntry* entry) {
  if (entry->context != nullptr) MemoryContextDelete(entry->context);
  ForgetDescription(entry);
  entry->context = nullptr;
}

void AddDependencies(const RelationEntry& entry, DependencySet* set) {
  for (int i = 0; i < entry.related_count; ++i) set->Add(entry.related_oids[i]);
  for (int i = 0; i < entry.dependency_count; ++i) set->Add(entry.dependency_hashes[i]);
}

void ForgetInvalidEntries(RelationCache* cache) {
  cache->last = nullptr;
  cache->dependencies = {};
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, cache->entries);
  while (auto* entry = static_cast<RelationEntry*>(hash_seq_search(&scan))) {
    if (entry->is_valid) {
      AddDependencies(*entry, &cache->dependencies);
      continue;
    }
    FreeEntryMemory(entry);
    hash_search(cache->entries, &entry->oid, HASH_REMOVE, nullptr);
  }
  // With more than that in use at once the bound follows, so that this stays rare.
  cache->entries_max = Max(kEntriesMax, 2 * hash_get_num_entries(cache->entries));
}

// Keeps the number if the reader has been told the same before.
void CompareDescription(PluginState* state, RelationEntry* entry, const RelationFields& fields) {
  ByteBuffer body;
  InitBuffer(&body, CurrentMemoryContext, 1024);
  WriteRelationBody(&body, fields);
  uint64_t hash[2];
  HashDescription(body, hash);
  bool is_same = entry->description_size == body.size &&
                 memcmp(entry->description_hash, hash, sizeof hash) == 0;
  if (is_same) return;
  ForgetDescription(entry);
  entry->number = 0;
  entry->description_size = 0;  // no description's, should there be no memory
  auto* copy = static_cast<char*>(MemoryContextAlloc(state->session_context, body.size));
  memcpy(copy, body.data, body.size);
  entry->description = copy;
  entry->description_size = body.size;
  memcpy(entry->description_hash, hash, sizeof hash);
}

void BuildEntry(PluginState* state, Relation relation, RelationEntry* entry) {
  // Not valid before it is complete: when the transaction that is decoded is found to have been
  // rolled back, an error leaves this half done and the session goes on. An invalidation that
  // arrives meanwhile must win.
  entry->is_valid = false;
  entry->is_outdated = false;
  if (entry->context != nullptr) {
    MemoryContextReset(entry->context);
  } else {
    entry->context =
        AllocSetContextCreate(state->session_context, "towline relation", ALLOCSET_SMALL_SIZES);
  }
  entry->related_count = 0;
  entry->dependency_count = 0;
  MemoryContext scratch =
      AllocSetContextCreate(state->change_context, "towline description", ALLOCSET_DEFAULT_SIZES);
  MemoryContext caller = MemoryContextSwitchTo(scratch);
  RelationFields fields = ReadRelation(state, relation, entry);
  AddDependencies(*entry, &state->relations.dependencies);
  if (entry->is_selected) CompareDescription(state, entry, fields);
  MemoryContextSwitchTo(caller);
  MemoryContextDelete(scratch);
  entry->is_valid = !entry->is_outdated;
}

}  // namespace

void OpenRelationCache(PluginState* state) {
  RelationCache* cache = &state->relations;
  HASHCTL control = {};
  control.keysize = sizeof(Oid);
  control.entrysize = sizeof(RelationEntry);
  control.hcxt = state->session_context;
  cache->entries =
      hash_create("towline relations", 128, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
  cache->dependencies = {};
  cache->last = nullptr;
  cache->last_number = 0;
  cache->entries_max = kEntriesMax;

  auto* on_reset = static_cast<MemoryContextCallback*>(
      MemoryContextAllocZero(state->session_context, sizeof(MemoryContextCallback)));
  on_reset->func = OnMemoryReset;
  on_reset->arg = cache;
  MemoryContextRegisterResetCallback(state->session_context, on_reset);
  RegisterCallbacks();
  active_cache = cache;
}

void CloseRelationCache() { active_cache = nullptr; }

RelationEntry* LookUpRelation(PluginState* state, Relation relation) {
  RelationCache* cache = &state->relations;
  Oid oid = RelationGetRelid(relation);
  // Most changes are of the same table as the one before.
  if (cache->last != nullptr && cache->last->oid == oid && cache->last->is_valid) {
    return cache->last;
  }
  bool is_found = false;
  auto* entry =
      static_cast<RelationEntry*>(hash_search(cache->entries, &oid, HASH_ENTER, &is_found));
  if (is_found && entry->is_valid) {
    cache->last = entry;
    return entry;
  }
  if (!is_found) {
    *entry = {};
    entry->oid = oid;
    if (hash_get_num_entries(cache->entries) > cache->entries_max) {
      entry->is_valid = true;
      ForgetInvalidEntries(cache);
    }
  }
  BuildEntry(state, relation, entry);
  return entry;
}

void DescribeRelation(PluginState* state, RelationEntry* entry) {
  if (entry->number != 0) return;
  entry->number = ++state->relations.last_number;
  WriteRelation(&state->frame, entry->number,
                std::string_view(entry->description, entry->description_size));
  ForgetDescription(entry);
  FinishEntry(state);
}

}  // namespace towline::plugin
