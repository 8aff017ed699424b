// Libraries: model
//
// Keys that divide a table into ranges: whatever the bytes or the text, they are a key or an error;
// integers order as integers do, and the two forms of one value are the same key.
#include <string>

#include "absl/base/internal/endian.h"
#include "absl/strings/str_cat.h"
#include "fuzz.h"
#include "model/key_value.h"
#include "model/snapshot.h"

namespace towline {
namespace {

KeyValue Int8Key(int64_t value) {
  char bytes[8];
  absl::big_endian::Store64(bytes, static_cast<uint64_t>(value));
  return KeyFromBinary(KeyType::kInt8, {bytes, sizeof bytes}).value();
}

void CheckIntegers(FuzzInput& input) {
  int64_t one = input.Integer<int64_t>();
  int64_t other = input.Integer<int64_t>();
  Check((Int8Key(one) <=> Int8Key(other)) == (one <=> other));
  Check(KeyFromText(KeyType::kInt8, absl::StrCat(one)).value() == Int8Key(one));
  // numeric, of which every integer is a value, orders them alike.
  KeyValue as_numeric = KeyFromText(KeyType::kNumeric, absl::StrCat(one)).value();
  Check((as_numeric <=> KeyFromText(KeyType::kNumeric, absl::StrCat(other)).value()) ==
        (one <=> other));
  // Digits behind the point that say nothing are nothing.
  Check(as_numeric == KeyFromText(KeyType::kNumeric, absl::StrCat(one, ".00")).value());
}

void CheckAnything(FuzzInput& input) {
  auto type = static_cast<KeyType>(input.Below(static_cast<size_t>(KeyType::kNumeric) + 1));
  std::string one = input.Bytes(input.Below(40));
  std::string other = input.Bytes(input.Below(40));
  // Of these every value is a key of its own, in both forms the same.
  auto first = KeyFromBinary(type, one);
  auto second = KeyFromBinary(type, other);
  if (type == KeyType::kText || type == KeyType::kBytea) {
    Check(first.ok() && second.ok() && (*first == *second) == (one == other));
    Check((*first < *second) == (one < other));
  }
  auto as_text = KeyFromText(type, one);
  if (type == KeyType::kText) Check(as_text.ok() && *as_text == *first);
}

}  // namespace
}  // namespace towline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzInput input(data, size);
  while (!input.is_empty()) {
    switch (input.Below(3)) {
      case 0:
        towline::CheckIntegers(input);
        break;
      case 1:
        (void)towline::Snapshot::Parse(input.Bytes(input.Below(60)));
        break;
      default:
        towline::CheckAnything(input);
    }
  }
  return 0;
}
