"""What may differ after PostgreSQL's own regression suite has run in the source, and which commands may be refused at the
destination, each with its reason. Whatever is not here fails the test."""
import re

NOT_VALID = ("a domain's constraint that is NOT VALID at the source: the destination checks also the values that were there, as they "
             "come as old images of rows; the table is parked, so its values do not change to what the constraint asks for")
ALWAYS = "a trigger or rule ENABLE ALWAYS or REPLICA would fire for rows that the source's has made already (docs/ddl.md)"
TEMPORARY = "CREATE TABLE (LIKE of a temporary table) (docs/ddl.md)"
EXPLAINED = "made by EXPLAIN ANALYZE, for which no event trigger fires (docs/ddl.md)"
INVALID = "an index whose CREATE INDEX CONCURRENTLY has failed stands at the source, invalid"
PASSWORD = "its text may hold a password, and is not captured (docs/plugin.md)"
ROLE = "the function asks who calls it, and here that is Towline's role (docs/ddl.md)"

# kind of object, "schema name", how it differs, reason
DIFFERENCES = (
    ("TABLE", "public part_rp", "differs", "DETACH PARTITION CONCURRENTLY leaves a CHECK constraint at the source (docs/ddl.md)"),
    ("TRIGGER", "public trigger_parted_p2_2 aft_row", "differs", ALWAYS),
    ("DOMAIN", "public things", "differs", NOT_VALID),
    ("CHECK CONSTRAINT", "public things meow", "is at the destination only", NOT_VALID),
    ("PARKED", "public thethings", "has left the stream", NOT_VALID),
)

# tag, objects, reason of the refusal, why it is right
REFUSALS = (
    ("ALTER TABLE", r"table public\.(parent|trigger_parted_p2_2|ruletest1|trigtest)$", "is made ENABLE ALWAYS or REPLICA", ALWAYS),
    ("(CREATE|ALTER) (SERVER|USER MAPPING)", r"(server (s|t)\d|user mapping (public|regress_\w+) on server (s|t)\d)$", "may hold a password", PASSWORD),
    ("CREATE INDEX", r"index public\.sro_(idx|cluster_idx|brin|pidx)$", r"sro_ifun\(\d+\) called by", ROLE),
    ("REFRESH MATERIALIZED VIEW", r"matview_schema\.mv_(with|no)data2$", "does not exist", EXPLAINED),
    ("CREATE TABLE", r"table public\.vistest$", 'relation "testeoc" does not exist', TEMPORARY),
    ("ALTER TABLE", r"table public\.vistest$", "is not at the destination", TEMPORARY),
    ("ALTER DOMAIN", r"type public\.things$", "contains values that violate the new constraint", NOT_VALID),
    ("ALTER INDEX", r"index public\.idxpart1?_expr_idx$", r'relation "public\.idxpart\d+_expr_idx" does not exist', INVALID),
    ("CREATE INDEX", r"index public\.parted_isvalid_idx$", "division by zero", INVALID),
)


def reason_for(key, how):
    kind, name = key[0], " ".join(key[1:])
    return next((reason for of_kind, pattern, of_how, reason in DIFFERENCES
                 if of_kind == kind and of_how == how and re.fullmatch(pattern, name)), None)


def reason_for_refusal(tag, objects, why):
    return next((reason for of_tag, of_objects, pattern, reason in REFUSALS
                 if re.fullmatch(of_tag, tag) and re.search(of_objects, objects) and re.search(pattern, why)), None)
