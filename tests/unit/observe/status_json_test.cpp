#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "observe/task_status.h"

namespace towline {
namespace {

TEST(TaskStatusToJsonTest, FieldsHaveTheirNamesAndUnits) {
  TaskStatus status;
  status.task = "shop";
  status.state = "streaming";
  status.position = Lsn{0x16B374D848};
  status.lag_bytes = 42;
  status.lag_seconds = 0.5;
  status.retry_in = absl::Milliseconds(1500);
  status.since = absl::Now() - absl::Seconds(10);
  nlohmann::json json = nlohmann::json::parse(TaskStatusToJson(status));
  EXPECT_EQ(json["task"], "shop");
  EXPECT_EQ(json["state"], "streaming");
  EXPECT_EQ(json["position"], "16/B374D848");
  EXPECT_EQ(json["durable_lsn"], "");
  EXPECT_EQ(json["lag_bytes"], 42);
  EXPECT_EQ(json["lag_seconds"], 0.5);
  EXPECT_EQ(json["retry_in_seconds"], 1.5);
  EXPECT_EQ(json["slot_safe_wal_bytes"], -1);
  EXPECT_GE(json["state_seconds"], 10);
}

TEST(TaskStatusToJsonTest, BytesThatAreNoUtf8DoNotStopTheAnswer) {
  TaskStatus status;
  status.waiting_for = "caf\xE9";
  EXPECT_FALSE(nlohmann::json::parse(TaskStatusToJson(status))["waiting_for"].empty());
}

TEST(TaskStatusToJsonTest, WayBackGivesTheSameText) {
  TaskStatus status;
  status.task = "shop";
  status.state = "retrying";
  status.since = absl::UnixEpoch() + absl::Seconds(1'700'000'000);
  status.received_lsn = Lsn{77};
  status.rows_deleted = 3;
  status.batches_refused = 8;
  status.batches_clashed = 9;
  status.conflict_rows_dropped = 6;
  status.latency_p99_seconds = 0.0123;
  status.batch_rows_p50 = 12;
  status.stage_seconds = {{"wait", 2.5}, {"fold", 0.125}};
  status.table_changes = {{{"sales", "caf\xC3\xA9"}, 1, 2, 3, 4}};
  status.table_changes_left_out = 5;
  status.parked = {{"sales", "orders"}};
  status.parked_total = 1;
  status.heal = {5, 4, 3, 2, 1};
  status.verify = {9, "rows", "different", 1700000000, 8, 7, 1, 6};
  status.spool_transactions = 4;
  status.spool_memory_bytes = 5;
  status.spool_disk_bytes = 6;
  status.lag_seconds = 0.25;
  status.retry_in = absl::Seconds(9);
  status.waiting_for = "a server";
  status.copy_note = "it was interrupted";
  status.copy_bytes_per_second = 12.5;
  status.copy_eta_seconds = 3;
  status.copy_rate_max = 1000;
  TableStatus table;
  table.name = {"sales", "caf\xC3\xA9"};
  table.state = "copying";
  table.bytes_total = 10;
  table.rows_done = 7;
  table.rows_per_second = 2.5;
  status.tables = {table, TableStatus()};
  status.tables_left_out = 9'998;
  absl::StatusOr<TaskStatus> back = TaskStatusFromJson(TaskStatusToJson(status));
  ASSERT_TRUE(back.ok()) << back.status();
  auto without_clock = [](const TaskStatus& each) {
    nlohmann::json json = nlohmann::json::parse(TaskStatusToJson(each));
    json.erase("state_seconds");
    return json;
  };
  EXPECT_EQ(without_clock(*back), without_clock(status));
  EXPECT_EQ(back->spool_disk_bytes, 6);
  EXPECT_EQ(back->stage_seconds, status.stage_seconds);
  EXPECT_EQ(back->table_changes[0].truncated, 4);
  EXPECT_EQ(back->parked[0].name, "orders");
  EXPECT_EQ(back->heal.tables_total, 5);
  EXPECT_EQ(back->heal.tables_done, 4);
  EXPECT_EQ(back->heal.missing, 3);
  EXPECT_EQ(back->heal.extra, 2);
  EXPECT_EQ(back->heal.different, 1);
  EXPECT_EQ(back->verify.run, 9);
  EXPECT_EQ(back->verify.mode, "rows");
  EXPECT_EQ(back->verify.verdict, "different");
  EXPECT_EQ(back->verify.finished_at_s, 1700000000);
  EXPECT_EQ(back->verify.tables, 8);
  EXPECT_EQ(back->verify.tables_different, 7);
  EXPECT_EQ(back->verify.tables_undecided, 1);
  EXPECT_EQ(back->verify.rows_different, 6);
  EXPECT_EQ(back->tables[0].name.name, "caf\xC3\xA9");
  EXPECT_EQ(back->tables[0].rows_done, 7);
  EXPECT_LT(back->tables[0].eta_seconds, 0);
  EXPECT_FALSE(TaskStatusFromJson("[]").ok());
  EXPECT_FALSE(TaskStatusFromJson("{").ok());
}

TEST(TaskStatusToJsonTest, TablesAreAnArrayAndWhatIsNotKnownIsNull) {
  TaskStatus status;
  TableStatus table;
  table.name = {"sales", "orders"};
  table.state = "waiting";
  status.tables = {table};
  nlohmann::json json = nlohmann::json::parse(TaskStatusToJson(status));
  EXPECT_EQ(json["tables"][0]["schema"], "sales");
  EXPECT_EQ(json["tables"][0]["table"], "orders");
  EXPECT_EQ(json["tables"][0]["rows_estimate"], -1);
  EXPECT_TRUE(json["tables"][0]["eta_seconds"].is_null());
  EXPECT_TRUE(json["copy_eta_seconds"].is_null());
  EXPECT_TRUE(json["latency_p50_seconds"].is_null());
  EXPECT_TRUE(json["batch_rows_p99"].is_null());
  EXPECT_EQ(json["tables_left_out"], 0);
}

TEST(TaskStatusToJsonTest, LongestAnswerFitsTheSocket) {
  TaskStatus status;
  TableStatus table;
  table.name = {std::string(63, '\x01'), std::string(63, '"')};  // six and two bytes each
  table.state = "copying";
  table.bytes_total = table.bytes_done = table.rows_done = INT64_MAX;
  status.tables.assign(kTablesShownMax, table);
  status.table_changes.assign(kTablesShownMax,
                              {table.name, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX});
  status.parked.assign(kTablesShownMax, table.name);
  EXPECT_LT(TaskStatusToJson(status).size(), size_t{1} << 20);
}

TEST(TaskStatusToJsonTest, IsOneLine) {
  TaskStatus status;
  status.waiting_for = "a\nb";
  EXPECT_EQ(TaskStatusToJson(status).find('\n'), std::string::npos);
}

}  // namespace
}  // namespace towline
