"""abseil built with ThreadSanitizer, for the service's build with it.

Debian's has locks that ThreadSanitizer does not see: it takes whatever they guard for a race. So this one is built from
Debian's source package of the same version, whose locks tell it what they do.
"""
import os
import pathlib
import shutil
import sys

from . import servers

SUITE = "bookworm"


def get(parent):
    """The directory it is installed in; made once and kept in `parent`."""
    tree, cache = parent / "abseil-tsan", parent / "abseil-tsan.cache"
    if (tree / ".complete").exists():
        return tree
    print("abseil: building it with ThreadSanitizer, which takes some minutes", file=sys.stderr, flush=True)
    for directory in (tree, cache):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
    packages = servers.Packages(cache, [SUITE], "deb-src")
    archive = servers.in_attempts(packages, lambda: packages.download_source(f"abseil/{SUITE}"))
    source = cache / "source"
    source.mkdir()
    servers.command("tar", "-xf", archive, "--strip-components=1", "-C", source)
    servers.command("cmake", "-S", source, "-B", cache / "build", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                    "-DCMAKE_CXX_STANDARD=20", "-DABSL_PROPAGATE_CXX_STD=ON", "-DBUILD_TESTING=OFF",
                    "-DCMAKE_CXX_FLAGS=-fsanitize=thread -O1 -g1", f"-DCMAKE_INSTALL_PREFIX={tree}")
    servers.command("cmake", "--build", cache / "build", f"-j{os.cpu_count()}", "--target", "install", seconds=3600)
    (tree / ".complete").write_text(f"{archive.name}\n")
    shutil.rmtree(cache)
    return tree


if __name__ == "__main__":
    try:
        print(get(pathlib.Path(sys.argv[1])))
    except servers.Unavailable as why:
        sys.exit(str(why))
