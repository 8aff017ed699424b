#include "snapshot/copy_start.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "base/log.h"
#include "base/stable_hash.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "pg/quoting.h"
#include "schema/catalog_fingerprint.h"
#include "schema/materialized_views.h"
#include "snapshot/slot.h"
#include "state/task_name.h"

namespace towline {
namespace {

// How long a lock on a source's table is waited for before people are told, and how often the locks
// are tried. Short at first: most statements in the way are over at once.
constexpr absl::Duration kTellAfter = absl::Seconds(1);
constexpr absl::Duration kTellInterval = absl::Seconds(10);
constexpr absl::Duration kPauseMin = absl::Milliseconds(20);
constexpr absl::Duration kPauseMax = absl::Seconds(1);

// So often the schema may change between its dump and the locks; then the locks come first.
constexpr int kChangesMax = 3;

std::string ShapeText(const std::vector<Table>& tables) {
  std::string text;
  for (const Table& table : tables) absl::StrAppend(&text, TableShape(table));
  return text;
}

// A line of TableShape(): what it is about, then what of it counts, then what people read. Only
// for them it matters that a name may hold a tab or a line's end.
struct ShapeLine {
  std::string rest;
  std::string text;
};

std::map<std::string, ShapeLine> LinesOf(const std::string& shape) {
  std::map<std::string, ShapeLine> lines;
  for (absl::string_view line : absl::StrSplit(shape, '\n', absl::SkipEmpty())) {
    std::pair<std::string, std::string> parts = absl::StrSplit(line, absl::MaxSplits('\t', 1));
    std::pair<std::string, std::string> rest =
        absl::StrSplit(parts.second, absl::MaxSplits('\t', 1));
    lines[parts.first] = {parts.second, rest.second};
  }
  return lines;
}

struct DumpedSchema {
  SchemaDump dump;
  std::vector<Table> tables;
  bool is_partial = false;
  std::string catalogs;  // schema/catalog_fingerprint.h; empty: not compared
};

absl::Status LogLeftOut(Connection& source, const ExcludedObjects& excluded,
                        const std::vector<LeftOutEntry>& entries) {
  if (excluded.tables.empty()) return absl::OkStatus();
  LogInfo("tables that are not selected stay behind",
          {{"count", absl::StrCat(excluded.tables.size())}});
  std::vector<ObjectId> objects;
  for (const LeftOutEntry& entry : entries) objects.push_back(entry.object);
  TOWLINE_ASSIGN_OR_RETURN(std::vector<std::string> needs,
                           DescribeNeeds(source, excluded, objects));
  for (size_t i = 0; i < entries.size(); ++i) {
    LogWarning("left out, because it needs something that is not selected",
               {{"object", entries[i].name}, {"needs", needs[i]}});
  }
  return absl::OkStatus();
}

class Starter {
 public:
  Starter(const CopierOptions& options, bool reads_schema, const Shutdown& shutdown)
      : shutdown_(shutdown), reads_schema_(reads_schema) {
    snapshot_options_.source = options.source;
    snapshot_options_.selection = options.selection;
    snapshot_options_.task = options.task;
    snapshot_options_.readers = std::max(options.workers, 1);
    schema_options_ = options.schema;
    copies_schema_ = options.copies_schema;
    follows_ddl_ = options.follows_ddl;
    compares_catalogs_ = options.copies_schema && options.follows_ddl;
  }

  // Nothing: the schema has changed while it was being read.
  absl::StatusOr<std::optional<CopyStart>> Try() {
    const bool locks_first = reads_schema_ && changes_ >= kChangesMax;
    if (reads_schema_ && !locks_first && !schema_.has_value()) {
      TOWLINE_ASSIGN_OR_RETURN(schema_, ReadSchema());
    }
    TOWLINE_ASSIGN_OR_RETURN(ExportedSnapshot snapshot,
                             ExportedSnapshot::Take(snapshot_options_, shutdown_));
    std::string catalogs;
    if (follows_ddl_) {
      TOWLINE_ASSIGN_OR_RETURN(catalogs, ReadCatalogFingerprint(snapshot.connection()));
    }
    if (locks_first) {
      TOWLINE_ASSIGN_OR_RETURN(schema_, ReadSchemaUnder(snapshot));
    } else if (reads_schema_) {
      if (!IsStillTheSame(snapshot, catalogs)) {
        schema_.reset();
        ++changes_;
        return std::optional<CopyStart>();
      }
    }
    std::vector<Connection> readers = snapshot.TakeReaders();
    CopyStart start{std::move(snapshot), std::move(readers), {}, false, std::move(catalogs)};
    if (reads_schema_) {
      start.dump = std::move(schema_->dump);
      start.is_partial = schema_->is_partial;
    }
    return std::optional<CopyStart>(std::move(start));
  }

 private:
  absl::StatusOr<DumpedSchema> ReadSchema() {
    ExportedSnapshot::Options unlocked = snapshot_options_;
    unlocked.readers = 0;
    unlocked.locks_tables = false;
    TOWLINE_ASSIGN_OR_RETURN(ExportedSnapshot snapshot,
                             ExportedSnapshot::Take(unlocked, shutdown_));
    TOWLINE_ASSIGN_OR_RETURN(DumpedSchema schema, ReadSchemaUnder(snapshot));
    if (compares_catalogs_) {
      TOWLINE_ASSIGN_OR_RETURN(schema.catalogs, ReadCatalogFingerprint(snapshot.connection()));
    }
    return schema;
  }

  // A command of the stream counts as held by the copy if the rows' snapshot sees it. Then the dump
  // has to hold it too, whatever it is about.
  bool IsStillTheSame(const ExportedSnapshot& snapshot, const std::string& catalogs) const {
    return HaveSameShape(schema_->tables, snapshot.tables()) &&
           (!compares_catalogs_ || catalogs == schema_->catalogs);
  }

  absl::StatusOr<DumpedSchema> ReadSchemaUnder(ExportedSnapshot& snapshot) {
    DumpOptions options;
    options.source = snapshot_options_.source;
    options.server_version = snapshot.connection().server_version();
    options.encoding = snapshot.connection().server_encoding();
    options.snapshot_name = snapshot.name();
    options.application_name = SourceApplication(snapshot_options_.task, "dump");
    TOWLINE_ASSIGN_OR_RETURN(options.excluded,
                             ReadExcludedObjects(snapshot.connection(), snapshot.tables()));
    options.schema = schema_options_;
    DumpedSchema schema;
    schema.tables = snapshot.tables();
    schema.is_partial = !options.excluded.tables.empty();
    if (!copies_schema_) return schema;
    absl::StatusOr<SchemaDump> dump = DumpSchema(options, shutdown_);
    // A server that went away explains a failed dump better than the dump does.
    if (!dump.ok()) TOWLINE_RETURN_IF_ERROR(snapshot.CheckAlive());
    TOWLINE_ASSIGN_OR_RETURN(schema.dump, std::move(dump));
    TOWLINE_RETURN_IF_ERROR(
        LogLeftOut(snapshot.connection(), options.excluded, schema.dump.left_out));
    TOWLINE_ASSIGN_OR_RETURN(std::vector<std::string> refreshes,
                             ReadRefreshStatements(snapshot.connection(), options.excluded));
    for (std::string& refresh : refreshes) schema.dump.post.push_back({std::move(refresh), false});
    return schema;
  }

  const Shutdown& shutdown_;
  const bool reads_schema_;
  ExportedSnapshot::Options snapshot_options_;
  SchemaOptions schema_options_;
  bool copies_schema_ = true;
  bool follows_ddl_ = false;
  bool compares_catalogs_ = false;
  std::optional<DumpedSchema> schema_;  // kept while only locks are wanting
  int changes_ = 0;                     // of the schema, between its dump and the locks
};

absl::StatusOr<CopyStart> Begin(const CopierOptions& options, bool reads_schema,
                                const Shutdown& shutdown,
                                absl::FunctionRef<void(const std::string&)> on_wait) {
  Connection::Purpose purpose;
  purpose.application_name = SourceApplication(options.task, "marker");
  TOWLINE_ASSIGN_OR_RETURN(Connection watcher, Connection::Open(options.source, purpose, shutdown));
  // Only whoever streams afterwards must know of every transaction on which side it is.
  if (!options.is_once) {
    TOWLINE_RETURN_IF_ERROR(WaitForMarker(watcher, options.snapshot_wait_max, shutdown, on_wait));
  }
  const absl::Time deadline = SteadyNow() + options.snapshot_wait_max;
  absl::Time tell_at = SteadyNow() + kTellAfter;
  absl::Duration pause = kPauseMin;
  Starter starter(options, reads_schema, shutdown);
  while (true) {
    absl::StatusOr<std::optional<CopyStart>> start = starter.Try();
    if (start.ok() && start->has_value()) {
      TOWLINE_RETURN_IF_ERROR(FlushSourceLog(watcher));
      return std::move(**start);
    }
    if (!start.ok() && !IsLockRefused(start.status())) return start.status();
    std::string text = "the copy waits for the source's schema to stand still";
    if (!start.ok()) {
      TOWLINE_ASSIGN_OR_RETURN(std::string holders, DescribeLockHolders(watcher));
      text = absl::StrCat("the copy waits for a lock on a table, held or wished for by ",
                          holders.empty() ? "somebody" : holders);
    }
    if (SteadyNow() >= deadline) {
      return WithHint(absl::DeadlineExceededError(text),
                      "Let that transaction end, then run the same command again.");
    }
    if (SteadyNow() >= tell_at) {
      on_wait(text);
      tell_at = SteadyNow() + kTellInterval;
    }
    if (!shutdown.SleepFor(pause)) return absl::CancelledError("shutting down");
    pause = std::min(pause * 2, kPauseMax);
  }
}

}  // namespace

absl::Status FlushSourceLog(Connection& source) {
  return source
      .Exec(
          "BEGIN; SET LOCAL synchronous_commit = local; "
          "SELECT pg_catalog.pg_logical_emit_message(true, 'towline', 'flush'); COMMIT")
      .status();
}

bool HaveSameShape(const std::vector<Table>& a, const std::vector<Table>& b) {
  return ShapeText(a) == ShapeText(b);
}

std::string ShapeOf(const std::vector<Table>& tables) {
  return absl::StrFormat("%016x", StableHash(ShapeText(tables)));
}

std::string TableShape(const Table& table) {
  std::string text;
  absl::StrAppend(&text, "table\t", table.oid, " ",
                  QuoteQualified(table.name.schema, table.name.name), " ",
                  static_cast<int>(table.kind), table.is_partition ? " p " : " - ", table.root_oid,
                  " ", static_cast<int>(table.persistence), "\n");
  for (const TableColumn& column : table.columns) {
    absl::StrAppend(&text, "column ", column.attnum, "\t", column.type_oid, " ", column.typmod, " ",
                    static_cast<int>(column.generated), " ", static_cast<int>(column.identity),
                    "\t", QuoteIdentifier(column.name), " ", column.type_text,
                    column.is_not_null ? " NOT NULL" : "",
                    column.generated != '\0' ? " GENERATED" : "",
                    column.identity != '\0' ? " IDENTITY" : "", "\n");
  }
  // The dump's are built on the rows of every snapshot.
  for (const UniqueIndex& index : table.unique_indexes) {
    absl::StrAppend(&text, "unique index ", QuoteIdentifier(index.name), "\t", index.definition,
                    index.is_primary ? " PRIMARY KEY" : "",
                    index.is_deferrable ? " DEFERRABLE" : "", "\n");
  }
  for (const ExclusionConstraint& exclusion : table.exclusions) {
    absl::StrAppend(&text, "exclusion constraint ", QuoteIdentifier(exclusion.name), "\t",
                    exclusion.definition, "\n");
  }
  return text;
}

std::string DescribeShapeChange(const std::string& before, const std::string& after) {
  const std::map<std::string, ShapeLine> old = LinesOf(before);
  const std::map<std::string, ShapeLine> now = LinesOf(after);
  std::vector<std::string> columns;
  std::vector<std::string> others;
  for (const auto& [what, line] : old) {
    const bool is_column = absl::StartsWith(what, "column ");
    auto found = now.find(what);
    if (found == now.end()) {
      (is_column ? columns : others)
          .push_back(absl::StrCat(is_column ? line.text : what, " is gone"));
    } else if (found->second.rest != line.rest && is_column) {
      const std::string& text = found->second.text;
      columns.push_back(text == line.text ? absl::StrCat(text, " was made anew")
                                          : absl::StrCat("from ", line.text, " to ", text));
    } else if (found->second.rest != line.rest) {
      others.push_back(absl::StrCat(what, " is another one"));
    }
  }
  for (const auto& [what, line] : now) {
    if (old.contains(what)) continue;
    const bool is_column = absl::StartsWith(what, "column ");
    (is_column ? columns : others).push_back(absl::StrCat(is_column ? line.text : what, " is new"));
  }
  std::string text;
  if (!columns.empty()) text = "its columns have changed: " + absl::StrJoin(columns, ", ");
  if (others.empty()) return text;
  return absl::StrCat(text, text.empty() ? "it has changed: " : "; ", absl::StrJoin(others, ", "));
}

absl::StatusOr<CopyStart> StartAtSource(const CopierOptions& options, const Shutdown& shutdown,
                                        absl::FunctionRef<void(const std::string&)> on_wait) {
  return Begin(options, /*reads_schema=*/true, shutdown, on_wait);
}

absl::StatusOr<CopyStart> ResumeAtSource(const CopierOptions& options, const Shutdown& shutdown,
                                         absl::FunctionRef<void(const std::string&)> on_wait) {
  return Begin(options, /*reads_schema=*/false, shutdown, on_wait);
}

}  // namespace towline
