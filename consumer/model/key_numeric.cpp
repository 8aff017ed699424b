#include "model/key_numeric.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/base/internal/endian.h"
#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"

namespace towline {
namespace {

// utils/adt/numeric.c
constexpr int kDigitsPerGroup = 4;
constexpr uint16_t kGroupEnd = 10'000;
constexpr uint16_t kSignPositive = 0x0000;
constexpr uint16_t kSignNegative = 0x4000;
constexpr uint16_t kSignNan = 0xC000;
constexpr uint16_t kSignInfinity = 0xD000;
constexpr uint16_t kSignMinusInfinity = 0xF000;

// The first byte of the ordered form.
enum class Class : char { kMinusInfinity, kNegative, kZero, kPositive, kInfinity, kNan };

std::string Alone(Class kind) { return std::string(1, static_cast<char>(kind)); }

void Append16(uint16_t value, std::string* bytes) {
  char stored[2];
  absl::big_endian::Store16(stored, value);
  bytes->append(stored, sizeof stored);
}

// The value is the sum of groups[i] * 10000^(weight - i).
std::string Ordered(bool is_negative, int32_t weight, const std::vector<uint16_t>& groups) {
  auto is_not_zero = [](uint16_t group) { return group != 0; };
  auto first = std::find_if(groups.begin(), groups.end(), is_not_zero);
  if (first == groups.end()) return Alone(Class::kZero);
  auto end = std::find_if(groups.rbegin(), groups.rend(), is_not_zero).base();
  weight -= static_cast<int32_t>(first - groups.begin());
  std::string bytes = Alone(is_negative ? Class::kNegative : Class::kPositive);
  // The larger weight is the larger number: all that follows is below one unit of it. Two's
  // complement with the sign turned orders like the number.
  uint32_t ordered_weight = static_cast<uint32_t>(weight) ^ 0x80000000U;
  Append16(static_cast<uint16_t>(ordered_weight >> 16), &bytes);
  Append16(static_cast<uint16_t>(ordered_weight), &bytes);
  // From 1 up, so that an end, 0, comes before every group, a group of zeros too.
  for (auto group = first; group != end; ++group) {
    Append16(static_cast<uint16_t>(*group + 1), &bytes);
  }
  Append16(0, &bytes);
  if (is_negative) {
    std::transform(bytes.begin() + 1, bytes.end(), bytes.begin() + 1,
                   [](char byte) { return static_cast<char>(~static_cast<uint8_t>(byte)); });
  }
  return bytes;
}

bool AreDigits(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char letter) {
    return absl::ascii_isdigit(static_cast<unsigned char>(letter));
  });
}

}  // namespace

std::optional<std::string> OrderedNumericFromBinary(absl::string_view bytes) {
  constexpr size_t kHeaderBytes = 8;
  if (bytes.size() < kHeaderBytes) return std::nullopt;
  size_t count = absl::big_endian::Load16(bytes.data());
  auto weight = static_cast<int16_t>(absl::big_endian::Load16(bytes.data() + 2));
  uint16_t sign = absl::big_endian::Load16(bytes.data() + 4);
  bytes.remove_prefix(kHeaderBytes);
  if (bytes.size() != count * 2) return std::nullopt;
  if (sign == kSignNan && count == 0) return Alone(Class::kNan);
  if (sign == kSignInfinity && count == 0) return Alone(Class::kInfinity);
  if (sign == kSignMinusInfinity && count == 0) return Alone(Class::kMinusInfinity);
  if (sign != kSignPositive && sign != kSignNegative) return std::nullopt;
  std::vector<uint16_t> groups(count);
  for (size_t i = 0; i < count; ++i) {
    groups[i] = absl::big_endian::Load16(bytes.data() + 2 * i);
    if (groups[i] >= kGroupEnd) return std::nullopt;
  }
  return Ordered(sign == kSignNegative, weight, groups);
}

std::optional<std::string> OrderedNumericFromText(absl::string_view text) {
  if (text == "NaN") return Alone(Class::kNan);
  if (text == "Infinity") return Alone(Class::kInfinity);
  if (text == "-Infinity") return Alone(Class::kMinusInfinity);
  bool is_negative = absl::ConsumePrefix(&text, "-");
  size_t point = std::min(text.find('.'), text.size());
  absl::string_view whole = text.substr(0, point);
  absl::string_view fraction = text.substr(std::min(point + 1, text.size()));
  if (whole.empty() || !AreDigits(whole) || !AreDigits(fraction)) return std::nullopt;
  if (whole.size() > 1 && whole.front() == '0') return std::nullopt;
  if (point < text.size() && fraction.empty()) return std::nullopt;

  // Digits to the left are filled up to a whole group, those to the right as well.
  size_t lead = (kDigitsPerGroup - whole.size() % kDigitsPerGroup) % kDigitsPerGroup;
  std::string digits = std::string(lead, '0');
  digits.append(whole.data(), whole.size());
  auto weight = static_cast<int32_t>(digits.size() / kDigitsPerGroup) - 1;
  digits.append(fraction.data(), fraction.size());
  digits.append((kDigitsPerGroup - digits.size() % kDigitsPerGroup) % kDigitsPerGroup, '0');
  std::vector<uint16_t> groups;
  groups.reserve(digits.size() / kDigitsPerGroup);
  for (size_t at = 0; at < digits.size(); at += kDigitsPerGroup) {
    int group = 0;
    for (size_t i = at; i < at + kDigitsPerGroup; ++i) group = group * 10 + (digits[i] - '0');
    groups.push_back(static_cast<uint16_t>(group));
  }
  std::string ordered = Ordered(is_negative, weight, groups);
  if (is_negative && ordered == Alone(Class::kZero)) return std::nullopt;
  return ordered;
}

}  // namespace towline
