#include "snapshot/large_objects.h"

#include <set>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/array_literal.h"

namespace towline {
namespace {

// So many in one transaction, with their first bytes in one statement: most are small, and a round
// trip for each would be most of the time. Making or removing one may take a lock until COMMIT.
constexpr int kObjectsPerBatch = 100;
constexpr int64_t kFirstBytes = 64 << 10;
constexpr int64_t kPieceBytes = 1 << 20;

constexpr char kBatchSql[] = R"sql(
SELECT m.oid, r.rolname, pg_catalog.obj_description(m.oid, 'pg_largeobject'),
       m.lomacl IS NOT NULL, pg_catalog.lo_get(m.oid, 0, $2::int)
FROM (SELECT * FROM pg_catalog.pg_largeobject_metadata WHERE oid > $1::oid ORDER BY oid LIMIT $3::int) m
JOIN pg_catalog.pg_roles r ON r.oid = m.lomowner
ORDER BY m.oid
)sql";

constexpr char kRightsSql[] = R"sql(
SELECT COALESCE(r.rolname, ''), a.privilege_type, a.is_grantable
FROM pg_catalog.pg_largeobject_metadata m
CROSS JOIN LATERAL pg_catalog.aclexplode(m.lomacl) a
LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE m.oid = $1::oid AND (a.grantee = 0 OR r.oid IS NOT NULL)
ORDER BY 1, 2
)sql";

// Of a bytea's text: \x and two digits each.
int64_t BytesOf(absl::string_view hex) { return static_cast<int64_t>(hex.size() - 2) / 2; }

absl::Status InTransaction(Connection& destination, const TaskClaim& claim,
                           absl::FunctionRef<absl::Status()> work) {
  TOWLINE_RETURN_IF_ERROR(destination.Exec("BEGIN").status());
  TOWLINE_RETURN_IF_ERROR(CheckEpoch(destination, claim));
  TOWLINE_RETURN_IF_ERROR(work());
  TOWLINE_RETURN_IF_ERROR(CheckEpoch(destination, claim));
  return destination.Exec("COMMIT").status();
}

absl::Status ExplainReading(const absl::Status& status) {
  if (!absl::IsPermissionDenied(status)) return status;
  return WithHint(
      WithCode(WithContext(status, "copying large objects"), absl::StatusCode::kFailedPrecondition),
      "GRANT SELECT ON LARGE OBJECT for the role at the source, or leave them out with "
      "--large-objects off.");
}

class LargeObjectCopier {
 public:
  LargeObjectCopier(Connection& source, Connection& destination, const TaskClaim& claim,
                    const LargeObjectOptions& options)
      : source_(source), destination_(destination), claim_(claim), options_(options) {}

  absl::StatusOr<LargeObjectCounts> Run() {
    TOWLINE_RETURN_IF_ERROR(ReadRoles());
    std::string last = "0";
    while (true) {
      absl::StatusOr<Result> batch =
          source_.Query(kBatchSql, {{last, absl::StrCat(kFirstBytes), Limit()}});
      if (!batch.ok()) return ExplainReading(batch.status());
      if (batch->row_count() == 0) return counts_;
      last = batch->GetString(batch->row_count() - 1, 0);
      TOWLINE_RETURN_IF_ERROR(
          InTransaction(destination_, claim_, [&] { return CopyBatch(*batch); }));
      FaultPoint("copy:large-objects-made");
    }
  }

 private:
  static std::string Limit() { return absl::StrCat(kObjectsPerBatch); }

  absl::Status ReadRoles() {
    TOWLINE_ASSIGN_OR_RETURN(Result roles,
                             destination_.Query("SELECT rolname, rolname = current_user "
                                                "FROM pg_catalog.pg_roles"));
    for (int row = 0; row < roles.row_count(); ++row) {
      roles_.insert(roles.GetString(row, 0));
      if (roles.GetBool(row, 1)) own_role_ = roles.GetString(row, 0);
    }
    return absl::OkStatus();
  }

  absl::Status CopyBatch(const Result& batch) {
    ArrayLiteral numbers;
    ArrayLiteral values;
    for (int row = 0; row < batch.row_count(); ++row) {
      numbers.Add(batch.Get(row, 0));
      values.Add(batch.Get(row, 4));
    }
    TOWLINE_RETURN_IF_ERROR(RefuseExisting(numbers.ToString()));
    TOWLINE_RETURN_IF_ERROR(destination_
                                .Query("INSERT INTO towline_state.made_object (task, number) "
                                       "SELECT $1, pg_catalog.unnest($2::oid[])",
                                       {{claim_.task, numbers.ToString()}})
                                .status());
    TOWLINE_RETURN_IF_ERROR(destination_
                                .Query("SELECT pg_catalog.lo_from_bytea(o.number, o.value) FROM "
                                       "unnest($1::oid[], $2::bytea[]) AS o(number, value)",
                                       {{numbers.ToString(), values.ToString()}})
                                .status());
    for (int row = 0; row < batch.row_count(); ++row) {
      ++counts_.objects;
      counts_.bytes += BytesOf(batch.Get(row, 4));
      std::string number = batch.GetString(row, 0);
      if (BytesOf(batch.Get(row, 4)) == kFirstBytes) TOWLINE_RETURN_IF_ERROR(CopyRest(number));
      TOWLINE_RETURN_IF_ERROR(SetAttributes(batch, row, number));
    }
    return absl::OkStatus();
  }

  absl::Status RefuseExisting(const std::string& numbers) {
    TOWLINE_ASSIGN_OR_RETURN(
        Result existing, destination_.Query("SELECT oid FROM pg_catalog.pg_largeobject_metadata "
                                            "WHERE oid = ANY ($1::oid[]) ORDER BY oid LIMIT 1",
                                            {{numbers}}));
    if (existing.row_count() == 0) return absl::OkStatus();
    return WithHint(absl::FailedPreconditionError(absl::StrCat("large object ", existing.Get(0, 0),
                                                               " is at the destination already")),
                    absl::StrCat("At the destination: SELECT lo_unlink(", existing.Get(0, 0),
                                 "); if nothing there needs it, or leave large objects out with "
                                 "--large-objects off."));
  }

  // Behind the bytes that it was made with.
  absl::Status CopyRest(const std::string& number) {
    for (int64_t place = kFirstBytes;; place += kPieceBytes) {
      absl::StatusOr<Result> piece =
          source_.Query("SELECT pg_catalog.lo_get($1::oid, $2::bigint, $3::int)",
                        {{number, absl::StrCat(place), absl::StrCat(kPieceBytes)}});
      if (!piece.ok()) return ExplainReading(piece.status());
      const int64_t bytes = BytesOf(piece->Get(0, 0));
      if (bytes > 0) {
        TOWLINE_RETURN_IF_ERROR(
            destination_
                .Query("SELECT pg_catalog.lo_put($1::oid, $2::bigint, $3::bytea)",
                       {{number, absl::StrCat(place), piece->GetString(0, 0)}})
                .status());
      }
      counts_.bytes += bytes;
      if (bytes < kPieceBytes) return absl::OkStatus();
    }
  }

  // The owner last: afterwards it is no longer ours to change.
  absl::Status SetAttributes(const Result& batch, int row, const std::string& number) {
    if (!batch.IsNull(row, 2)) {
      TOWLINE_RETURN_IF_ERROR(Try(absl::StrCat("COMMENT ON LARGE OBJECT ", number, " IS ",
                                               QuoteLiteral(batch.Get(row, 2)))));
    }
    if (options_.with_privileges && batch.GetBool(row, 3)) {
      TOWLINE_RETURN_IF_ERROR(SetRights(number));
    }
    std::string owner = batch.GetString(row, 1);
    if (!options_.with_owners || owner == own_role_ || !IsKnown(owner)) return absl::OkStatus();
    return Try(absl::StrCat("ALTER LARGE OBJECT ", number, " OWNER TO ", QuoteIdentifier(owner)));
  }

  absl::Status SetRights(const std::string& number) {
    TOWLINE_ASSIGN_OR_RETURN(Result rights, source_.Query(kRightsSql, {{number}}));
    for (int row = 0; row < rights.row_count(); ++row) {
      std::string role = rights.GetString(row, 0);
      if (!role.empty() && !IsKnown(role)) continue;
      TOWLINE_RETURN_IF_ERROR(
          Try(absl::StrCat("GRANT ", rights.Get(row, 1), " ON LARGE OBJECT ", number, " TO ",
                           role.empty() ? std::string("PUBLIC") : QuoteIdentifier(role),
                           rights.GetBool(row, 2) && !role.empty() ? " WITH GRANT OPTION" : "")));
    }
    return absl::OkStatus();
  }

  // As with the schema's objects: a role that is missing owns nothing and has no rights.
  bool IsKnown(const std::string& role) {
    if (roles_.contains(role)) return true;
    if (missing_.insert(role).second) {
      LogWarning(
          "a role of the source does not exist at the destination; its large objects belong to "
          "the role that makes them, and its rights on others are left out",
          {{"role", QuoteIdentifier(role)}});
    }
    return false;
  }

  // What the role may not set is left out and told.
  absl::Status Try(const std::string& statement) {
    TOWLINE_RETURN_IF_ERROR(destination_.Exec("SAVEPOINT towline_large_object").status());
    absl::Status done = destination_.Exec(statement).status();
    if (done.ok()) {
      return destination_.Exec("RELEASE SAVEPOINT towline_large_object").status();
    }
    if (!absl::IsPermissionDenied(done)) return done;
    LogWarning("left out, because the destination's role may not do it",
               {{"statement", statement}});
    return destination_.Exec("ROLLBACK TO SAVEPOINT towline_large_object").status();
  }

  Connection& source_;
  Connection& destination_;
  const TaskClaim claim_;
  const LargeObjectOptions options_;
  std::set<std::string> roles_;
  std::set<std::string> missing_;
  std::string own_role_;
  LargeObjectCounts counts_;
};

}  // namespace

absl::StatusOr<LargeObjectCounts> CopyLargeObjects(Connection& source, Connection& destination,
                                                   const TaskClaim& claim,
                                                   const LargeObjectOptions& options) {
  TOWLINE_ASSIGN_OR_RETURN(LargeObjectCounts counts,
                           LargeObjectCopier(source, destination, claim, options).Run());
  if (counts.objects > 0) {
    LogInfo("large objects copied: what changes in them from now on does not follow",
            {{"count", absl::StrCat(counts.objects)}, {"size", FormatBytes(counts.bytes)}});
  }
  return counts;
}

absl::Status RemoveLargeObjects(Connection& destination, const TaskClaim& claim) {
  while (true) {
    int64_t removed = 0;
    TOWLINE_RETURN_IF_ERROR(InTransaction(destination, claim, [&]() -> absl::Status {
      TOWLINE_ASSIGN_OR_RETURN(
          Result noted,
          destination.Query(
              "WITH noted AS (DELETE FROM towline_state.made_object WHERE task = $1 AND number IN "
              "(SELECT number FROM towline_state.made_object WHERE task = $1 ORDER BY number "
              "LIMIT $2::int) RETURNING number) SELECT pg_catalog.lo_unlink(m.oid) FROM noted "
              "LEFT JOIN pg_catalog.pg_largeobject_metadata m ON m.oid = noted.number",
              {{claim.task, absl::StrCat(kObjectsPerBatch)}}));
      removed = noted.row_count();
      return absl::OkStatus();
    }));
    if (removed == 0) return absl::OkStatus();
  }
}

absl::Status ReleaseLargeObjects(Connection& destination, const TaskClaim& claim) {
  return InTransaction(destination, claim, [&] {
    return destination
        .Query("DELETE FROM towline_state.made_object WHERE task = $1", {{claim.task}})
        .status();
  });
}

}  // namespace towline
