// Keys order as plain references of the test's own do, and both forms of a value give one key.
// That the server orders so too is tests/unit/keys.
#include "model/key_value.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "absl/numeric/int128.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/civil_time.h"

namespace towline {
namespace {

constexpr unsigned kSeeds = 20;
constexpr int kValues = 200;

KeyValue Key(const absl::StatusOr<KeyValue>& key) {
  EXPECT_TRUE(key.ok()) << key.status();
  return key.ok() ? *key : KeyValue("");
}

// Every pair of values must compare as `reference` says, however their keys were made.
template <typename Number>
struct Made {
  Number reference;
  KeyValue from_binary;
  KeyValue from_text;
};

template <typename Number>
Made<Number> Make(KeyType type, Number reference, const std::string& binary,
                  const std::string& text) {
  Made<Number> made{reference, Key(KeyFromBinary(type, binary)), Key(KeyFromText(type, text))};
  EXPECT_EQ(made.from_binary, made.from_text) << text;
  return made;
}

template <typename Number>
void ExpectSameOrder(const std::vector<Made<Number>>& values) {
  for (const Made<Number>& a : values) {
    for (const Made<Number>& b : values) {
      ASSERT_EQ(a.reference < b.reference, a.from_binary < b.from_text);
      ASSERT_EQ(a.reference == b.reference, a.from_text == b.from_binary);
    }
  }
}

std::string BigEndian(uint64_t value, size_t size) {
  std::string bytes;
  for (size_t i = size; i-- > 0;) bytes.push_back(static_cast<char>(value >> (8 * i)));
  return bytes;
}

// All sizes of numbers, not only huge ones, and the ends of the type.
template <typename Integer>
Integer RandomInteger(std::mt19937_64& random) {
  switch (random() % 8) {
    case 0:
      return std::numeric_limits<Integer>::min();
    case 1:
      return std::numeric_limits<Integer>::max();
    case 2:
      return static_cast<Integer>(random() % 5 - 2);
    default:
      return static_cast<Integer>(static_cast<int64_t>(random()) >> (random() % 64));
  }
}

template <typename Integer>
void TestIntegers(KeyType type) {
  for (unsigned seed = 1; seed <= kSeeds; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937_64 random(seed);
    std::vector<Made<Integer>> values;
    for (int i = 0; i < kValues; ++i) {
      auto value = RandomInteger<Integer>(random);
      values.push_back(Make(type, value, BigEndian(static_cast<uint64_t>(value), sizeof value),
                            absl::StrCat(value)));
    }
    ExpectSameOrder(values);
  }
}

TEST(KeyValueTest, IntegersOrderAsNumbers) {
  TestIntegers<int16_t>(KeyType::kInt2);
  TestIntegers<int32_t>(KeyType::kInt4);
  TestIntegers<int64_t>(KeyType::kInt8);
  TestIntegers<uint32_t>(KeyType::kOid);
}

TEST(KeyValueTest, OnlyWhatTheServerWritesIsAnInteger) {
  for (const char* text : {"", " 1", "1 ", "+1", "007", "-0", "--1", "1.0", "1e3", "0x1", "a", "-",
                           "32768", "-32769", "99999999999999999999"}) {
    EXPECT_EQ(KeyFromText(KeyType::kInt2, text).status().code(), absl::StatusCode::kDataLoss)
        << text;
  }
  EXPECT_FALSE(KeyFromText(KeyType::kInt4, "2147483648").ok());
  EXPECT_FALSE(KeyFromText(KeyType::kInt8, "9223372036854775808").ok());
  EXPECT_FALSE(KeyFromText(KeyType::kOid, "-1").ok());
  EXPECT_FALSE(KeyFromText(KeyType::kOid, "4294967296").ok());
  for (KeyType type : {KeyType::kInt2, KeyType::kInt4, KeyType::kInt8, KeyType::kOid,
                       KeyType::kDate, KeyType::kTimestamp, KeyType::kTimestamptz}) {
    for (size_t size : {0, 1, 3, 5, 7, 9}) {
      EXPECT_FALSE(KeyFromBinary(type, std::string(size, '\0')).ok());
    }
  }
}

TEST(KeyValueTest, AnErrorDoesNotShowTheValue) {
  absl::Status status = KeyFromText(KeyType::kInt4, "secret").status();
  EXPECT_EQ(status.message(), "a key of 6 bytes is no int4 in text form");
}

std::string DateText(absl::CivilDay day) {
  int64_t year = day.year();
  return absl::StrFormat("%04d-%02d-%02d%s", year > 0 ? year : 1 - year, day.month(), day.day(),
                         year > 0 ? "" : " BC");
}

constexpr int64_t kDayMin = -2'451'545;            // 4714-11-24 BC
constexpr int64_t kDayMax = 2'145'031'948;         // 5874897-12-31
constexpr int64_t kTimestampDayMax = 106'751'982;  // 294276-12-31

int64_t RandomDay(std::mt19937_64& random, int64_t day_max) {
  switch (random() % 4) {
    case 0:
      return kDayMin + static_cast<int64_t>(random() % 1'000'000);  // around the year 0
    case 1:
      return static_cast<int64_t>(random() % 20'000) - 10'000;
    case 2:
      return random() % 2 == 0 ? kDayMin : day_max;
    default:
      return kDayMin + static_cast<int64_t>(random() % static_cast<uint64_t>(day_max - kDayMin));
  }
}

TEST(KeyValueTest, DatesOrderAsDays) {
  const absl::CivilDay epoch(2000, 1, 1);
  for (unsigned seed = 1; seed <= kSeeds; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937_64 random(seed);
    std::vector<Made<int64_t>> values;
    for (int64_t end : {INT32_MIN, INT32_MAX}) {
      values.push_back(Make(KeyType::kDate, end, BigEndian(static_cast<uint64_t>(end), 4),
                            end < 0 ? "-infinity" : "infinity"));
    }
    for (int i = 0; i < kValues; ++i) {
      int64_t day = RandomDay(random, kDayMax);
      values.push_back(Make(KeyType::kDate, day, BigEndian(static_cast<uint64_t>(day), 4),
                            DateText(epoch + day)));
    }
    ExpectSameOrder(values);
  }
}

TEST(KeyValueTest, EveryDayAroundTheYearZeroIsItsNumber) {
  const absl::CivilDay epoch(2000, 1, 1);
  for (int64_t day = -800'000; day < -500'000; ++day) {  // 191 BC to AD 631
    ASSERT_EQ(Key(KeyFromText(KeyType::kDate, DateText(epoch + day))),
              Key(KeyFromBinary(KeyType::kDate, BigEndian(static_cast<uint64_t>(day), 4))))
        << day;
  }
}

std::string TimestampText(int64_t microseconds, bool has_zone) {
  constexpr int64_t kPerDay = 86'400'000'000;
  int64_t day = microseconds / kPerDay - (microseconds % kPerDay < 0 ? 1 : 0);
  int64_t rest = microseconds - day * kPerDay;
  std::string date = DateText(absl::CivilDay(2000, 1, 1) + day);
  bool is_bc = absl::StripSuffix(date, " BC") != date;
  std::string fraction = absl::StrFormat("%06d", rest % 1'000'000);
  fraction.erase(fraction.find_last_not_of('0') + 1);
  rest /= 1'000'000;
  return absl::StrCat(absl::StripSuffix(date, " BC"),
                      absl::StrFormat(" %02d:%02d:%02d", rest / 3600, rest / 60 % 60, rest % 60),
                      fraction.empty() ? "" : ".", fraction, has_zone ? "+00" : "",
                      is_bc ? " BC" : "");
}

TEST(KeyValueTest, TimestampsOrderAsMicroseconds) {
  for (KeyType type : {KeyType::kTimestamp, KeyType::kTimestamptz}) {
    for (unsigned seed = 1; seed <= kSeeds; ++seed) {
      SCOPED_TRACE(absl::StrCat("seed ", seed));
      std::mt19937_64 random(seed);
      std::vector<Made<int64_t>> values;
      for (int64_t end : {INT64_MIN, INT64_MAX}) {
        values.push_back(Make(type, end, BigEndian(static_cast<uint64_t>(end), 8),
                              end < 0 ? "-infinity" : "infinity"));
      }
      for (int i = 0; i < kValues; ++i) {
        constexpr int64_t kUnits[] = {86'400'000'000, 1'000'000, 1'000, 1};
        int64_t unit = kUnits[random() % 4];
        int64_t time = static_cast<int64_t>(random() % 86'400'000'000) / unit * unit;
        int64_t value = RandomDay(random, kTimestampDayMax) * 86'400'000'000 + time;
        values.push_back(Make(type, value, BigEndian(static_cast<uint64_t>(value), 8),
                              TimestampText(value, type == KeyType::kTimestamptz)));
      }
      ExpectSameOrder(values);
    }
  }
}

TEST(KeyValueTest, OnlyWhatTheServerWritesIsATime) {
  for (const char* text : {"",
                           "Infinity",
                           "+infinity",
                           "today",
                           "2026-1-01",
                           "2026-01-1",
                           "2026-13-01",
                           "2026-00-01",
                           "2026-02-29",
                           "1900-02-29",
                           "0001-02-29 BC ",
                           "0002-02-29 BC",
                           "0000-01-01",
                           "02026-01-01",
                           "226-01-01",
                           "2026-01-01BC",
                           "2026-01-01 AD",
                           "-2026-01-01",
                           "2026-01-01 00:00:00",
                           "2026/01/01",
                           "4714-11-23 BC",
                           "5874898-01-01",
                           "99999999999-01-01",
                           "01-01-2026"}) {
    EXPECT_FALSE(KeyFromText(KeyType::kDate, text).ok()) << text;
  }
  EXPECT_TRUE(KeyFromText(KeyType::kDate, "0001-02-29 BC").ok());
  for (const char* text :
       {"", "2026-01-01", "2026-01-01 24:00:00", "2026-01-01 00:60:00", "2026-01-01 00:00:60",
        "2026-01-01 0:00:00", "2026-01-01T00:00:00", "2026-01-01 00:00", "2026-01-01 00:00:00.",
        "2026-01-01 00:00:00.10", "2026-01-01 00:00:00.1234567", "2026-01-01 00:00:00+00",
        "294277-01-01 00:00:00", "4714-11-23 23:59:59 BC", "2026-01-01 00:00:00 "}) {
    EXPECT_FALSE(KeyFromText(KeyType::kTimestamp, text).ok()) << text;
  }
  for (const char* text : {"2026-01-01 00:00:00", "2026-01-01 00:00:00+01",
                           "2026-01-01 00:00:00+00:00", "0044-03-15 00:00:00 BC+00"}) {
    EXPECT_FALSE(KeyFromText(KeyType::kTimestamptz, text).ok()) << text;
  }
}

TEST(KeyValueTest, UuidsOrderAsTheirSixteenBytes) {
  for (unsigned seed = 1; seed <= kSeeds; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937_64 random(seed);
    std::vector<Made<absl::uint128>> values;
    for (int i = 0; i < kValues; ++i) {
      absl::uint128 value = absl::MakeUint128(random(), random()) >> (random() % 128);
      std::string bytes = BigEndian(absl::Uint128High64(value), 8);
      bytes += BigEndian(absl::Uint128Low64(value), 8);
      std::string hex = absl::BytesToHexString(bytes);
      for (size_t dash : {8, 13, 18, 23}) hex.insert(dash, "-");
      values.push_back(Make(KeyType::kUuid, value, bytes, hex));
    }
    ExpectSameOrder(values);
  }
  for (const char* text :
       {"", "00000000000000000000000000000000", "00000000-0000-0000-0000-00000000000",
        "{0000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-00000000000G",
        "A0000000-0000-0000-0000-000000000000", "0000000-00000-0000-0000-000000000000"}) {
    EXPECT_FALSE(KeyFromText(KeyType::kUuid, text).ok()) << text;
  }
  EXPECT_FALSE(KeyFromBinary(KeyType::kUuid, std::string(15, 'x')).ok());
  EXPECT_FALSE(KeyFromBinary(KeyType::kUuid, std::string(17, 'x')).ok());
}

// Few letters, so that many texts begin alike; bytes above 127, so that a signed compare shows.
std::string RandomText(std::mt19937_64& random, const std::vector<std::string>& letters) {
  std::string text;
  for (uint64_t i = random() % 6; i > 0; --i) text += letters[random() % letters.size()];
  return text;
}

std::vector<unsigned char> Unsigned(const std::string& bytes) {
  return {bytes.begin(), bytes.end()};
}

TEST(KeyValueTest, TextsOrderAsUnsignedBytes) {
  const std::vector<std::string> letters = {"a", "B", " ", "\t", "é", "\x7f", "中", "😀", "~"};
  for (unsigned seed = 1; seed <= kSeeds; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937_64 random(seed);
    std::vector<Made<std::vector<unsigned char>>> texts;
    std::vector<Made<std::vector<unsigned char>>> padded;
    std::vector<Made<std::vector<unsigned char>>> bytes;
    for (int i = 0; i < kValues; ++i) {
      std::string text = RandomText(random, letters);
      texts.push_back(Make(KeyType::kText, Unsigned(text), text, text));
      std::string trimmed = text;
      while (!trimmed.empty() && trimmed.back() == ' ') trimmed.pop_back();
      padded.push_back(Make(KeyType::kBpchar, Unsigned(trimmed), text + "  ", trimmed));
      std::string any = BigEndian(random(), random() % 9);
      bytes.push_back(
          Make(KeyType::kBytea, Unsigned(any), any, "\\x" + absl::BytesToHexString(any)));
    }
    ExpectSameOrder(texts);
    ExpectSameOrder(padded);
    ExpectSameOrder(bytes);
  }
  for (const char* text : {"", "x00", "\\x0", "\\x0g", "\\xAB", "\\000", "abc"}) {
    EXPECT_FALSE(KeyFromText(KeyType::kBytea, text).ok()) << text;
  }
}

// A numeric of up to 32 digits as a whole number of 10^-16.
struct Decimal {
  absl::int128 scaled;
  std::string text;
  std::string binary;
};

constexpr int kFractionDigits = 16;

Decimal RandomDecimal(std::mt19937_64& random) {
  Decimal decimal;
  absl::uint128 magnitude = absl::MakeUint128(random() % (uint64_t{1} << 40), random());
  magnitude = magnitude >> (random() % 104);
  if (random() % 2 == 0) magnitude = magnitude / 1'000'000'000'000 * 1'000'000'000'000;
  bool is_negative = random() % 2 == 0 && magnitude != 0;
  decimal.scaled = absl::int128(magnitude) * (is_negative ? -1 : 1);

  std::string digits;
  for (absl::uint128 rest = magnitude; rest != 0; rest /= 10) {
    digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(rest % 10)));
  }
  while (digits.size() <= kFractionDigits) digits.insert(digits.begin(), '0');
  std::string fraction = digits.substr(digits.size() - kFractionDigits);
  while (!fraction.empty() && fraction.back() == '0' && random() % 4 != 0) fraction.pop_back();
  decimal.text =
      absl::StrCat(is_negative ? "-" : "", digits.substr(0, digits.size() - kFractionDigits),
                   fraction.empty() ? "" : ".", fraction);

  std::vector<uint64_t> groups;  // the last one counts 10^-16
  for (absl::uint128 rest = magnitude; rest != 0; rest /= 10'000) {
    groups.insert(groups.begin(), static_cast<uint64_t>(rest % 10'000));
  }
  int weight = static_cast<int>(groups.size()) - 1 - kFractionDigits / 4;
  while (!groups.empty() && groups.back() == 0) groups.pop_back();
  if (groups.empty()) weight = 0;
  decimal.binary = BigEndian(groups.size(), 2) + BigEndian(static_cast<uint64_t>(weight), 2) +
                   BigEndian(is_negative ? 0x4000 : 0, 2) + BigEndian(fraction.size(), 2);
  for (uint64_t group : groups) decimal.binary += BigEndian(group, 2);
  return decimal;
}

std::string SpecialNumeric(uint64_t sign) {
  return BigEndian(0, 4) + BigEndian(sign, 2) + BigEndian(0, 2);
}

TEST(KeyValueTest, NumericsOrderAsNumbers) {
  for (unsigned seed = 1; seed <= kSeeds; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937_64 random(seed);
    std::vector<Made<absl::int128>> values;
    absl::int128 max = absl::Int128Max();
    values.push_back(Make(KeyType::kNumeric, max, SpecialNumeric(0xC000), "NaN"));
    values.push_back(Make(KeyType::kNumeric, max - 1, SpecialNumeric(0xD000), "Infinity"));
    values.push_back(Make(KeyType::kNumeric, -max, SpecialNumeric(0xF000), "-Infinity"));
    for (int i = 0; i < kValues; ++i) {
      Decimal decimal = RandomDecimal(random);
      values.push_back(Make(KeyType::kNumeric, decimal.scaled, decimal.binary, decimal.text));
    }
    ExpectSameOrder(values);
  }
}

TEST(KeyValueTest, NumericsOfManyDigitsOrderAsNumbers) {
  // Ascending; nothing that fits into 128 bits.
  std::vector<std::string> texts;
  for (int size : {131'072, 40, 39}) texts.push_back("-1" + std::string(size - 1, '0') + ".5");
  for (const char* text : {"-1.00000001", "-1", "-0.99999999", "-0.0001", "-0.00001"}) {
    texts.push_back(text);
  }
  for (int zeros : {16'382, 400, 5, 4, 3, 0}) texts.push_back("0." + std::string(zeros, '0') + "1");
  for (int size : {5, 8, 9, 39, 40, 131'072}) texts.push_back("1" + std::string(size - 1, '0'));
  for (size_t i = 1; i < texts.size(); ++i) {
    EXPECT_LT(Key(KeyFromText(KeyType::kNumeric, texts[i - 1])),
              Key(KeyFromText(KeyType::kNumeric, texts[i])))
        << i;
  }
}

TEST(KeyValueTest, OnlyWhatTheServerWritesIsANumeric) {
  for (const char* text :
       {"",   "-",  ".",     ".5",  "5.",  "-.5",  "00", "01.5",  "1e5", "+1",
        " 1", "1 ", "1.2.3", "nan", "inf", "-NaN", "-0", "-0.00", "1,5", "--1"}) {
    EXPECT_FALSE(KeyFromText(KeyType::kNumeric, text).ok()) << text;
  }
  // Too short, groups missing, too many, of more than four digits, an unknown sign, NaN with
  // digits.
  for (const char* hex :
       {"", "00010000000000", "0001000000000000", "00000000000000000001", "00010000000000002710",
        "0001000080000000"
        "0001",
        "00010000C0000000"
        "0001"}) {
    EXPECT_FALSE(KeyFromBinary(KeyType::kNumeric, absl::HexStringToBytes(hex)).ok()) << hex;
  }
}

TEST(KeyValueTest, TypesAreFoundByTheirOid) {
  EXPECT_EQ(KeyTypeOf(20), KeyType::kInt8);
  EXPECT_EQ(KeyTypeOf(1043), KeyType::kText);
  for (Oid oid : {0, 16, 18, 19, 700, 701, 1186, 1266, 100'000}) {
    EXPECT_FALSE(KeyTypeOf(oid).has_value()) << oid;
  }
}

}  // namespace
}  // namespace towline
