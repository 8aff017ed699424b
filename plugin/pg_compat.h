// Every difference between server versions 13 to 19, so that no other file asks for the version
// (tests/lint/version_macros). Where overloads can tell the versions apart by the types that the
// headers declare, they do: a new minor that changes a signature then fails to compile instead of
// being called wrongly.
#pragma once

#include "pg_headers.h"

#if PG_VERSION_NUM < 130000
#error "towline needs PostgreSQL 13 or newer"
#endif

namespace towline::plugin {

// 19 renamed RepOriginId to ReplOriginId.
using OriginId = decltype(ReorderBufferTXN::origin_id);
constexpr OriginId kNoOrigin = 0;

// Until 16 a decoded tuple came wrapped in a ReorderBufferTupleBuf.
inline HeapTuple TupleOf(HeapTuple tuple) { return tuple; }
#if PG_VERSION_NUM < 170000
inline HeapTuple TupleOf(ReorderBufferTupleBuf* buffer) {
  return buffer == nullptr ? nullptr : &buffer->tuple;
}
#endif

// The commit time moved into a union in 15 and the union lost its name in 19.
template <typename Txn>
auto CommitTimeOf(const Txn* txn, int) -> decltype(txn->xact_time.commit_time) {
  return txn->xact_time.commit_time;
}
template <typename Txn>
auto CommitTimeOf(const Txn* txn, long) -> decltype(txn->commit_time) {
  return txn->commit_time;
}
inline TimestampTz CommitTime(const ReorderBufferTXN* txn) { return CommitTimeOf(txn, 0); }

// Since 15 the server is told whether the transaction was skipped (synchronous standbys).
inline void CallUpdateProgress(void (*update)(LogicalDecodingContext*, bool),
                               LogicalDecodingContext* ctx, bool is_skipped) {
  update(ctx, is_skipped);
}
inline void CallUpdateProgress(void (*update)(LogicalDecodingContext*), LogicalDecodingContext* ctx,
                               bool) {
  update(ctx);
}
inline void UpdateProgress(LogicalDecodingContext* ctx, bool is_skipped) {
  CallUpdateProgress(&OutputPluginUpdateProgress, ctx, is_skipped);
}

// Since 16 the server itself reports progress during a transaction whose changes are passed over.
#if PG_VERSION_NUM >= 160000
constexpr bool kServerReportsProgressInTransactions = true;
#else
constexpr bool kServerReportsProgressInTransactions = false;
#endif

inline AttrMap* CallBuildAttrMap(AttrMap* (*build)(TupleDesc, TupleDesc), TupleDesc in,
                                 TupleDesc out) {
  return build(in, out);
}
inline AttrMap* CallBuildAttrMap(AttrMap* (*build)(TupleDesc, TupleDesc, bool), TupleDesc in,
                                 TupleDesc out) {
  return build(in, out, false);
}
// For each column of `out` the attribute number of the same name in `in`, 0 for a dropped one.
inline AttrMap* BuildAttrMap(TupleDesc in, TupleDesc out) {
  return CallBuildAttrMap(&build_attrmap_by_name, in, out);
}

// 14 put the type's own name into its OID's.
#if PG_VERSION_NUM >= 140000
constexpr Oid kPgLsnOid = PG_LSNOID;
#else
constexpr Oid kPgLsnOid = LSNOID;
#endif

// 19 gave the system caches' identifiers a type of their own.
#if PG_VERSION_NUM >= 190000
using SysCacheId = SysCacheIdentifier;
#else
using SysCacheId = int;
#endif

}  // namespace towline::plugin
