#include "observe/metrics.h"

#include <algorithm>

#include "prometheus/collectable.h"
#include "prometheus/histogram.h"
#include "prometheus/metric_family.h"
#include "prometheus/registry.h"
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

// From a quick small batch to one that meets a lock: 1 ms to 100 s by thirds of a decade.
const prometheus::Histogram::BucketBoundaries& ApplySecondsBuckets() {
  static const auto* buckets = new prometheus::Histogram::BucketBoundaries{
      0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100};
  return *buckets;
}

class Families {
 public:
  explicit Families(std::string task) : task_(std::move(task)) {}

  void Begin(const char* name, const char* help, MetricType type) {
    families_.emplace_back();
    families_.back().name = name;
    families_.back().help = help;
    families_.back().type = type;
  }
  void Add(double value, const char* label = nullptr, const char* label_value = nullptr) {
    ClientMetric metric;
    metric.label.push_back({"task", task_});
    if (label != nullptr) metric.label.push_back({label, label_value});
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

std::vector<MetricFamily> FamiliesOf(const TaskStatus& status) {
  Families families(status.task);
  families.Begin("towline_state", "1 for the task's present state", MetricType::Gauge);
  for (const char* state : kStates) families.Add(status.state == state ? 1 : 0, "state", state);
  AddLag(status, families);
  AddStream(status, families);
  AddCopy(status, families);
  AddSlot(status, families);
  families.Begin("towline_conflicts_total", "Rows that met another row at the destination",
                 MetricType::Counter);
  families.Add(static_cast<double>(status.conflicts), "type", "all");
  families.Counter("towline_retries_total", "Attempts that failed and were made again",
                   status.retries);
  return families.Take();
}

}  // namespace

struct Metrics::State {
  explicit State(const StatusBoard& status_board)
      : board(status_board),
        apply_family(prometheus::BuildHistogram()
                         .Name("towline_apply_seconds")
                         .Help("Time of one destination transaction, first statement to COMMIT")
                         .Register(registry)),
        apply_seconds(apply_family.Add({}, ApplySecondsBuckets())) {}

  const StatusBoard& board;
  prometheus::Registry registry;
  prometheus::Family<prometheus::Histogram>& apply_family;
  prometheus::Histogram& apply_seconds;
};

Metrics::Metrics(const StatusBoard& board) : state_(std::make_unique<State>(board)) {}
Metrics::~Metrics() = default;

void Metrics::ObserveApply(absl::Duration time) {
  state_->apply_seconds.Observe(absl::ToDoubleSeconds(time));
}

std::string Metrics::Render() const {
  TaskStatus status = state_->board.Get();
  std::vector<MetricFamily> families = FamiliesOf(status);
  for (MetricFamily& family : state_->registry.Collect()) {
    // The task's name is not known yet when the histogram is made.
    for (ClientMetric& metric : family.metric) metric.label.push_back({"task", status.task});
    families.push_back(std::move(family));
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace towline
