// Whether a source captures its DDL (plugin/ddl_capture.cpp).
#pragma once

namespace towline {

// One boolean. All four triggers, fired ALWAYS: with fewer a part of the commands would be missing.
inline constexpr char kIsDdlCapturedSql[] =
    "SELECT pg_catalog.count(*) = 4 FROM pg_catalog.pg_event_trigger e "
    "JOIN pg_catalog.pg_depend d ON d.classid = "
    "'pg_catalog.pg_event_trigger'::pg_catalog.regclass AND d.objid = e.oid AND d.deptype = 'e' "
    "JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid AND x.extname = 'towline' "
    "WHERE e.evtname LIKE 'towline_ddl_%' AND e.evtenabled = 'A'";

}  // namespace towline
