"""A server with its own assertions and with AddressSanitizer and UBSan, for what the plugin does inside it.

Debian's server hangs at start when the sanitizers' runtime is preloaded, so this one is built from
Debian's source package of the server that all tests run on. Only what the tests need is built: nothing optional. Assertions (--enable-cassert) also make it check its memory contexts at every reset and
overwrite what is freed, which finds what AddressSanitizer cannot see inside a context.
"""
import os
import shutil

from . import servers

VERSION, SUITE = 15, "bookworm"
# Quick enough, and stacks can still be read.
FLAGS = "-O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
# The server releases what it holds by ending; its check of the stack's depth does not know fake stacks.
ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0:abort_on_error=1",
               "UBSAN_OPTIONS": "print_stacktrace=1"}
PARTS = ("include", "common", "port", "timezone", "interfaces/libpq", "fe_utils", "backend",
         "backend/utils/mb/conversion_procs", "backend/snowball", "backend/replication/libpqwalreceiver",
         "backend/replication/pgoutput", "pl/plpgsql/src", "bin/initdb", "bin/pg_ctl", "bin/pg_config", "bin/psql",
         "bin/pg_dump", "test/regress", "test/isolation")


def get(parent, cache):
    """The directory of its programs; made once and kept in `parent`."""
    tree = parent / f"sanitized{VERSION}"
    programs = tree / "bin"
    if (tree / ".complete").exists():
        return programs
    print(f"sanitized: building a server of version {VERSION} with sanitizers, which takes some minutes", flush=True)
    packages = servers.Packages(cache, [SUITE], "deb-src")
    archive = servers.in_attempts(packages, lambda: packages.download_source(f"postgresql-{VERSION}/{SUITE}"))
    source, objects = cache / "source", cache / "objects"
    for directory in (source, objects, tree):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
    environment = {**os.environ, **ENVIRONMENT}
    servers.command("tar", "-xf", archive, "--strip-components=1", "-C", source)
    servers.command(source / "configure", "-q", f"--prefix={tree}", "--enable-cassert", "--without-readline",
                    "--without-zlib", "--without-icu", "--with-lz4", "--with-zstd", "--with-libxml", "CC=ccache gcc",
                    "CXX=ccache g++", f"CFLAGS={FLAGS}", f"CXXFLAGS={FLAGS}",
                    "LDFLAGS=-fsanitize=address,undefined", cwd=objects, env=environment)
    make = ["make", "-s", f"-j{os.cpu_count()}", "-C"]
    servers.command(*make, objects / "src/backend", "generated-headers", env=environment)
    # What extensions are built with.
    servers.command(*make, objects / "src/makefiles", "install", env=environment)
    servers.command(*make, objects / "src", "install-local", env=environment)
    servers.command(*make, objects / "config", "install", env=environment)
    for part in PARTS:
        servers.command(*make, objects / "src" / part, "install", seconds=3600, env=environment)
    servers.command(*make, objects / "contrib/test_decoding", "install", env=environment)
    servers.command("chmod", "-R", "a+rX", tree)
    (tree / ".complete").write_text(f"{archive.name}\n")
    shutil.rmtree(cache)
    return programs
