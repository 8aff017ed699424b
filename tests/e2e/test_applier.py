"""The applier alone against a server: the tests of tests/unit/apply that need one."""
import os
import pathlib
import subprocess

import pytest


@pytest.mark.limit(300)
def test_applier_against_a_server(destination, request):
    program = pathlib.Path(request.config.getoption("--towline-binary")).with_name("unit_apply")
    done = subprocess.run([program, "--gtest_filter=Server/*", "--gtest_brief=1"], text=True, check=False,
                          env={**os.environ, "TOWLINE_TEST_DESTINATION": destination.uri()},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = "\n".join(line for line in done.stdout.splitlines() if " warning: " not in line)
    assert done.returncode == 0, said[-5000:]
    assert "PASSED" in done.stdout and "] 0 tests" not in done.stdout, done.stdout
