#include "model/key_datetime.h"

#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"

namespace towline {
namespace {

constexpr int64_t kMicrosecondsPerDay = 86'400'000'000;

// datatype/timestamp.h: DATETIME_MIN_JULIAN (4714-11-24 BC), DATE_END_JULIAN and
// TIMESTAMP_END_JULIAN, less POSTGRES_EPOCH_JDATE.
constexpr int64_t kDayMin = -2'451'545;
constexpr int64_t kDateDayEnd = 2'147'483'494 - 2'451'545;
constexpr int64_t kTimestampDayEnd = 109'203'528 - 2'451'545;

// Takes `digits` digits, or at least that many if `is_open`; no zero before more than `digits`.
std::optional<int64_t> TakeNumber(absl::string_view* text, size_t digits, bool is_open = false) {
  constexpr size_t kDigitsMax = 9;
  size_t count = 0;
  int64_t number = 0;
  while (count < text->size() && (is_open || count < digits) &&
         absl::ascii_isdigit(static_cast<unsigned char>((*text)[count]))) {
    number = number * 10 + ((*text)[count] - '0');
    if (++count > kDigitsMax) return std::nullopt;
  }
  if (count < digits || (count > digits && text->front() == '0')) return std::nullopt;
  text->remove_prefix(count);
  return number;
}

bool Take(absl::string_view* text, absl::string_view expected) {
  return absl::ConsumePrefix(text, expected);
}

// Days since 2000-01-01 in the Gregorian calendar, which the server uses for all times.
int64_t DaysOf(int64_t year, int64_t month, int64_t day) {
  // Years from March on: the leap day is the last of its year.
  constexpr int64_t kDaysIn400Years = 146'097;
  constexpr int64_t kMarchYear0To2000 = 730'425;  // from 0000-03-01
  int64_t march_year = month <= 2 ? year - 1 : year;
  int64_t era = (march_year >= 0 ? march_year : march_year - 399) / 400;
  int64_t year_of_era = march_year - era * 400;
  int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * kDaysIn400Years + day_of_era - kMarchYear0To2000;
}

int64_t DaysInMonth(int64_t year, int64_t month) {
  if (month == 12) return 31;
  return DaysOf(year, month + 1, 1) - DaysOf(year, month, 1);
}

// "2026-11-28"; `is_bc` tells what stands at the end of the text.
std::optional<int64_t> TakeDays(absl::string_view* text, bool is_bc) {
  std::optional<int64_t> year = TakeNumber(text, 4, true);
  if (!year.has_value() || *year == 0 || !Take(text, "-")) return std::nullopt;
  std::optional<int64_t> month = TakeNumber(text, 2);
  if (!month.has_value() || *month < 1 || *month > 12 || !Take(text, "-")) return std::nullopt;
  std::optional<int64_t> day = TakeNumber(text, 2);
  int64_t astronomical_year = is_bc ? 1 - *year : *year;
  if (!day.has_value() || *day < 1 || *day > DaysInMonth(astronomical_year, *month)) {
    return std::nullopt;
  }
  return DaysOf(astronomical_year, *month, *day);
}

// "23:59:59.5", without zeros at the end of a fraction.
std::optional<int64_t> TakeTimeOfDay(absl::string_view* text) {
  std::optional<int64_t> hour = TakeNumber(text, 2);
  if (!hour.has_value() || *hour > 23 || !Take(text, ":")) return std::nullopt;
  std::optional<int64_t> minute = TakeNumber(text, 2);
  if (!minute.has_value() || *minute > 59 || !Take(text, ":")) return std::nullopt;
  std::optional<int64_t> second = TakeNumber(text, 2);
  if (!second.has_value() || *second > 59) return std::nullopt;
  int64_t fraction = 0;
  if (Take(text, ".")) {
    int64_t unit = 1'000'000;
    bool is_zero_last = true;
    while (!text->empty() && absl::ascii_isdigit(static_cast<unsigned char>(text->front()))) {
      unit /= 10;
      if (unit == 0) return std::nullopt;
      fraction += unit * (text->front() - '0');
      is_zero_last = text->front() == '0';
      text->remove_prefix(1);
    }
    if (is_zero_last) return std::nullopt;
  }
  return ((*hour * 60 + *minute) * 60 + *second) * 1'000'000 + fraction;
}

}  // namespace

std::optional<int32_t> DaysFromText(absl::string_view text) {
  if (text == "infinity") return std::numeric_limits<int32_t>::max();
  if (text == "-infinity") return std::numeric_limits<int32_t>::min();
  bool is_bc = absl::ConsumeSuffix(&text, " BC");
  std::optional<int64_t> days = TakeDays(&text, is_bc);
  if (!days.has_value() || !text.empty()) return std::nullopt;
  if (*days < kDayMin || *days >= kDateDayEnd) return std::nullopt;
  return static_cast<int32_t>(*days);
}

std::optional<int64_t> MicrosecondsFromText(absl::string_view text, bool has_zone) {
  if (text == "infinity") return std::numeric_limits<int64_t>::max();
  if (text == "-infinity") return std::numeric_limits<int64_t>::min();
  bool is_bc = absl::ConsumeSuffix(&text, " BC");
  if (has_zone && !absl::ConsumeSuffix(&text, "+00")) return std::nullopt;
  std::optional<int64_t> days = TakeDays(&text, is_bc);
  if (!days.has_value() || !Take(&text, " ")) return std::nullopt;
  if (*days < kDayMin || *days >= kTimestampDayEnd) return std::nullopt;
  std::optional<int64_t> time_of_day = TakeTimeOfDay(&text);
  if (!time_of_day.has_value() || !text.empty()) return std::nullopt;
  return *days * kMicrosecondsPerDay + *time_of_day;
}

}  // namespace towline
