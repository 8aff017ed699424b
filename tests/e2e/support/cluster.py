"""Temporary PostgreSQL servers: own directory, own free port, ended by their own process id.

Each has its own initdb (half a second without fsync) instead of a copied data directory: copies share
a system identifier, by which Towline tells servers apart. When we are root the server runs as the user
TOWLINE_SERVER_USER. The programs come from TOWLINE_SERVER_BIN, the private copy of the server with the
extension in it that `./dev` prepares.
"""
import atexit
import functools
import os
import pathlib
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.parse

import psycopg2

from . import sessions
from .waiting import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[3]
TRUST = ("local all all trust", "local replication all trust",
         "host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust")


def environment(key):
    """A value that ./dev prepared: from the environment, else from the file that it leaves."""
    if key in os.environ:
        return os.environ[key]
    file = ROOT / "build" / "server.env"
    if file.exists():
        for line in file.read_text().splitlines():
            name, _, value = line.partition("=")
            if name == key:
                return value
    raise RuntimeError(f"{key} is not known: run ./dev test, or ./dev prepare once")


def server_bin():
    return pathlib.Path(environment("TOWLINE_SERVER_BIN"))


def server_user():
    """The user who runs servers, or None: we are not root and run them ourselves."""
    return environment("TOWLINE_SERVER_USER") if os.geteuid() == 0 else None


def as_server_user():
    """Keyword arguments for subprocess that switch to the servers' user."""
    user = server_user()
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def make_directory(directory, mode=0o700):
    """A directory that the servers' user owns."""
    directory.mkdir(parents=True, exist_ok=True)
    user = server_user()
    if user is not None:
        entry = pwd.getpwnam(user)
        os.chown(directory, entry.pw_uid, entry.pw_gid)
    directory.chmod(mode)
    return directory


def session_directory(prefix="towline-"):
    """A new directory that the servers' user may pass through."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir=os.environ.get("TOWLINE_TEST_DIR", "/tmp")))
    directory.chmod(0o755)
    return directory


def free_port():
    """Below the range from which the kernel takes ports for outgoing connections, so that a server
    that is restarted finds its port still free."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


@functools.lru_cache(None)
def known_settings(programs=None):
    """Names of the settings that the server knows; an unknown one in postgresql.conf stops it."""
    output = subprocess.run([(programs or server_bin()) / "postgres", "--describe-config"], check=True, text=True,
                            stdout=subprocess.PIPE, cwd="/", **as_server_user()).stdout
    return {line.split("\t", 1)[0] for line in output.splitlines()}


def quote_identifier(name):
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text):
    return "'" + text.replace("'", "''") + "'"


def in_use_to_false(action):
    """What action() returns; somebody may take what it ends, between its look and its end."""
    try:
        return action()
    except psycopg2.errors.ObjectInUse:
        return False


class Database:
    """One database of a cluster. Every call opens a connection of its own, so it works across
    restarts; use connect() for sessions."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name

    def uri(self, **options):
        return self.cluster.uri(self.name, **options)

    def connect(self, autocommit=True, **options):
        connection = psycopg2.connect(self.uri(**options))
        connection.autocommit = autocommit
        return connection

    def run(self, sql, parameters=None, **options):
        def work(cursor):
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []
        return sessions.use(self.uri(**options), work)

    def execute(self, sql, parameters=None, **options):
        """Runs statements; several in one string run as one transaction."""
        self.run(sql, parameters, **options)

    def script(self, *statements, **options):
        """Runs statements one by one, each in its own transaction, in one session."""
        connection = self.connect(**options)
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()

    def query(self, sql, parameters=None, **options):
        return self.run(sql, parameters, **options)

    def value(self, sql, parameters=None, **options):
        rows = self.run(sql, parameters, **options)
        return rows[0][0] if rows else None

    def psql(self, text, check=True):
        """Runs a script through psql and returns what it prints, unaligned."""
        done = subprocess.run([self.cluster.programs / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1",
                               "-d", self.uri(), "-f", "-"], input=text, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if check and done.returncode != 0:
            raise AssertionError(f"psql ended with {done.returncode}: {done.stdout[-2000:]}")
        return done.stdout

    def wait_for(self, sql, seconds=60, what=None):
        """Waits until the query's first value is true."""
        return wait_until(lambda: self.value(sql), seconds, what or sql)

    def drop(self):
        """Drops the database with its replication slots and prepared transactions."""
        postgres = Database(self.cluster, "postgres")
        for gid, in postgres.query("SELECT gid FROM pg_prepared_xacts WHERE database = %s", [self.name]):
            self.execute("ROLLBACK PREPARED %s", [gid])
        slots = "SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = %s"
        for slot, _ in postgres.query(slots, [self.name]):
            def gone(slot=slot):
                for name, pid in postgres.query(slots, [self.name]):
                    if name == slot:
                        if pid is not None:
                            postgres.query("SELECT pg_terminate_backend(%s)", [pid])
                            return False
                        postgres.query("SELECT pg_drop_replication_slot(%s)", [slot])
                return True
            wait_until(lambda: in_use_to_false(gone), 60, f"slot {slot} to be released")

        def dropped():
            postgres.execute(f"DROP DATABASE IF EXISTS {quote_identifier(self.name)} WITH (FORCE)")
            return True
        wait_until(lambda: in_use_to_false(dropped), 60, f"database {self.name} to be left",
                   explain=lambda: postgres.query("SELECT pid, backend_type, application_name, state FROM pg_stat_activity "
                                                  "WHERE datname = %s", [self.name]))


class Cluster:
    """settings: name → value for postgresql.conf. fsync: leave it on only for tests that take the
    machine's power away in thought; killing processes loses nothing that was written. programs: of
    another server than the usual one. environment: variables of the server's processes, besides ours."""

    def __init__(self, directory, name="server", settings=None, hba=TRUST, fsync=False, initdb=(), programs=None,
                 environment=None):
        self.name, self.programs = name, programs or server_bin()
        self.environment = dict(os.environ, **(environment or {}))
        self.directory = make_directory(pathlib.Path(directory) / name, 0o755)
        self.data = self.directory / "data"
        self.sockets = make_directory(self.directory / "run", 0o755)
        self.log = self.directory / "log"
        self.port = free_port()
        self.process = None
        self._run([self.programs / "initdb", "--no-sync", "-U", "postgres", "--auth=trust", "-E", "UTF8",
                   "--locale=C.UTF-8", "-D", self.data, *initdb])
        self.settings = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": str(self.sockets),
            "wal_level": "logical", "max_wal_senders": 20, "max_replication_slots": 20,
            "max_prepared_transactions": 50, "max_connections": 120, "max_worker_processes": 16,
            "shared_buffers": "64MB", "max_wal_size": "2GB", "fsync": "on" if fsync else "off",
            "log_line_prefix": "%m [%p] %a ", "log_min_messages": "warning", "ssl": "off",
            "timezone": "UTC", "logging_collector": "off",
        }
        if "output_plugin_libraries" in known_settings(self.programs):
            self.settings["output_plugin_libraries"] = "pgoutput, test_decoding, towline"
        self.settings.update(settings or {})
        self.set_hba(hba, reload=False)
        atexit.register(self.stop, "immediate")

    def _run(self, command):
        done = subprocess.run([str(part) for part in command], cwd=self.directory, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **as_server_user())
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stdout[-2000:]}")
        return done.stdout

    def _write(self, name, text):
        self.write_file(self.data / name, text.encode())

    def write_file(self, file, content):
        """A file of the server's user."""
        file.write_bytes(content)
        user = server_user()
        if user is not None:
            entry = pwd.getpwnam(user)
            os.chown(file, entry.pw_uid, entry.pw_gid)

    def _write_settings(self):
        lines = [f"{key} = '{str(value).replace(chr(39), chr(39) * 2)}'" for key, value in self.settings.items()]
        self._write("postgresql.auto.conf", "")
        self._write("postgresql.conf", "\n".join([*lines, f"port = {self.port}", ""]))

    # --- life

    def start(self, seconds=60):
        for attempt in range(5):
            self._write_settings()
            with open(self.log, "ab") as log:
                self.process = subprocess.Popen([str(self.programs / "postgres"), "-D", str(self.data)],
                                                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                                                env=self.environment, start_new_session=True, **as_server_user())
            wait_until(lambda: self.process.poll() is not None or self._answers(), seconds,
                       f"server {self.name} to start (log: {self.log})")
            if self.process.poll() is None:
                return self
            tail = self.log.read_text(errors="replace")[-2000:]
            if "Address already in use" not in tail or attempt == 4:
                raise RuntimeError(f"server {self.name} did not start:\n{tail}")
            self.port = free_port()
        return self

    def _answers(self):
        try:
            psycopg2.connect(self.uri("postgres", connect_timeout=2)).close()
            return True
        except psycopg2.OperationalError:
            return False

    def stop(self, mode="fast", seconds=60):
        """fast, smart, or immediate (as after a crash: no checkpoint, recovery at the next start)."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal({"smart": signal.SIGTERM, "fast": signal.SIGINT,
                                  "immediate": signal.SIGQUIT}[mode])
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)

    def restart(self, mode="fast"):
        self.stop(mode)
        return self.start()

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def configure(self, restart=False, **settings):
        """Changes settings (None: back to the default) and reloads or restarts."""
        for key, value in settings.items():
            if value is None:
                self.settings.pop(key, None)
            else:
                self.settings[key] = value
        if restart:
            self.restart()
        elif self.is_running:
            self._write_settings()
            self.reload()

    def set_hba(self, lines, reload=True):
        self._write("pg_hba.conf", "\n".join([*lines, ""]))
        if reload and self.is_running:
            self.reload()

    def reload(self):
        """Returns when the server has read its files again."""
        before = self.database().value("SELECT pg_conf_load_time()")
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.database().value("SELECT pg_conf_load_time()") != before, 60, "reload")

    # --- older states of the server, and its counters

    def save(self, label):
        """Keeps a copy of the stopped server's data, for restore(): a backup from before."""
        assert not self.is_running, "stop the server before saving it"
        shutil.rmtree(self.directory / f"saved-{label}", ignore_errors=True)
        subprocess.run(["cp", "-a", str(self.data), str(self.directory / f"saved-{label}")], check=True)

    def restore(self, label):
        assert not self.is_running, "stop the server before restoring it"
        shutil.rmtree(self.data)
        subprocess.run(["cp", "-a", str(self.directory / f"saved-{label}"), str(self.data)], check=True)

    def follow(self, primary):
        """Becomes a standby of another server: a copy of its data that follows its log once started."""
        assert not self.is_running, "stop the server first"
        shutil.rmtree(self.data)
        self._run([self.programs / "pg_basebackup", "-R", "-c", "fast", "-D", self.data, "-d", primary.uri()])
        self.settings["primary_conninfo"] = f"host=127.0.0.1 port={primary.port} user=postgres"

    def resetwal(self, *arguments):
        """pg_resetwal on the stopped server, for example to move the transaction counter."""
        assert not self.is_running, "stop the server first"
        self._run([self.programs / "pg_resetwal", *arguments, "-D", self.data])

    # --- use

    def uri(self, database="postgres", user="postgres", password=None, host="127.0.0.1", port=None, **options):
        quote = functools.partial(urllib.parse.quote, safe="")
        who = quote(user) + (":" + quote(password) if password is not None else "")
        query = "&".join(f"{key}={quote(str(value))}" for key, value in options.items())
        return (f"postgresql://{who}@{host}:{port or self.port}/{quote(database)}"
                + (f"?{query}" if query else ""))

    def database(self, name="postgres"):
        return Database(self, name)

    def create_database(self, name, options=""):
        self.database().execute(f"CREATE DATABASE {quote_identifier(name)} {options}")
        return Database(self, name)

    def remove(self):
        self.stop("immediate")
        shutil.rmtree(self.directory, ignore_errors=True)
