"""A clock that a test sets moves the time of day of its processes, and nothing else."""
import os
import subprocess
import sys
import time

import pytest

from support.clock import Clock

HOUR = 3600
# Each line that comes in is answered by what the clocks say.
LOOKS = "import sys, time\nfor _ in sys.stdin: print(time.time(), time.monotonic(), flush=True)"


@pytest.fixture
def clock(tmp_path):
    return Clock(tmp_path / "clock")


def test_the_time_of_day_moves_and_the_steady_clock_does_not(clock):
    with subprocess.Popen([sys.executable, "-c", LOOKS], env={**os.environ, **clock.environment}, text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        def look():
            process.stdin.write("\n")
            process.stdin.flush()
            day, steady = map(float, process.stdout.readline().split())
            return day - time.time(), steady - time.monotonic()
        for jump, ahead in ((0, 0), (HOUR, HOUR), (-3 * HOUR, -2 * HOUR), (2 * HOUR, 0)):
            clock.jump(jump)
            day, steady = look()
            assert abs(day - ahead) < 5 and abs(steady) < 5
        process.stdin.close()
