"""The `kube` binary: the whole of Kubernetes built from its Go modules, once for each state of the sources."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.cluster.console import SAY_EVERY_SECONDS, ClusterError, say
from tools.cluster.layout import cache

SOURCES = Path(__file__).parent / "kube"
VERSION = "v1.35.4"
BUILD_SECONDS_MAX = 1800
PACKAGES_ABOUT = 2400
"""How many packages a cold build compiles; for the progress line only."""


def ensure_kube() -> Path:
    """Return the path of the built binary; build it where these sources were not built before."""
    found = built()
    if found is not None:
        return found
    binary = _place()
    with locked(cache() / "kube.lock", "another run builds Kubernetes"):
        if not binary.exists():
            _build(binary)
            _drop_older(binary.parent)
    return binary


def built() -> Path | None:
    """The binary of these sources, where it has been built."""
    binary = _place()
    return binary if binary.exists() else None


def find_go() -> str | None:
    return shutil.which("go") or next((str(path) for path in (Path("/usr/local/go/bin/go"),) if path.exists()), None)


@contextmanager
def locked(path: Path, why_waiting: str) -> Iterator[None]:
    """Hold the machine-wide lock at ``path``; whoever waits says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"  {why_waiting}; waiting for it …")
            _wait_for_lock(file.fileno(), why_waiting)
        yield


def _wait_for_lock(descriptor: int, why: str) -> None:
    deadline = time.monotonic() + BUILD_SECONDS_MAX
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise ClusterError(f"{why}, for longer than {BUILD_SECONDS_MAX} s") from None
            time.sleep(0.5)


def _place() -> Path:
    digest = hashlib.sha256()
    for path in sorted([*SOURCES.glob("*.go"), SOURCES / "go.mod", SOURCES / "go.sum"]):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return cache() / f"kube-{digest.hexdigest()[:16]}" / "kube"


def _build(binary: Path) -> None:
    go = find_go()
    if go is None:
        raise ClusterError(
            "Kubernetes is built from its Go modules and there is no `go` here: install Go 1.26 from "
            "https://go.dev/dl/ (unpack it to /usr/local and put /usr/local/go/bin on PATH), "
            "or name a cluster with KUBECONFIG"
        )
    binary.parent.mkdir(parents=True, exist_ok=True)
    made = binary.with_name("kube.part")
    major, minor = VERSION.removeprefix("v").split(".")[:2]
    package = "k8s.io/component-base/version"
    flags = f"-s -w -X {package}.gitVersion={VERSION} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    say("  building Kubernetes from source: about six minutes on two cores the first time, seconds after that")
    _run_build(
        [go, "build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", str(made), "."],
        {**os.environ, "CGO_ENABLED": "0"},
        binary.with_name("build.log"),
    )
    made.rename(binary)


def _run_build(argv: list[str], env: dict[str, str], log_path: Path) -> None:
    """Run ``go build -v``, which prints one line for each package compiled, and say how far it is."""
    started = said = time.monotonic()
    with log_path.open("w+") as log:
        building = subprocess.Popen(argv, cwd=SOURCES, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            while building.poll() is None:
                time.sleep(0.5)
                now = time.monotonic()
                if now - started > BUILD_SECONDS_MAX:
                    raise ClusterError(f"building Kubernetes: not done within {BUILD_SECONDS_MAX} s")
                if now - said > SAY_EVERY_SECONDS:
                    count = sum("downloading" not in line for line in log_path.read_text().splitlines())
                    say(f"    {count} of about {PACKAGES_ABOUT} packages after {now - started:.0f} s")
                    said = now
        finally:
            if building.poll() is None:
                building.kill()
                building.wait(10)
    if building.returncode != 0:
        raise ClusterError("building Kubernetes failed:\n" + "\n".join(log_path.read_text().splitlines()[-20:]))
    say(f"  built in {time.monotonic() - started:.0f} s")


def _drop_older(kept: Path) -> None:
    """Binaries of older sources go; a running cluster keeps its open files."""
    for folder in cache().glob("kube-*"):
        if folder.is_dir() and folder != kept:
            shutil.rmtree(folder)
