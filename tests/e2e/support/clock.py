"""A clock that a test sets: of the processes that are started with it, and of no others. The system's own would need
root, and go wrong for everybody.

    clock = Clock(directory)
    service = Towline(..., environment=clock.environment)
    clock.jump(-3600)        # set back by an hour
    clock.set_ahead(0)       # right again

A process looks at eight bytes that it shares with the test, which costs it nothing. Only the time of day moves, as on a
real machine: the steady clock goes on, and waits that end at a time of day end by the clock that was set.
"""
import os
import pathlib
import struct

from . import preload

SOURCE = pathlib.Path(__file__).with_name("clock.c")


class Clock:
    def __init__(self, directory):
        library, file = preload.build(SOURCE, directory), directory / "ahead"
        self.file = os.open(file, os.O_WRONLY | os.O_CREAT, 0o644)
        os.fchmod(self.file, 0o644)
        self.environment = preload.environment(library, TOWLINE_TEST_CLOCK=str(file))
        self.set_ahead(0)

    def set_ahead(self, seconds):
        """Of the machine's; negative: behind it."""
        self.ahead = seconds
        os.pwrite(self.file, struct.pack("=q", int(seconds * 10**9)), 0)

    def jump(self, seconds):
        self.set_ahead(self.ahead + seconds)
