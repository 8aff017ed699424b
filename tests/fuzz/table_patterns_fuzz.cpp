// Sources: plugin/table_patterns.cpp
//
// Lists of table patterns: whatever they hold, reading ends, stays in the list and in order, and a
// name in quotes comes out as it went in.
#include <string>

#include "fuzz.h"
#include "table_patterns.h"

namespace towline::plugin {
namespace {

struct Buffer : ByteBuffer {
  Buffer() : ByteBuffer{nullptr, 0, 0} {}
  ~Buffer() { std::free(data); }
  std::string_view text() const { return {data, size}; }
};

void CheckRegex(std::string_view regex) {
  Check(regex.size() > 4 && regex.substr(0, 2) == "^(" && regex.substr(regex.size() - 2) == ")$");
  Buffer literal;
  (void)ReadLiteral(regex, &literal);
  Check(literal.size <= regex.size());
}

void ReadAll(std::string_view list) {
  PatternReader reader{list, 0};
  bool is_last = false;
  while (!is_last) {
    size_t before = reader.at;
    Buffer schema, name;
    PatternError error = ReadPattern(&reader, &schema, &name, &is_last);
    Check(reader.at >= before && reader.at <= list.size());
    if (error != PatternError::kNone) return;
    Check(is_last || reader.at > before);
    CheckRegex(name.text());
    if (schema.size > 0) CheckRegex(schema.text());
  }
}

void CheckQuoted(std::string_view name) {
  if (name.empty() || name.find('\0') != std::string_view::npos) return;
  std::string quoted = "\"";
  for (char c : name) quoted.append(c == '"' ? 2 : 1, c);
  quoted += '"';
  PatternReader reader{quoted, 0};
  Buffer schema, regex, literal;
  bool is_last = false;
  Check(ReadPattern(&reader, &schema, &regex, &is_last) == PatternError::kNone);
  Check(is_last && schema.size == 0);
  Check(ReadLiteral(regex.text(), &literal) && literal.text() == name);
}

}  // namespace

void GrowByteBuffer(ByteBuffer* buffer, size_t bytes) {
  // No more than asked for, so that a write behind it is seen.
  buffer->capacity = buffer->size + bytes;
  buffer->data = static_cast<char*>(std::realloc(buffer->data, buffer->capacity));
  Check(buffer->data != nullptr || buffer->capacity == 0);
}

}  // namespace towline::plugin

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  towline::plugin::ReadAll(input);
  towline::plugin::CheckQuoted(input);
  return 0;
}
