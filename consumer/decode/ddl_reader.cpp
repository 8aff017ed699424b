#include "decode/ddl_reader.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace towline {
namespace {

bool ReadPhase(v1::Ddl::Phase phase, DdlPhase* read) {
  switch (phase) {
    case v1::Ddl::START:
      *read = DdlPhase::kStart;
      return true;
    case v1::Ddl::REWRITE:
      *read = DdlPhase::kRewrite;
      return true;
    case v1::Ddl::END:
      *read = DdlPhase::kEnd;
      return true;
    case v1::Ddl::DROP:
      *read = DdlPhase::kDrop;
      return true;
    default:
      return false;
  }
}

}  // namespace

absl::StatusOr<DdlCommand> ReadDdl(const v1::Ddl& message) {
  DdlCommand command;
  if (!ReadPhase(message.phase(), &command.phase) || message.tag().empty()) {
    return absl::DataLossError("a DDL command without kind, or of an unknown phase");
  }
  command.number = message.number();
  command.tag = message.tag();
  command.statement = message.statement();
  command.search_path = message.search_path();
  command.role = message.role();
  command.gap = message.gap();
  command.structure = message.structure();
  command.named_schema = message.named_schema();
  if (message.tells_references()) {
    command.references.emplace(message.references().begin(), message.references().end());
  }
  if (command.statement.empty() && command.gap.empty() && command.phase != DdlPhase::kDrop) {
    return absl::DataLossError(absl::StrCat("a DDL command (", command.tag, ") without its text"));
  }
  for (const v1::Ddl::Object& object : message.objects()) {
    command.objects.push_back({object.class_oid(),
                               object.oid(),
                               object.type(),
                               object.schema(),
                               object.name(),
                               object.identity(),
                               {object.table_schema(), object.table_name()}});
  }
  command.actions.assign(message.actions().begin(), message.actions().end());
  for (const v1::Ddl::Setting& setting : message.settings()) {
    command.settings.emplace_back(setting.name(), setting.value());
  }
  for (const v1::Ddl::Fill& fill : message.fills()) {
    command.fills.push_back({{fill.schema(), fill.table()}, fill.column(), fill.value()});
  }
  return command;
}

}  // namespace towline
