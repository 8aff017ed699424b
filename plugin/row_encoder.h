// Rows become images in the shape of COPY BINARY tuples (docs/protocol.md, "Row images").
#pragma once

#include "plugin_state.h"

namespace towline::plugin {

enum class ImagePart { kFull, kKey };

// One row taken apart.
struct RowValues {
  const Datum* values;
  const bool* nulls;
};

RowValues Deform(Relation relation, HeapTuple tuple, Datum* values, bool* nulls);

// Encodes the rows of one change. Values too large for an image are written to the frame as
// ValuePart entries at once, so old images are encoded before new ones, and the transaction and the
// relation's description are in the frame already.
class RowEncoder {
 public:
  explicit RowEncoder(PluginState* state, const RelationEntry* entry, const char** column_name)
      : state_(state), entry_(entry), column_name_(column_name), inline_bytes_(0) {}

  // `old` supplies values that the new row's WAL record does not carry; its nulls are null if there
  // is no full old row.
  void Encode(ImagePart part, RowValues row, RowValues old, ByteBuffer* image);

 private:
  template <ImagePart part>
  void EncodePart(RowValues row, RowValues old, ByteBuffer* image);
  // Values that may be of any length, or need a function of the type.
  void EncodeVariable(const ColumnCodec& codec, Datum value, ByteBuffer* image);
  void AppendValue(std::string_view bytes, ByteBuffer* image);

  PluginState* state_;
  const RelationEntry* entry_;
  const char** column_name_;  // where errors are reported for
  size_t inline_bytes_;       // in the images of this change so far
};

// The bytes of one value as images have them, in the current memory context. For messages about a
// row; never sent.
std::string_view FieldBytes(const ColumnCodec& codec, Datum value);

// Sends a value as ValuePart entries.
void SendValueParts(PluginState* state, std::string_view bytes);
// Values above this travel in parts of this size.
constexpr size_t kValuePartBytes = 1024 * 1024;

}  // namespace towline::plugin
