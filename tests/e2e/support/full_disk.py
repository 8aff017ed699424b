"""A disk that is full whenever a test wants: the server is told so by a library that stands before its calls.
A real small disk would need root.

    disk = FullDisk(directory)
    cluster = Cluster(..., environment=disk.environment)
    disk.fill()       # no table of the server can grow: ENOSPC
    disk.free()
"""
import pathlib

from . import preload

SOURCE = pathlib.Path(__file__).with_name("full_disk.c")


class FullDisk:
    def __init__(self, directory):
        library, self.flag = preload.build(SOURCE, directory), directory / "full"
        self.environment = preload.environment(library, TOWLINE_TEST_FULL=str(self.flag))

    def fill(self):
        self.flag.touch()

    def free(self):
        self.flag.unlink(missing_ok=True)
