"""Names that need quoting, everywhere a name can stand."""
from support.cluster import quote_identifier, quote_literal
from support.shapes import Shape

ODD = ["select", "MiXed", "with space", "dot.ted", "qu\"ote", "ap'ostrophe", "back\\slash", "sem;icolon",
       "com,ma",
       "-- comment", "/* */", "$1", "%s", "{0}", ":name", "(paren", "tab\there", "new\nline",
       "schön 東京 \U0001f680",
       "trailing ", " leading", "user", "ü" * 31 + "x", "n" * 63]


def shapes():
    shape = Shape("Odd \"Schema\", 'é' $x$; --\\", [], [])
    setup, live = [], []
    for number, name in enumerate(ODD):
        q = quote_identifier(name)
        column = quote_identifier(ODD[(number + 1) % len(ODD)])
        key = quote_identifier(ODD[(number + 2) % len(ODD)])
        setup.append(f"CREATE TYPE {quote_identifier('type ' + name[:20])} AS ENUM ({quote_literal(name)}, "
                     f"{quote_literal(name[:10] + '2')})")
        setup.append(f"CREATE TABLE {q} ({key} int, {column} text, e "
                     f"{quote_identifier('type ' + name[:20])}, "
                     f"CONSTRAINT {quote_identifier('key ' + name[:20])} PRIMARY KEY ({key}), "
                     f"CONSTRAINT {quote_identifier('check ' + name[:20])} CHECK ({column} <> 'no'))")
        setup.append(f"CREATE INDEX {quote_identifier('index ' + name[:20])} ON {q} ({column})")
        setup.append(f"CREATE SEQUENCE {quote_identifier('sequence ' + name[:20])} OWNED BY {q}.{key}")
        setup.append(f"INSERT INTO {q} VALUES (1, {quote_literal(name)}, {quote_literal(name)}), (2, NULL, "
                     f"NULL), (3, '', NULL)")
        live.append(f"INSERT INTO {q} VALUES (10, 'new', {quote_literal(name[:10] + '2')}); UPDATE {q} SET "
                    f"{column} = 'changed' WHERE {key} = 1; "
                    f"UPDATE {q} SET {key} = 20 WHERE {key} = 2; DELETE FROM {q} WHERE {key} = 3")
        if number % 4 == 0:
            live.append(f"TRUNCATE {q}; INSERT INTO {q} VALUES (1, 'after', NULL)")
    # Names that differ in case and blanks alone.
    for name in ("t", "T", "t ", "T t"):
        setup += [f"CREATE TABLE \"{name}\" (id int PRIMARY KEY, \"ID\" int, \" id\" int)",
                  f"INSERT INTO \"{name}\" VALUES (1, 2, 3)"]
        live.append(f"INSERT INTO \"{name}\" VALUES (2, {ord(name[0])}, {len(name)}); UPDATE \"{name}\" SET "
                    f"\"ID\" = 5 WHERE id = 1")
    # No key: the whole row in a WHERE clause.
    everything = ", ".join(f"{quote_identifier(name)} text" for name in ODD)
    setup += [f"CREATE TABLE \"all of them\" ({everything})",
              'ALTER TABLE "all of them" REPLICA IDENTITY FULL',
              'INSERT INTO "all of them" ("select", "qu""ote") VALUES (\'a\', \'b\'), (\'a\', \'b\'), '
              '(\'c\', NULL)']
    live += ['UPDATE "all of them" SET "com,ma" = \'x\' WHERE "select" = \'c\'',
             'DELETE FROM "all of them" WHERE ctid = (SELECT min(ctid) FROM "all of them")']
    shape.setup, shape.live = setup, live
    # The same name in two schemas, and a schema named like a table of ours.
    other = Shape("UPPER", ["CREATE TABLE t (id int PRIMARY KEY, v text)",
                            "INSERT INTO t VALUES (1, 'upper')"],
                  ["UPDATE t SET v = 'UPPER' WHERE id = 1; INSERT INTO t VALUES (2, 'x')"])
    lower = Shape("upper", ["CREATE TABLE t (id int PRIMARY KEY, v text)",
                            "INSERT INTO t VALUES (1, 'lower')"],
                  ["UPDATE t SET v = 'lower!' WHERE id = 1; INSERT INTO t VALUES (3, 'y')"])
    ours = Shape("towlines", ["CREATE TABLE task (id int PRIMARY KEY, position text)",
                              "INSERT INTO task VALUES (1, 'x')"],
                 ["UPDATE task SET position = 'y'"])
    return [shape, other, lower, ours]
