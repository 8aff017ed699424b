// Keys and key ranges against a real server: what it sorts, what its plugin sends and what its
// index finds must agree with our order. TOWLINE_TEST_SOURCE=URI of a database with the extension
// that the tests may empty, as a superuser. Without it these tests do not exist; with it they fail
// if the server cannot be reached. TOWLINE_TEST_SEED: 1 unless given; TOWLINE_TEST_ROWS: see below.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>
#include <random>
#include <set>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/error.h"
#include "base/shutdown.h"
#include "decode/decoder.h"
#include "decode/frame_builder.h"
#include "keys/server_source.h"
#include "model/key_field.h"
#include "model/key_ranges.h"
#include "pg/connection.h"
#include "pg/quoting.h"
#include "schema/array_literal.h"
#include "schema/catalog_reader.h"
#include "snapshot/copy_statements.h"
#include "snapshot/key_choice.h"
#include "snapshot/key_plan.h"
#include "snapshot/key_reader.h"

namespace towline {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kValues = 1000;

int64_t Setting(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  int64_t value = otherwise;
  if (text != nullptr && !absl::SimpleAtoi(text, &value)) std::abort();
  return value;
}

// Collects changes with their rows.
class Collector : public ChangeSink {
 public:
  absl::Status OnBegin(const TransactionHeader&) override { return absl::OkStatus(); }
  void OnSubtransaction(uint64_t) override {}
  absl::Status OnChange(Change change) override {
    changes.push_back(std::move(change));
    return absl::OkStatus();
  }
  absl::Status OnDdl(DdlCommand) override { return absl::InternalError("no DDL here"); }
  absl::Status OnRewrite(const TableName&, Oid) override { return absl::OkStatus(); }
  absl::string_view KeepSplicedRow(std::string spliced) override {
    rows_.push_back(std::make_unique<std::string>(std::move(spliced)));
    return *rows_.back();
  }
  absl::Status OnCommit(const TransactionHeader&) override { return absl::OkStatus(); }
  absl::Status OnPreparedEnd(const TransactionHeader&, PreparedFate) override {
    return absl::InternalError("nothing is prepared here");
  }

  std::vector<Change> changes;

 private:
  std::vector<std::unique_ptr<std::string>> rows_;
};

// A decoded capture; changes point into frames and decoder.
struct Stream {
  Decoder decoder;
  std::vector<Frame> frames;
  Collector collector;
};

// A kind of key: how its column is declared, and texts of random values that the server reads.
struct KeyKind {
  const char* declaration;
  KeyType type;
  std::vector<std::string> (*edges)();
  std::string (*random_text)(std::mt19937_64& random);
};

template <typename Integer>
std::string RandomInteger(std::mt19937_64& random) {
  auto value = static_cast<Integer>(static_cast<int64_t>(random()) >> (random() % 64));
  return absl::StrCat(static_cast<int64_t>(value));
}

template <typename Integer>
std::vector<std::string> IntegerEdges() {
  return {absl::StrCat(std::numeric_limits<Integer>::min()),
          absl::StrCat(std::numeric_limits<Integer>::max()),
          "0",
          "1",
          "255",
          "256"};
}

std::string RandomUuid(std::mt19937_64& random) {
  uint64_t high = random() >> (random() % 2 * (random() % 64));
  return absl::StrFormat("%016x%016x", high, random());
}

std::string RandomDate(std::mt19937_64& random) {
  bool is_bc = random() % 4 == 0;
  int year_max = is_bc ? 4712 : std::array{9999, 2100, 100'000, 5'874'897}[random() % 4];
  return absl::StrFormat("%04d-%02d-%02d%s", 1 + random() % static_cast<uint64_t>(year_max),
                         1 + random() % 12, 1 + random() % 28, is_bc ? " BC" : "");
}

// `zone`: what the text says of it; the server turns it to UTC.
std::string RandomTimestamp(std::mt19937_64& random, const std::string& zone) {
  bool is_bc = random() % 4 == 0;
  int year_max = is_bc ? 4712 : std::array{9999, 2100, 294'275}[random() % 3];
  std::string fraction = absl::StrFormat(".%06d", random() % 1'000'000);
  fraction.resize(random() % 8);
  if (fraction.size() < 2) fraction.clear();
  return absl::StrFormat("%04d-%02d-%02d %02d:%02d:%02d%s%s%s",
                         1 + random() % static_cast<uint64_t>(year_max), 1 + random() % 12,
                         1 + random() % 28, random() % 24, random() % 60, random() % 60, fraction,
                         zone, is_bc ? " BC" : "");
}

// Few letters, so that many texts begin alike.
std::string RandomLetters(std::mt19937_64& random) {
  static const std::vector<std::string> kLetters = {"a",  "b",  "B",      "_",     "\x7f", " ",
                                                    "\t", "é",  "z",      "中",    "😀",    "~",
                                                    "'",  "\\", "\u00ad", "\ue000"};
  std::string text;
  for (uint64_t i = random() % 12; i > 0; --i) text += kLetters[random() % kLetters.size()];
  return text;
}

std::vector<std::string> TextEdges() { return {"", " ", "  ", "a", "a ", "a\t", "a\x01", "\x7f"}; }

std::string RandomBytes(std::mt19937_64& random) {
  std::string bytes(random() % 10, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random() % 4 * 85);
  return "\\x" + absl::BytesToHexString(bytes);
}

std::string RandomNumeric(std::mt19937_64& random) {
  std::string digits;
  for (uint64_t i = random() % 12; i > 0; --i) digits += absl::StrCat(random() % 10);
  std::string fraction;
  for (uint64_t i = random() % 12; i > 0; --i) fraction += absl::StrCat(random() % 10);
  int exponent = random() % 8 == 0 ? static_cast<int>(random() % 2000) - 1000 : 0;
  return absl::StrCat(random() % 2 == 0 ? "-" : "", "0", digits, ".", fraction, "e", exponent);
}

const KeyKind kKinds[] = {
    {"int2", KeyType::kInt2, IntegerEdges<int16_t>, RandomInteger<int16_t>},
    {"int4", KeyType::kInt4, IntegerEdges<int32_t>, RandomInteger<int32_t>},
    {"int8", KeyType::kInt8, IntegerEdges<int64_t>, RandomInteger<int64_t>},
    {"positive", KeyType::kInt8,
     [] {
       return std::vector<std::string>{"1", "9223372036854775807"};
     },
     [](std::mt19937_64& random) { return absl::StrCat(1 + (random() >> (1 + random() % 60))); }},
    {"oid", KeyType::kOid, IntegerEdges<uint32_t>, RandomInteger<uint32_t>},
    {"uuid", KeyType::kUuid,
     [] {
       return std::vector<std::string>{std::string(32, '0'), std::string(32, 'f'),
                                       "7" + std::string(31, 'f'), "8" + std::string(31, '0')};
     },
     RandomUuid},
    {"date", KeyType::kDate,
     [] {
       return std::vector<std::string>{"infinity",      "-infinity",     "4714-11-24 BC",
                                       "5874897-12-31", "0001-12-31 BC", "0001-01-01",
                                       "1999-12-31",    "2000-01-01",    "0001-02-29 BC"};
     },
     RandomDate},
    {"timestamp", KeyType::kTimestamp,
     [] {
       return std::vector<std::string>{"infinity",
                                       "-infinity",
                                       "4714-11-24 00:00:00 BC",
                                       "294276-12-31 23:59:59.999999",
                                       "1999-12-31 23:59:59.999999",
                                       "2000-01-01",
                                       "0001-12-31 23:59:59.999999 BC"};
     },
     [](std::mt19937_64& random) { return RandomTimestamp(random, ""); }},
    {"timestamptz", KeyType::kTimestamptz,
     [] {
       return std::vector<std::string>{"infinity", "-infinity", "4714-11-24 00:00:00+00 BC",
                                       "294276-12-31 23:59:59.999999+00", "2000-01-01 00:00:00+01"};
     },
     [](std::mt19937_64& random) {
       return RandomTimestamp(random, std::array{"+00", "-11:30", "+05:45"}[random() % 3]);
     }},
    {"text COLLATE \"C\"", KeyType::kText, TextEdges, RandomLetters},
    {"varchar(90) COLLATE \"POSIX\"", KeyType::kText, TextEdges, RandomLetters},
    {"plain", KeyType::kText, TextEdges, RandomLetters},  // a domain with its own collation
    {"char(12) COLLATE \"C\"", KeyType::kBpchar, TextEdges, RandomLetters},
    {"bytea", KeyType::kBytea,
     [] {
       return std::vector<std::string>{"\\x", "\\x00", "\\x0000", "\\xff", "\\x5c"};
     },
     RandomBytes},
    {"numeric", KeyType::kNumeric,
     [] {
       return std::vector<std::string>{"NaN",      "Infinity", "-Infinity", "0",      "0.000",
                                       "1",        "1.0000",   "-1",        "9999",   "10000",
                                       "1e131071", "1e-16383", "-1e131071", "1.0001", "-1e-16383"};
     },
     RandomNumeric},
    {"numeric(30,9)", KeyType::kNumeric,
     [] {
       return std::vector<std::string>{"NaN", "0"};
     },
     [](std::mt19937_64& random) {
       return absl::StrFormat("%d.%09d", static_cast<int64_t>(random()) >> (random() % 64),
                              random() % 1'000'000'000);
     }},
};

Connection::Purpose Purpose() {
  Connection::Purpose purpose;
  purpose.application_name = "towline test";
  return purpose;
}

class KeysServerTest : public testing::TestWithParam<std::string> {
 protected:
  KeysServerTest()
      : connection_(Need(Connection::Open(Need(ConnectOptions::Parse("source", GetParam()), "URI"),
                                          Purpose(), shutdown_),
                         "connect")) {
    seed_ = static_cast<uint64_t>(Setting("TOWLINE_TEST_SEED", 1));
    Sql("DROP SCHEMA IF EXISTS keys CASCADE; CREATE SCHEMA keys; "
        "CREATE DOMAIN keys.positive AS int8 CHECK (value > 0); "
        "CREATE DOMAIN keys.plain AS text COLLATE \"C\"");
    encoding_ = connection_.server_encoding();
  }

  ~KeysServerTest() override {
    Sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
        "WHERE slot_name = 'keys' AND database = current_database()");
  }

  void Sql(const std::string& sql) { Need(connection_.Exec(sql), sql); }
  Result Rows(const std::string& sql) { return Need(connection_.Query(sql), sql); }
  std::vector<std::string> Column(const std::string& sql, int column = 0) {
    Result rows = Rows(sql);
    std::vector<std::string> values;
    for (int row = 0; row < rows.row_count(); ++row) values.push_back(rows.GetString(row, column));
    return values;
  }

  // keys.t (v int, k ... PRIMARY KEY) with random keys; v tells the rows apart.
  void Fill(const KeyKind& kind) {
    SCOPED_TRACE(absl::StrCat(kind.declaration, ", TOWLINE_TEST_SEED=", seed_));
    std::string declaration(kind.declaration);
    if (declaration == "positive" || declaration == "plain") declaration = "keys." + declaration;
    Sql(absl::StrCat("DROP TABLE IF EXISTS keys.t; CREATE TABLE keys.t (v int, k ", declaration,
                     " PRIMARY KEY); ALTER TABLE keys.t ALTER k SET STORAGE ",
                     kind.type == KeyType::kText ? "extended" : "plain"));
    std::mt19937_64 random(seed_);
    ArrayLiteral values;
    for (const std::string& edge : kind.edges()) values.Add(edge);
    for (int i = 0; i < kValues; ++i) values.Add(kind.random_text(random));
    Need(connection_.Query(
             absl::StrCat("INSERT INTO keys.t SELECT number, value::", CastOf(declaration),
                          " FROM unnest($1::text[]) WITH ORDINALITY AS given(value, number) "
                          "ON CONFLICT DO NOTHING"),
             {{values.ToString()}}),
         "fill");
  }
  static std::string CastOf(const std::string& declaration) {
    return declaration.substr(0, declaration.find(" COLLATE"));
  }

  // What the plugin sends of the transactions since the last call.
  std::unique_ptr<Stream> Capture(const std::string& binary) {
    auto stream = std::make_unique<Stream>();
    for (const std::string& hex :
         Column(absl::StrCat("SELECT data FROM pg_logical_slot_peek_binary_changes('keys', NULL, "
                             "NULL, 'min_protocol', '1', 'max_protocol', '1', 'include_tables', "
                             "'keys.t', 'binary', '",
                             binary, "')"))) {
      stream->frames.push_back(MakeFrame(absl::HexStringToBytes(hex.substr(2))));
    }
    for (const Frame& frame : stream->frames) {
      absl::Status status = stream->decoder.Decode(frame, stream->collector);
      EXPECT_TRUE(status.ok()) << status;
    }
    return stream;
  }

  Table ReadTable(const std::string& name) {
    return Need(ReadTablesByName(connection_, {{"keys", name}}), name).front();
  }
  KeyChoice Choose(const std::string& name) {
    Table table = ReadTable(name);
    auto candidates = Need(ReadKeyCandidates(connection_, {table.oid}), "candidates");
    return ChooseKey(table, nullptr, candidates[table.oid], encoding_);
  }

  Shutdown shutdown_;
  Connection connection_;
  uint64_t seed_ = 1;
  std::string encoding_;
};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(KeysServerTest);
INSTANTIATE_TEST_SUITE_P(Server, KeysServerTest, testing::ValuesIn(Sources()));

// v of an image of (v, k), whose v is an int4 in binary or text.
int64_t RowOf(absl::string_view image, ValueFormat format) {
  RowReader reader(image);
  Field field = reader.Next();
  if (format == ValueFormat::kBinary) {
    return static_cast<int32_t>(absl::big_endian::Load32(field.bytes.data()));
  }
  int64_t value = 0;
  TOWLINE_CHECK(absl::SimpleAtoi(field.bytes, &value));
  return value;
}

TEST_P(KeysServerTest, WhatThePluginSendsOrdersAsTheServerSorts) {
  for (const KeyKind& kind : kKinds) {
    SCOPED_TRACE(absl::StrCat(kind.declaration, ", TOWLINE_TEST_SEED=", seed_));
    Fill(kind);
    KeyChoice choice = Choose("t");
    ASSERT_TRUE(choice.key.has_value()) << choice.reason;
    ASSERT_EQ(choice.key->type, kind.type);
    std::vector<std::string> sorted = Column("SELECT v FROM keys.t ORDER BY k");
    std::vector<std::string> texts = Column("SELECT k::text AS shown FROM keys.t ORDER BY k");
    ASSERT_GT(sorted.size(), 500u);

    // Inserts in the table's order, updates that leave the key, deletes: every image of a key.
    Sql("CREATE TABLE keys.copy AS TABLE keys.t; TRUNCATE keys.t");
    Sql("SELECT pg_create_logical_replication_slot('keys', 'towline')");
    Sql("INSERT INTO keys.t TABLE keys.copy; DROP TABLE keys.copy");
    Sql("UPDATE keys.t SET v = -v");
    Sql("ALTER TABLE keys.t REPLICA IDENTITY FULL; DELETE FROM keys.t WHERE v % 2 = 0; "
        "ALTER TABLE keys.t REPLICA IDENTITY DEFAULT; DELETE FROM keys.t");
    for (const char* binary : {"on", "basic", "off"}) {
      SCOPED_TRACE(absl::StrCat("binary ", binary));
      std::unique_ptr<Stream> stream = Capture(binary);
      std::vector<std::pair<KeyValue, std::string>> inserted;
      std::map<int64_t, KeyValue> keys;
      size_t updated = 0;
      size_t deleted = 0;
      for (const Change& change : stream->collector.changes) {
        KeyField field = Need(KeyField::Find(*change.relation, *choice.key), "field");
        ChangedKeys changed = Need(field.KeysOf(change), "keys");
        ValueFormat format = change.relation->columns[0].format;
        switch (change.kind) {
          case ChangeKind::kInsert: {
            int64_t row = RowOf(change.new_row, format);
            keys.emplace(row, *changed.after);
            inserted.emplace_back(*changed.after, absl::StrCat(row));
            break;
          }
          case ChangeKind::kUpdate:
            ++updated;
            ASSERT_EQ(changed.before, keys.at(-RowOf(change.new_row, format)));
            ASSERT_EQ(changed.after, changed.before);
            break;
          case ChangeKind::kDelete: {
            ++deleted;
            bool is_known = std::any_of(keys.begin(), keys.end(), [&](const auto& entry) {
              return entry.second == *changed.before;
            });
            ASSERT_TRUE(is_known);
            ASSERT_FALSE(changed.after.has_value());
            break;
          }
          case ChangeKind::kTruncate:
            FAIL() << "TRUNCATE was before the slot";
        }
      }
      ASSERT_EQ(inserted.size(), sorted.size());
      EXPECT_EQ(updated, sorted.size());
      EXPECT_EQ(deleted, sorted.size());
      std::sort(inserted.begin(), inserted.end());
      for (size_t i = 0; i < sorted.size(); ++i) {
        ASSERT_EQ(inserted[i].second, sorted[i]) << "place " << i << " of " << sorted.size();
        ASSERT_TRUE(i == 0 || inserted[i - 1].first < inserted[i].first) << "equal keys";
        ASSERT_EQ(inserted[i].first, Need(KeyFromText(kind.type, texts[i]), texts[i])) << texts[i];
      }
    }
    Sql("SELECT pg_drop_replication_slot('keys')");
  }
}

TEST_P(KeysServerTest, EveryRowIsFoundByTheConditionOfItsRangeAndByNoOther) {
  Sql("SET enable_seqscan = off");
  for (const KeyKind& kind : kKinds) {
    SCOPED_TRACE(absl::StrCat(kind.declaration, ", TOWLINE_TEST_SEED=", seed_));
    Fill(kind);
    Table table = ReadTable("t");
    ChunkKey key = *Choose("t").key;
    Result all = Rows("SELECT v, k::text FROM keys.t");
    for (int64_t wanted : {1, 2, 7, 100}) {
      std::vector<std::string> bounds =
          Need(ReadKeyBounds(connection_, table, key, wanted), "bounds");
      KeyRanges ranges = Need(KeyRanges::Make(key.type, RangesBetween(bounds)), "ranges");
      // A few numerics are too long for a bound.
      EXPECT_GE(static_cast<int64_t>(ranges.count()) * 2, wanted);
      EXPECT_LE(static_cast<int64_t>(ranges.count()), wanted);
      std::vector<std::set<std::string>> expected(ranges.count());
      for (int row = 0; row < all.row_count(); ++row) {
        KeyValue value = Need(KeyFromText(key.type, all.Get(row, 1)), "text");
        expected[ranges.Find(value)].insert(all.GetString(row, 0));
      }
      for (size_t i = 0; i < ranges.count(); ++i) {
        std::string condition = KeyCondition(key, ranges[i]);
        std::vector<std::string> found = Column(absl::StrCat(
            "SELECT v FROM ONLY keys.t", condition.empty() ? "" : " WHERE ", condition));
        ASSERT_EQ(std::set<std::string>(found.begin(), found.end()), expected[i]) << condition;
        ASSERT_EQ(found.size(), expected[i].size());
      }
      if (ranges.count() < 3) continue;
      // Both ends are conditions of the index, and the rule's is a filter behind it.
      CopyTarget target;
      target.columns = {"k"};
      target.where = "v % 2 = 0";
      CopyPart part;
      part.is_whole = false;
      part.key_condition = KeyCondition(key, ranges[1]);
      std::string copy = CopyOutSql(table, target, part);
      std::string select = copy.substr(6, copy.rfind(')') - 6);
      std::string plan = absl::StrJoin(Column("EXPLAIN " + select), "\n");
      EXPECT_THAT(plan, testing::ContainsRegex("Index Cond: \\(.*>=.* AND .*<.*\\)"));
      EXPECT_THAT(plan, testing::ContainsRegex("Filter: \\(\\(?v % 2\\)? = 0\\)"));
      EXPECT_THAT(plan, Not(HasSubstr("Seq Scan")));
    }
  }
}

TEST_P(KeysServerTest, TheCatalogSaysWhichKeyWillDo) {
  bool is_c = Rows(
                  "SELECT datcollate IN ('C', 'POSIX') FROM pg_database "
                  "WHERE datname = current_database()")
                  .GetBool(0, 0);
  bool has_icu =
      encoding_ == "UTF8" &&
      Rows("SELECT count(*) > 0 FROM pg_collation WHERE collname = 'de-x-icu'").GetBool(0, 0);
  // What becomes of a text that is sorted by its bytes.
  auto text = [this](const std::string& key) {
    return encoding_ == "UTF8" || encoding_ == "SQL_ASCII"
               ? key
               : absl::StrCat("its key \"id\" is a text in ", encoding_,
                              ", and the stream brings UTF-8");
  };
  auto reason = [this](const std::string& columns, const std::string& more = "") {
    Sql(absl::StrCat("DROP TABLE IF EXISTS keys.c; CREATE TABLE keys.c (", columns, "); ", more));
    KeyChoice choice = Choose("c");
    return choice.key.has_value()
               ? absl::StrCat(choice.key->column, " ", KeyTypeName(choice.key->type), " ",
                              choice.key->collation)
               : choice.reason;
  };
  EXPECT_EQ(reason("id int PRIMARY KEY"), "id int4 ");
  EXPECT_EQ(reason("a int, id bigint, PRIMARY KEY (id) INCLUDE (a)"), "id int8 ");
  EXPECT_EQ(reason("a int, b int, PRIMARY KEY (a, b)"), "its key has 2 columns");
  EXPECT_EQ(reason("a int, id text PRIMARY KEY"),
            is_c ? text("id text ") : "its key \"id\" is not sorted by its bytes (COLLATE \"C\")");
  EXPECT_EQ(reason("id text COLLATE \"C\" PRIMARY KEY"), text("id text pg_catalog.C"));
  EXPECT_EQ(reason("id varchar COLLATE \"POSIX\" PRIMARY KEY"), text("id text pg_catalog.POSIX"));
  EXPECT_EQ(reason("id keys.plain PRIMARY KEY"), text("id text "));
  if (has_icu) {
    EXPECT_EQ(reason("id text COLLATE \"de-x-icu\" PRIMARY KEY"),
              "its key \"id\" is not sorted by its bytes (COLLATE \"C\")");
  }
  EXPECT_EQ(reason("id text COLLATE \"C\" NOT NULL",
                   "CREATE UNIQUE INDEX c_i ON keys.c (id COLLATE \"POSIX\"); "
                   "ALTER TABLE keys.c REPLICA IDENTITY USING INDEX c_i"),
            text("the index \"c_i\" of its key has another order"));
  EXPECT_EQ(reason("id text COLLATE \"C\" NOT NULL",
                   "CREATE UNIQUE INDEX c_i ON keys.c (id text_pattern_ops); "
                   "ALTER TABLE keys.c REPLICA IDENTITY FULL"),
            text("the index \"c_i\" of its key has another order"));
  EXPECT_EQ(reason("id varchar COLLATE \"C\" NOT NULL",
                   "CREATE UNIQUE INDEX c_i ON keys.c (id varchar_ops DESC); "
                   "ALTER TABLE keys.c REPLICA IDENTITY FULL"),
            text("id text pg_catalog.C"));
  EXPECT_EQ(reason("id int UNIQUE", "ALTER TABLE keys.c REPLICA IDENTITY FULL"),
            "its key \"id\" may be NULL");
  EXPECT_EQ(reason("id int NOT NULL UNIQUE"), "it has no primary key");
  EXPECT_EQ(reason("id int NOT NULL",
                   "CREATE UNIQUE INDEX ON keys.c (id) WHERE id > 0; "
                   "ALTER TABLE keys.c REPLICA IDENTITY FULL"),
            "its key \"id\" has no full index");
  EXPECT_EQ(reason("id int NOT NULL",
                   "CREATE UNIQUE INDEX ON keys.c ((id + 1)); "
                   "ALTER TABLE keys.c REPLICA IDENTITY FULL"),
            "its key is an expression");
  EXPECT_EQ(reason("id int PRIMARY KEY DEFERRABLE"), "its primary key is deferrable");
  EXPECT_EQ(reason("id int PRIMARY KEY", "ALTER TABLE keys.c REPLICA IDENTITY NOTHING"),
            "its replica identity is NOTHING");
  EXPECT_EQ(reason("a int, id int GENERATED ALWAYS AS (a * 2) STORED PRIMARY KEY"),
            "its key \"id\" is generated, so it is not sent");
  EXPECT_EQ(reason("id float8 PRIMARY KEY"),
            "its key \"id\" is of type double precision, whose order is not known here");

  EXPECT_FALSE(Choose("c").correlation.has_value());
  Sql("DROP TABLE keys.c; CREATE TABLE keys.c (id int PRIMARY KEY); "
      "INSERT INTO keys.c SELECT 1000 - i FROM generate_series(1, 1000) i; ANALYZE keys.c");
  EXPECT_EQ(Choose("c").correlation, -1.0);
}

TEST_P(KeysServerTest, WithoutRowsThereAreNoBounds) {
  Sql("CREATE TABLE keys.empty (id int PRIMARY KEY)");
  EXPECT_TRUE(
      Need(ReadKeyBounds(connection_, ReadTable("empty"), *Choose("empty").key, 10), "bounds")
          .empty());
}

// Gaps of all sizes, a part with most of its rows deleted, new rows since the statistics.
// TOWLINE_TEST_ROWS=2000000 for figures.
TEST_P(KeysServerTest, RangesAreAboutEven) {
  int64_t rows = Setting("TOWLINE_TEST_ROWS", 100'000);
  auto count = [rows](int64_t share) { return rows * share / 20; };
  Sql(absl::StrCat(
      "SELECT setseed(0.5); CREATE TABLE keys.gaps AS SELECT k, repeat('x', 90) AS v FROM ("
      "SELECT i::bigint AS k FROM generate_series(1, ",
      count(10),
      ") i UNION ALL "
      "SELECT 1000000000 + i * 1000::bigint FROM generate_series(1, ",
      count(5),
      ") i UNION "
      "SELECT (2000000000 + exp(random() * 30) * 1e4)::bigint FROM generate_series(1, ",
      count(3), ") i UNION ALL SELECT 9000000000000000000 + i FROM generate_series(1, ", count(2),
      ") i) keys ORDER BY k; DELETE FROM keys.gaps WHERE k BETWEEN ", count(2), " AND ", count(5),
      " AND k % 10 <> 0; ANALYZE keys.gaps; INSERT INTO keys.gaps SELECT 9000000000001000000 + i, "
      "'new' FROM generate_series(1, ",
      count(3), ") i; ALTER TABLE keys.gaps ADD PRIMARY KEY (k)"));
  Table table = ReadTable("gaps");
  for (int64_t wanted : {8, 64, 500}) {
    absl::Time start = absl::Now();
    std::vector<std::string> bounds =
        Need(ReadKeyBounds(connection_, table, *Choose("gaps").key, wanted), "bounds");
    absl::Duration time = absl::Now() - start;
    std::vector<std::string> counts =
        Column(absl::StrCat("SELECT count(*) FROM keys.gaps GROUP BY pg_catalog.width_bucket(k, '{",
                            absl::StrJoin(bounds, ","), "}'::bigint[]) ORDER BY 1"));
    int64_t sum = 0;
    std::vector<int64_t> sizes;
    for (const std::string& text : counts) {
      sizes.push_back(std::stoll(text));
      sum += sizes.back();
    }
    double mean = static_cast<double>(sum) / static_cast<double>(wanted);
    std::cout << absl::StrFormat(
        "%d rows: %d ranges wanted, %d made; smallest %.2f, largest %.2f of the mean; %s\n", sum,
        wanted, bounds.size() + 1, static_cast<double>(sizes.front()) / mean,
        static_cast<double>(sizes.back()) / mean, absl::FormatDuration(time));
    EXPECT_EQ(static_cast<int64_t>(bounds.size() + 1), wanted);
    EXPECT_EQ(sizes.size(), bounds.size() + 1);  // none is empty
    EXPECT_LT(static_cast<double>(sizes.back()) / mean, 3.0);
  }
}

}  // namespace
}  // namespace towline
