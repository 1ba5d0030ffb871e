"""Files of circuits on the member's disk: fetched from the storage market once, checked, and bounded.

A file is named after its own BLAKE3 hash, so what lies here under a name was right when it came. The least recently
used make room for new ones.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

import structlog
from blake3 import blake3

from theblock_node.client.channel import ClientTls, Endpoint
from theblock_node.client.errors import RefusedError, UnavailableError
from theblock_node.client.storage import StorageClient

TRIES = 3
"""Of one file, each at the next provider."""
PART = ".part"

log = structlog.get_logger("compute")


class NotFetched(Exception):
    """A file cannot be had now; the text says why."""


class WrongObject(NotFetched):
    """What storage has under a name, or what it says it has, is never the file."""


class Source(Protocol):
    """Where objects come from."""

    def get(self, manifest_id: str, content_key: bytes) -> AsyncGenerator[bytes, None]: ...


class StorageSource:
    """The storage providers of the network, whichever answers."""

    def __init__(self, tls: ClientTls | None) -> None:
        self._tls = tls
        self._client: StorageClient | None = None

    def set_endpoints(self, endpoints: Sequence[Endpoint]) -> None:
        if self._client is not None:
            self._client.channels.set_endpoints(endpoints)
        elif endpoints:
            self._client = StorageClient(endpoints, self._tls)

    async def get(self, manifest_id: str, content_key: bytes) -> AsyncGenerator[bytes, None]:
        if self._client is None:
            raise UnavailableError("no storage provider is known")
        async with aclosing(self._client.get(manifest_id, content_key)) as pieces:
            async for piece in pieces:
                yield piece

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()


class ObjectFolder:
    def __init__(self, folder: Path, source: Source, *, bytes_max: int) -> None:
        self._folder, self._source, self._bytes_max = folder, source, bytes_max
        self._lock = asyncio.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"*{PART}"):
            left.unlink()

    async def fetch(self, manifest_id: bytes, content_key: bytes, size: int, content_hash: bytes) -> Path:
        """The file, from the disk or from storage; raises `NotFetched`."""
        path = self._folder / content_hash.hex()
        async with self._lock:
            if path.exists():
                os.utime(path)
                return path
            self._make_room(size)
            for attempt in range(1, TRIES + 1):
                try:
                    await self._fetch_once(manifest_id, content_key, size, content_hash, path)
                    return path
                except UnavailableError as failed:
                    if attempt == TRIES:
                        raise NotFetched(f"storage: {failed}") from failed
                except RefusedError as refused:
                    raise NotFetched(f"storage: {refused.code}") from refused
                except OSError as failed:
                    raise NotFetched(f"the disk: {failed.strerror}") from failed
        raise AssertionError("the loop returns or raises")

    def forget(self, content_hash: bytes) -> None:
        """Drop a file that somebody found to be wrong."""
        (self._folder / content_hash.hex()).unlink(missing_ok=True)

    async def _fetch_once(
        self, manifest_id: bytes, content_key: bytes, size: int, content_hash: bytes, path: Path
    ) -> None:
        part, hasher, got = path.with_suffix(PART), blake3(), 0
        try:
            with part.open("wb") as out:
                async with aclosing(self._source.get(manifest_id.hex(), content_key)) as pieces:
                    async for piece in pieces:
                        got += len(piece)
                        if got > size:
                            raise WrongObject(f"the object is longer than its {size} bytes")
                        hasher.update(piece)
                        out.write(piece)
            if got != size or hasher.digest() != content_hash:
                raise WrongObject("the object is not what the circuit says")
            os.replace(part, path)
            log.info("file of a circuit fetched", content_hash=content_hash.hex(), size=size)
        finally:
            part.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        if size > self._bytes_max:
            raise WrongObject(f"the object of {size} bytes is larger than the folder's {self._bytes_max}")
        kept = sorted((path.stat().st_mtime_ns, path.stat().st_size, path) for path in self._folder.iterdir())
        total = sum(found[1] for found in kept)
        for _, found_size, found in kept:
            if total + size <= self._bytes_max:
                return
            found.unlink()
            total -= found_size
