// The field numbers of proto/towline/v1/wire.proto, for the plugin's own writer and reader.
// proto/golden holds both of them to the .proto file.
#pragma once

#include <cstdint>

namespace towline::plugin::wire {

enum class WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

namespace frame {
constexpr uint32_t kEntries = 1, kCompressed = 2;
}
namespace compressed_entries {
constexpr uint32_t kMethod = 1, kRawBytes = 2, kBlock = 3;
}
namespace entry {
constexpr uint32_t kBegin = 1, kCommit = 2, kRelation = 3, kInsert = 4, kUpdate = 5, kDelete = 6,
                   kValuePart = 7, kSubtransaction = 8, kTruncate = 9, kMessage = 10, kDdl = 11,
                   kHello = 12, kStreamStart = 16, kStreamStop = 17, kStreamAbort = 18,
                   kStreamCommit = 19, kStreamPrepare = 20, kBeginPrepare = 21, kPrepare = 22,
                   kCommitPrepared = 23, kRollbackPrepared = 24, kRewrite = 25;
}
namespace hello {
constexpr uint32_t kProtocolVersion = 1, kPluginVersion = 2, kServerVersionNum = 3,
                   kServerEncoding = 4, kSystemIdentifier = 5, kCompression = 6;
}
namespace origin {
constexpr uint32_t kName = 1, kLsn = 2;
}
namespace begin {
constexpr uint32_t kXid = 1, kCommitLsn = 2, kEndLsn = 3, kCommitTime = 4, kOrigin = 5;
}
namespace commit {
constexpr uint32_t kXid = 1, kCommitLsn = 2, kEndLsn = 3, kCommitTime = 4, kChangeCount = 5;
}
namespace relation {
constexpr uint32_t kNumber = 1, kOid = 2, kRootOid = 3, kSchema = 4, kName = 5, kLeafSchema = 6,
                   kLeafName = 7, kKind = 8, kReplicaIdentity = 9, kShapeHash = 10, kColumns = 11,
                   kRewriteOf = 12;
}
namespace column {
constexpr uint32_t kName = 1, kAttnum = 2, kTypeOid = 3, kTypeSchema = 4, kTypeName = 5,
                   kTypmod = 6, kTypeKind = 7, kCollation = 8, kNotNull = 9, kGenerated = 10,
                   kIdentity = 11, kInKey = 12, kSent = 13, kFormat = 14;
}
// Insert, Update and Delete share their numbers.
namespace change {
constexpr uint32_t kRelation = 1, kNewRow = 2, kOldImage = 3, kOldRow = 4;
}
namespace value_part {
constexpr uint32_t kValueBytes = 1, kPart = 2, kIsLast = 3;
}
namespace truncate {
constexpr uint32_t kRelations = 1, kCascade = 2, kRestartIdentity = 3;
}
namespace subtransaction {
constexpr uint32_t kXid = 1;
}
// What the entries that open and close transactions call alike: xid, LSN, end LSN and time are
// numbered as in Begin.
namespace stream_start {
constexpr uint32_t kXid = 1, kIsFirst = 2;
}
namespace stream_abort {
constexpr uint32_t kXid = 1, kSubxid = 2, kAbortLsn = 3, kAbortTime = 4;
}
namespace stream_commit {
constexpr uint32_t kChangeCount = 5, kOrigin = 6;
}
namespace stream_prepare {
constexpr uint32_t kChangeCount = 5, kGid = 6, kOrigin = 7;
}
namespace prepare {
constexpr uint32_t kChangeCount = 4;
}
// BeginPrepare, CommitPrepared and RollbackPrepared.
namespace prepared {
constexpr uint32_t kGid = 5, kOrigin = 6;
}
namespace message {
constexpr uint32_t kTransactional = 1, kPrefix = 2, kContent = 3, kLsn = 4, kContentInParts = 5;
}

namespace rewrite {
constexpr uint32_t kOid = 1, kSchema = 2, kName = 3;
}

namespace ddl {
constexpr uint32_t kNumber = 1, kPhase = 2, kTag = 3, kStatement = 4, kSearchPath = 5, kRole = 6,
                   kObjects = 7, kWantsRows = 9, kActions = 11, kSettings = 12, kFills = 13,
                   kGap = 14, kStructure = 15, kNamedSchema = 16, kTellsReferences = 17,
                   kReferences = 18;
}
namespace ddl_object {
constexpr uint32_t kClassOid = 1, kOid = 2, kColumn = 3, kType = 4, kSchema = 5, kName = 6,
                   kIdentity = 7, kTableSchema = 8, kTableName = 9;
}
namespace ddl_setting {
constexpr uint32_t kName = 1, kValue = 2;
}
namespace ddl_fill {
constexpr uint32_t kSchema = 1, kTable = 2, kColumn = 3, kValue = 4;
}

}  // namespace towline::plugin::wire
