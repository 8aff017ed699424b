"""What is refused before any server is asked, with exit status 2; and passwords, which work by libpq's ways and are
seen nowhere."""
import pathlib
import urllib.parse

import pytest

from support import cluster as clusters
from support.compare import assert_equal
from support.waiting import wait_until

USAGE = [
    ("unknown YAML key", "sorce: x\n", [], ["sorce", "Did you mean"]),
    ("unknown YAML key within", "limits: {batch_rows: 5}\n", [], ["batch_rows"]),
    ("YAML key of a later version", "map: {}\n", [], ["map"]),
    ("not YAML", "a: [\n", [], ["task.yaml"]),
    ("value of a wrong type", "limits: {copy_workers: many}\n", [], ["copy_workers"]),
    ("value out of range", "retry: {connection: 5}\n", [], ["10"]),
    ("retry windows crossed", "retry: {connection: 20, other: 30}\n", [], ["other"]),
    ("unknown policy", "existing: replace\n", [], ["stop", "append", "truncate"]),
    ("bad URI", "", ["--source", "postgresql://host:port/db"], ["port"]),
    ("bad URI scheme", "", ["--source", "mysql://host/db"], ["source"]),
    ("bad option in a URI", "", ["--source", "postgresql://host/db?no_such_option=1"], ["no_such_option"]),
    ("unknown flag", "", ["--sourse", "x"], ["--sourse"]),
    ("bad pattern", "", ["--include", 'a.b.c'], ["a.b.c"]),
    ("unknown check", "accept: [source.wal_levle]\n", [], ["source.wal_levle", "Did you mean \"source.wal_level\"?"]),
]


@pytest.mark.parametrize("name, yaml, arguments, texts", USAGE,
                         ids=[case[0].replace(" ", "_") for case in USAGE])
@pytest.mark.parametrize("verb", ["check", "run"])
def test_usage_is_refused_with_2(towline, name, yaml, arguments, texts, verb):
    more = list(arguments)
    if yaml:
        file = towline.directory / "task.yaml"
        file.write_text(yaml)
        more += ["--config", str(file)]
    has_source = "--source" in more
    ends = [] if has_source else ["--source", towline.source_uri]
    done = towline.call(verb, *ends, "--destination", towline.destination_uri, *more, ends=False)
    assert done.returncode == 2, done.stdout + done.stderr
    for text in texts:
        assert text in done.stdout + done.stderr, done.stdout + done.stderr
    assert towline.destination.value("SELECT to_regnamespace('towline_state') IS NULL")


def test_missing_ends_are_refused_with_2(towline):
    for arguments in ([], ["--source", towline.source_uri], ["--destination", towline.destination_uri]):
        done = towline.call("run", *arguments, ends=False)
        assert done.returncode == 2 and ("source" in done.stderr or "destination" in done.stderr), done.stderr


# --- passwords

def processes_with(secret):
    """Command lines, of any process, in which the secret stands."""
    found = []
    for file in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes()
        except OSError:
            continue
        if secret.encode() in command:
            found.append(command)
    return found


@pytest.mark.parametrize("how", ["uri", "environment", "passfile"])
def test_passwords_work_by_libpqs_ways_and_show_in_no_process_list(towline_factory, new_cluster, how):
    """Also pg_dump needs it."""
    secret = f"s3cr3t {how} :\\'"
    closed = ("local all all trust", "host all postgres 127.0.0.1/32 trust",
              "host all all 127.0.0.1/32 scram-sha-256")
    ends = [new_cluster(name, hba=closed).create_database("app") for name in ("source", "destination")]
    for database in ends:
        database.execute(f"CREATE ROLE mover LOGIN SUPERUSER PASSWORD {clusters.quote_literal(secret)}")
    ends[0].script("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    options = {"user": "mover", **({"password": secret} if how == "uri" else {})}
    environment = {"PGPASSWORD": secret} if how == "environment" else {}
    service = towline_factory(*[database.uri(**options) for database in ends], environment=environment)
    if how == "passfile":
        file = service.directory / ".pgpass"
        file.write_text("127.0.0.1:*:app:mover:" + secret.replace("\\", "\\\\").replace(":", "\\:") + "\n")
        file.chmod(0o600)
        service.environment["PGPASSFILE"] = str(file)
    service.start()
    service.source_uri, service.destination_uri = ends[0].uri(), ends[1].uri()
    seen = []
    written = [secret, urllib.parse.quote(secret, safe="")]

    def is_wiped():
        command = pathlib.Path(f"/proc/{service.process.pid}/cmdline").read_bytes()
        return command and not any(text.encode() in command for text in written)
    # What the service was started with stands there until it has wiped it.
    wait_until(is_wiped, 30, "the password to go from the process list", explain=service.tail)
    while service.state() != "streaming":
        assert service.is_running, service.tail()
        seen += [command for text in written for command in processes_with(text)]
    assert not seen, seen
    assert_equal(ends[0].uri(), ends[1].uri())
    assert service.stop() == 0
    lines = "\n".join(line for line in service.output().splitlines() if not line.startswith("$ "))
    assert not any(text in lines for text in written)


def test_passwords_are_printed_nowhere(towline_factory, source, destination):
    secret = "s3cr3t-w0rd"
    service = towline_factory(source.uri(password=secret), destination.uri(password=secret))
    service.start().wait_for_state("streaming")
    command = pathlib.Path(f"/proc/{service.process.pid}/cmdline").read_bytes()
    assert secret.encode() not in command, "a password stands in the process list"
    done = service.call("check", "--json")
    assert secret not in done.stdout + done.stderr
    assert service.stop() == 0
    # Our own first line of the log is the command as it was typed.
    assert secret not in "\n".join(line for line in service.output().splitlines() if
                                   not line.startswith("$ "))
