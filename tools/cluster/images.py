"""The project's images, built without a container engine: which packages, requirements and code each holds.

Three layers an image: Debian packages, Python packages, our code. The first two are kept under keys of what they are
made from, so a change of code writes, and a cluster imports, only the small last one.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.cluster import layers, nodes
from tools.cluster.access import Cluster
from tools.cluster.build import locked
from tools.cluster.console import ClusterError, run, say, step
from tools.cluster.layers import Image, Layer
from tools.cluster.layout import REPOSITORY, Layout, Node, cache
from tools.cluster.system import IMAGE_PACKAGES, ensure_packages

SUITE = "bookworm"
PYTHON = (3, 11)
SITE = "usr/local/lib/python3.11/dist-packages"
USER = 10_001
RECIPE = "1"
"""Raised when the same packages are to be put together differently: kept layers are then made anew."""
BUILT = REPOSITORY / "build" / "images"
FILES = Path(__file__).parent / "image"
"""What is copied into images as it is."""

PYTHON_PACKAGES = (
    "base-files",
    "ca-certificates",
    "libc6",
    "libgcc-s1",
    "libpython3.11-stdlib",
    "libstdc++6",
    "netbase",
    "python3.11-minimal",
    "tzdata",
)
POSTGRES_PACKAGES = ("base-files", "coreutils", "dash", "libc-bin", "postgresql-15", "tzdata")
LEFT_OUT = (
    *("dev", "proc", "sys", "run", "tmp", "boot", "etc/apt", "var/cache", "var/lib/apt", "var/lib/dpkg", "var/log"),
    *(f"usr/share/{name}" for name in ("doc", "man", "locale", "info", "lintian", "perl", "perl5", "bash-completion")),
)
"""Folders that nothing in a container reads."""
POSTGRES_LEFT_OUT = ("libLLVM", "llvmjit", "bitcode", "perl", "perl5", "libperl")
"""How names begin that nothing reads there: just-in-time compilation is off, and Debian's cluster tools stay out."""


@dataclass(frozen=True)
class Recipe:
    requirements: str
    """The set of `requirements/` that it installs."""
    roots: tuple[str, ...]
    """Import packages, where they lie in the repository."""
    command: tuple[str, ...]


KERNELS = ("gpu/theblock_kernels", "gpu/kernels")
"""The package that opens the native kernels, and their sources."""
RECIPES = {
    "theblock-node": Recipe("node", ("node/theblock_node", *KERNELS), ("python", "-m", "theblock_node")),
    "theblock-operator": Recipe(
        "operator", ("operator/theblock_operator", "node/theblock_node"), ("python", "-m", "theblock_operator")
    ),
    # Without CuPy, which only a machine with a device has a use for: the prover then computes on the CPU and says so.
    "theblock-gpu": Recipe(
        "node", ("node/theblock_node", "gpu/theblock_gpu", *KERNELS), ("python", "-m", "theblock_gpu")
    ),
}
POSTGRES = "theblock-postgres"
NAMES = (*RECIPES, POSTGRES)


def ensure_all(names: Iterable[str] = NAMES) -> dict[str, Image]:
    """Build the images that changed and return all of ``names``."""
    ensure_packages(IMAGE_PACKAGES)
    made = {}
    with locked(cache() / "images.lock", "another run builds images"):
        for name in names:
            with step(f"image {name}"):
                made[name] = _postgres() if name == POSTGRES else _python(name, RECIPES[name])
    return made


def ensure_pause() -> Image:
    """The image whose only process waits: what holds a pod's namespaces."""
    source = FILES / "pause.c"

    def make(archive: tarfile.TarFile) -> None:
        with tempfile.TemporaryDirectory() as folder:
            binary = Path(folder, "pause")
            run("gcc", "-Os", "-static", "-s", "-o", binary, source)
            layers.add_file(archive, "pause", binary.read_bytes(), mode=0o755)

    with locked(cache() / "images.lock", "another run builds images"):
        layer = layers.cached_layer("pause", layers.hash_of(source), make)
        config = {"Entrypoint": ["/pause"], "User": "65535:65535"}
        return layers.write_image(nodes.PAUSE_IMAGE, [layer], config, BUILT / "pause.tar")


def load(layout: Layout, node: Node, images: Sequence[Image]) -> None:
    """Import the images that the node does not have yet."""
    listed = nodes.ctr(layout, node, "images", "ls")
    present = {(words[0], words[2]) for line in listed.splitlines()[1:] if len(words := line.split()) > 2}
    for image in images:
        if (layers.canonical(image.reference), image.digest) not in present:
            nodes.ctr(layout, node, "images", "import", image.archive, timeout_seconds=300)


def load_all(cluster: Cluster, images: Sequence[Image]) -> None:
    """Import the images on every node of the self-built cluster."""
    for index in range(cluster.nodes):
        load(cluster.layout, cluster.layout.node(index), images)


def _python(name: str, recipe: Recipe) -> Image:
    base = _debian("python", PYTHON_PACKAGES, _finish_python)
    config = {
        "User": f"{USER}:{USER}",
        "Env": [
            "PATH=/usr/local/bin:/usr/bin:/bin",
            "LANG=C.UTF-8",
            "MALLOC_ARENA_MAX=2",
            "PYTHONDONTWRITEBYTECODE=1",
            "PYTHONUNBUFFERED=1",
        ],
        "Cmd": list(recipe.command),
        "WorkingDir": "/",
    }
    made = [base, _dependencies(recipe.requirements), _code(name, recipe.roots)]
    return layers.write_image(f"{name}:+", made, config, BUILT / f"{name}.tar")


def _postgres() -> Image:
    base = _debian("postgres", POSTGRES_PACKAGES, _finish_postgres, POSTGRES_LEFT_OUT)
    entry = FILES / "postgres-entrypoint.sh"

    def make(archive: tarfile.TarFile) -> None:
        layers.add_file(archive, "usr/local/bin/postgres-entrypoint", entry.read_bytes(), mode=0o755)

    config = {
        "User": f"{USER}:{USER}",
        "Env": [
            "PATH=/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/bin:/bin",
            "LANG=C.UTF-8",
            "PGDATA=/var/lib/postgresql/data/pgdata",
        ],
        "Entrypoint": ["/usr/local/bin/postgres-entrypoint"],
        "ExposedPorts": {"5432/tcp": {}},
        "StopSignal": "SIGINT",
    }
    made = [base, layers.cached_layer("postgres-entry", layers.hash_of(entry), make)]
    return layers.write_image(f"{POSTGRES}:+", made, config, BUILT / f"{POSTGRES}.tar")


def _debian(
    name: str, packages: Sequence[str], finish: Callable[[tarfile.TarFile], None], left_out: Sequence[str] = ()
) -> Layer:
    """A layer of unpacked Debian packages and what they need; no maintainer script is run."""

    def is_wanted(path: Path) -> bool:
        if any(path.is_relative_to(folder) for folder in LEFT_OUT):
            return False
        return not any(part.startswith(word) for part in path.parts for word in left_out)

    def make(archive: tarfile.TarFile) -> None:
        with tempfile.TemporaryDirectory() as folder:
            packed, root = Path(folder, "base.tar"), Path(folder, "root")
            root.mkdir()
            say(f"    unpacking Debian {SUITE}: {' '.join(packages)}")
            words = ["--quiet", "--variant=extract", f"--include={','.join(packages)}", SUITE]
            run("mmdebstrap", *words, packed, timeout_seconds=600)
            run("tar", "-xf", packed, "-C", root, "--exclude=./dev/*", "--no-same-owner", timeout_seconds=120)
            library = root / "usr/lib/python3.11"
            if library.exists():
                _compile(library, "usr/lib/python3.11")
            layers.add_tree(archive, root, "", is_wanted)
        finish(archive)

    return layers.cached_layer(name, layers.hash_of(RECIPE, SUITE, *packages, *left_out), make)


def _finish_python(archive: tarfile.TarFile) -> None:
    for link in ("python", "python3"):
        layers.add_link(archive, f"usr/bin/{link}", "python3.11")
    _add_users(archive)
    for folder in ("var/lib/theblock", "run/theblock"):
        layers.add_folder(archive, folder)


def _finish_postgres(archive: tarfile.TarFile) -> None:
    _add_users(archive)
    layers.add_folder(archive, "var/lib/postgresql/data", mode=0o1777)
    layers.add_folder(archive, "var/run/postgresql", mode=0o1777)


def _add_users(archive: tarfile.TarFile) -> None:
    """The users that pods run as: PostgreSQL refuses to run as one without a name."""
    users = {"root": 0, "postgres": 999, "theblock": USER, "nonroot": 65532}
    shown = "".join(f"{name}:x:{number}:{number}:{name}:/:/usr/sbin/nologin\n" for name, number in users.items())
    layers.add_file(archive, "etc/passwd", shown.encode())
    layers.add_file(archive, "etc/group", "".join(f"{name}:x:{number}:\n" for name, number in users.items()).encode())
    for folder in ("proc", "sys", "dev", "run"):
        layers.add_folder(archive, folder)
    layers.add_folder(archive, "tmp", mode=0o1777)


def _dependencies(requirements: str) -> Layer:
    """What is pinned in a set of requirements, compiled, for the interpreter of the image."""
    pinned = REPOSITORY / "requirements" / f"{requirements}.txt"
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    version = ".".join(str(part) for part in PYTHON)
    machine = os.uname().machine

    def make(archive: tarfile.TarFile) -> None:
        with tempfile.TemporaryDirectory() as folder:
            site = Path(folder, "site")
            run(
                uv,
                "pip",
                "install",
                "--quiet",
                "--target",
                site,
                "--python-version",
                version,
                "--python-platform",
                f"{machine}-manylinux_2_28",
                "--only-binary",
                ":all:",
                "--require-hashes",
                "--no-deps",
                "-r",
                pinned,
                timeout_seconds=600,
            )
            _compile(site, SITE)
            layers.add_tree(archive, site, SITE, _is_package_file)

    return layers.cached_layer(f"python-{requirements}", layers.hash_of(RECIPE, pinned, machine), make)


def _code(name: str, roots: Sequence[str]) -> Layer:
    present = [REPOSITORY / root for root in roots if (REPOSITORY / root).is_dir()]
    files = [path for root in present for path in sorted(root.rglob("*")) if path.is_file() and _is_source(path)]
    key = layers.hash_of(RECIPE, *(part for path in files for part in (str(path.relative_to(REPOSITORY)), path)))

    def make(archive: tarfile.TarFile) -> None:
        with tempfile.TemporaryDirectory() as folder:
            site = Path(folder, "site")
            for root in present:
                for path in files:
                    if path.is_relative_to(root):
                        target = site / root.name / path.relative_to(root)
                        target.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copy(path, target)
            _build_kernels(site)
            _compile(site, SITE)
            layers.add_tree(archive, site, SITE)

    made = layers.cached_layer(f"code-{name}", key, make)
    _drop_older(f"code-{name}-", made.path.parent)
    return made


def _is_source(path: Path) -> bool:
    # Libraries of kernels are made for each image: one that lies here may be of other sources.
    return "__pycache__" not in path.parts and path.suffix not in (".pyc", ".so")


def _is_package_file(path: Path) -> bool:
    """Scripts of packages have the builder's interpreter in their first line, and nobody calls them."""
    return path.parts[0] not in ("bin", ".lock") and path.name not in (
        "RECORD",
        "REQUESTED",
        "INSTALLER",
        "uv_cache.json",
    )


def _compile(folder: Path, place: str) -> None:
    """Compile for a file system that cannot be written to; by content, so that the time plays no part.

    Only the same interpreter can do it. Elsewhere pods compile at every start, which costs them a few seconds.
    """
    if sys.version_info[:2] != PYTHON:
        say("    not compiled ahead: that needs Python 3.11 here too")
        return
    words = ["-m", "compileall", "-q", "-q", "-j", "2", "--invalidation-mode", "unchecked-hash"]
    try:
        run(sys.executable, *words, "-s", folder, "-p", f"/{place}", folder, timeout_seconds=300)
    except ClusterError:
        # Packages carry templates and samples that are no Python of this version; what is one has been compiled.
        if not any(folder.rglob("*.pyc")):
            raise


def _build_kernels(site: Path) -> None:
    """Make the libraries beside their sources: there is no compiler in the image."""
    if (site / "kernels").is_dir():
        shutil.move(site / "kernels", site / "theblock_kernels" / "kernels")
    for package, module in (("theblock_gpu", "theblock_gpu.native"), ("theblock_kernels", "theblock_kernels")):
        if not (site / package).is_dir():
            continue
        try:
            run(sys.executable, "-B", "-m", module, cwd=site, timeout_seconds=300)
        except ClusterError as failed:
            say(f"    {package} computes by its twin: {failed}")


def _drop_older(prefix: str, kept: Path) -> None:
    for folder in kept.parent.glob(f"{prefix}*"):
        if folder != kept:
            shutil.rmtree(folder)
