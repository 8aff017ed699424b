#include "numeric_bytes.h"

#include "pg_headers.h"

namespace towline::plugin {
namespace {

// The first 16 bits say which of two headers it is (utils/adt/numeric.c).
constexpr uint16_t kKindMask = 0xC000;
constexpr uint16_t kNegative = 0x4000;
constexpr uint16_t kShort = 0x8000;
constexpr uint16_t kSpecial = 0xC000;
// Long header: sign and scale, then a weight of 16 bits.
constexpr uint16_t kLongScaleMask = 0x3FFF;
// Short header: all in 16 bits.
constexpr uint16_t kShortNegative = 0x2000;
constexpr uint16_t kShortScaleMask = 0x1F80;
constexpr int kShortScaleShift = 7;
constexpr uint16_t kShortWeightSign = 0x0040;
constexpr uint16_t kShortWeightMask = 0x003F;

uint16_t Load16(const char* at) {
  uint16_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

bool IsSame(const char* text) {
  Datum value = DirectFunctionCall3(numeric_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid),
                                    Int32GetDatum(-1));
  auto* stored = reinterpret_cast<struct varlena*>(DatumGetPointer(value));
  bytea* wanted = DatumGetByteaPP(DirectFunctionCall1(numeric_send, value));
  ByteBuffer image = {static_cast<char*>(palloc(64)), 0, 64};
  return AppendNumeric({VARDATA_ANY(stored), VARSIZE_ANY_EXHDR(stored)}, &image) &&
         image.size == 4 + VARSIZE_ANY_EXHDR(wanted) &&
         memcmp(image.data + 4, VARDATA_ANY(wanted), VARSIZE_ANY_EXHDR(wanted)) == 0;
}

}  // namespace

bool NumericLayoutIsKnown() {
  static int answer = -1;  // asked once per process: the answer is the server's build's
  if (answer < 0) {
    answer = IsSame("0") && IsSame("-1") && IsSame("12345678.90") && IsSame("0.00") &&
             IsSame("-0.000000012345") && IsSame("1e70") && IsSame("-9999.9999e300");
  }
  return answer != 0;
}

char* PutNumeric(char* at, std::string_view stored) {
  if (stored.size() < 2) return nullptr;
  uint16_t header = Load16(stored.data());
  uint16_t kind = header & kKindMask;
  if (kind == kSpecial) return nullptr;
  uint16_t scale, weight, sign;
  if (kind == kShort) {
    scale = static_cast<uint16_t>((header & kShortScaleMask) >> kShortScaleShift);
    weight = header & kShortWeightMask;
    if ((header & kShortWeightSign) != 0) weight |= static_cast<uint16_t>(~kShortWeightMask);
    sign = (header & kShortNegative) != 0 ? kNegative : 0;
    stored.remove_prefix(2);
  } else {
    if (stored.size() < 4) return nullptr;
    scale = header & kLongScaleMask;
    weight = Load16(stored.data() + 2);
    sign = kind;
    stored.remove_prefix(4);
  }
  size_t digits = stored.size() / 2;
  size_t size = 8 + 2 * digits;
  StoreBigEndian32(at, static_cast<uint32_t>(size));
  StoreBigEndian16(at + 4, static_cast<uint16_t>(digits));
  StoreBigEndian16(at + 6, weight);
  StoreBigEndian16(at + 8, sign);
  StoreBigEndian16(at + 10, scale);
  for (size_t i = 0; i < digits; ++i) {
    StoreBigEndian16(at + 12 + 2 * i, Load16(stored.data() + 2 * i));
  }
  return at + 4 + size;
}

bool AppendNumeric(std::string_view stored, ByteBuffer* image) {
  char* start = Reserve(image, 4 + 8 + stored.size());
  char* end = PutNumeric(start, stored);
  if (end == nullptr) return false;
  image->size += static_cast<size_t>(end - start);
  return true;
}

}  // namespace towline::plugin
