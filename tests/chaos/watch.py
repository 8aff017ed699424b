"""What is looked at all the time, from outside: the slot against the destination's position (I2), the service's memory
and file descriptors, and `towline verify` one time after another, which may never say that the two differ.

What is found wrong is kept in `problems`; the run looks there between any two faults.
"""
import json
import os
import pathlib
import re
import subprocess
import threading
import time

import psycopg2

INTERVAL = 0.25
# Sessions, epoll and log files of the largest configuration come to less than half of it.
DESCRIPTORS_MAX = 96
VERIFY_SECONDS = 1200  # it waits up to 20 s for each table
DIFFERENT = 1


class Watch:
    """samples: (seconds since the beginning, resident bytes, descriptors, bytes of log behind)."""

    def __init__(self, world, verify_pause=1):
        self.world, self.problems, self.samples, self.verdicts = world, [], [], {0: 0, 1: 0, 2: 0}
        self.descriptors = self.confirmed = self.looks = 0
        self.began = time.monotonic()
        self.is_paused, self.pauses = False, 0
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._loop, args=(self._look, INTERVAL), daemon=True),
                        threading.Thread(target=self._loop, args=(self._verify, verify_pause), daemon=True)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(VERIFY_SECONDS + 30)

    def pause(self):
        """A server is replaced by another one: until resume() position and rows mean nothing. What is just being looked
        at does not count either."""
        self.is_paused = True
        self.pauses += 1

    def resume(self):
        self.is_paused = False

    def _loop(self, function, pause):
        while not self.stopping.wait(pause):
            try:
                function()
            except psycopg2.Error:
                continue  # a server is away
            except Exception as error:  # the run shows it
                self.problems.append(f"{type(error).__name__} in the watch: {error}")
                return

    def _look(self):
        service, pauses = self.world.service, self.pauses
        # The slot first: both only grow, so nothing that happens between the two looks excuses a slot that is ahead.
        confirmed = self.world.confirmed()
        behind = self.world.source.value("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        row = service.row()
        if self.is_paused or self.pauses > pauses:
            return
        if confirmed is not None and row is not None and row[1] > 0:
            self.looks += 1
            if confirmed > row[1]:
                self.problems.append(f"I2: the slot is confirmed to {confirmed:X}, the destination's position is {row[1]:X}")
        self._sample(service, int(behind) - row[1] if row and row[1] else None)

    def _sample(self, service, behind):
        pid = service.process.pid
        try:
            descriptors = len(os.listdir(f"/proc/{pid}/fd"))
            status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
        except OSError:
            return
        resident = re.search(r"VmRSS:\s+(\d+) kB", status)
        if resident is None:
            return
        self.descriptors = max(self.descriptors, descriptors)
        self.samples.append((round(time.monotonic() - self.began, 2), int(resident.group(1)) << 10, descriptors, behind))
        if descriptors > DESCRIPTORS_MAX:
            self.problems.append(f"the service has {descriptors} file descriptors")

    def _verify(self):
        if not self.world.has_streamed or self.is_paused:
            return
        pauses = self.pauses
        try:
            done = self.world.verify("--wait", "20", seconds=VERIFY_SECONDS)
        except subprocess.TimeoutExpired:
            done = None
        if self.stopping.is_set() or self.pauses > pauses:
            return
        if done is None:
            self.problems.append(f"towline verify did not end within {VERIFY_SECONDS} s")
            return
        self.verdicts[done.returncode] = self.verdicts.get(done.returncode, 0) + 1
        if done.returncode == DIFFERENT:
            self.problems.append(f"towline verify says that the two differ: {short(done.stdout)}")
        elif done.returncode not in self.verdicts or done.returncode not in (0, 2):
            self.problems.append(f"towline verify ended with {done.returncode}: {done.stdout[-1000:]}{done.stderr[-2000:]}")


def short(report):
    """Of a report in JSON only the tables that differ."""
    try:
        tables = json.loads(report)["tables"]
    except (ValueError, KeyError):
        return report[-3000:]
    return json.dumps([table for table in tables if table.get("rows") or table.get("verdict") == "different"])[:4000]
