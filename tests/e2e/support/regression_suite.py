"""PostgreSQL's own regression suite as a load: its SQL files, in the order of its schedule, one after another.

They come from Debian's source package of the server that the tests run on, at the time of the test, and stay in
build/; its library of C functions is built from the same source. What they print is not looked at: here they are
some ten thousand commands of every kind, many of which fail on purpose.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

from .cluster import ROOT, as_server_user, server_bin

sys.path.insert(0, str(ROOT / "tests"))
from matrix import servers  # noqa: E402 (found by the line above)

# The archive of a machine's security updates may lack their sources, so it is the suite's newest, whatever the server's minor version.
SUITES = {13: "bullseye", 15: "bookworm", 17: "trixie"}
# They wait for statistics or for a server's log of its own, look at catalogs only, or load for minutes; none makes a schema.
LEFT_OUT = {"infinite_recurse", "stats", "opr_sanity", "type_sanity", "misc_sanity", "oidjoins", "select_parallel",
            "write_parallel", "vacuum_parallel", "subscription", "publication", "maintain_every", "dbsize"}


def major():
    version = subprocess.run([server_bin() / "postgres", "--version"], check=True, text=True, cwd="/",
                             stdout=subprocess.PIPE).stdout
    return int(re.search(r"(\d+)", version).group(1))


def get():
    """The directory src/test/regress of the server's source, with regress.so built in it."""
    version = major()
    directory = ROOT / "build" / "regression" / str(version)
    regress = directory / "src/test/regress"
    if (directory / ".complete").exists():
        return regress
    packages = servers.Packages(ROOT / "build" / "regression" / "packages", [SUITES[version]], "deb-src")
    archive = servers.in_attempts(packages, lambda: packages.download_source(f"postgresql-{version}/{SUITES[version]}"))
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    servers.command("tar", "-xf", archive, "--strip-components=1", "-C", directory, "--wildcards", "*/src/test/regress/*")
    # The private copy of a server has no headers.
    include = next(directory for directory in (
        servers.command(programs / "pg_config", "--includedir-server").strip()
        for programs in (server_bin(), pathlib.Path(f"/usr/lib/postgresql/{version}/bin")))
        if (pathlib.Path(directory) / "postgres.h").exists())
    servers.command("gcc", "-O1", "-w", "-shared", "-fPIC", f"-I{include}", "-o", regress / "regress.so", regress / "regress.c")
    shutil.rmtree(ROOT / "build" / "regression" / "packages")
    (directory / ".complete").write_text(f"{archive.name}\n")
    return regress


COPY_FROM_STDIN = re.compile(r"copy\b.*\bfrom\s+stdin\b[^\\]*;", re.I)
NO_DATA = re.compile(r"(--( |$)|$|(SET|GRANT|ROLLBACK|copy)\b)", re.I)


def with_ends_of_data(script):
    """Each COPY FROM STDIN ends with its mark, also one that fails and has no rows: newer releases of psql pass over
    all up to the mark then, and the archive of the suite may be older than the server."""
    lines = script.split("\n")
    return "\n".join(line + "\n\\." if COPY_FROM_STDIN.match(line) and NO_DATA.match(behind) else line
                     for line, behind in zip(lines, [*lines[1:], ""]))


DROPS = re.compile(rb"\s*drop ", re.I)
ENDS = re.compile(rb"(;\s*(--.*)?|^\s*|^--.*)$")


class Suite:
    """A copy in `directory` that the servers' user may read and write, as some files do."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        source = get()
        for part in ("sql", "data"):
            shutil.copytree(source / part, self.directory / part)
        (self.directory / "results").mkdir()
        libraries = self.directory / "lib"
        libraries.mkdir()
        shutil.copy(source / "regress.so", libraries)
        packaged = pathlib.Path(servers.command(server_bin() / "pg_config", "--pkglibdir").strip())
        for name in ("autoinc.so", "refint.so"):
            shutil.copy(packaged / name, libraries)
        for file in (self.directory / "sql").glob("*.sql"):
            script = file.read_text(encoding="utf-8", errors="surrogateescape")
            file.write_text(with_ends_of_data(script), encoding="utf-8", errors="surrogateescape")
        servers.command("chmod", "-R", "a+rwX", self.directory)
        schedule = (source / "parallel_schedule").read_text(encoding="utf-8")
        every = [name for line in re.findall(r"^test: (.*)$", schedule, re.M) for name in line.split()
                 if name not in LEFT_OUT and (self.directory / "sql" / f"{name}.sql").exists()]
        # Some of them, in the order of the schedule: what most of the others need comes before them.
        chosen = os.environ.get("TOWLINE_REGRESSION_FILES", "").split()
        self.files = [name for name in every if not chosen or name in (*chosen, "test_setup", "create_index")]

    def roles(self):
        """Names of the roles that the files make: roles do not travel with a database."""
        found = set()
        for name in self.files:
            text = (self.directory / "sql" / f"{name}.sql").read_text(encoding="utf-8", errors="replace")
            found.update(re.findall(r"(?im)^\s*CREATE\s+(?:ROLE|USER|GROUP)\s+(\w+)", text))
        return sorted(role for role in found if role.startswith("regress"))

    def prepare(self, database):
        """As pg_regress prepares it."""
        for setting in ("lc_messages TO 'C'", "lc_monetary TO 'C'", "lc_numeric TO 'C'", "lc_time TO 'C'",
                        "bytea_output TO 'hex'", "timezone_abbreviations TO 'Default'"):
            database.execute(f'ALTER DATABASE "{database.name}" SET {setting}')

    def run(self, database, name, seconds=300):
        """One file. Errors in it are part of it."""
        with open(self.directory / "sql" / f"{name}.sql", "rb") as script, self.psql(database, name, script) as psql:
            psql.wait(seconds)

    def run_in_steps(self, database, name, between, seconds=20):
        """The same, with between(line) before the first of several lines that drop something."""
        lines = (self.directory / "sql" / f"{name}.sql").read_bytes().splitlines(keepends=True)
        mark = self.directory / "results" / "reached"
        with self.psql(database, name, subprocess.PIPE) as psql:
            for number, line in enumerate(lines):
                is_border = number > 0 and DROPS.match(line) and not DROPS.match(lines[number - 1]) and ENDS.search(lines[number - 1])
                if is_border:
                    mark.unlink(missing_ok=True)
                    psql.stdin.write(f"\\! touch {mark}\n".encode())
                    psql.stdin.flush()
                    end = time.monotonic() + seconds
                    while not mark.exists() and time.monotonic() < end:
                        time.sleep(0.01)
                    if not database.query("SELECT FROM pg_stat_activity WHERE application_name = 'psql' AND state LIKE 'idle in%'"):
                        between(f"{name}.sql:{number + 1}: {line.decode(errors='replace').strip()}")
                psql.stdin.write(line)
            psql.stdin.close()
            psql.wait(300)

    def psql(self, database, name, script):
        environment = dict(os.environ, PG_ABS_SRCDIR=str(self.directory), PG_ABS_BUILDDIR=str(self.directory),
                           PG_LIBDIR=str(self.directory / "lib"), PG_DLSUFFIX=".so", PGTZ="PST8PDT",
                           PGDATESTYLE="Postgres, MDY", PGOPTIONS="-c intervalstyle=postgres_verbose", PGUSER="postgres",
                           PGHOST="127.0.0.1", PGPORT=str(database.cluster.port), PGDATABASE=database.name)
        with open(self.directory / "results" / f"{name}.out", "wb") as out:
            return subprocess.Popen([server_bin() / "psql", "-X", "-a", "-q", "-d", database.name, "-v", "HIDE_TABLEAM=on",
                                     "-v", "HIDE_TOAST_COMPRESSION=on"], stdin=script, stdout=out, stderr=subprocess.STDOUT,
                                    env=environment, cwd=self.directory, **as_server_user())


HEADER = re.compile(r"^-- Name: (.*?); Type: (.*?); Schema: (.*?); Owner: .*$", re.M)


def dumped_objects(database):
    """(type, schema, name) → statements, of what pg_dump writes of the schema."""
    done = subprocess.run([server_bin() / "pg_dump", "--schema-only", "--no-owner", "--no-privileges", "--no-tablespaces",
                           "--no-publications", "--no-subscriptions", "--no-comments", "--exclude-schema=towline_state",
                           "--exclude-schema=towline", "--exclude-extension=towline", "-d", database.uri()]
                          if major() >= 18 else
                          [server_bin() / "pg_dump", "--schema-only", "--no-owner", "--no-privileges", "--no-tablespaces",
                           "--no-publications", "--no-subscriptions", "--exclude-schema=towline_state",
                           "--exclude-schema=towline", "-d", database.uri()],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise AssertionError(f"pg_dump ended with {done.returncode}: {done.stderr[-2000:]}")
    objects = {}
    parts = HEADER.split(done.stdout)
    for name, kind, schema, text in zip(parts[1::4], parts[2::4], parts[3::4], parts[4::4]):
        if "towline" in (name, schema) or name == "EXTENSION towline" or name.startswith("towline_ddl_") or kind == "EVENT TRIGGER":
            continue
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("--", "SET ", "\\"))]
        objects.setdefault((kind, schema, name), []).extend(lines)
    return objects
