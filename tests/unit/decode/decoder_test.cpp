// Decoder: every entry kind, values in parts, and that whatever cannot be understood is an error.
#include "decode/decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <random>

#include "decode/frame_builder.h"

namespace towline {
namespace {

using ::testing::HasSubstr;

class RecordingSink final : public ChangeSink {
 public:
  absl::Status OnBegin(const TransactionHeader& header) override {
    begun.push_back(header);
    return absl::OkStatus();
  }
  void OnSubtransaction(uint64_t) override {}
  absl::Status OnChange(Change change) override {
    changes.push_back(std::move(change));
    return absl::OkStatus();
  }
  absl::Status OnDdl(DdlCommand command) override {
    commands.push_back(std::move(command));
    return absl::OkStatus();
  }
  absl::Status OnRewrite(const TableName& table, Oid source_oid) override {
    rewritten.emplace_back(table, source_oid);
    return absl::OkStatus();
  }
  absl::string_view KeepSplicedRow(std::string row) override {
    spliced.push_back(std::move(row));
    return spliced.back();
  }
  absl::Status OnCommit(const TransactionHeader& header) override {
    committed.push_back(header);
    return absl::OkStatus();
  }
  absl::Status OnPreparedEnd(const TransactionHeader& header, PreparedFate fate) override {
    ended.emplace_back(header, fate);
    return absl::OkStatus();
  }

  std::vector<TransactionHeader> begun;
  std::vector<Change> changes;
  std::vector<DdlCommand> commands;
  std::vector<std::pair<TableName, Oid>> rewritten;
  std::deque<std::string> spliced;
  std::vector<TransactionHeader> committed;
  std::vector<std::pair<TransactionHeader, PreparedFate>> ended;
};

class DecoderTest : public testing::Test {
 protected:
  absl::Status Decode(const FrameBuilder& builder) {
    frames_.push_back(builder.Build());
    return decoder_.Decode(frames_.back(), sink_);
  }
  // Hello, relation 1 (two columns, the first the key) and the begin of transaction 700.
  void Start() {
    ASSERT_TRUE(
        Decode(FrameBuilder().Hello().Describe(TextRelation(1, "t", 2, 1)).Begin(700, 1000)).ok());
  }
  // Expects that the entries are refused as the loss of data.
  void ExpectRefused(const FrameBuilder& builder, const std::string& text) {
    absl::Status status = Decode(builder);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(text));
  }

  std::deque<Frame> frames_;
  RecordingSink sink_;
  Decoder decoder_;
};

TEST_F(DecoderTest, TransactionComesWithItsChangesInOrder) {
  Start();
  ASSERT_TRUE(Decode(FrameBuilder()
                         .Insert(1, TextImage({"a", "b"}))
                         .Update(1, TextImage({"a", "c"}))
                         .Update(1, TextImage({"x", "c"}), v1::KEY, TextImage({"a"}))
                         .Delete(1, v1::KEY, TextImage({"x"}))
                         .Commit(700, 1000, 4))
                  .ok());
  ASSERT_EQ(sink_.changes.size(), 4u);
  EXPECT_EQ(sink_.changes[0].kind, ChangeKind::kInsert);
  EXPECT_EQ(sink_.changes[0].new_row, TextImage({"a", "b"}));
  EXPECT_EQ(sink_.changes[0].relation->name.name, "t");
  EXPECT_EQ(sink_.changes[1].kind, ChangeKind::kUpdate);
  EXPECT_EQ(sink_.changes[1].old_image, OldImage::kNone);
  EXPECT_EQ(sink_.changes[2].old_image, OldImage::kKey);
  EXPECT_EQ(sink_.changes[2].old_row, TextImage({"a"}));
  EXPECT_EQ(sink_.changes[3].kind, ChangeKind::kDelete);
  ASSERT_EQ(sink_.committed.size(), 1u);
  EXPECT_EQ(sink_.committed[0].xid, 700u);
  EXPECT_EQ(sink_.committed[0].end_lsn.value, 1050u);
}

TEST_F(DecoderTest, RowsAreNotCopied) {
  Start();
  ASSERT_TRUE(Decode(FrameBuilder().Insert(1, TextImage({"a", "b"}))).ok());
  const Frame& frame = frames_.back();
  const char* row = sink_.changes[0].new_row.data();
  EXPECT_GE(row, frame.bytes.data());
  EXPECT_LT(row, frame.bytes.data() + frame.bytes.size());
}

TEST_F(DecoderTest, UnchangedToastIsSeen) {
  Start();
  ASSERT_TRUE(Decode(FrameBuilder().Update(1, Image({Value("a"), kUnchanged}))).ok());
  EXPECT_TRUE(sink_.changes[0].has_unchanged_toast);
}

TEST_F(DecoderTest, RelationKeepsWhatItsDescriptionSays) {
  v1::Relation message = TextRelation(3, "shapes", 3, 1);
  message.set_replica_identity(v1::Relation::INDEX);
  message.set_kind("p");
  message.mutable_columns(1)->set_sent(false);
  message.mutable_columns(1)->set_generated("s");
  message.mutable_columns(2)->set_format(v1::Column::TEXT);
  message.mutable_columns(2)->set_identity("a");
  message.mutable_columns(2)->set_typmod(-1);
  ASSERT_TRUE(Decode(FrameBuilder().Hello().Describe(message).Begin(700, 1000)).ok());
  ASSERT_TRUE(Decode(FrameBuilder().Insert(3, TextImage({"a", "b"}))).ok());
  const Relation& relation = *sink_.changes[0].relation;
  EXPECT_EQ(relation.replica_identity, ReplicaIdentity::kIndex);
  EXPECT_EQ(relation.kind, 'p');
  EXPECT_EQ(relation.sent, (std::vector<int>{0, 2}));
  EXPECT_EQ(relation.key, (std::vector<int>{0}));
  EXPECT_EQ(relation.columns[1].generated, 's');
  EXPECT_EQ(relation.columns[2].identity, 'a');
  EXPECT_EQ(relation.columns[2].format, ValueFormat::kText);
}

TEST_F(DecoderTest, ColumnsThatARuleAddsComeLastWithoutNumbers) {
  v1::Relation message = TextRelation(3, "masked", 4, 1);
  message.mutable_columns(1)->set_attnum(5);  // others are left out
  message.mutable_columns(2)->set_attnum(0);
  message.mutable_columns(3)->set_attnum(0);
  ASSERT_TRUE(Decode(FrameBuilder().Hello().Describe(message).Begin(700, 1000)).ok());
  ASSERT_TRUE(Decode(FrameBuilder().Insert(3, TextImage({"a", "b", "c", "d"}))).ok());
  EXPECT_EQ(sink_.changes[0].relation->columns[3].attnum, 0);
  message.set_number(4);
  message.mutable_columns(3)->set_attnum(6);
  ExpectRefused(FrameBuilder().Describe(message), "not in order");
}

TEST_F(DecoderTest, TruncateNamesAllItsTables) {
  Start();
  ASSERT_TRUE(Decode(FrameBuilder()
                         .Describe(TextRelation(2, "u", 1, 1))
                         .Truncate({1, 2}, true)
                         .Commit(700, 1000, 1))
                  .ok());
  ASSERT_EQ(sink_.changes.size(), 1u);
  EXPECT_EQ(sink_.changes[0].kind, ChangeKind::kTruncate);
  ASSERT_EQ(sink_.changes[0].truncated->size(), 2u);
  EXPECT_EQ((*sink_.changes[0].truncated)[1]->name.name, "u");
  EXPECT_TRUE(sink_.changes[0].truncate_restarts_identity);
}

TEST_F(DecoderTest, ValuesInPartsAreSplicedIntoTheirRows) {
  Start();
  std::string large(100'000, 'x');
  std::string old_row;
  AppendFieldCount(2, &old_row);
  AppendInPartsMark(&old_row);
  AppendField(Value("old"), &old_row);
  std::string new_row;
  AppendFieldCount(2, &new_row);
  AppendField(Value("key"), &new_row);
  AppendInPartsMark(&new_row);
  ASSERT_TRUE(Decode(FrameBuilder().Part(5, "fir", false).Part(0, "st", true)).ok());
  ASSERT_TRUE(Decode(FrameBuilder().Part(100'000, large.substr(0, 60'000), false)).ok());
  ASSERT_TRUE(Decode(FrameBuilder().Part(0, large.substr(60'000), true)).ok());
  ASSERT_TRUE(Decode(FrameBuilder().Update(1, new_row, v1::FULL, old_row)).ok());
  EXPECT_EQ(sink_.changes[0].old_row, TextImage({"first", "old"}));
  EXPECT_EQ(sink_.changes[0].new_row, TextImage({"key", large}));
}

TEST_F(DecoderTest, LogicalMessagesAreCountedAndNeverActedOn) {
  Start();
  FrameBuilder builder;
  v1::Message* message = builder.Part(3, "abc", true).Add()->mutable_message();
  message->set_prefix("towline.ddl");
  message->set_content_in_parts(true);
  builder.Add()->mutable_message()->set_transactional(true);
  ASSERT_TRUE(Decode(builder.Commit(700, 1000, 0)).ok());
  EXPECT_EQ(decoder_.message_count(), 2);
  EXPECT_TRUE(sink_.changes.empty());
}

TEST_F(DecoderTest, GreetingComesFirstAndOnce) {
  ExpectRefused(FrameBuilder().Begin(700, 1000), "greeting");
  EXPECT_EQ(decoder_.protocol_version(), 0u);
  ASSERT_TRUE(Decode(FrameBuilder().Hello()).ok());
  EXPECT_EQ(decoder_.protocol_version(), 1u);
  ExpectRefused(FrameBuilder().Hello(), "second greeting");
}

TEST_F(DecoderTest, OtherProtocolIsRefusedWithAHint) {
  EXPECT_EQ(Decode(FrameBuilder().Hello(6)).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(DecoderTest, TextsComeInUtf8WhateverTheSourcesEncoding) {
  EXPECT_TRUE(Decode(FrameBuilder().Hello(1, "LATIN1")).ok());
}

TEST_F(DecoderTest, CommitMustTellOfAsManyChangesAsCame) {
  Start();
  ExpectRefused(FrameBuilder().Insert(1, TextImage({"a", "b"})).Commit(700, 1000, 2),
                "has 2 changes, and 1 arrived");
}

TEST_F(DecoderTest, CommitMustBeOfTheOpenTransaction) {
  Start();
  ExpectRefused(FrameBuilder().Commit(701, 1000, 0), "ends as transaction 701");
}

TEST_F(DecoderTest, TransactionsComeInCommitOrder) {
  Start();
  ASSERT_TRUE(Decode(FrameBuilder().Commit(700, 1000, 0)).ok());
  ExpectRefused(FrameBuilder().Begin(701, 1040), "out of commit order");
}

TEST_F(DecoderTest, FrameHoldsOneTransaction) {
  Start();
  ASSERT_TRUE(Decode(FrameBuilder().Commit(700, 1000, 0)).ok());
  ExpectRefused(FrameBuilder().Begin(701, 1100).Commit(701, 1100, 0).Begin(702, 1200),
                "two transactions in one frame");
}

TEST_F(DecoderTest, FrameThatEndsATransactionHoldsNoOther) {
  Start();
  ExpectRefused(FrameBuilder().Commit(700, 1000, 0).Begin(701, 1100),
                "two transactions in one frame");
}

TEST_F(DecoderTest, ChangesOutsideATransactionAreRefused) {
  ASSERT_TRUE(Decode(FrameBuilder().Hello().Describe(TextRelation(1, "t", 2, 1))).ok());
  ExpectRefused(FrameBuilder().Insert(1, TextImage({"a", "b"})), "outside a transaction");
  ExpectRefused(FrameBuilder().Truncate({1}), "outside a transaction");
  ExpectRefused(FrameBuilder().Commit(700, 1000, 0), "outside a transaction");
}

TEST_F(DecoderTest, UndescribedRelationIsRefused) {
  Start();
  ExpectRefused(FrameBuilder().Insert(9, TextImage({"a", "b"})), "relation 9");
}

TEST_F(DecoderTest, NumbersOfRelationsAreNotReused) {
  Start();
  ExpectRefused(FrameBuilder().Describe(TextRelation(1, "t", 2, 1)), "described twice");
}

TEST_F(DecoderTest, ImagesMustFitTheirRelation) {
  Start();
  ExpectRefused(FrameBuilder().Insert(1, TextImage({"a"})), "1 fields");
  ExpectRefused(FrameBuilder().Insert(1, TextImage({"a", "b"}) + "x"), "too many");
  ExpectRefused(FrameBuilder().Update(1, TextImage({"a", "b"}), v1::KEY, TextImage({"a", "b"})),
                "2 fields");
  ExpectRefused(FrameBuilder().Delete(1, v1::KEY, Image({kUnchanged})), "without all its values");
  ExpectRefused(FrameBuilder().Insert(1, Image({Value("a"), kUnchanged})),
                "without all its values");
}

TEST_F(DecoderTest, OldRowAndItsKindBelongTogether) {
  Start();
  ExpectRefused(FrameBuilder().Update(1, TextImage({"a", "b"}), v1::NONE, TextImage({"a"})),
                "of no kind");
  ExpectRefused(FrameBuilder().Delete(1, v1::FULL, ""), "missing");
  FrameBuilder unknown;
  v1::Delete* deletion = unknown.Add()->mutable_delete_();
  deletion->set_relation(1);
  deletion->set_old_image(static_cast<v1::OldImage>(7));
  deletion->set_old_row(TextImage({"a"}));
  ExpectRefused(unknown, "unknown kind 7");
}

TEST_F(DecoderTest, DeleteWithoutOldRowIsPassedOnForTheApplierToRefuse) {
  Start();
  ASSERT_TRUE(Decode(FrameBuilder().Delete(1, v1::NONE, "")).ok());
  EXPECT_EQ(sink_.changes[0].old_image, OldImage::kNone);
}

TEST_F(DecoderTest, PartsMustMakeUpTheirValue) {
  Start();
  ExpectRefused(FrameBuilder().Part(3, "abcd", true), "beyond the 3 bytes");
}

TEST_F(DecoderTest, PartsEndWithAllOfTheValue) {
  Start();
  ExpectRefused(FrameBuilder().Part(5, "abcd", true), "ends after 4 bytes of 5");
}

TEST_F(DecoderTest, LargestValueIsBounded) {
  Start();
  ExpectRefused(FrameBuilder().Part(uint64_t{1} << 30, "abcd", false), "announced");
}

TEST_F(DecoderTest, ValuesMustFindTheirRow) {
  Start();
  ExpectRefused(FrameBuilder().Part(1, "a", true).Insert(1, TextImage({"a", "b"})),
                "belongs to no row");
}

TEST_F(DecoderTest, RowNeedsItsValues) {
  Start();
  std::string row;
  AppendFieldCount(2, &row);
  AppendInPartsMark(&row);
  AppendInPartsMark(&row);
  ExpectRefused(FrameBuilder().Part(1, "a", true).Insert(1, row), "field 2 was not sent");
}

TEST_F(DecoderTest, CommitNeedsAllValuesUsed) {
  Start();
  ExpectRefused(FrameBuilder().Part(1, "a", true).Commit(700, 1000, 0), "belongs to no row");
}

TEST_F(DecoderTest, KindsThatWereNotAskedForAreRefused) {
  Start();
  FrameBuilder stream;
  stream.Add()->mutable_stream_start()->set_xid(1);
  ExpectRefused(stream, "in progress");
  FrameBuilder subtransaction;
  subtransaction.Add()->mutable_subtransaction()->set_xid(1);
  ExpectRefused(subtransaction, "in progress");
  v1::Relation rewrite = TextRelation(5, "pg_temp_1", 1, 0);
  rewrite.set_rewrite_of(16384);
  ExpectRefused(FrameBuilder().Describe(rewrite), "rewrite");
  FrameBuilder ddl;
  ddl.Add()->mutable_ddl()->set_tag("DROP TABLE");
  ExpectRefused(ddl, "not asked for");
}

TEST_F(DecoderTest, ARewriteNamesItsTableAndIsNoChange) {
  FrameBuilder builder;
  builder.Hello(4).Begin(700, 1000);
  v1::Rewrite* rewrite = builder.Add()->mutable_rewrite();
  rewrite->set_oid(16384);
  rewrite->set_schema("s");
  rewrite->set_name("t");
  builder.Commit(700, 1000, 0);
  ASSERT_TRUE(Decode(builder).ok());
  ASSERT_EQ(sink_.rewritten.size(), 1u);
  EXPECT_EQ(sink_.rewritten[0].first, (TableName{"s", "t"}));
  EXPECT_EQ(sink_.rewritten[0].second, 16384u);
  EXPECT_EQ(sink_.committed.size(), 1u);
}

TEST_F(DecoderTest, ARewriteOfNoTableIsRefused) {
  Start();
  FrameBuilder builder;
  builder.Add()->mutable_rewrite()->set_oid(16384);
  ExpectRefused(builder, "without its table");
}

TEST_F(DecoderTest, DescriptionsAreCounted) {
  Start();
  const size_t first = decoder_.description_bytes();
  EXPECT_GE(first, 2 * sizeof(Column));
  ASSERT_TRUE(Decode(FrameBuilder().Describe(TextRelation(2, "other", 40, 1))).ok());
  EXPECT_GE(decoder_.description_bytes(), first + 40 * sizeof(Column));
  EXPECT_LT(decoder_.description_bytes(), first + 80 * sizeof(Column));
  // What comes of them takes nothing that stays.
  const size_t both = decoder_.description_bytes();
  FrameBuilder rows;
  rows.Insert(1, TextImage({"a", "b"}));
  ASSERT_TRUE(Decode(rows).ok());
  EXPECT_EQ(decoder_.description_bytes(), both);
}

TEST(DecoderDdlTest, CommandsComeAtTheirPlaceWithAllThatIsKnownOfThem) {
  RecordingSink sink;
  Decoder decoder(Decoder::Options{.takes_ddl = true});
  v1::Relation rewritten = TextRelation(2, "t", 2, 1);
  rewritten.set_rewrite_of(16384);
  FrameBuilder builder;
  builder.Hello(3).Describe(TextRelation(1, "t", 2, 1)).Describe(rewritten).Begin(700, 1000);
  builder.Insert(1, TextImage({"a", "b"}));
  v1::Ddl* ddl = builder.Add()->mutable_ddl();
  ddl->set_number(5);
  ddl->set_phase(v1::Ddl::REWRITE);
  ddl->set_tag("ALTER TABLE");
  ddl->set_statement("ALTER TABLE t ALTER c TYPE text");
  ddl->set_search_path("s, public");
  ddl->set_role("owner");
  ddl->set_named_schema("s");
  ddl->set_tells_references(true);
  ddl->add_references("pg_type s.mood");
  ddl->add_actions("ALTER COLUMN TYPE");
  v1::Ddl::Object* object = ddl->add_objects();
  object->set_oid(16384);
  object->set_type("table");
  object->set_identity("s.t");
  object->set_table_schema("s");
  object->set_table_name("t");
  v1::Ddl::Setting* setting = ddl->add_settings();
  setting->set_name("DateStyle");
  setting->set_value("ISO");
  builder.Insert(2, TextImage({"a", "b"})).Commit(700, 1000, 2);
  Frame frame = builder.Build();
  ASSERT_TRUE(decoder.Decode(frame, sink).ok());
  ASSERT_EQ(sink.changes.size(), 2u);
  EXPECT_EQ(sink.changes[0].relation->rewrite_of, 0u);
  EXPECT_EQ(sink.changes[1].relation->rewrite_of, 16384u);
  ASSERT_EQ(sink.commands.size(), 1u);
  const DdlCommand& command = sink.commands[0];
  EXPECT_EQ(command.phase, DdlPhase::kRewrite);
  EXPECT_EQ(command.number, 5u);
  EXPECT_EQ(command.statement, "ALTER TABLE t ALTER c TYPE text");
  EXPECT_EQ(command.search_path, "s, public");
  EXPECT_EQ(command.named_schema, "s");
  EXPECT_EQ(command.references, std::set<std::string>{"pg_type s.mood"});
  ASSERT_EQ(command.objects.size(), 1u);
  EXPECT_EQ(command.objects[0].table, (TableName{"s", "t"}));
  EXPECT_EQ(command.actions, std::vector<std::string>{"ALTER COLUMN TYPE"});
  EXPECT_EQ(command.settings.size(), 1u);
}

TEST(DecoderDdlTest, ACommandWithoutTextMustSayWhy) {
  RecordingSink sink;
  for (const char* gap : {"", "no memory"}) {
    Decoder decoder(Decoder::Options{.takes_ddl = true});
    FrameBuilder builder;
    builder.Hello(3).Begin(700, 1000);
    v1::Ddl* ddl = builder.Add()->mutable_ddl();
    ddl->set_phase(v1::Ddl::END);
    ddl->set_tag("CREATE TABLE");
    ddl->set_gap(gap);
    Frame frame = builder.Build();
    EXPECT_EQ(decoder.Decode(frame, sink).ok(), *gap != '\0');
  }
}

TEST_F(DecoderTest, PreparedTransactionCarriesItsName) {
  ASSERT_TRUE(Decode(FrameBuilder()
                         .Hello(2)
                         .Describe(TextRelation(1, "t", 2, 1))
                         .BeginPrepare(700, 1000, "it's")
                         .Insert(1, TextImage({"a", "b"})))
                  .ok());
  ASSERT_EQ(sink_.begun.size(), 1u);
  EXPECT_EQ(sink_.begun[0].gid, "it's");
  EXPECT_EQ(sink_.begun[0].xid, 700u);
  EXPECT_EQ(sink_.begun[0].commit_lsn.value, 1000u);
  EXPECT_EQ(sink_.begun[0].end_lsn.value, 1050u);
  ASSERT_TRUE(Decode(FrameBuilder().Prepare(700, 1000, 1)).ok());
  ASSERT_EQ(sink_.committed.size(), 1u);
  EXPECT_EQ(sink_.committed[0].gid, "it's");
  EXPECT_TRUE(sink_.ended.empty());

  ASSERT_TRUE(Decode(FrameBuilder().Begin(701, 1100).Commit(701, 1100, 0)).ok());
  EXPECT_EQ(sink_.committed[1].gid, "");
  ASSERT_TRUE(Decode(FrameBuilder().CommitPrepared(700, 1200, "it's")).ok());
  ASSERT_TRUE(Decode(FrameBuilder().RollbackPrepared(650, 500, 1300, "other")).ok());
  ASSERT_EQ(sink_.ended.size(), 2u);
  EXPECT_EQ(sink_.ended[0].first.xid, 700u);
  EXPECT_EQ(sink_.ended[0].first.gid, "it's");
  EXPECT_EQ(sink_.ended[0].first.end_lsn.value, 1250u);
  EXPECT_EQ(sink_.ended[0].second, PreparedFate::kCommitted);
  EXPECT_EQ(sink_.ended[1].first.end_lsn.value, 1350u);
  EXPECT_EQ(sink_.ended[1].second, PreparedFate::kRolledBack);
}

TEST_F(DecoderTest, PreparedTransactionMayComeLongAfterItsPrepare) {
  Start();
  ASSERT_TRUE(Decode(FrameBuilder().Commit(700, 1000, 0)).ok());
  ASSERT_TRUE(Decode(FrameBuilder().BeginPrepare(600, 300, "late").Prepare(600, 300, 0)).ok());
  ASSERT_TRUE(Decode(FrameBuilder().CommitPrepared(600, 1100, "late")).ok());
  ExpectRefused(FrameBuilder().Begin(701, 900), "out of commit order");
}

TEST_F(DecoderTest, BeginAndEndMustBeOfOneKind) {
  Start();
  ExpectRefused(FrameBuilder().Prepare(700, 1000, 0), "not announced");
  Decoder other;
  RecordingSink sink;
  Frame begin = FrameBuilder().Hello(2).BeginPrepare(7, 100, "g").Build();
  ASSERT_TRUE(other.Decode(begin, sink).ok());
  Frame commit = FrameBuilder().Commit(7, 100, 0).Build();
  EXPECT_EQ(other.Decode(commit, sink).code(), absl::StatusCode::kDataLoss);
}

TEST_F(DecoderTest, PreparedTransactionNeedsItsNameAndItsCount) {
  ASSERT_TRUE(Decode(FrameBuilder().Hello(2)).ok());
  ExpectRefused(FrameBuilder().BeginPrepare(700, 1000, ""), "without its name");
  ExpectRefused(FrameBuilder().CommitPrepared(700, 1000, ""), "name");
  ExpectRefused(FrameBuilder().CommitPrepared(0, 1000, "g"), "xid");
  ASSERT_TRUE(Decode(FrameBuilder().BeginPrepare(700, 1000, "g")).ok());
  ExpectRefused(FrameBuilder().Prepare(700, 1000, 3), "0 arrived");
}

TEST_F(DecoderTest, RolledBackWhileItWasSentItMayEndWithinARow) {
  ASSERT_TRUE(
      Decode(FrameBuilder().Hello(2).BeginPrepare(700, 1000, "g").Part(9, "abc", false)).ok());
  ASSERT_TRUE(Decode(FrameBuilder().Prepare(700, 1000, 0)).ok());
  ASSERT_TRUE(Decode(FrameBuilder().RollbackPrepared(700, 1000, 1100, "g")).ok());
  ASSERT_TRUE(Decode(FrameBuilder().BeginPrepare(701, 1200, "g").Part(9, "abc", false)).ok());
  ASSERT_TRUE(Decode(FrameBuilder().Prepare(701, 1200, 0)).ok());
  ExpectRefused(FrameBuilder().CommitPrepared(701, 1300, "g"), "belongs to no row");
}

TEST_F(DecoderTest, EndOfPreparedTransactionStandsAlone) {
  Start();
  ExpectRefused(FrameBuilder().CommitPrepared(600, 1100, "g"), "within another");
  ASSERT_TRUE(Decode(FrameBuilder().Commit(700, 1000, 0)).ok());
  ExpectRefused(FrameBuilder().CommitPrepared(600, 990, "g"), "out of commit order");
  ExpectRefused(FrameBuilder().CommitPrepared(600, 1100, "g").Begin(701, 1200), "two transactions");
}

TEST_F(DecoderTest, UnknownKindIsRefused) {
  Start();
  // Entry { field 30: empty message }
  frames_.push_back(MakeFrame(absl::string_view("\x0a\x03\xf2\x01\x00", 5)));
  EXPECT_EQ(decoder_.Decode(frames_.back(), sink_).code(), absl::StatusCode::kDataLoss);
}

TEST_F(DecoderTest, UnknownFieldsAreSurvived) {
  Start();
  std::string bytes = FrameBuilder().Insert(1, TextImage({"a", "b"})).Bytes();
  // A field 15 (varint 1) at the end of the Insert, whose length and whose entry's length grow
  // by 2.
  bytes += std::string("\x78\x01", 2);
  bytes[1] = static_cast<char>(bytes[1] + 2);
  bytes[3] = static_cast<char>(bytes[3] + 2);
  frames_.push_back(MakeFrame(bytes));
  EXPECT_TRUE(decoder_.Decode(frames_.back(), sink_).ok());
  ASSERT_EQ(sink_.changes.size(), 1u);
  EXPECT_EQ(sink_.changes[0].new_row, TextImage({"a", "b"}));
}

// Whatever bytes come: an error or changes, but nothing read beyond the frame (asan tells).
TEST_F(DecoderTest, DamagedFramesDoNoHarm) {
  std::string whole = FrameBuilder()
                          .Hello()
                          .Describe(TextRelation(1, "t", 2, 1))
                          .Begin(700, 1000)
                          .Insert(1, TextImage({"a", "b"}))
                          .Part(2, "ab", true)
                          .Update(1, TextImage({"a", "c"}), v1::KEY, TextImage({"b"}))
                          .Delete(1, v1::KEY, TextImage({"x"}))
                          .Truncate({1})
                          .Commit(700, 1000, 4)
                          .Bytes();
  google::protobuf::SetLogHandler(nullptr);  // it tells of every invalid UTF-8 text
  constexpr unsigned kSeed = 20261;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = whole;
    int flips = 1 + static_cast<int>(random() % 3);
    for (int i = 0; i < flips; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    if (random() % 4 == 0) bytes.resize(random() % bytes.size());
    // Exactly as long as its bytes, so that reading on is seen.
    Frame frame;
    frame.buffer.reset(static_cast<char*>(std::malloc(std::max<size_t>(bytes.size(), 1))));
    std::memcpy(frame.buffer.get(), bytes.data(), bytes.size());
    frame.bytes = {frame.buffer.get(), bytes.size()};
    Decoder decoder;
    RecordingSink sink;
    decoder.Decode(frame, sink).IgnoreError();
  }
}

}  // namespace
}  // namespace towline
