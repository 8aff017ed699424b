"""Keys and key ranges against a server: the tests of tests/unit/keys, in databases that sort and encode texts
in several ways.
"""
import os
import pathlib
import subprocess

import pytest

DATABASES = {  # how texts are sorted and encoded; which tests
    "C.UTF-8": ("", "*"),
    "SQL_ASCII": ("TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'", "*"),
    "C": ("TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'", "*Catalog*"),
    "LATIN1": ("TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'", "*Catalog*"),
}


def run(database, request, seed, tests):
    program = pathlib.Path(request.config.getoption("--towline-binary")).with_name("unit_keys")
    done = subprocess.run([program, f"--gtest_filter=Server/{tests}", "--gtest_brief=1"], text=True, check=False,
                          env={**os.environ, "TOWLINE_TEST_SOURCE": database.uri(), "TOWLINE_TEST_SEED": str(seed)},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "PASSED" in done.stdout and " 0 tests" not in done.stdout, done.stdout
    print(done.stdout)


@pytest.mark.parametrize("kind", DATABASES)
def test_keys_against_a_server(source_cluster, request, seed, kind):
    options, tests = DATABASES[kind]
    database = source_cluster.create_database(f"keys_{kind.lower()}", options)
    try:
        database.execute("CREATE EXTENSION towline")
        run(database, request, seed, tests)
    finally:
        database.drop()
