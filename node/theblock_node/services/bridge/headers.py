"""Where foreign headers come from: packed in the image, a file, or a node's small HTTP interface.

A file is JSON: `{"first_height": 1, "headers": ["hex", …]}`. A node answers GET `/tip` with `{"height": 7}` and GET
`/headers?first=1&count=100` with `{"headers": ["hex", …]}`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

from theblock_node.config import BadConfig, BridgeSource
from theblock_node.core.domains.bridge.pow import BITCOIN_GENESIS, BITCOIN_HEADER_BYTES
from theblock_node.core.domains.bridge.records import HEADERS_MAX

DEADLINE_S = 5.0
ANSWER_BYTES_MAX = 2 * HEADERS_MAX * 1024
FILE_BYTES_MAX = 16 * 2**20


class SourceUnreachable(Exception):
    """The source did not answer, or not with headers."""


class Source(Protocol):
    is_endless: bool
    """Whether more headers may come at any time."""

    async def tip(self) -> int:
        """The greatest height that it has; `SourceUnreachable` where there is no telling."""
        ...

    async def headers(self, first: int, count: int) -> list[bytes]:
        """Headers from a height on, as many as there are, at most ``count``."""
        ...


@dataclass(frozen=True, slots=True)
class Packed:
    """Headers in memory, in order from a height on."""

    first_height: int
    rows: Sequence[bytes]
    is_endless = False

    async def tip(self) -> int:
        return self.first_height + len(self.rows) - 1

    async def headers(self, first: int, count: int) -> list[bytes]:
        start = first - self.first_height
        return list(self.rows[start : start + count]) if start >= 0 else []


@dataclass(frozen=True, slots=True)
class _Dataset:
    file: str
    sha256: str


DATASETS = {
    "bitcoin-main-1-1111": _Dataset(
        "bitcoin-mainnet-headers-1-1111.bin", "19c786983e643f71596582f98bee0f8c2c9365c086a15ad2aa73018808dee3c1"
    )
}


class HeadersFile:
    """A file that may be replaced while we run; it is read again when it was."""

    is_endless = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._packed = Packed(0, ())

    async def tip(self) -> int:
        return await (await self._read()).tip()

    async def headers(self, first: int, count: int) -> list[bytes]:
        return await (await self._read()).headers(first, count)

    async def _read(self) -> Packed:
        return await asyncio.to_thread(self._read_changed)

    def _read_changed(self) -> Packed:
        try:
            stat = self._path.stat()
            if (stat.st_mtime_ns, stat.st_size) != self._seen:
                if stat.st_size > FILE_BYTES_MAX:
                    raise SourceUnreachable(f"{self._path.name} is larger than {FILE_BYTES_MAX} bytes")
                self._packed = parse_file(self._path.read_bytes())
                self._seen = (stat.st_mtime_ns, stat.st_size)
        except OSError as failed:
            raise SourceUnreachable(str(failed)) from failed
        return self._packed


class HttpNode:
    """The first of several endpoints that answers."""

    is_endless = True

    def __init__(self, endpoints: Sequence[str]) -> None:
        self._endpoints = [endpoint.rstrip("/") for endpoint in endpoints]

    async def tip(self) -> int:
        height = (await self._get("/tip")).get("height")
        if not isinstance(height, int) or not 0 <= height < 2**63:
            raise SourceUnreachable("not an answer about a tip")
        return height

    async def headers(self, first: int, count: int) -> list[bytes]:
        rows = (await self._get(f"/headers?first={first}&count={count}")).get("headers")
        return _parse_rows(rows)[:count]

    async def _get(self, path: str) -> dict[str, Any]:
        reason = "no endpoint"
        for endpoint in list(self._endpoints):
            try:
                return await asyncio.to_thread(_get_json, endpoint + path)
            except (OSError, ValueError) as failed:
                reason = f"{endpoint}: {failed}"
                self._endpoints.append(self._endpoints.pop(0))
        raise SourceUnreachable(reason)


def open_source(source: BridgeSource) -> Source:
    """The source that the config names."""
    match source.driver:
        case "builtin" if source.dataset in DATASETS:
            return open_dataset(source.dataset)
        case "file" if source.headers_file:
            return HeadersFile(Path(source.headers_file))
        case "rpc" if source.endpoints and all(
            endpoint.startswith(("http://", "https://")) for endpoint in source.endpoints
        ):
            return HttpNode(source.endpoints)
        case other:
            raise BadConfig(f"source: driver {other} does not go with what is given beside it")


def open_dataset(name: str) -> Packed:
    """Headers packed in the image, the genesis before them; refuses files that are not what they were."""
    dataset = DATASETS[name]
    data = resources.files("theblock_node.services.bridge").joinpath("data", dataset.file).read_bytes()
    if hashlib.sha256(data).hexdigest() != dataset.sha256:
        raise BadConfig(f"dataset {name} is damaged")
    rows = [data[at : at + BITCOIN_HEADER_BYTES] for at in range(0, len(data), BITCOIN_HEADER_BYTES)]
    return Packed(0, (BITCOIN_GENESIS, *rows))


def parse_file(data: bytes) -> Packed:
    """Headers of a file; `SourceUnreachable` where it is none."""
    try:
        document = json.loads(data)
        first = document["first_height"]
    except (ValueError, KeyError, TypeError) as wrong:
        raise SourceUnreachable("not a file of headers") from wrong
    if not isinstance(first, int) or not 0 <= first < 2**63:
        raise SourceUnreachable("first_height is no height")
    return Packed(first, _parse_rows(document.get("headers")))


def _parse_rows(rows: Any) -> list[bytes]:
    try:
        return [bytes.fromhex(row) for row in rows]
    except (ValueError, TypeError) as wrong:
        raise SourceUnreachable("headers are hexadecimal text") from wrong


def _get_json(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
        found = json.loads(answer.read(ANSWER_BYTES_MAX))
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found
