// Frames and row images for tests, put together with the generated classes: what the plugin writes
// by hand and the decoder reads by hand is made here by neither.
#pragma once

#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/internal/endian.h"
#include "model/frame.h"
#include "model/row_image.h"
#include "towline/v1/wire.pb.h"

namespace towline {

inline const Field kUnchanged{FieldKind::kUnchangedToast, {}};
inline const Field kNull{FieldKind::kNull, {}};
inline Field Value(absl::string_view bytes) { return {FieldKind::kValue, bytes}; }

inline std::string Image(const std::vector<Field>& fields) {
  std::string image;
  AppendFieldCount(static_cast<int>(fields.size()), &image);
  for (const Field& field : fields) AppendField(field, &image);
  return image;
}

// Images of text columns.
inline std::string TextImage(const std::vector<std::string>& values) {
  std::vector<Field> fields;
  for (const std::string& value : values) fields.push_back(Value(value));
  return Image(fields);
}

// Appends the mark of a value that is sent in parts.
inline void AppendInPartsMark(std::string* image) {
  char length[4];
  absl::big_endian::Store32(length, static_cast<uint32_t>(kValueInPartsLength));
  image->append(length, sizeof length);
}

inline std::string Int4(int32_t value) {
  char bytes[4];
  absl::big_endian::Store32(bytes, static_cast<uint32_t>(value));
  return {bytes, sizeof bytes};
}

inline std::string Int8(int64_t value) {
  char bytes[8];
  absl::big_endian::Store64(bytes, static_cast<uint64_t>(value));
  return {bytes, sizeof bytes};
}

inline Frame MakeFrame(absl::string_view bytes) {
  Frame frame;
  frame.buffer.reset(static_cast<char*>(std::malloc(bytes.size() + 1)));
  std::memcpy(frame.buffer.get(), bytes.data(), bytes.size());
  frame.bytes = {frame.buffer.get(), bytes.size()};
  return frame;
}

class FrameBuilder {
 public:
  FrameBuilder& Hello(uint32_t version = 1, const std::string& encoding = "UTF8") {
    v1::Hello* hello = Add()->mutable_hello();
    hello->set_protocol_version(version);
    hello->set_plugin_version("0.1");
    hello->set_server_version_num(150000);
    hello->set_server_encoding(encoding);
    return *this;
  }

  // Transactions take 100 bytes of log each: commit record at lsn, end at lsn + 50.
  FrameBuilder& Begin(uint64_t xid, uint64_t lsn, int64_t commit_time_us = 1) {
    v1::Begin* begin = Add()->mutable_begin();
    begin->set_xid(xid);
    begin->set_commit_lsn(lsn);
    begin->set_end_lsn(lsn + 50);
    begin->set_commit_time(commit_time_us);
    return *this;
  }

  FrameBuilder& Commit(uint64_t xid, uint64_t lsn, uint64_t change_count) {
    v1::Commit* commit = Add()->mutable_commit();
    commit->set_xid(xid);
    commit->set_commit_lsn(lsn);
    commit->set_end_lsn(lsn + 50);
    commit->set_change_count(change_count);
    return *this;
  }

  FrameBuilder& BeginPrepare(uint64_t xid, uint64_t lsn, const std::string& gid) {
    v1::BeginPrepare* begin = Add()->mutable_begin_prepare();
    begin->set_xid(xid);
    begin->set_prepare_lsn(lsn);
    begin->set_end_lsn(lsn + 50);
    begin->set_prepare_time(1);
    begin->set_gid(gid);
    return *this;
  }

  FrameBuilder& Prepare(uint64_t xid, uint64_t lsn, uint64_t change_count) {
    v1::Prepare* prepare = Add()->mutable_prepare();
    prepare->set_xid(xid);
    prepare->set_prepare_lsn(lsn);
    prepare->set_end_lsn(lsn + 50);
    prepare->set_change_count(change_count);
    return *this;
  }

  FrameBuilder& CommitPrepared(uint64_t xid, uint64_t lsn, const std::string& gid) {
    v1::CommitPrepared* commit = Add()->mutable_commit_prepared();
    commit->set_xid(xid);
    commit->set_commit_lsn(lsn);
    commit->set_end_lsn(lsn + 50);
    commit->set_commit_time(2);
    commit->set_gid(gid);
    return *this;
  }

  FrameBuilder& RollbackPrepared(uint64_t xid, uint64_t prepare_lsn, uint64_t lsn,
                                 const std::string& gid) {
    v1::RollbackPrepared* rollback = Add()->mutable_rollback_prepared();
    rollback->set_xid(xid);
    rollback->set_prepare_end_lsn(prepare_lsn + 50);
    rollback->set_rollback_end_lsn(lsn + 50);
    rollback->set_rollback_time(3);
    rollback->set_gid(gid);
    return *this;
  }

  FrameBuilder& Describe(const v1::Relation& relation) {
    *Add()->mutable_relation() = relation;
    return *this;
  }

  FrameBuilder& Insert(uint32_t relation, const std::string& new_row) {
    v1::Insert* insert = Add()->mutable_insert();
    insert->set_relation(relation);
    insert->set_new_row(new_row);
    return *this;
  }

  FrameBuilder& Update(uint32_t relation, const std::string& new_row,
                       v1::OldImage old_image = v1::NONE, const std::string& old_row = "") {
    v1::Update* update = Add()->mutable_update();
    update->set_relation(relation);
    update->set_new_row(new_row);
    update->set_old_image(old_image);
    update->set_old_row(old_row);
    return *this;
  }

  FrameBuilder& Delete(uint32_t relation, v1::OldImage old_image, const std::string& old_row) {
    v1::Delete* deletion = Add()->mutable_delete_();
    deletion->set_relation(relation);
    deletion->set_old_image(old_image);
    deletion->set_old_row(old_row);
    return *this;
  }

  FrameBuilder& Truncate(const std::vector<uint32_t>& relations, bool restart_identity = false) {
    v1::Truncate* truncate = Add()->mutable_truncate();
    for (uint32_t relation : relations) truncate->add_relations(relation);
    truncate->set_restart_identity(restart_identity);
    return *this;
  }

  FrameBuilder& Part(uint64_t value_bytes, const std::string& part, bool is_last) {
    v1::ValuePart* message = Add()->mutable_value_part();
    message->set_value_bytes(value_bytes);
    message->set_part(part);
    message->set_is_last(is_last);
    return *this;
  }

  FrameBuilder& StreamStart(uint64_t xid, bool is_first) {
    v1::StreamStart* start = Add()->mutable_stream_start();
    start->set_xid(xid);
    start->set_is_first(is_first);
    return *this;
  }

  FrameBuilder& StreamStop(uint64_t xid) {
    Add()->mutable_stream_stop()->set_xid(xid);
    return *this;
  }

  FrameBuilder& Subtransaction(uint64_t xid) {
    Add()->mutable_subtransaction()->set_xid(xid);
    return *this;
  }

  FrameBuilder& StreamAbort(uint64_t xid, uint64_t subxid) {
    v1::StreamAbort* abort = Add()->mutable_stream_abort();
    abort->set_xid(xid);
    abort->set_subxid(subxid);
    return *this;
  }

  FrameBuilder& StreamCommit(uint64_t xid, uint64_t lsn, uint64_t change_count) {
    v1::StreamCommit* commit = Add()->mutable_stream_commit();
    commit->set_xid(xid);
    commit->set_commit_lsn(lsn);
    commit->set_end_lsn(lsn + 50);
    commit->set_commit_time(1);
    commit->set_change_count(change_count);
    return *this;
  }

  v1::Entry* Add() { return frame_.add_entries(); }
  int size() const { return frame_.entries_size(); }
  std::string Bytes() const { return frame_.SerializeAsString(); }
  Frame Build() const { return MakeFrame(Bytes()); }

 private:
  v1::Frame frame_;
};

// A relation of binary columns of type text, the first `key_columns` of them the key.
inline v1::Relation TextRelation(uint32_t number, const std::string& name, int columns,
                                 int key_columns) {
  v1::Relation relation;
  relation.set_number(number);
  relation.set_oid(16000 + number);
  relation.set_root_oid(16000 + number);
  relation.set_schema("public");
  relation.set_name(name);
  relation.set_kind("r");
  for (int i = 0; i < columns; ++i) {
    v1::Column* column = relation.add_columns();
    column->set_name("c" + std::to_string(i));
    column->set_attnum(i + 1);
    column->set_type_oid(25);
    column->set_type_schema("pg_catalog");
    column->set_type_name("text");
    column->set_type_kind("b");
    column->set_typmod(-1);
    column->set_sent(true);
    column->set_in_key(i < key_columns);
  }
  return relation;
}

}  // namespace towline
