"""Servers of other versions than the machine's: Debian's packages of other suites, unpacked, not installed.

A tree is what `dpkg-deb -x` makes of postgresql-N, its development files and the libraries that it needs,
with the programs changed (patchelf) so that they find those libraries. Where the suite's C library is
newer than ours, it comes along with its loader; where it is older, ours does. Nothing of the machine is changed
and root is not needed. PostgreSQL finds lib and share relative to its own program, so a tree needs no
settings, and `pg_config` of the tree names the tree.

What apt is asked goes through configuration, lists and cache of our own; mirror and proxy are the machine's.
"""
import functools
import os
import pathlib
import re
import shutil
import subprocess
import time

# The suite that has each version, and one beside it from which only the server's own packages come.
SUITES = {13: ("bullseye", None), 17: ("trixie", None), 18: ("sid", None), 19: ("sid", "experimental")}
IN_CI = (13, 19)  # the oldest and the newest; 15 is what all other tests run on
CODENAMES = {"experimental": "rc-buggy"}  # as pins know it
MIRROR = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# Of what postgresql-N depends on the libraries are wanted, without those that only JIT, PL/Perl and
# maintainer scripts need.
LIBRARY = re.compile(r"(lib|zlib)")
UNWANTED = re.compile(r"lib(llvm|z3|perl|systemd-shared|c-l10n|c-bin|c-gconv|pam-|semanage|sepol|apt|proc|.*-perl)")
OF_C_LIBRARY = re.compile(r"lib(c6|gcc-s1|stdc\+\+6|crypt1)$")
PAUSES = (5, 30, 120, 0)  # seconds after each attempt to get packages


class Unavailable(Exception):
    """The mirror does not have what a version needs."""


def command(*arguments, seconds=300, **options):
    text = re.sub(r" -o \S+", "", " ".join(map(str, arguments)))[:300]
    try:
        done = subprocess.run([str(part) for part in arguments], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, timeout=seconds, **options)
    except subprocess.TimeoutExpired as why:
        raise Unavailable(f"{text} was ended: it took longer than {seconds} s") from why
    if done.returncode != 0:
        raise Unavailable(f"{text} ended with {done.returncode}:\n{done.stdout[-1500:]}")
    return done.stdout


@functools.lru_cache(None)
def mirror():
    """The mirror from which this machine gets its Debian packages."""
    chosen = os.environ.get("TOWLINE_DEBIAN_MIRROR")
    if chosen:
        return chosen
    codename = re.search(r"VERSION_CODENAME=(\S+)", pathlib.Path("/etc/os-release").read_text(encoding="utf-8"))
    lines = subprocess.run(["apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)",
                            "Created-By: Packages"], text=True, stdout=subprocess.PIPE, check=False).stdout
    for line in lines.splitlines():
        release, component, uri = line.split(" ", 2)
        if codename and release == codename.group(1) and component == "main":
            return uri.rstrip("/")
    return MIRROR


def in_attempts(packages, action):
    """What `action` returns, with the lists read anew before each attempt: a mirror in the middle of an update
    has lists that do not fit its files, and a network has moments."""
    for pause in PAUSES:
        try:
            packages.update()
            return action()
        except Unavailable as why:
            failure = why
            if pause:
                print(f"matrix: trying again in {pause} s: {str(why)[-300:]}", flush=True)
                time.sleep(pause)
    raise failure


class Packages:
    """apt with its configuration in a directory of ours; kind: deb, or deb-src for sources."""

    def __init__(self, directory, suites, kind="deb"):
        self.directory, self.suites = directory, suites
        for part in ("state/lists/partial", "cache/archives/partial", "debs"):
            (directory / part).mkdir(parents=True, exist_ok=True)
        (directory / "status").write_text("")
        (directory / "sources.list").write_text("".join(
            f"{kind} [signed-by={KEYRING}] {mirror()} {suite} main\n" for suite in self.suites))

    def update(self):
        command("apt-get", *self.options(None), "update", "-q")

    def options(self, version):
        directory = self.directory
        values = {"Dir::Etc::sourcelist": directory / "sources.list", "Dir::Etc::sourceparts": "-",
                  "Dir::Etc::preferences": directory / "preferences", "Dir::Etc::preferencesparts": "-",
                  "Dir::State": directory / "state", "Dir::State::status": directory / "status",
                  "Dir::Cache": directory / "cache", "APT::Sandbox::User": "root", "Acquire::Languages": "none",
                  "Acquire::Retries": "3", "APT::Update::Post-Invoke-Success": "", "APT::Update::Error-Mode": "any",
                  "Acquire::Check-Valid-Until": "false",  # a mirror may be a snapshot of some day
                  "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false"}
        if version is not None:
            main, special = SUITES[version]
            pins = [("*", main, 990)]
            if special:
                pins.append((f"postgresql-{version} postgresql-client-{version} postgresql-server-dev-{version} "
                             "libpq5 libpq-dev", special, 995))
            pins += [("*", suite, -1) for suite in self.suites if suite != main]
            (directory / "preferences").write_text("\n".join(
                f"Package: {package}\nPin: release n={CODENAMES.get(suite, suite)}\nPin-Priority: {priority}\n"
                for package, suite, priority in pins))
        return [part for key, value in values.items() for part in ("-o", f"{key}={value}")]

    def download(self, version):
        """The .deb files that the version's server needs, and whether its C library is among them."""
        options = self.options(version)
        names = [f"postgresql-{version}", f"postgresql-client-{version}", "libc6"]
        found = command("apt-get", *options, "-y", "-s", "--no-install-recommends", "install", *names)
        chosen = dict(re.findall(r"^Inst (\S+) \((\S+) ", found, re.M))
        if f"postgresql-{version}" not in chosen:
            raise Unavailable(f"apt resolved no postgresql-{version}:\n{found[-1500:]}")
        newer = subprocess.run(["dpkg", "--compare-versions", chosen["libc6"], "gt", command(
            "dpkg-query", "-W", "-f", "${Version}", "libc6")], check=False).returncode == 0
        wanted = [*names[:2]] + [name for name in chosen if LIBRARY.match(name) and not UNWANTED.match(name) and
                                 (newer or not OF_C_LIBRARY.match(name))]
        wanted = [f"{name}={chosen[name]}" for name in dict.fromkeys(wanted)]
        target = self.directory / "debs"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        # The development files come without what they depend on (a whole clang).
        command("apt-get", *options, "download", "-q", *wanted, f"postgresql-server-dev-{version}", "libpq-dev",
                cwd=target)
        return sorted(target.glob("*.deb")), newer

    def download_source(self, name):
        """The archive of a source package as its authors published it."""
        target = self.directory / "sources"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        command("apt-get", *self.options(None), "source", "--download-only", "-q", name, cwd=target)
        return next(target.glob("*.orig.tar.*"))


def is_elf(file):
    with open(file, "rb") as content:
        return content.read(4) == b"\x7fELF"


def adapt(tree, version, with_loader):
    """Makes programs and libraries find the tree's libraries before the machine's."""
    libraries = [directory for directory in (*tree.glob("lib/*-linux-gnu*"), *tree.glob("usr/lib/*-linux-gnu*"))
                 if directory.is_dir() and not directory.is_symlink()]
    path = ":".join(map(str, libraries))
    programs = tree / "usr/lib/postgresql" / str(version)
    # JIT needs a compiler's library that did not come along; without this file the server does without.
    for file in programs.glob("lib/llvmjit.so"):
        file.unlink()
    loader = next(iter([*tree.glob("usr/lib/*/ld-linux*.so.*"), *tree.glob("lib/*/ld-linux*.so.*")]), None)
    for file in [*(programs / "bin").iterdir(), programs / "lib/pgxs/src/test/regress/pg_regress"]:
        if file.is_symlink() or not is_elf(file):
            continue
        # Of the old kind (DT_RPATH): it holds for what the libraries need in turn.
        command("patchelf", "--force-rpath", "--set-rpath", path, file)
        if with_loader:
            command("patchelf", "--set-interpreter", loader, file)
    relocate_pg_config(tree, programs / "bin/pg_config")


def relocate_pg_config(tree, program):
    """Debian's pg_config of 13 names /usr wherever it stands."""
    if pathlib.Path(command(program, "--pgxs").strip()).is_relative_to(tree):
        return
    packaged = program.with_name("pg_config.packaged")
    program.rename(packaged)
    program.write_text(f"""#!/bin/sh
set -e
out=$('{packaged}' "$@")
printf '%s\\n' "$out" | sed -E 's#/usr/(lib|share|include)/postgresql#{tree}&#g'
""")
    program.chmod(0o755)


def make_tree(directory, version, packages):
    """Unpacks and adapts; get() takes a tree that is not complete for none."""
    files, with_loader = in_attempts(packages, lambda: packages.download(version))
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for file in files:
        command("dpkg-deb", "-x", file, directory)
    adapt(directory, version, with_loader)
    command("chmod", "-R", "a+rX", directory)
    programs = programs_of(directory, version)
    for program in ("postgres", "initdb", "psql", "pg_dump", "pg_config"):
        command(programs / program, "--version", cwd="/")
    (directory / ".complete").write_text("".join(f"{file.name}\n" for file in files))
    shutil.rmtree(packages.directory)


def programs_of(tree, version):
    return tree / "usr/lib/postgresql" / str(version) / "bin"


def get(versions, parent, cache):
    """Version → directory of its programs, for versions of SUITES; trees in `parent` are kept and used again."""
    trees = {version: parent / f"pg{version}" for version in versions}
    missing = [version for version, tree in trees.items() if not (tree / ".complete").exists()]
    for version in missing:
        suites = [suite for suite in SUITES[version] if suite]
        print(f"matrix: getting postgresql-{version} from {mirror()} {' and '.join(suites)}", flush=True)
        try:
            make_tree(trees[version], version, Packages(cache / str(version), suites))
        except Unavailable as why:
            raise Unavailable(
                f"no server of version {version}: postgresql-{version}, postgresql-server-dev-{version} and their libraries "
                f"cannot be had from {' and '.join(suites)} at {mirror()} (TOWLINE_DEBIAN_MIRROR names another mirror).\n{why}"
            ) from why
    return {version: programs_of(tree, version) for version, tree in trees.items()}
