#include "replica_identity.h"

namespace towline::plugin {
namespace {

bool* MakeFlags(int count) {
  return static_cast<bool*>(palloc0(static_cast<size_t>(count + 1) * sizeof(bool)));
}

// Not RelationGetIdentityKeyBitmap(): releases before 14 lack it, and its general sibling opens
// indexes whose expressions cannot be evaluated under a historic snapshot.
void ReadIndex(Relation relation, Oid index_oid, bool* is_key) {
  if (!OidIsValid(index_oid)) return;
  Relation index = RelationIdGetRelation(index_oid);
  if (!RelationIsValid(index)) {
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
                    errmsg("could not open replica identity index %u of relation \"%s\"", index_oid,
                           RelationGetRelationName(relation))));
  }
  for (int i = 0; i < index->rd_index->indnkeyatts; ++i) {
    AttrNumber attnum = index->rd_index->indkey.values[i];
    if (attnum > 0) is_key[attnum] = true;
  }
  RelationClose(index);
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
