// Every difference between server versions 13 to 19, so that no other file asks for the version
// (tests/lint/version_macros). What is renamed must fail to compile, never pass for something that
// a version lacks.
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

// The commit time moved into a union in 15, with the time of a rollback, which the server knows
// since 16; the union lost its name in 19. 0: not known.
#if PG_VERSION_NUM >= 190000
inline TimestampTz CommitTime(const ReorderBufferTXN* txn) { return txn->commit_time; }
inline TimestampTz AbortTime(const ReorderBufferTXN* txn) { return txn->abort_time; }
#elif PG_VERSION_NUM >= 150000
inline TimestampTz CommitTime(const ReorderBufferTXN* txn) { return txn->xact_time.commit_time; }
#if PG_VERSION_NUM >= 160000
inline TimestampTz AbortTime(const ReorderBufferTXN* txn) { return txn->xact_time.abort_time; }
#else
inline TimestampTz AbortTime(const ReorderBufferTXN*) { return 0; }
#endif
#else
inline TimestampTz CommitTime(const ReorderBufferTXN* txn) { return txn->commit_time; }
inline TimestampTz AbortTime(const ReorderBufferTXN*) { return 0; }
#endif

// Transactions in progress and prepared ones are decoded since 14. What follows compiles on 13 as
// well and does nothing there; startup refuses the options.
struct CallbacksSince14 {
  void (*stream_start)(LogicalDecodingContext*, ReorderBufferTXN*);
  void (*stream_stop)(LogicalDecodingContext*, ReorderBufferTXN*);
  void (*stream_abort)(LogicalDecodingContext*, ReorderBufferTXN*, XLogRecPtr);
  void (*stream_commit)(LogicalDecodingContext*, ReorderBufferTXN*, XLogRecPtr);
  void (*stream_change)(LogicalDecodingContext*, ReorderBufferTXN*, Relation, ReorderBufferChange*);
  void (*stream_truncate)(LogicalDecodingContext*, ReorderBufferTXN*, int, Relation[],
                          ReorderBufferChange*);
  void (*stream_message)(LogicalDecodingContext*, ReorderBufferTXN*, XLogRecPtr, bool, const char*,
                         Size, const char*);
  void (*stream_prepare)(LogicalDecodingContext*, ReorderBufferTXN*, XLogRecPtr);
  void (*begin_prepare)(LogicalDecodingContext*, ReorderBufferTXN*);
  void (*prepare)(LogicalDecodingContext*, ReorderBufferTXN*, XLogRecPtr);
  void (*commit_prepared)(LogicalDecodingContext*, ReorderBufferTXN*, XLogRecPtr);
  void (*rollback_prepared)(LogicalDecodingContext*, ReorderBufferTXN*, XLogRecPtr, TimestampTz);
};
#if PG_VERSION_NUM >= 140000
inline void SetCallbacks(OutputPluginCallbacks* callbacks, const CallbacksSince14& ours) {
  callbacks->stream_start_cb = ours.stream_start;
  callbacks->stream_stop_cb = ours.stream_stop;
  callbacks->stream_abort_cb = ours.stream_abort;
  callbacks->stream_commit_cb = ours.stream_commit;
  callbacks->stream_change_cb = ours.stream_change;
  callbacks->stream_truncate_cb = ours.stream_truncate;
  callbacks->stream_message_cb = ours.stream_message;
  callbacks->stream_prepare_cb = ours.stream_prepare;
  callbacks->begin_prepare_cb = ours.begin_prepare;
  callbacks->prepare_cb = ours.prepare;
  callbacks->commit_prepared_cb = ours.commit_prepared;
  callbacks->rollback_prepared_cb = ours.rollback_prepared;
}

// Both say whether the server does what is wanted.
inline bool SetStreaming(LogicalDecodingContext* ctx, bool is_wanted) {
  ctx->streaming = ctx->streaming && is_wanted;
  return ctx->streaming == is_wanted;
}
inline bool SetTwoPhase(LogicalDecodingContext* ctx, bool is_wanted) {
  ctx->twophase = ctx->twophase && is_wanted;
  return ctx->twophase == is_wanted;
}
inline bool IsTwoPhase(const ReplicationSlotPersistentData& slot) { return slot.two_phase; }

// What the plugin keeps with a transaction for as long as the server keeps it.
inline void* PrivateOf(const ReorderBufferTXN* txn) { return txn->output_plugin_private; }
inline void SetPrivate(ReorderBufferTXN* txn, void* data) { txn->output_plugin_private = data; }

// The top-level transaction of a subtransaction, or the transaction itself.
inline ReorderBufferTXN* TopOf(ReorderBufferTXN* txn) {
  return txn->toptxn == nullptr ? txn : txn->toptxn;
}
// The transaction or subtransaction that has made a change.
inline ReorderBufferTXN* OwnerOf(const ReorderBufferChange* change) { return change->txn; }
inline const char* GidOf(const ReorderBufferTXN* txn) { return txn->gid; }
// Whom the server takes the change at hand to belong to while it decodes what may still be rolled
// back; invalid once that has committed.
inline TransactionId XidOfLiveChange() { return CheckXidAlive; }
// Whether the server has found, while it decoded this (sub)transaction's changes, that it had been
// rolled back meanwhile; 18 made a flag of it.
inline bool IsFoundAborted(const ReorderBufferTXN* txn) {
#if PG_VERSION_NUM >= 180000
  return (txn->txn_flags & RBTXN_IS_ABORTED) != 0;
#else
  return txn->concurrent_abort;
#endif
}
#else
inline void SetCallbacks(OutputPluginCallbacks*, const CallbacksSince14&) {}
inline bool SetStreaming(LogicalDecodingContext*, bool is_wanted) { return !is_wanted; }
inline bool SetTwoPhase(LogicalDecodingContext*, bool is_wanted) { return !is_wanted; }
inline bool IsTwoPhase(const ReplicationSlotPersistentData&) { return false; }
inline void* PrivateOf(const ReorderBufferTXN*) { return nullptr; }
inline void SetPrivate(ReorderBufferTXN*, void*) {}
inline ReorderBufferTXN* TopOf(ReorderBufferTXN* txn) { return txn; }
inline ReorderBufferTXN* OwnerOf(const ReorderBufferChange*) { return nullptr; }
inline const char* GidOf(const ReorderBufferTXN*) { return ""; }
inline TransactionId XidOfLiveChange() { return InvalidTransactionId; }
inline bool IsFoundAborted(const ReorderBufferTXN*) { return false; }
#endif

// Until 15 it was told for which transaction, and made no use of that.
inline Snapshot CallGetSnapshot(Snapshot (*get)(SnapBuild*), SnapBuild* builder) {
  return get(builder);
}
inline Snapshot CallGetSnapshot(Snapshot (*get)(SnapBuild*, TransactionId), SnapBuild* builder) {
  return get(builder, InvalidTransactionId);
}
// The catalogs as they are at the record being decoded; the builder's own, still to be counted.
inline Snapshot CurrentCatalogSnapshot(LogicalDecodingContext* ctx) {
  return CallGetSnapshot(&SnapBuildGetOrBuildSnapshot, ctx->snapshot_builder);
}

// Since 15 an option of START_REPLICATION can make the slot one that decodes prepared transactions.
inline bool SetTwoPhaseGiven([[maybe_unused]] LogicalDecodingContext* ctx,
                             [[maybe_unused]] bool is_given) {
#if PG_VERSION_NUM >= 150000
  ctx->twophase_opt_given = is_given;
  return true;
#else
  return false;
#endif
}

// Lets the server know that something of a subtransaction was sent, so that it tells when that is
// rolled back. It marks those of which a run leaves changes in memory, which is not so if they had
// been spilled and take more than one load (5000 rows, after a reconnection in their midst).
inline void MarkSubtransactionSent([[maybe_unused]] ReorderBufferTXN* txn) {
#ifdef RBTXN_IS_STREAMED
  txn->txn_flags |= RBTXN_IS_STREAMED;
#endif
}

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
constexpr Oid kMoneyOid = MONEYOID;
#else
constexpr Oid kPgLsnOid = LSNOID;
constexpr Oid kMoneyOid = CASHOID;
#endif

// Since 14 the parser is told what it parses.
inline List* ParseRaw(const char* text) {
#if PG_VERSION_NUM >= 140000
  return raw_parser(text, RAW_PARSE_DEFAULT);
#else
  return raw_parser(text);
#endif
}

// Since 14 a utility command is told whether it may change its tree.
#if PG_VERSION_NUM >= 140000
#define TOWLINE_UTILITY_PARAMETERS                                                          \
  PlannedStmt *statement, const char *text, bool is_read_only, ProcessUtilityContext where, \
      ParamListInfo parameters, QueryEnvironment *environment, DestReceiver *receiver,      \
      QueryCompletion *completion
#define TOWLINE_UTILITY_ARGUMENTS \
  statement, text, is_read_only, where, parameters, environment, receiver, completion
#else
#define TOWLINE_UTILITY_PARAMETERS                                                                 \
  PlannedStmt *statement, const char *text, ProcessUtilityContext where, ParamListInfo parameters, \
      QueryEnvironment *environment, DestReceiver *receiver, QueryCompletion *completion
#define TOWLINE_UTILITY_ARGUMENTS \
  statement, text, where, parameters, environment, receiver, completion
#endif

// DETACH PARTITION ... FINALIZE came with 14, where a partition may be about to be detached.
#if PG_VERSION_NUM >= 140000
inline bool IsDetachFinalize(AlterTableType kind) { return kind == AT_DetachPartitionFinalize; }
inline Oid TableAbovePartition(Oid partition) { return get_partition_parent(partition, true); }
#else
inline bool IsDetachFinalize(AlterTableType) { return false; }
inline Oid TableAbovePartition(Oid partition) { return get_partition_parent(partition); }
#endif

// Since 15 a constant of the grammar holds nodes instead of a Value. Null if it is no string.
inline const char* StringOf(const A_Const* constant) {
#if PG_VERSION_NUM >= 150000
  return !constant->isnull && IsA(&constant->val.node, String) ? constant->val.sval.sval : nullptr;
#else
  return IsA(&constant->val, String) ? constant->val.val.str : nullptr;
#endif
}

// The walkers and mutators take a callback of any type: until 15 one without a prototype, since
// then by a macro that casts it.
using NodeVisitor = bool (*)(Node* node, void* arg);
using NodeMutator = Node* (*)(Node* node, void* arg);
#if PG_VERSION_NUM >= 160000
inline Node* MutateExpression(Node* node, NodeMutator mutate, void* arg) {
  return expression_tree_mutator_impl(node, mutate, arg);
}
inline bool WalkExpression(Node* node, NodeVisitor visit, void* arg) {
  return expression_tree_walker_impl(node, visit, arg);
}
inline bool WalkRawExpression(Node* node, NodeVisitor visit, void* arg) {
  return raw_expression_tree_walker_impl(node, visit, arg);
}
#else
inline Node* MutateExpression(Node* node, NodeMutator mutate, void* arg) {
  auto without_prototype = reinterpret_cast<Node* (*)()>(reinterpret_cast<void (*)()>(mutate));
  return expression_tree_mutator(node, without_prototype, arg);
}
inline auto WithoutPrototype(NodeVisitor visit) {
  return reinterpret_cast<bool (*)()>(reinterpret_cast<void (*)()>(visit));
}
inline bool WalkExpression(Node* node, NodeVisitor visit, void* arg) {
  return expression_tree_walker(node, WithoutPrototype(visit), arg);
}
inline bool WalkRawExpression(Node* node, NodeVisitor visit, void* arg) {
  return raw_expression_tree_walker(node, WithoutPrototype(visit), arg);
}
#endif

// Objects below this OID are written in the server's sources: nobody can drop or replace them with
// others. (13 has the same bound under another name.)
#ifdef FirstUnpinnedObjectId
constexpr Oid kFirstUserObjectId = FirstUnpinnedObjectId;
#else
constexpr Oid kFirstUserObjectId = FirstBootstrapObjectId;
#endif

// Multiranges came with 14.
constexpr bool IsMultirangeKind([[maybe_unused]] char type_kind) {
#ifdef TYPTYPE_MULTIRANGE
  return type_kind == TYPTYPE_MULTIRANGE;
#else
  return false;
#endif
}

// 19 gave the system caches' identifiers a type of their own.
#if PG_VERSION_NUM >= 190000
using SysCacheId = SysCacheIdentifier;
#else
using SysCacheId = int;
#endif

}  // namespace towline::plugin
