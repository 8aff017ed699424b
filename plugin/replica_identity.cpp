#include "replica_identity.h"

namespace towline::plugin {
namespace {

bool* MakeFlags(int count) {
  return static_cast<bool*>(palloc0(static_cast<size_t>(count + 1) * sizeof(bool)));
}

// Not RelationGetIdentityKeyBitmap(): releases before 14 lack it, and its general sibling opens
// indexes whose expressions cannot be evaluated under a historic snapshot. The catalog's row is
// read rather than the index opened: what the server keeps of an opened one, for as long as it
// runs, is some kilobytes for every table.
void ReadIndex(Relation relation, Oid index_oid, bool* is_key) {
  if (!OidIsValid(index_oid)) return;
  ScanKeyData key;
  ScanKeyInit(&key, Anum_pg_index_indexrelid, BTEqualStrategyNumber, F_OIDEQ,
              ObjectIdGetDatum(index_oid));
  Relation catalog = table_open(IndexRelationId, AccessShareLock);
  SysScanDesc scan = systable_beginscan(catalog, IndexRelidIndexId, true, nullptr, 1, &key);
  HeapTuple tuple = systable_getnext(scan);
  if (!HeapTupleIsValid(tuple)) {
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
                    errmsg("could not find replica identity index %u of relation \"%s\"", index_oid,
                           RelationGetRelationName(relation))));
  }
  auto* index = reinterpret_cast<Form_pg_index>(GETSTRUCT(tuple));
  for (int i = 0; i < index->indnkeyatts; ++i) {
    AttrNumber attnum = index->indkey.values[i];
    if (attnum > 0) is_key[attnum] = true;
  }
  systable_endscan(scan);
  table_close(catalog, AccessShareLock);
}

Identity ReadFullIdentity(Relation relation) {
  int count = RelationGetDescr(relation)->natts;
  Identity identity{IdentityKind::kFull, MakeFlags(count), MakeFlags(count)};
  for (int i = 1; i <= count; ++i) identity.is_key[i] = true;
  list_free(RelationGetIndexList(relation));
  if (OidIsValid(relation->rd_pkindex)) {
    ReadIndex(relation, relation->rd_pkindex, identity.names_row);
  } else {
    identity.names_row = identity.is_key;
  }
  return identity;
}

}  // namespace

Identity ReadIdentity(Relation relation) {
  char kind = relation->rd_rel->relreplident;
  if (kind == REPLICA_IDENTITY_FULL) return ReadFullIdentity(relation);
  Identity identity{IdentityKind::kDefault, MakeFlags(RelationGetDescr(relation)->natts), nullptr};
  identity.names_row = identity.is_key;
  if (kind == REPLICA_IDENTITY_NOTHING) {
    identity.kind = IdentityKind::kNothing;
    return identity;
  }
  if (kind == REPLICA_IDENTITY_INDEX) identity.kind = IdentityKind::kIndex;
  ReadIndex(relation, RelationGetReplicaIndex(relation), identity.is_key);
  return identity;
}

}  // namespace towline::plugin
