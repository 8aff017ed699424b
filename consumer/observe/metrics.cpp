#include "observe/metrics.h"

#include <limits>
#include <utility>
#include <vector>

#include "model/conflict_policy.h"
#include "prometheus/metric_family.h"
#include "prometheus/text_serializer.h"

namespace towline {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

// Every state of state/task_state.h, listed here because observe stands below it: the series of a
// state that is not the present one must exist and be 0, or alerts see gaps.
constexpr const char* kStates[] = {"new",      "checking",    "copying_schema", "copying",
                                   "indexing", "catching_up", "constraints",    "streaming",
                                   "cut_over", "paused",      "retrying",       "waiting",
                                   "healing",  "needs_heal",  "failed"};

class Families {
 public:
  explicit Families(std::string task) : task_(std::move(task)) {}

  void Begin(const char* name, const char* help, MetricType type) {
    families_.emplace_back();
    families_.back().name = name;
    families_.back().help = help;
    families_.back().type = type;
  }
  void Add(double value, const char* label = nullptr, const char* label_value = nullptr,
           const char* second = nullptr, const char* second_value = nullptr) {
    ClientMetric metric;
    metric.label.push_back({"task", task_});
    if (label != nullptr) metric.label.push_back({label, label_value});
    if (second != nullptr) metric.label.push_back({second, second_value});
    metric.gauge.value = value;
    metric.counter.value = value;
    families_.back().metric.push_back(std::move(metric));
  }
  void Gauge(const char* name, const char* help, double value) {
    Begin(name, help, MetricType::Gauge);
    Add(value);
  }
  void Counter(const char* name, const char* help, int64_t value) {
    Begin(name, help, MetricType::Counter);
    Add(static_cast<double>(value));
  }
  void AddHistogram(const char* name, const char* help, const Histogram& histogram) {
    Begin(name, help, MetricType::Histogram);
    ClientMetric metric;
    metric.label.push_back({"task", task_});
    metric.histogram.sample_count = static_cast<uint64_t>(histogram.count());
    metric.histogram.sample_sum = histogram.sum();
    for (const Histogram::Step& step : histogram.Steps()) {
      metric.histogram.bucket.push_back({static_cast<uint64_t>(step.count), step.bound});
    }
    metric.histogram.bucket.push_back(
        {metric.histogram.sample_count, std::numeric_limits<double>::infinity()});
    families_.back().metric.push_back(std::move(metric));
  }
  void AddTable(const TableChanges& table, const char* op, int64_t count) {
    if (count == 0) return;
    Add(static_cast<double>(count));
    families_.back().metric.back().label.insert(
        families_.back().metric.back().label.end(),
        {{"schema", table.name.schema}, {"table", table.name.name}, {"op", op}});
  }
  std::vector<MetricFamily> Take() { return std::move(families_); }

 private:
  std::string task_;
  std::vector<MetricFamily> families_;
};

double BytesBetween(Lsn ahead, Lsn behind) {
  if (!ahead.is_valid() || !behind.is_valid() || ahead < behind) return 0;
  return static_cast<double>(ahead.value - behind.value);
}

void AddLag(const TaskStatus& status, Families& families) {
  families.Begin("towline_lag_bytes",
                 "WAL bytes by stage: receive (source flush to received), apply (received to "
                 "committed), durable (committed to durable), total (source flush to durable)",
                 MetricType::Gauge);
  families.Add(BytesBetween(status.source_flush_lsn, status.received_lsn), "stage", "receive");
  families.Add(BytesBetween(status.received_lsn, status.position), "stage", "apply");
  families.Add(BytesBetween(status.position, status.durable_lsn), "stage", "durable");
  families.Add(static_cast<double>(status.lag_bytes), "stage", "total");
  families.Gauge("towline_lag_seconds",
                 "Source clock minus commit time of the oldest transaction not yet visible at the "
                 "destination, 0 when none is pending",
                 status.lag_seconds);
}

void AddStream(const TaskStatus& status, Families& families) {
  families.Begin("towline_rows_applied_total", "Row changes committed at the destination",
                 MetricType::Counter);
  families.Add(static_cast<double>(status.rows_inserted), "op", "insert");
  families.Add(static_cast<double>(status.rows_updated), "op", "update");
  families.Add(static_cast<double>(status.rows_deleted), "op", "delete");
  families.Add(static_cast<double>(status.truncates), "op", "truncate");
  families.Counter("towline_batches_total", "Destination transactions committed", status.batches);
  families.Counter("towline_batches_refused_total",
                   "Batches that the destination refused as a whole, written in smaller pieces",
                   status.batches_refused);
  families.Counter(
      "towline_batches_clashed_total",
      "Batches whose updates were in each other's way, written a second time as a whole",
      status.batches_clashed);
  families.Counter("towline_transactions_total", "Source transactions applied",
                   status.transactions);
  families.Counter("towline_received_bytes_total", "Bytes received from the source",
                   status.received_bytes);
  families.Gauge("towline_queue_bytes", "Received bytes that wait for the applier",
                 static_cast<double>(status.queue_bytes));
  families.Gauge("towline_spool_transactions",
                 "Transactions in progress at the source of which something was received",
                 static_cast<double>(status.spool_transactions));
  families.Begin("towline_spool_bytes", "What was received of transactions in progress, by place",
                 MetricType::Gauge);
  families.Add(static_cast<double>(status.spool_memory_bytes), "place", "memory");
  families.Add(static_cast<double>(status.spool_disk_bytes), "place", "disk");
}

void AddCopy(const TaskStatus& status, Families& families) {
  families.Gauge("towline_copy_bytes_done",
                 "Bytes of the initial copy done (estimate, heap and "
                 "TOAST at the source)",
                 static_cast<double>(status.copy_bytes_done));
  families.Gauge("towline_copy_bytes_total", "Bytes of the initial copy in all (estimate)",
                 static_cast<double>(status.copy_bytes_total));
  families.Gauge("towline_copy_tables_done", "Tables copied",
                 static_cast<double>(status.tables_done));
  families.Gauge("towline_copy_tables_total", "Tables of the initial copy in all",
                 static_cast<double>(status.tables_total));
  families.Counter("towline_copy_rows_total", "Rows copied", status.copy_rows_done);
}

// Nothing, where nothing was ever compared: no alert must take that for equal.
void AddVerify(const VerifySummary& verify, Families& families) {
  if (verify.run == 0) return;
  families.Gauge("towline_verify_finished_timestamp_seconds",
                 "When the last comparison (towline verify) came to its end, since 1970",
                 static_cast<double>(verify.finished_at_s));
  families.Begin("towline_verify_tables", "Tables by what is known of each", MetricType::Gauge);
  families.Add(
      static_cast<double>(verify.tables - verify.tables_different - verify.tables_undecided),
      "verdict", "equal");
  families.Add(static_cast<double>(verify.tables_different), "verdict", "different");
  families.Add(static_cast<double>(verify.tables_undecided), "verdict", "undecided");
  families.Gauge("towline_verify_rows_different",
                 "Rows that differed at the last look and were not repaired",
                 static_cast<double>(verify.rows_different));
}

void AddSlot(const TaskStatus& status, Families& families) {
  // -1 as the server's NULL: no limit (max_slot_wal_keep_size = -1).
  families.Gauge("towline_slot_safe_wal_bytes",
                 "WAL that may still be written before the slot is in danger, -1: no limit",
                 static_cast<double>(status.slot_safe_wal_bytes));
  families.Gauge("towline_slot_retained_bytes", "WAL that the slot keeps on the source",
                 static_cast<double>(status.slot_retained_bytes));
  families.Begin("towline_slot_wal_status", "1 for the slot's present wal_status",
                 MetricType::Gauge);
  for (const char* name : {"reserved", "extended", "unreserved", "lost"}) {
    families.Add(status.wal_status == name ? 1 : 0, "wal_status", name);
  }
}

void AddConflicts(const TaskStatus& status, Families& families) {
  families.Begin("towline_conflicts_total",
                 "Changes that the destination did not take as they came, by what was done",
                 MetricType::Counter);
  for (const ConflictFacts& facts : kConflictFacts) {
    for (ConflictAction action :
         {ConflictAction::kStop, ConflictAction::kOverwrite, ConflictAction::kSkip}) {
      if ((action == ConflictAction::kOverwrite && !facts.may_overwrite) ||
          (action == ConflictAction::kSkip && !facts.may_skip)) {
        continue;
      }
      int64_t count = 0;
      for (const ConflictTotal& total : status.conflict_totals) {
        if (total.type == facts.name && total.resolution == NameOf(action)) count = total.count;
      }
      families.Add(static_cast<double>(count), "type", facts.name, "resolution", NameOf(action));
    }
  }
}

void AddMeter(const StreamMeter& meter, Families& families) {
  const StreamMeter::Histograms histograms = meter.histograms();
  families.AddHistogram("towline_latency_seconds",
                        "Commit at the source to COMMIT's answer at the destination, of each "
                        "transaction, by the source's clock",
                        histograms.latency_seconds);
  families.AddHistogram("towline_apply_seconds",
                        "Time of one destination transaction, first statement to COMMIT",
                        histograms.apply_seconds);
  families.AddHistogram("towline_batch_rows", "Row changes of one destination transaction",
                        histograms.batch_rows);
  families.Begin("towline_table_rows_applied_total",
                 "Row changes committed at the destination, by table; without a name: of all "
                 "tables beyond the first thousand that have changed",
                 MetricType::Counter);
  for (const TableChanges& table : meter.tables()) {
    families.AddTable(table, "insert", table.inserted);
    families.AddTable(table, "update", table.updated);
    families.AddTable(table, "delete", table.deleted);
    families.AddTable(table, "truncate", table.truncated);
  }
}

void AddStages(const TaskStatus& status, Families& families) {
  families.Begin("towline_stage_seconds_total",
                 "Wall time: of the receiver's thread receive and queue_full, of the applier's "
                 "wait, assemble, fold, apply and commit",
                 MetricType::Counter);
  for (const auto& [stage, seconds] : status.stage_seconds) {
    families.Add(seconds, "stage", stage.c_str());
  }
}

void AddStatus(const TaskStatus& status, Families& families) {
  families.Begin("towline_state", "1 for the task's present state", MetricType::Gauge);
  for (const char* state : kStates) families.Add(status.state == state ? 1 : 0, "state", state);
  AddLag(status, families);
  AddStream(status, families);
  AddCopy(status, families);
  AddSlot(status, families);
  AddConflicts(status, families);
  AddVerify(status.verify, families);
  families.Gauge("towline_tables_parked", "Tables that have left the stream",
                 static_cast<double>(status.parked_total));
  families.Counter("towline_retries_total", "Attempts that failed and were made again",
                   status.retries);
}

}  // namespace

std::string Metrics::Render() const {
  TaskStatus status = board_.Get();
  Families families(status.task);
  AddStatus(status, families);
  AddMeter(meter_, families);
  AddStages(status, families);
  return prometheus::TextSerializer().Serialize(families.Take());
}

}  // namespace towline
