"""Table rules in the plugin: what they leave of a random load, and how soon thousands of them start."""
import json
import random
import time

FILTERS = ["region = 'eu'", "amount % 3 = 1", "region IS NULL OR amount > 50", "length(note) > 1000 AND amount > 20",
           "region IN ('eu', 'us') AND NOT amount BETWEEN 30 AND 60", "left(note, 1) = 'a'", "true", "false"]


def value_of(text):
    return None if text == "NULL" else text


def random_statement(choose):
    region = choose.choice(["'eu'", "'us'", "NULL"])
    amount = choose.randrange(100)
    # Long notes are stored out of line, and their value is not in the WAL of an UPDATE of others.
    note = f"repeat('{choose.choice('ab')}', {choose.choice([1, 40, 3000])})"
    key, other = choose.randrange(1, 40), choose.randrange(1, 40)
    return choose.choice([
        f"INSERT INTO r VALUES ({key}, {region}, {amount}, {note}) ON CONFLICT DO NOTHING",
        f"UPDATE r SET id = {other} WHERE id = {key} AND NOT EXISTS (SELECT FROM r o WHERE o.id = {other})",
        f"UPDATE r SET region = {region} WHERE id = {key}",
        f"UPDATE r SET note = {note} WHERE id = {key}",
        f"UPDATE r SET amount = {amount} WHERE id BETWEEN {key} AND {key + 5}",
        f"DELETE FROM r WHERE id = {key}"])


def replay(changes):
    """The rows that a reader has at the end, by their id; what it cannot apply fails."""
    rows = {}
    for kind, old, new in changes:
        old, new = old and tuple(old), new and tuple(new)
        if kind in ("update", "delete"):
            assert rows.get(old[0]) == old, f"{kind} of a row that the reader does not have: {old[:3]}"
            del rows[old[0]]
        if kind in ("insert", "update"):
            assert new[0] not in rows, f"{kind} of a row that the reader has: {new[:3]}"
            rows[new[0]] = new
    return rows


def parse(image):
    """The values of a row without quotes and blanks in them: id='1' region=NULL note='aa'."""
    if image is None:
        return None
    return [value_of(field.split("=", 1)[1].strip("'")) for field in image.split(" ")]


def test_a_reader_has_just_the_rows_that_pass(source, seed):
    choose = random.Random(seed)
    source.script("CREATE TABLE r (id int PRIMARY KEY, region text, amount int, note text)",
                  "ALTER TABLE r REPLICA IDENTITY FULL", "ALTER TABLE r ALTER note SET STORAGE EXTERNAL")
    source.query("SELECT pg_create_logical_replication_slot('rules', 'towline')")
    source.script(*[random_statement(choose) for _ in range(600)])
    for condition in FILTERS:
        rules = json.dumps([{"schema": "public", "table": "r", "where": condition, "columns": [
            "id", "region", {"name": "amount", "expression": "amount * 2"}, {"name": "size", "expression": "length(note)"}]}])
        changes = source.query("SELECT kind, old, new FROM towline.changes('rules', options => ARRAY['table_rules', %s]) "
                               "WHERE kind IN ('insert', 'update', 'delete')", (rules,))
        there = replay([(kind, parse(old), parse(new)) for kind, old, new in changes])
        wanted = source.query("SELECT id::text, region, (amount * 2)::text, length(note)::text FROM r "
                              f"WHERE {condition}")
        assert sorted(there.values()) == sorted(tuple(row) for row in wanted), f"filter {condition}"


TABLES = 200
NAMES = 10000
# A start takes about half a second. A look-up that went through all names for each table took minutes.
SECONDS = 20


def test_thousands_of_names_and_filters_start_quickly(source):
    source.script(*[f"CREATE TABLE t{i} (id int PRIMARY KEY, region text)" for i in range(TABLES)])
    source.query("SELECT pg_create_logical_replication_slot('names', 'towline')")
    source.script(*[f"INSERT INTO t{i} VALUES (1, 'eu'), (2, 'us')" for i in range(TABLES)])
    # The last table is not among the names.
    names = ",".join(f"public.t{i}" for i in range(TABLES - 1)) + "," + ",".join(f"public.x{i}" for i in range(NAMES))
    rules = json.dumps([{"schema": "public", "table": name.split(".")[1], "where": "region = 'eu' AND id > 0",
                         "operations": ["insert"]} for name in names.split(",")])
    options = ["include_tables", names, "exclude_tables", names.replace("public.t", "public.y"), "table_rules", rules]
    start = time.monotonic()
    changes = source.query("SELECT relation, new FROM towline.changes('names', options => %s) WHERE kind = 'insert'", (options,))
    seconds = time.monotonic() - start
    assert sorted(changes) == sorted((f"public.t{i}", "id='1' region='eu'") for i in range(TABLES - 1))
    assert seconds < SECONDS, f"it took {seconds:.1f} s"
