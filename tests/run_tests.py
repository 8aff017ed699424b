"""What `./dev test` runs: groups of tests, one line per group with its time, then the totals.

A group that ran nothing is a failure: a suite that silently found no test looks like one that passed.
So is a group that ended badly without naming a failed test (a crash, a time-out, an import error).
Budgets are what a group may take on two cores; passing one is printed, and at LIMIT times the budget
the group is ended. Machines differ by a factor of four: where CI is set, no group begins that would take the
run past what CI grants, and what did not run is named at the end.
"""
import argparse
import concurrent.futures
import contextlib
import functools
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree

from matrix import sanitized, servers

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "build" / "test-results"
BUDGET = {"build": 600, "lint": 30, "unit": 60, "fuzz": 60, "regress": 150, "support": 150, "smoke": 60,
          "matrix": 400, "sanitized": 900, "kills": 420, "heal": 300, "beside": 240, "bulk": 240, "errors": 240,
          "network": 240, "verify": 240, "types": 120, "regression": 1500}
BUDGET_OTHER = 180
BUDGET_ALL = 2400
LIMIT = 6
# Of the 5400 seconds that CI has for a run; what has begun by then, the smallest groups, has ten minutes to end.
CI_BEGIN_SECONDS = 4600
CI_END_SECONDS = 5200
FUZZED = ("table_patterns", "wire_reader")  # the plugin's
SANITIZERS = ("asan", "tsan")
NO_TESTS = 5  # pytest's exit status
MATRIX_FILES = ("test_matrix", "test_standby")  # which need servers of other versions
# Groups of outside tests that run at once: each waits for servers, commits and deadlines much of its time.
AT_ONCE = 3
PRINTING = threading.Lock()
RUNNING = set()  # child processes, for an interrupt


def say(text):
    """A print that groups running side by side do not break into."""
    with PRINTING:
        print(text, flush=True)


class Outcome:
    def __init__(self, group):
        self.group, self.seconds = group, 0.0
        self.passed = self.failed = self.skipped = 0
        self.note = ""

    def line(self):
        budget = BUDGET.get(self.group, BUDGET_OTHER)
        text = (f"{self.group:<16} {self.seconds:7.1f} s of {budget:4d}   {self.passed:5d} passed "
                f"{self.failed:4d} failed")
        if self.skipped:
            text += f" {self.skipped:4d} skipped"
        if self.seconds > budget:
            text += "   over its budget"
        return text + (f"   {self.note}" if self.note else "")


def run(command, seconds, env=None, capture=False):
    """Runs it in a process group of its own, so that a time-out ends its children too.

    Returns (exit status or None for a time-out, captured text); captured text is printed at the end, in one piece."""
    process = subprocess.Popen(command, cwd=ROOT, env=env, start_new_session=True, text=True,
                               stdout=subprocess.PIPE if capture else None,
                               stderr=subprocess.STDOUT if capture else None)
    RUNNING.add(process)
    try:
        text, _ = process.communicate(timeout=seconds)
        status = process.returncode
    except subprocess.TimeoutExpired:
        status, text = None, ""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                text, _ = process.communicate(timeout=20)
                break
            except (subprocess.TimeoutExpired, ProcessLookupError):
                continue
    finally:
        RUNNING.discard(process)
    if capture and text:
        say(text.rstrip("\n"))
    return status, text or ""


def read_junit(file, outcome):
    """Adds a JUnit file's cases; a case counts once, and as failed if any of its phases failed."""
    worst = {}
    if file.exists():
        for number, case in enumerate(ElementTree.parse(file).iter("testcase")):
            name = (case.get("classname"), case.get("name") or number)
            kind = 0
            if case.find("failure") is not None or case.find("error") is not None:
                kind = 2
            elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
                kind = 1
            worst[name] = max(worst.get(name, 0), kind)
    for kind in worst.values():
        outcome.passed += kind == 0
        outcome.skipped += kind == 1
        outcome.failed += kind == 2


class Runner:
    def __init__(self, options):
        self.options = options
        self.preset = options.preset
        self.directory = ROOT / ("build" if self.preset == "dev" else f"build-{self.preset}")
        self.env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", ASAN_OPTIONS="detect_leaks=1",
                        TSAN_OPTIONS=f"halt_on_error=1:second_deadlock_stack=1:suppressions={ROOT}/tests/tsan.supp")
        self.outcomes = []
        self.side_by_side = False
        self.not_run = []
        self.started = time.monotonic()

    def group(self, name, function):
        seconds = LIMIT * BUDGET.get(name, BUDGET_OTHER)
        start = time.monotonic()
        if os.environ.get("CI"):
            if start - self.started > CI_BEGIN_SECONDS:
                self.not_run.append(name)
                return True
            seconds = min(seconds, CI_END_SECONDS - (start - self.started))
        say(f"\n== {name}")
        outcome = Outcome(name)
        status = function(outcome, seconds)
        outcome.seconds = time.monotonic() - start
        if status is None:
            outcome.note = "ended: took too long"
            outcome.failed += 1
        elif outcome.passed + outcome.failed == 0:
            outcome.note = "nothing ran"
            outcome.failed = 1
        elif status != 0 and outcome.failed == 0:
            outcome.note = f"exit status {status}"
            outcome.failed = 1
        self.outcomes.append(outcome)
        say(outcome.line())
        return outcome.failed == 0

    def groups_at_once(self, functions):
        """Runs them AT_ONCE at a time, in their order; what each prints comes when it ends."""
        self.side_by_side = len(functions) > 1
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                for future in [pool.submit(function) for function in functions]:
                    future.result()
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        self.side_by_side = False

    def build(self, outcome, seconds):
        # Build output goes to stderr; what comes on stdout is the environment that tests need.
        process = subprocess.run([str(ROOT / "dev"), "prepare", self.preset], cwd=ROOT, text=True,
                                 stdout=subprocess.PIPE, timeout=seconds, check=False)
        for line in process.stdout.splitlines():
            key, _, value = line.partition("=")
            self.env[key] = value
        if process.returncode == 0:
            outcome.passed = 1
        return process.returncode

    def fuzz(self, outcome, seconds):
        # The service's targets take minutes to build for the fuzzer: their corpora are among the unit tests.
        command = [str(ROOT / "tests/fuzz/run"), "--seconds", "5", *FUZZED]
        status, text = run(command, seconds, self.env, capture=True)
        outcome.passed = len(re.findall(r"^PASS ", text, re.M))
        outcome.failed = len(re.findall(r"^FAIL ", text, re.M))
        return status

    def lint(self, outcome, seconds):
        status, text = run([str(ROOT / "tests/lint/run")], seconds, self.env, capture=True)
        outcome.passed = len(re.findall(r"^PASS ", text, re.M))
        outcome.failed = len(re.findall(r"^FAIL ", text, re.M))
        return status

    def unit(self, outcome, seconds, pattern=None):
        """All: each program as a whole, as a process for each of two thousand tests takes ten times as long."""
        if pattern:
            return self.ctest(outcome, seconds, ["-R", pattern])
        programs = sorted((self.directory / "bin").glob("unit_*"))
        end = time.monotonic() + seconds

        def one(program):
            file = RESULTS / f"{program.name}.xml"
            file.unlink(missing_ok=True)
            status, text = run([str(program), "--gtest_brief=1", f"--gtest_output=xml:{file}"], max(1, end - time.monotonic()),
                               self.env, capture=True)
            return file, status, text
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            ended = list(pool.map(one, programs))
        for file, status, _ in ended:
            failed = outcome.failed
            read_junit(file, outcome)
            # A crash leaves no file.
            outcome.failed += status not in (0, None) and outcome.failed == failed
        statuses = [status for _, status, _ in ended]
        rest = self.ctest(outcome, max(1, end - time.monotonic()), ["-LE", "unit"])
        return None if None in statuses else rest or next((status for status in statuses if status), 0)

    def ctest(self, outcome, seconds, chosen):
        file = RESULTS / "unit.xml"
        file.unlink(missing_ok=True)
        status, _ = run(["ctest", "--test-dir", str(self.directory), "-j", str(os.cpu_count()), "--output-on-failure",
                         "--progress", "--output-junit", str(file), *chosen], seconds, self.env)
        read_junit(file, outcome)
        return status

    def regress(self, outcome, seconds, programs=None, env=None):
        """pg_regress on a server in which the extension is installed (default: the usual one)."""
        script = ROOT / "tests/regress/run.sh"
        # From a copy: the servers' user cannot read a checkout under /root.
        with tempfile.TemporaryDirectory(prefix="towline-regress-") as directory:
            os.chmod(directory, 0o755)
            copy = pathlib.Path(directory) / "regress"
            shutil.copytree(script.parent, copy)
            status, text = run([str(copy / "run.sh"), str(programs or self.env["TOWLINE_SERVER_BIN"])], seconds,
                               env or self.env, capture=True)
        # Up to 15 pg_regress says "test name ... ok", later "ok 1 - name".
        failed = len(re.findall(r"\.\.\. (?:FAILED|failed)|^not ok ", text, re.M))
        outcome.passed += len(re.findall(r"\.\.\. ok\b|^ok ", text, re.M))
        outcome.failed += failed if failed or status == 0 else 1
        return status

    def build_plugin(self, programs, directory, *more, env=None):
        """Builds the plugin with warnings as errors and installs it into that server's tree."""
        command = ["make", "--no-print-directory", "-s", "-j", str(os.cpu_count()), "-f", "Makefile.pgxs",
                   f"PG_CONFIG={programs / 'pg_config'}", f"BUILD_DIR={directory}", *more, "install"]
        return run(command, 600, env or self.env, capture=self.side_by_side)[0]

    def matrix(self, outcome, seconds):
        """Other versions of the server: the plugin built for each, pg_regress, the whole way from and to it."""
        usual = pathlib.Path(self.env["TOWLINE_SERVER_BIN"])
        named = os.environ.get("TOWLINE_MATRIX_VERSIONS", "").split()
        found, wanted = {}, []
        for part in named or map(str, sorted(servers.SUITES) if self.options.all else servers.IN_CI):
            version, _, programs = part.partition("=")
            if programs:
                found[int(version)] = pathlib.Path(programs)
            else:
                wanted.append(int(version))
        try:
            found.update(servers.get(wanted, usual.parents[3].parent, ROOT / "build" / "matrix"))
        except servers.Unavailable as why:
            say(f"{why}\nTOWLINE_MATRIX_VERSIONS names the versions to run, for example '13 17'.")
            return 1
        status = 0
        for version, programs in sorted(found.items()):
            say(f"-- server {version}")
            if self.build_plugin(programs, f"build/plugin/pg{version}", "TOWLINE_CXXFLAGS=-Werror") != 0:
                outcome.failed += 1
                del found[version]
                continue
            lint = [str(ROOT / "tests/lint/exports"), f"build/plugin/pg{version}/towline.so"]
            outcome.failed += run(lint, seconds, capture=True)[0] != 0
            status = self.regress(outcome, seconds, programs) or status
        env = dict(self.env, TOWLINE_MATRIX=" ".join(f"{version}={programs}" for version, programs in found.items()))
        return self.pytest(outcome, seconds, [f"tests/e2e/{name}.py" for name in MATRIX_FILES], env) or status

    def sanitized(self, outcome, seconds):
        """pg_regress on a server built with assertions and sanitizers, and the plugin with it."""
        parent = pathlib.Path(self.env["TOWLINE_SERVER_BIN"]).parents[3].parent
        try:
            programs = sanitized.get(parent, ROOT / "build" / "sanitized")
        except servers.Unavailable as why:
            say(str(why))
            return 1
        env = dict(self.env, **sanitized.ENVIRONMENT)
        if self.build_plugin(programs, "build/plugin-sanitized", env=env) != 0:
            outcome.failed += 1
            return 1
        say(f"TOWLINE_SERVER_BIN={programs} ASAN_OPTIONS={sanitized.ENVIRONMENT['ASAN_OPTIONS']} runs other tests on it")
        return self.regress(outcome, seconds, programs, env)

    def pytest(self, outcome, seconds, arguments, env=None):
        file = RESULTS / f"{outcome.group.replace('/', '_')}.xml"
        file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c",
                   "tests/e2e/pytest.ini", "--rootdir", "tests/e2e", "-o", f"junit_suite_name={outcome.group}",
                   f"--junit-xml={file}", f"--towline-binary={self.directory / 'bin' / 'towline'}"]
        if self.preset in SANITIZERS:
            command.append("--no-memory-limit")
        if self.options.seed is not None:
            command += [f"--seed={self.options.seed}"]
        if self.options.size is not None:
            command += [f"--size={self.options.size}"]
        directory = pathlib.Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
        directory.chmod(0o755)
        status, _ = run(command + arguments, seconds, dict(env or self.env, TOWLINE_TEST_DIR=str(directory)),
                        capture=self.side_by_side)
        end_servers(directory)
        with contextlib.suppress(OSError):
            directory.rmdir()  # what failed tests keep stays
        read_junit(file, outcome)
        return status

    def regression(self, outcome, seconds):
        """PostgreSQL's own suite as a load; what differs is in build/test-results/regression.txt."""
        return self.pytest(outcome, seconds, ["tests/e2e/test_regression.py"])

    def files(self, name, files):
        long = [] if self.options.long else ["-m", "not long"]
        return self.group(name, lambda outcome, seconds: self.pytest(outcome, seconds, long + files))

    def name(self, name):
        """Unit and outside tests whose name holds `name`; either may have none, not both."""
        def both(outcome, seconds):
            unit_status = 0
            if "/" not in name and ".py" not in name:
                unit_status = self.unit(outcome, seconds, pattern=re.escape(name))
            arguments = [name] if ".py" in name else ["-k", name, "tests/e2e"]
            status = self.pytest(outcome, seconds, arguments)
            if unit_status is None or status is None:
                return None
            return unit_status or (0 if status == NO_TESTS else status)
        return self.group(name, both)

    def report(self):
        total = time.monotonic() - self.started
        print("\n" + "\n".join(outcome.line() for outcome in self.outcomes))
        print(f"{'all':<16} {total:7.1f} s of {BUDGET_ALL:4d}")
        if self.not_run:
            print(f"NOT RUN, because CI's time is over on this slow machine: {' '.join(self.not_run)}. "
                  "./dev test GROUP runs one.")
        passed = sum(outcome.passed for outcome in self.outcomes)
        failed = sum(outcome.failed for outcome in self.outcomes)
        skipped = f", {len(self.not_run)} skipped" if self.not_run else ""
        print(f"{passed} passed, {failed} failed{skipped}", flush=True)
        return 0 if failed == 0 and passed > 0 else 1


def end_servers(directory):
    """pytest stops its servers; this is for the case that it was killed."""
    for file in directory.glob("*/*/*/data/postmaster.pid"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid, data = file.read_text().splitlines()[:2]
            if os.readlink(f"/proc/{int(pid)}/cwd") == data:
                os.kill(int(pid), signal.SIGQUIT)


def outside_groups():
    """Group name → files: one for the support package's own tests, one per file of tests/e2e."""
    groups = {"support": ["tests/e2e/support"]}
    # The smoke test first, then what takes longest, so that the end is not one group alone.
    def order(file):
        return file.stem != "test_smoke", -BUDGET.get(file.stem[len("test_"):], BUDGET_OTHER), file.stem
    files = sorted((file for file in (ROOT / "tests/e2e").glob("test_*.py") if file.stem not in (*MATRIX_FILES, "test_regression")), key=order)
    for file in files:
        groups[file.stem[len("test_"):]] = [str(file.relative_to(ROOT))]
    return groups


def main():
    outside = outside_groups()
    parser = argparse.ArgumentParser(prog="./dev test")
    parser.add_argument("names", nargs="*", metavar="GROUP|NAME", help="asan and tsan choose a sanitizer build")
    parser.add_argument("--list", action="store_true", help="list the groups")
    parser.add_argument("--seed", type=int, help="seed of the random tests")
    parser.add_argument("--size", type=int, help="multiplies the amounts of data")
    parser.add_argument("--all", action="store_true", help="matrix: all versions, not only those of CI")
    parser.add_argument("--long", action="store_true", help="also the tests marked long")
    options = parser.parse_args()
    known = ["build", "lint", "unit", "fuzz", "regress", "matrix", "sanitized", "regression", *outside]
    if options.list:
        print("\n".join([*known, "e2e = " + " ".join(outside)]))
        return 0
    options.preset = next((name for name in options.names if name in SANITIZERS), "dev")
    names = [name for name in options.names if name not in SANITIZERS]
    if not names:
        usual = [name for name in known if name not in ("sanitized", "regression")]  # a server is built, minutes
        names = usual if options.preset == "dev" else ["unit", "smoke", *(["kills"] if "kills" in outside else [])]
    names = [part for name in names for part in (outside if name == "e2e" else [name])]

    RESULTS.mkdir(parents=True, exist_ok=True)
    runner = Runner(options)
    try:
        run_groups(runner, names, outside)
    except KeyboardInterrupt:
        for process in list(RUNNING):
            os.killpg(process.pid, signal.SIGINT)
        raise
    return runner.report()


def run_groups(runner, names, outside):
    # Without a good build nothing else says anything: old programs must not pass for new ones.
    if runner.group("build", runner.build):
        functions = []
        for name in names:
            if name == "build":
                continue
            if name in ("lint", "unit", "fuzz", "regress", "sanitized"):
                runner.group(name, getattr(runner, name))
            elif name == "regression":
                runner.group(name, runner.regression)
            elif name == "matrix":
                functions.append(functools.partial(runner.group, name, runner.matrix))
            elif name in outside:
                functions.append(functools.partial(runner.files, name, outside[name]))
            else:
                runner.name(name)
        runner.groups_at_once(functions)


if __name__ == "__main__":
    sys.exit(main())
