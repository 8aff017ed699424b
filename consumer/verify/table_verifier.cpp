#include "verify/table_verifier.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "verify/key_check.h"

namespace towline {
namespace {

constexpr int64_t kRowsPerRead = 20'000;  // of the keys that one statement brings to us
constexpr int64_t kCrowdedRows = 2 * kRowsPerRead;
constexpr int kCountTriesMax = 12;
constexpr int kRepairRoundsMax = 12;
constexpr size_t kRangesPerStep = 1000;
constexpr int64_t kRowBytesGuess = 64;
constexpr size_t kRangesPerThrottledStep = 5;
constexpr absl::Duration kCountPause = absl::Milliseconds(200);

struct BucketPair {
  int64_t source_rows = 0;
  int64_t destination_rows = 0;
  std::string source_hashes;
  std::string destination_hashes;

  bool is_equal() const {
    return source_rows == destination_rows && source_hashes == destination_hashes;
  }
};

using BucketPairs = std::map<int64_t, BucketPair>;

BucketPairs ToBuckets(const PairReader::Pair& pair) {
  BucketPairs buckets;
  for (int row = 0; row < pair.source.row_count(); ++row) {
    BucketPair& bucket = buckets[pair.source.GetInt(row, 0)];
    bucket.source_rows = pair.source.GetInt(row, 1);
    bucket.source_hashes = pair.source.GetString(row, 2);
  }
  for (int row = 0; row < pair.destination.row_count(); ++row) {
    BucketPair& bucket = buckets[pair.destination.GetInt(row, 0)];
    bucket.destination_rows = pair.destination.GetInt(row, 1);
    bucket.destination_hashes = pair.destination.GetString(row, 2);
  }
  return buckets;
}

// Where the sample did not foresee how the keys lie, as when the destination has others.
bool IsCrowded(const BucketPair& bucket) {
  return std::max(bucket.source_rows, bucket.destination_rows) > kCrowdedRows;
}

// Whole buckets, as many as one read may bring.
std::vector<std::vector<int64_t>> PlanReads(const BucketPairs& buckets) {
  std::vector<std::vector<int64_t>> reads;
  int64_t rows = kRowsPerRead;
  for (const auto& [number, bucket] : buckets) {
    int64_t more = std::max(bucket.source_rows, bucket.destination_rows);
    if (rows + more > kRowsPerRead) {
      reads.emplace_back();
      rows = 0;
    }
    rows += more;
    reads.back().push_back(number);
  }
  return reads;
}

absl::Status GiveWay(const TableVerifyOptions& options) {
  return options.watch == nullptr ? absl::OkStatus() : options.watch->GiveWay();
}

// By the rule of key_check.h, with the table in the place of the key. The first look is the cheap
// one.
absl::Status CompareCounts(PairReader& reader, const ComparedTable& table, const Shutdown& shutdown,
                           TableReport* report) {
  KeyState source_before;
  KeyState destination_before;
  uint64_t mark = 0;
  for (int tried = 0; tried < kCountTriesMax; ++tried) {
    if (tried > 0 && !shutdown.SleepFor(kCountPause)) {
      return absl::CancelledError("shutting down");
    }
    const bool has_identity = tried > 0;
    TOWLINE_ASSIGN_OR_RETURN(
        PairReader::Pair pair,
        reader.Read(table.source.CountSql(has_identity), table.destination.CountSql(has_identity)));
    KeyState source{pair.source.GetInt(0, 0), "", ""};
    KeyState destination{pair.destination.GetInt(0, 0), "", ""};
    report->source_rows = source.rows;
    report->destination_rows = destination.rows;
    if (source.rows == destination.rows) return absl::OkStatus();
    if (!pair.has_passed) break;
    if (!has_identity) continue;
    source.versions = pair.source.GetString(0, 1);
    destination.versions = pair.destination.GetString(0, 1);
    const bool is_same =
        tried > 1 && source.IsVersion(source_before) && destination.IsVersion(destination_before);
    if (is_same && (mark == 0 || pair.oldest_running > mark)) {
      report->missing = std::max<int64_t>(0, source.rows - destination.rows);
      report->extra = std::max<int64_t>(0, destination.rows - source.rows);
      return absl::OkStatus();
    }
    if (is_same) continue;
    source_before = std::move(source);
    destination_before = std::move(destination);
    TOWLINE_ASSIGN_OR_RETURN(mark, reader.MarkRunning());
  }
  report->undecided = 1;
  return absl::OkStatus();
}

enum class Manner {
  kWhole,   // all rows by one read, and buckets if that differs
  kParts,   // the same of one part after another
  kRanges,  // a few ranges after others: all of them slowly, or some
};

// Which buckets are compared. Equal seeds choose equally.
std::vector<int64_t> ChooseNumbers(const ComparedTable& table, const TableVerifyOptions& options) {
  const int64_t size = table.source.buckets.size();
  std::vector<int64_t> numbers(static_cast<size_t>(size));
  std::iota(numbers.begin(), numbers.end(), 0);
  if (options.percent < 100) {
    std::string text = absl::StrCat(options.seed, " ", table.name.schema, " ", table.name.name);
    std::seed_seq seeds(text.begin(), text.end());
    std::mt19937_64 random(seeds);
    auto chosen = static_cast<size_t>(
        std::max(1.0, std::ceil(static_cast<double>(size) * options.percent / 100)));
    for (size_t i = 0; i < chosen; ++i) {
      std::swap(numbers[i], numbers[i + random() % (numbers.size() - i)]);
    }
    numbers.resize(chosen);
    std::sort(numbers.begin(), numbers.end());
  }
  return numbers;
}

size_t RangesPerStep(const ComparedTable& table, const TableVerifyOptions& options, Manner manner) {
  // By hash each read is one of the whole table.
  if (table.source.buckets.bounds.empty()) return static_cast<size_t>(table.source.buckets.size());
  if (options.rate != nullptr) return kRangesPerThrottledStep;
  if (manner != Manner::kParts) return kRangesPerStep;
  const int64_t range_bytes = std::max<int64_t>(1, table.bytes / table.source.buckets.size());
  return static_cast<size_t>(std::max<int64_t>(1, options.part_bytes / range_bytes));
}

// Which of them by one read.
std::vector<std::vector<int64_t>> PlanSteps(const std::vector<int64_t>& numbers, size_t step) {
  std::vector<std::vector<int64_t>> steps;
  for (size_t at = 0; at < numbers.size(); at += step) {
    steps.emplace_back(
        numbers.begin() + static_cast<std::ptrdiff_t>(at),
        numbers.begin() + static_cast<std::ptrdiff_t>(std::min(numbers.size(), at + step)));
  }
  return steps;
}

class RowComparison {
 public:
  RowComparison(PairReader& reader, const TableVerifyOptions& options, const Shutdown& shutdown,
                TableReport* report)
      : reader_(reader), options_(options), shutdown_(shutdown), report_(report) {}

  absl::Status Run(ComparedTable table) {
    if (options_.repairer != nullptr) options_.repairer->BeginTable();
    TOWLINE_ASSIGN_OR_RETURN(const Manner manner, ChooseManner(table));
    if (manner == Manner::kWhole) {
      TOWLINE_ASSIGN_OR_RETURN(bool is_equal, CompareWhole(table));
      if (is_equal) return absl::OkStatus();
      table.rows = std::max({table.rows, report_->source_rows, report_->destination_rows});
    } else {
      // A table that was never analyzed: rather too many ranges than one.
      table.rows = std::max(table.rows, table.bytes / kRowBytesGuess);
    }
    bytes_per_row_ = table.bytes / std::max<int64_t>(1, table.rows);
    RangeProgress progress;
    if (options_.resumed != nullptr) {
      progress = *options_.resumed;
      table.source.buckets.bounds = table.destination.buckets.bounds = progress.bounds;
    } else {
      TOWLINE_RETURN_IF_ERROR(ChooseBuckets(reader_.source(), &table));
      progress.bounds = table.source.buckets.bounds;
    }
    const size_t ranges_per_step = RangesPerStep(table, options_, manner);
    std::vector<int64_t> numbers =
        progress.order.empty() ? ChooseNumbers(table, options_) : progress.order;
    if (manner != Manner::kWhole && options_.resumed == nullptr &&
        options_.written_since.has_value() && !progress.bounds.empty()) {
      TOWLINE_ASSIGN_OR_RETURN(const RangeCounts written,
                               CountWrittenSince(reader_.source(), reader_.destination(), table,
                                                 *options_.written_since));
      progress.order = numbers = OrderByWritten(numbers, ranges_per_step, written);
    }
    numbers.erase(numbers.begin(),
                  numbers.begin() + std::min(std::ssize(numbers), progress.ranges_done));
    for (const std::vector<int64_t>& step : PlanSteps(numbers, ranges_per_step)) {
      TOWLINE_RETURN_IF_ERROR(GiveWay(options_));
      TOWLINE_RETURN_IF_ERROR(CompareStep(table, step, manner));
      progress.ranges_done += std::ssize(step);
      const bool is_settled = options_.repairer == nullptr || !options_.repairer->has_put_off();
      if (manner != Manner::kWhole && !progress.bounds.empty() && is_settled &&
          options_.on_progress != nullptr) {
        options_.on_progress(progress);
      }
    }
    if (options_.repairer == nullptr) return absl::OkStatus();
    return DecideKeys(table, {}, true);
  }

 private:
  absl::StatusOr<Manner> ChooseManner(const ComparedTable& table) {
    if (options_.percent < 100 || (options_.rate != nullptr && table.has_bounds)) {
      return Manner::kRanges;
    }
    if (options_.resumed != nullptr) return Manner::kParts;
    if (!table.has_bounds || table.bytes <= options_.part_bytes) return Manner::kWhole;
    TOWLINE_ASSIGN_OR_RETURN(bool follows_key,
                             FollowsFirstKey(reader_.source(), reader_.destination(), table));
    return follows_key ? Manner::kParts : Manner::kWhole;
  }

  absl::Status CompareStep(const ComparedTable& table, const std::vector<int64_t>& numbers,
                           Manner manner) {
    BucketPair all;
    if (manner == Manner::kParts) {
      TOWLINE_ASSIGN_OR_RETURN(
          PairReader::Pair part,
          reader_.Read(table.source.PartSql(numbers), table.destination.PartSql(numbers)));
      all = ToBuckets(part)[0];
    }
    if (manner != Manner::kParts || !all.is_equal()) {
      TOWLINE_ASSIGN_OR_RETURN(BucketPairs buckets, ReadBuckets(table, numbers));
      report_->ranges += std::ssize(numbers);
      if (manner != Manner::kParts) {
        for (const auto& [number, bucket] : buckets) {
          all.source_rows += bucket.source_rows;
          all.destination_rows += bucket.destination_rows;
        }
      }
      TOWLINE_RETURN_IF_ERROR(CompareBuckets(table, std::move(buckets)));
    }
    if (manner != Manner::kWhole) {
      report_->source_rows += all.source_rows;
      report_->destination_rows += all.destination_rows;
    }
    return Rest(all.source_rows);
  }

  absl::StatusOr<bool> CompareWhole(const ComparedTable& table) {
    TOWLINE_ASSIGN_OR_RETURN(PairReader::Pair whole,
                             reader_.Read(table.source.WholeSql(), table.destination.WholeSql()));
    BucketPairs buckets = ToBuckets(whole);
    report_->source_rows = buckets[0].source_rows;
    report_->destination_rows = buckets[0].destination_rows;
    bytes_per_row_ = table.bytes / std::max<int64_t>(1, report_->source_rows);
    TOWLINE_RETURN_IF_ERROR(Rest(report_->source_rows));
    return buckets[0].is_equal();
  }

  absl::Status Rest(int64_t rows) {
    if (options_.rate == nullptr) return absl::OkStatus();
    if (options_.rate->Rest(rows * bytes_per_row_, rows, shutdown_)) return absl::OkStatus();
    return absl::CancelledError("shutting down");
  }

  absl::StatusOr<BucketPairs> ReadBuckets(const ComparedTable& table,
                                          const std::vector<int64_t>& numbers) {
    TOWLINE_ASSIGN_OR_RETURN(
        PairReader::Pair pair,
        reader_.Read(table.source.BucketsSql(numbers), table.destination.BucketsSql(numbers)));
    return ToBuckets(pair);
  }

  absl::Status CompareBuckets(const ComparedTable& table, BucketPairs buckets) {
    std::erase_if(buckets, [](const auto& entry) { return entry.second.is_equal(); });
    if (!table.source.buckets.bounds.empty()) {
      for (auto at = buckets.begin(); at != buckets.end();) {
        if (!IsCrowded(at->second)) {
          ++at;
          continue;
        }
        ComparedTable part = table;
        part.source = table.source.Within(at->first);
        part.destination = table.destination.Within(at->first);
        part.rows = std::max(at->second.source_rows, at->second.destination_rows);
        MakeHashBuckets(&part);
        std::vector<int64_t> numbers(static_cast<size_t>(part.source.buckets.size()));
        std::iota(numbers.begin(), numbers.end(), 0);
        TOWLINE_ASSIGN_OR_RETURN(BucketPairs parts, ReadBuckets(part, numbers));
        TOWLINE_RETURN_IF_ERROR(CompareBuckets(part, std::move(parts)));
        at = buckets.erase(at);
      }
    }
    for (const std::vector<int64_t>& numbers : PlanReads(buckets)) {
      SuspectKeys suspects;
      {
        TOWLINE_ASSIGN_OR_RETURN(PairReader::Pair pair,
                                 reader_.Read(table.source.KeysOfBucketsSql(numbers),
                                              table.destination.KeysOfBucketsSql(numbers)));
        TOWLINE_ASSIGN_OR_RETURN(const uint64_t mark, reader_.MarkRunning());
        suspects = FindSuspects(pair, mark);
        // Versions that were read before the destination had passed prove nothing.
        if (!pair.has_passed) {
          for (auto& [id, key] : suspects) key.source = key.destination = KeyState();
        }
      }
      TOWLINE_RETURN_IF_ERROR(DecideKeys(table, std::move(suspects), false));
    }
    return absl::OkStatus();
  }

  // Repairs, if that is wanted, what differs: keys that were written before they could be are
  // decided on again. `is_end`: behind the table's last.
  absl::Status DecideKeys(const ComparedTable& table, SuspectKeys suspects, bool is_end) {
    Repairer* repairer = options_.repairer;
    for (int round = 0; round < kRepairRoundsMax; ++round) {
      if (suspects.empty() && !is_end) return absl::OkStatus();
      TOWLINE_ASSIGN_OR_RETURN(SuspectKeys decided,
                               CheckKeys(reader_, table, std::move(suspects), shutdown_, report_));
      if (repairer == nullptr) return ReportKeys(reader_, table, decided, report_);
      TOWLINE_ASSIGN_OR_RETURN(suspects,
                               repairer->Repair(reader_, table, std::move(decided), report_));
      if (!is_end) continue;
      TOWLINE_ASSIGN_OR_RETURN(SuspectKeys more, repairer->FinishTable(reader_, table, report_));
      suspects.merge(more);
      if (suspects.empty()) return absl::OkStatus();
    }
    report_->undecided += static_cast<int64_t>(suspects.size());
    return absl::OkStatus();
  }

  PairReader& reader_;
  const TableVerifyOptions& options_;
  const Shutdown& shutdown_;
  TableReport* report_;
  int64_t bytes_per_row_ = 0;
};

}  // namespace

absl::Status VerifyTable(PairReader& reader, ComparedTable table, const TableVerifyOptions& options,
                         const Shutdown& shutdown, TableReport* report) {
  TOWLINE_RETURN_IF_ERROR(GiveWay(options));
  absl::Status compared = options.is_count_only
                              ? CompareCounts(reader, table, shutdown, report)
                              : RowComparison(reader, options, shutdown, report).Run(table);
  if (absl::IsCancelled(compared) || absl::IsUnavailable(compared) ||
      (!compared.ok() && reader.has_lost_task())) {
    return compared;
  }
  if (report->undecided > 0) {
    report->note = reader.stand_note().empty() ? "rows were written between every two looks at them"
                                               : reader.stand_note();
  }
  if (!compared.ok()) report->note = Describe(compared);
  if (report->missing + report->extra + report->different > report->repaired) {
    report->verdict = VerifyVerdict::kDifferent;
  } else if (report->undecided > 0 || !compared.ok()) {
    report->verdict = VerifyVerdict::kUndecided;
  }
  return absl::OkStatus();
}

}  // namespace towline
