"""What tests of schema changes share: a source whose commands are captured, and looks at what became of them."""
import pytest

from .compare import assert_equal

APPLY = ("--ddl", "apply")


@pytest.fixture
def captured(source):
    source.script("CREATE EXTENSION IF NOT EXISTS towline", "SELECT towline.enable_ddl()",
                  "CREATE TABLE t (id int PRIMARY KEY, v text, n int)",
                  "INSERT INTO t SELECT i, 'row ' || i, i FROM generate_series(1, 500) i")
    return source


def history(destination, *columns):
    return destination.query(f"SELECT {', '.join(columns or ('tag', 'fate'))} FROM towline_state.ddl_history ORDER BY number")


def ddl(towline, *words):
    """`towline ddl …`, by the destination alone."""
    return towline.call("ddl", *words, "--destination", towline.destination_uri, ends=False)


def equal(towline, source, destination, **options):
    towline.wait_until_caught_up()
    return assert_equal(source.uri(), destination.uri(), **options)
