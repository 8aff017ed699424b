"""A disk that is full whenever a test wants: the server is told so by a library that stands before its calls.
A real small disk would need root.

    disk = FullDisk(directory)
    cluster = Cluster(..., environment=disk.environment)
    disk.fill()       # no table of the server can grow: ENOSPC
    disk.free()
"""
import pathlib
import subprocess

SOURCE = pathlib.Path(__file__).with_name("full_disk.c")


class FullDisk:
    def __init__(self, directory):
        directory.mkdir(mode=0o755)
        library, self.flag = directory / "full_disk.so", directory / "full"
        built = subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=False,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert built.returncode == 0, built.stdout
        library.chmod(0o755)
        directory.chmod(0o755)
        self.environment = {"LD_PRELOAD": str(library), "TOWLINE_TEST_FULL": str(self.flag)}

    def fill(self):
        self.flag.touch()

    def free(self):
        self.flag.unlink(missing_ok=True)
