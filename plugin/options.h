// The options of START_REPLICATION … LOGICAL … (name 'value', …). Declared once, in the table of
// options.cpp: the parser and the hint that lists them come from it. What is not known is refused,
// because an option passed over silently may be a filter that the user relies on.
#pragma once

#include "pg_headers.h"
#include "table_selection.h"
#include "wire_writer.h"

namespace towline::plugin {

constexpr uint32_t kProtocolVersionMin = 1;
constexpr uint32_t kProtocolVersionMax = 5;
// Of a reader that does not say: version 4 has an entry that needs no option.
constexpr uint32_t kProtocolVersionDefault = 3;
// The first in which a reader learns of rewritten tables without the option ddl.
constexpr uint32_t kProtocolOfRewrites = 4;
// The first in which subtransactions are named in all transactions, and not in runs alone.
constexpr uint32_t kProtocolOfSubtransactions = 5;
constexpr const char* kPluginVersion = "0.3";

enum class PublishPartitions { kLeaf, kRoot };

// What travels as BINARY: nothing, the types that are the same in every version, or all that are
// portable.
enum class BinaryTypes { kNone, kBasic, kPortable };

struct Options {
  uint32_t min_protocol;       // what the reader understands
  uint32_t max_protocol;       // 0 until it is given or chosen
  uint32_t protocol_version;   // the highest that both understand
  PatternList include_tables;  // none: all
  PatternList exclude_tables;
  const char* table_rules;  // as given (table_rules.h); null: none
  PublishPartitions partitions;
  BinaryTypes binary;
  bool sends_messages;
  bool sends_foreign_origins;  // origin 'any'
  size_t frame_bytes;
  bool is_streaming;           // transactions in progress are sent
  bool is_two_phase;           // prepared transactions are sent at PREPARE
  bool sends_ddl;              // captured DDL, and the rows of rewritten tables
  bool tells_rewrites;         // without them: that a table was rewritten
  bool names_subtransactions;  // in whole transactions too
  CompressionMethod compression;
};

// Parses in the current memory context, which must live as long as the options. Raises an error
// that names the option otherwise.
void ParseOptions(List* elements, Options* options);

}  // namespace towline::plugin
