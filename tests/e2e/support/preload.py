"""Libraries of ours that stand before the calls of a process: built here, given to it by its environment."""
import os
import subprocess


def build(source, directory):
    """The library of a C file; the servers' user can read it."""
    directory.mkdir(mode=0o755)
    directory.chmod(0o755)
    library = directory / f"{source.stem}.so"
    built = subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source, "-ldl"], check=False,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert built.returncode == 0, built.stdout
    library.chmod(0o755)
    return library


def environment(library, **variables):
    # A program with AddressSanitizer in it wants to be the first of all libraries.
    sanitizer = ":".join(filter(None, (os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0")))
    return {"LD_PRELOAD": str(library), "ASAN_OPTIONS": sanitizer, **variables}


def together(*environments):
    """One environment of several."""
    libraries = " ".join(each["LD_PRELOAD"] for each in environments)
    return {key: value for each in environments for key, value in each.items()} | {"LD_PRELOAD": libraries}
