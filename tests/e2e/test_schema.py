"""The schema arrives as it is: pg_dump of both sides is compared, by the server's own program, as text."""
import difflib
import pathlib
import re
import subprocess

import pytest

from support.cluster import server_bin
from support.compare import assert_equal

CASES = pathlib.Path(__file__).parent / "schema_cases"

# What stays behind on purpose: publications, subscriptions, our own schemas and our extension.
LEFT_OUT = re.compile(r"(CREATE|ALTER|DROP) (PUBLICATION|SUBSCRIPTION) |(CREATE|COMMENT ON) EXTENSION (IF NOT EXISTS )?towline\b|"
                      r"CREATE SCHEMA towline;")


def dump(database, *more):
    """Statements of pg_dump --schema-only, in its order, one string each."""
    done = subprocess.run([server_bin() / "pg_dump", "--schema-only", "--exclude-schema=towline_state",
                           *(more or ["--no-owner", "--no-privileges"]), "-d", database.uri()],
                          check=True, text=True, stdout=subprocess.PIPE)
    text = re.sub(r"^(\\(un)?restrict .*|--\n-- PostgreSQL database dump complete\n--)\n", "", done.stdout, flags=re.MULTILINE)
    entries = re.split(r"^--\n-- Name: .*\n--\n", text, flags=re.MULTILINE)
    return [entry.strip() for entry in entries[1:] if not LEFT_OUT.match(entry.strip())]


def assert_same_schema(source, destination, *more, without=()):
    """without: beginnings of statements of the source that are left out."""
    expected = [entry for entry in dump(source, *more) if not entry.startswith(tuple(without))]
    found = dump(destination, *more)
    assert len(expected) > 1
    difference = "\n".join(difflib.unified_diff("\n".join(expected).splitlines(), "\n".join(found).splitlines(),
                                                "source", "destination", lineterm=""))
    assert not difference, difference


def load(database, name):
    database.psql((CASES / name).read_text())


@pytest.fixture
def zoo(source):
    load(source, "zoo.sql")
    yield source
    source.script("ALTER SUBSCRIPTION zoo_subscription SET (slot_name = NONE)", "DROP SUBSCRIPTION zoo_subscription")


# What pg_dump calls the kinds of objects; the zoo has one of each.
KINDS = """ACCESS METHOD, AGGREGATE, CAST, CHECK CONSTRAINT, COLLATION, COMMENT, CONSTRAINT, CONVERSION, DEFAULT, DOMAIN,
EVENT TRIGGER, EXTENSION, FK CONSTRAINT, FOREIGN DATA WRAPPER, FOREIGN TABLE, FUNCTION, INDEX, INDEX ATTACH,
MATERIALIZED VIEW, OPERATOR, OPERATOR CLASS, OPERATOR FAMILY, POLICY, PROCEDURAL LANGUAGE, PROCEDURE, PUBLICATION,
PUBLICATION TABLE, PUBLICATION TABLES IN SCHEMA, ROW SECURITY, RULE, SCHEMA, SEQUENCE, SEQUENCE OWNED BY, SERVER,
SHELL TYPE, STATISTICS, SUBSCRIPTION, TABLE, TABLE ATTACH, TEXT SEARCH CONFIGURATION, TEXT SEARCH DICTIONARY,
TEXT SEARCH PARSER, TEXT SEARCH TEMPLATE, TRANSFORM, TRIGGER, TYPE, USER MAPPING, VIEW"""


def kinds(database):
    done = subprocess.run([server_bin() / "pg_dump", "--schema-only", "--exclude-schema=towline*", "-d", database.uri()],
                          check=True, text=True, stdout=subprocess.PIPE)
    return set(re.findall(r"^-- Name: .*; Type: (.*); Schema: ", done.stdout, flags=re.MULTILINE))


def test_every_kind_of_object_arrives(towline, zoo, destination):
    towline.start().wait_for_state("streaming", seconds=60)
    zoo.execute("UPDATE zoo.animal SET feeling = 'sad' WHERE tag < 9; "
                "INSERT INTO zoo.by_range (at, amount) VALUES ('2025-03-03', 3)")
    towline.wait_until_caught_up()
    assert_same_schema(zoo, destination)
    assert_equal(zoo.uri(), destination.uri())
    assert kinds(zoo) == set(re.split(r",\s+", KINDS))
    left_out = {"PUBLICATION", "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA", "SUBSCRIPTION"}
    assert kinds(zoo) - kinds(destination) == left_out
    assert not destination.query("SELECT 1 FROM pg_publication") and not destination.query("SELECT 1 FROM pg_subscription")
    assert towline.stop() == 0
