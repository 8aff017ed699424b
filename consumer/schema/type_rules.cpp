#include "schema/type_rules.h"

#include <algorithm>

#include "absl/strings/match.h"

namespace towline {
namespace {

// Hand-assigned, hence the same on every server and version (access/transam.h,
// FirstGenbkiObjectId).
constexpr Oid kFirstVaryingOid = 10000;

// No type is nested deeper; the server itself refuses composites that contain themselves.
constexpr int kDepthMax = 32;

bool IsFixed(Oid oid) { return oid != 0 && oid < kFirstVaryingOid; }

// The bytes of reg* types are OIDs of other objects; int2vector and oidvector refuse to receive the
// empty vector that they send.
bool IsTextOnly(const TypeFacts& type, Oid oid) {
  return type.is_in_pg_catalog && IsFixed(oid) &&
         (absl::StartsWith(type.name, "reg") || type.name == "int2vector" ||
          type.name == "oidvector");
}

bool IsPortable(const TypeCatalog& types, Oid oid, int depth) {
  auto found = types.find(oid);
  if (found == types.end() || depth > kDepthMax) return false;
  const TypeFacts& type = found->second;
  if (!type.has_send_and_receive) return false;
  // array_send writes the element's oid, record_send those of its columns.
  if (type.is_array) return IsFixed(type.element) && IsPortable(types, type.element, depth + 1);
  switch (type.kind) {
    case 'b':
      return !IsTextOnly(type, oid);
    case 'e':
      return true;
    case 'd':
      return IsPortable(types, type.base, depth + 1);
    case 'r':
    case 'm':
      return IsPortable(types, type.subtype, depth + 1);
    case 'c':
      return std::all_of(type.members.begin(), type.members.end(), [&](Oid member) {
        return IsFixed(member) && IsPortable(types, member, depth + 1);
      });
    default:
      return false;
  }
}

bool CanCompare(const TypeCatalog& types, Oid oid, int depth) {
  auto found = types.find(oid);
  if (found == types.end() || depth > kDepthMax) return false;
  const TypeFacts& type = found->second;
  if (type.is_array) return CanCompare(types, type.element, depth + 1);
  switch (type.kind) {
    case 'd':
      return CanCompare(types, type.base, depth + 1);
    case 'e':
    case 'r':
    case 'm':
      return true;  // anyenum, anyrange, anymultirange
    case 'c':
      return std::all_of(type.members.begin(), type.members.end(),
                         [&](Oid member) { return CanCompare(types, member, depth + 1); });
    default:
      return type.has_operator_class;
  }
}

}  // namespace

bool IsPortableBinary(const TypeCatalog& types, Oid oid) { return IsPortable(types, oid, 0); }
bool HasEquality(const TypeCatalog& types, Oid oid) { return CanCompare(types, oid, 0); }

}  // namespace towline
