#include "verify/table_verifier.h"

#include <algorithm>
#include <map>
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

absl::StatusOr<BucketPairs> ReadBuckets(PairReader& reader, const ComparedTable& table) {
  TOWLINE_ASSIGN_OR_RETURN(PairReader::Pair pair,
                           reader.Read(table.source.BucketsSql(), table.destination.BucketsSql()));
  return ToBuckets(pair);
}

// Where the sample did not foresee how the keys lie, as when the destination has others.
bool HasCrowdedBucket(const BucketPairs& buckets) {
  return std::any_of(buckets.begin(), buckets.end(), [](const auto& entry) {
    const BucketPair& bucket = entry.second;
    return !bucket.is_equal() &&
           std::max(bucket.source_rows, bucket.destination_rows) > kCrowdedRows;
  });
}

// Whole buckets, as many as one read may bring.
std::vector<std::vector<int64_t>> PlanReads(const BucketPairs& buckets) {
  std::vector<std::vector<int64_t>> reads;
  int64_t rows = kRowsPerRead;
  for (const auto& [number, bucket] : buckets) {
    if (bucket.is_equal()) continue;
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

// By the rule of key_check.h, with the table in the place of the key. The first look is the cheap
// one.
absl::Status CompareCounts(PairReader& reader, const ComparedTable& table, const Shutdown& shutdown,
                           TableReport* report) {
  KeyState source_before;
  KeyState destination_before;
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
    if (tried > 1 && source.IsVersion(source_before) && destination.IsVersion(destination_before)) {
      report->missing = std::max<int64_t>(0, source.rows - destination.rows);
      report->extra = std::max<int64_t>(0, destination.rows - source.rows);
      return absl::OkStatus();
    }
    source_before = std::move(source);
    destination_before = std::move(destination);
  }
  report->undecided = 1;
  return absl::OkStatus();
}

absl::Status CompareRows(PairReader& reader, ComparedTable& table, const Shutdown& shutdown,
                         TableReport* report) {
  TOWLINE_ASSIGN_OR_RETURN(PairReader::Pair whole,
                           reader.Read(table.source.WholeSql(), table.destination.WholeSql()));
  BucketPairs buckets = ToBuckets(whole);
  report->source_rows = buckets[0].source_rows;
  report->destination_rows = buckets[0].destination_rows;
  if (buckets[0].is_equal()) return absl::OkStatus();
  table.rows = std::max({table.rows, report->source_rows, report->destination_rows});
  TOWLINE_RETURN_IF_ERROR(ChooseBuckets(reader.source(), &table));
  if (table.source.buckets.is_split()) {
    TOWLINE_ASSIGN_OR_RETURN(buckets, ReadBuckets(reader, table));
  }
  if (!table.source.buckets.bounds.empty() && HasCrowdedBucket(buckets)) {
    MakeHashBuckets(&table);
    TOWLINE_ASSIGN_OR_RETURN(buckets, ReadBuckets(reader, table));
  }
  for (const std::vector<int64_t>& numbers : PlanReads(buckets)) {
    SuspectKeys suspects;
    {
      TOWLINE_ASSIGN_OR_RETURN(PairReader::Pair pair,
                               reader.Read(table.source.KeysOfBucketsSql(numbers),
                                           table.destination.KeysOfBucketsSql(numbers)));
      suspects = FindSuspects(pair);
      // Versions that were read before the destination had passed prove nothing.
      if (!pair.has_passed) {
        for (auto& [id, key] : suspects) key.source = key.destination = KeyState();
      }
    }
    TOWLINE_RETURN_IF_ERROR(CheckKeys(reader, table, std::move(suspects), shutdown, report));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status VerifyTable(PairReader& reader, ComparedTable table, bool is_count_only,
                         const Shutdown& shutdown, TableReport* report) {
  absl::Status compared = is_count_only ? CompareCounts(reader, table, shutdown, report)
                                        : CompareRows(reader, table, shutdown, report);
  if (absl::IsCancelled(compared) || absl::IsUnavailable(compared)) return compared;
  if (report->undecided > 0) {
    report->note = reader.stand_note().empty() ? "rows were written between every two looks at them"
                                               : reader.stand_note();
  }
  if (!compared.ok()) report->note = Describe(compared);
  if (report->missing + report->extra + report->different > 0) {
    report->verdict = VerifyVerdict::kDifferent;
  } else if (report->undecided > 0 || !compared.ok()) {
    report->verdict = VerifyVerdict::kUndecided;
  }
  return absl::OkStatus();
}

}  // namespace towline
