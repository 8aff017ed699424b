"""A small size of `./dev chaos` (tests/chaos): one seed, random faults from the copy on, and both databases equal."""
import pathlib

import pytest

from chaos import world
from chaos.plan import Plan

FAULTS = 15
VERSION = 15  # of the usual server


@pytest.mark.limit(600)
def test_random_faults_end_in_equality(request, seed, size, session_directory):
    directory = session_directory / "chaos"
    directory.mkdir(mode=0o755)
    records = []

    def report(record):
        print(record)
        records.append(record)
    binary = pathlib.Path(request.config.getoption("--towline-binary"))
    assert world.run(Plan(seed, FAULTS * size, VERSION), directory, binary, report), \
        f"{records[-1]['error']}; again: ./dev chaos --seed {seed} --faults {FAULTS * size}"
    assert sum(record["kind"] == "equal" for record in records) >= 1
