#include "options.h"

#include "compression.h"
#include "error_context.h"

namespace towline::plugin {
namespace {

// 64 KiB: framing is what makes decoding cheap (one send() for hundreds of rows), and larger frames
// brought nothing more when measured. 4 MiB keeps a frame with one row of the largest inline size
// below the 16 MiB that no CopyData may exceed.
constexpr size_t kFrameBytesDefault = 64 * 1024;
constexpr size_t kFrameBytesMin = 1024;
constexpr size_t kFrameBytesMax = 4 * 1024 * 1024;

struct OptionSpec {
  const char* name;
  void (*parse)(const OptionSpec& spec, const char* value, Options* options);
};

[[noreturn]] void RefuseValue(const OptionSpec& spec, const char* value, const char* expected) {
  ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                  errmsg("invalid value for output plugin option \"%s\": \"%s\"", spec.name,
                         CutText(value)),
                  errdetail("Expected %s.", expected)));
  pg_unreachable();
}

uint32_t ParseNumber(const OptionSpec& spec, const char* value, uint32_t min, uint32_t max) {
  uint64_t number = 0;
  bool is_valid = *value != '\0';
  for (const char* c = value; *c != '\0' && is_valid; ++c) {
    is_valid = *c >= '0' && *c <= '9' && number <= max;
    number = number * 10 + static_cast<uint64_t>(*c - '0');
  }
  if (!is_valid || number < min || number > max) {
    RefuseValue(spec, value, psprintf("a whole number from %u to %u", min, max));
  }
  return static_cast<uint32_t>(number);
}

bool ParseChoice(const OptionSpec& spec, const char* value, const char* for_true,
                 const char* for_false) {
  if (strcmp(value, for_true) == 0) return true;
  if (strcmp(value, for_false) == 0) return false;
  RefuseValue(spec, value, psprintf("\"%s\" or \"%s\"", for_true, for_false));
}

BinaryTypes ParseBinary(const OptionSpec& spec, const char* value) {
  if (strcmp(value, "on") == 0) return BinaryTypes::kPortable;
  if (strcmp(value, "basic") == 0) return BinaryTypes::kBasic;
  if (strcmp(value, "off") == 0) return BinaryTypes::kNone;
  RefuseValue(spec, value, "\"on\", \"basic\" or \"off\"");
}

CompressionMethod ParseCompression(const OptionSpec& spec, const char* value) {
  for (CompressionMethod method :
       {CompressionMethod::kNone, CompressionMethod::kLz4, CompressionMethod::kZstd}) {
    if (strcmp(value, CompressionName(method)) != 0) continue;
    if (!CompressionIsBuiltIn(method)) {
      ereport(
          ERROR,
          (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
           errmsg("output plugin option \"%s\" asks for \"%s\", which plugin \"towline\" on this "
                  "server was built without",
                  spec.name, value),
           errhint("Use another compression, or build the extension where the server has %s and "
                   "its development files are installed.",
                   value)));
    }
    return method;
  }
  RefuseValue(spec, value, "\"none\", \"lz4\" or \"zstd\"");
}

constexpr OptionSpec kOptions[] = {
    {"min_protocol",
     [](const OptionSpec& spec, const char* value, Options* options) {
       options->min_protocol = ParseNumber(spec, value, 1, 1000000);
     }},
    {"max_protocol",
     [](const OptionSpec& spec, const char* value, Options* options) {
       options->max_protocol = ParseNumber(spec, value, 1, 1000000);
     }},
    {"include_tables",
     [](const OptionSpec& spec, const char* value, Options* options) {
       ParsePatternList(spec.name, value, &options->include_tables);
     }},
    {"exclude_tables",
     [](const OptionSpec& spec, const char* value, Options* options) {
       ParsePatternList(spec.name, value, &options->exclude_tables);
     }},
    {"table_rules",
     [](const OptionSpec&, const char* value, Options* options) { options->table_rules = value; }},
    {"partitions",
     [](const OptionSpec& spec, const char* value, Options* options) {
       options->partitions = ParseChoice(spec, value, "root", "leaf") ? PublishPartitions::kRoot
                                                                      : PublishPartitions::kLeaf;
     }},
    {"binary", [](const OptionSpec& spec, const char* value,
                  Options* options) { options->binary = ParseBinary(spec, value); }},
    {"messages",
     [](const OptionSpec& spec, const char* value, Options* options) {
       options->sends_messages = ParseChoice(spec, value, "on", "off");
     }},
    {"origin",
     [](const OptionSpec& spec, const char* value, Options* options) {
       options->sends_foreign_origins = ParseChoice(spec, value, "any", "none");
     }},
    {"frame_bytes",
     [](const OptionSpec& spec, const char* value, Options* options) {
       options->frame_bytes = ParseNumber(spec, value, kFrameBytesMin, kFrameBytesMax);
     }},
    {"streaming",
     [](const OptionSpec& spec, const char* value, Options* options) {
       options->is_streaming = ParseChoice(spec, value, "on", "off");
     }},
    {"two_phase",
     [](const OptionSpec& spec, const char* value, Options* options) {
       options->is_two_phase = ParseChoice(spec, value, "on", "off");
     }},
    {"ddl", [](const OptionSpec& spec, const char* value,
               Options* options) { options->sends_ddl = ParseChoice(spec, value, "on", "off"); }},
    {"compression", [](const OptionSpec& spec, const char* value,
                       Options* options) { options->compression = ParseCompression(spec, value); }},
};
constexpr size_t kOptionCount = lengthof(kOptions);

const char* KnownOptions() {
  StringInfoData names;
  initStringInfo(&names);
  for (const OptionSpec& spec : kOptions) {
    appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", spec.name);
  }
  return names.data;
}

void ChooseProtocol(Options* options) {
  if (options->max_protocol == 0) {
    options->max_protocol = Max(kProtocolVersionDefault, options->min_protocol);
  }
  uint32_t min = Max(options->min_protocol, kProtocolVersionMin);
  uint32_t max = Min(options->max_protocol, kProtocolVersionMax);
  if (min > max) {
    ereport(ERROR,
            (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
             errmsg("the reader asks for protocol version %u to %u, but plugin \"towline\" %s "
                    "speaks %u to %u",
                    options->min_protocol, options->max_protocol, kPluginVersion,
                    kProtocolVersionMin, kProtocolVersionMax),
             options->min_protocol > kProtocolVersionMax
                 ? errhint("Install a newer version of the extension \"towline\" on this server.")
                 : errhint("Use a newer version of the towline service, or check min_protocol and "
                           "max_protocol.")));
  }
  options->protocol_version = max;
}

// Entries of kinds that a version does not have would stop its reader in the middle of the stream.
void CheckNeededProtocol(const Options& options, bool is_wanted, const char* option,
                         uint32_t needed) {
  if (!is_wanted || options.protocol_version >= needed) return;
  ereport(ERROR,
          (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
           errmsg("output plugin option \"%s\" needs protocol version %u, but the reader asks for "
                  "%u to %u",
                  option, needed, options.min_protocol, options.max_protocol),
           errhint("Switch the option off, or use a newer version of the towline service.")));
}

}  // namespace

void ParseOptions(List* elements, Options* options) {
  *options = {};
  options->partitions = PublishPartitions::kLeaf;
  options->binary = BinaryTypes::kPortable;
  options->sends_messages = true;
  options->sends_foreign_origins = true;
  options->frame_bytes = kFrameBytesDefault;
  options->min_protocol = kProtocolVersionMin;

  bool is_given[kOptionCount] = {};
  ListCell* cell;
  foreach (cell, elements) {
    auto* element = static_cast<DefElem*>(lfirst(cell));
    size_t index = 0;
    while (index < kOptionCount && strcmp(kOptions[index].name, element->defname) != 0) ++index;
    if (index == kOptionCount) {
      ereport(ERROR,
              (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
               errmsg("unrecognized output plugin option \"%s\"", CutText(element->defname)),
               errdetail("Plugin \"towline\" %s does not know it, and what is not known is refused "
                         "rather than passed over.",
                         kPluginVersion),
               errhint("Known options: %s.", KnownOptions())));
    }
    if (is_given[index]) {
      ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
                      errmsg("output plugin option \"%s\" is given twice", element->defname)));
    }
    is_given[index] = true;
    if (element->arg == nullptr) {
      ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                      errmsg("output plugin option \"%s\" needs a value", element->defname)));
    }
    kOptions[index].parse(kOptions[index], strVal(element->arg), options);
  }
  ChooseProtocol(options);
  CheckNeededProtocol(*options, options->is_streaming, "streaming", 2);
  CheckNeededProtocol(*options, options->is_two_phase, "two_phase", 2);
  CheckNeededProtocol(*options, options->compression != CompressionMethod::kNone, "compression", 2);
  CheckNeededProtocol(*options, options->sends_ddl, "ddl", 3);
  options->tells_rewrites = !options->sends_ddl && options->protocol_version >= kProtocolOfRewrites;
  options->names_subtransactions = options->protocol_version >= kProtocolOfSubtransactions;
}

}  // namespace towline::plugin
