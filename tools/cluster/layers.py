"""OCI layers and archives, written directly: the same content gives the same bytes, on every machine, at any time."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from tools.cluster.layout import cache

EPOCH = "1970-01-01T00:00:00Z"
GZIP_LEVEL = 1
"""Layers are read on the machine that makes them, so time counts more than size."""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_OCI = "application/vnd.oci.image"


@dataclass(frozen=True)
class Layer:
    digest: str
    diff_id: str
    """The digest of what is in the gzip."""
    size: int
    path: Path


@dataclass(frozen=True)
class Image:
    reference: str
    """Repository and tag, as charts and pods name it."""
    digest: str
    """Of its manifest."""
    archive: Path

    @property
    def repository(self) -> str:
        return self.reference.rpartition(":")[0]

    @property
    def tag(self) -> str:
        return self.reference.rpartition(":")[2]


def cached_layer(name: str, key: str, make: Callable[[tarfile.TarFile], None]) -> Layer:
    """Return the layer made before under ``key``; else let ``make`` fill one."""
    folder = cache() / "layers" / f"{name}-{key[:24]}"
    described = folder / "layer.json"
    blob = folder / "layer.tar.gz"
    if not described.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        digest, diff_id = _write_layer(blob, make)
        told = {"digest": digest, "diff_id": diff_id, "size": blob.stat().st_size}
        # Written last: what is half made is made again.
        described.write_text(json.dumps(told))
    return Layer(**json.loads(described.read_text()), path=blob)


def add_tree(
    archive: tarfile.TarFile, root: Path, prefix: str, is_wanted: Callable[[Path], bool] = lambda path: True
) -> None:
    """Add what lies below ``root`` under ``prefix``, in order of name and owned by root."""
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if not is_wanted(relative):
            continue
        name = str(Path(prefix) / relative)
        if path.is_symlink():
            add_link(archive, name, str(path.readlink()))
        elif path.is_dir():
            add_folder(archive, name)
        else:
            executable = path.stat().st_mode & stat.S_IXUSR
            add_file(archive, name, path.read_bytes(), mode=0o755 if executable else 0o644)


def add_file(archive: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    entry = _entry(name, tarfile.REGTYPE, mode)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def add_folder(archive: tarfile.TarFile, name: str, *, mode: int = 0o755) -> None:
    archive.addfile(_entry(name, tarfile.DIRTYPE, mode))


def add_link(archive: tarfile.TarFile, name: str, target: str) -> None:
    entry = _entry(name, tarfile.SYMTYPE, 0o777)
    entry.linkname = target
    archive.addfile(entry)


def write_image(reference: str, layers: Sequence[Layer], config: Mapping[str, Any], target: Path) -> Image:
    """Write the OCI archive of an image; a tag of `+` becomes one that the content decides."""
    settings = _blob(
        {
            "architecture": architecture(),
            "os": "linux",
            "created": EPOCH,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [{"created": EPOCH, "created_by": "theblock"} for _ in layers],
        }
    )
    manifest = _blob(
        {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": _descriptor(settings, f"{_OCI}.config.v1+json"),
            "layers": [
                {"mediaType": f"{_OCI}.layer.v1.tar+gzip", "digest": layer.digest, "size": layer.size}
                for layer in layers
            ],
        }
    )
    digest = _digest(manifest)
    if reference.endswith(":+"):
        reference = f"{reference[:-1]}dev-{digest.removeprefix('sha256:')[:12]}"
    described = _descriptor(manifest, f"{_OCI}.manifest.v1+json")
    described["annotations"] = {
        "io.containerd.image.name": canonical(reference),
        "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
    }
    index = _blob({"schemaVersion": 2, "mediaType": f"{_OCI}.index.v1+json", "manifests": [described]})
    _write_archive(target, [settings, manifest], layers, index)
    return Image(reference, digest, target)


def canonical(reference: str) -> str:
    """The reference as a container runtime spells it out: a bare name is the default registry's."""
    first, slash, _ = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return reference
    return f"docker.io/{reference}" if slash else f"docker.io/library/{reference}"


def architecture() -> str:
    return ARCHITECTURES[platform.machine()]


def hash_of(*parts: bytes | str | Path) -> str:
    """A key over texts and the content of files."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    return digest.hexdigest()


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, 0
    return entry


def _write_layer(target: Path, make: Callable[[tarfile.TarFile], None]) -> tuple[str, str]:
    """Fill the layer; the digests of what was written, and of what is in it."""
    with target.open("wb") as file:
        outer = _Hashed(file)
        with gzip.GzipFile("", "wb", GZIP_LEVEL, cast(IO[bytes], outer), mtime=0) as squeezed:
            inner = _Hashed(squeezed)
            with tarfile.open(fileobj=cast(IO[bytes], inner), mode="w|", format=tarfile.PAX_FORMAT) as archive:
                make(archive)
    return outer.digest(), inner.digest()


class _Hashed:
    """A file to write to that hashes what goes through it."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self._hash.update(content)
        return self._file.write(content)

    def flush(self) -> None:
        self._file.flush()

    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def _blob(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _descriptor(content: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _write_archive(target: Path, records: Iterable[bytes], layers: Iterable[Layer], index: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    small = {_digest(record): record for record in records}
    large = {layer.digest: layer for layer in layers}
    with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as archive:
        for folder in ("blobs", "blobs/sha256"):
            add_folder(archive, folder)
        for digest in sorted({*small, *large}):
            name = f"blobs/{digest.replace(':', '/')}"
            if digest in small:
                add_file(archive, name, small[digest])
                continue
            entry = _entry(name, tarfile.REGTYPE, 0o644)
            entry.size = large[digest].size
            with large[digest].path.open("rb") as content:
                archive.addfile(entry, content)
        add_file(archive, "index.json", index)
        add_file(archive, "oci-layout", _blob({"imageLayoutVersion": "1.0.0"}))
    part.rename(target)
