"""Circuits made ready for proving, and the cache that keeps them: bounded by bytes, loaded once however many ask.

A circuit comes as two files whose digests its header pins. What is kept of it is the key, checked against the
registered one, and the program that computes its wires. The same cache holds the keys in a device's memory.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from theblock_node.core import crypto
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import keys, prover
from theblock_node.core.proofs.formats import zkey
from theblock_node.core.proofs.prover import UsableKey

ZKEY_BYTES_MAX = 2**30
WASM_BYTES_MAX = 2**26
ZKEY_COST, WASM_COST = 5, 8
"""Bytes that are kept for each byte of a file: points as numbers and as the kernels have them, compiled code."""
T = TypeVar("T")


class Program(Protocol):
    """What computes the wires of a circuit; see `core.proofs.witness`."""

    def compute(self, inputs: Mapping[str, Any]) -> list[int]: ...


Loader = Callable[[bytes], Program]


@dataclass(frozen=True, slots=True)
class Header:
    """What a circuit is; the market's registered record says the same."""

    circuit_hash: bytes
    zkey_hash: bytes
    zkey_size: int
    wasm_size: int
    verifying_key: bytes
    output_count: int
    ctx_index: int | None

    @property
    def cost(self) -> int:
        """What the circuit takes of the cache."""
        return ZKEY_COST * self.zkey_size + WASM_COST * self.wasm_size


@dataclass(frozen=True, slots=True)
class Circuit:
    header: Header
    usable: UsableKey
    program: Program

    @property
    def public_count(self) -> int:
        return self.usable.key.verifying.public_count


def build(header: Header, zkey_file: bytes, wasm_file: bytes, load: Loader) -> Circuit:
    """The circuit of two files; refused unless they are the ones that ``header`` means and may be used."""
    for what, data, wanted in (("wasm", wasm_file, header.circuit_hash), ("zkey", zkey_file, header.zkey_hash)):
        if crypto.blake3(data) != wanted:
            raise InvalidRecord("snark.file_hash", file=what, size=len(data))
    registered = keys.decode_verifying_key(header.verifying_key)
    if header.output_count > registered.public_count:
        raise InvalidRecord("snark.bad_circuit", field="output_count", value=header.output_count)
    if header.ctx_index is not None and not header.output_count <= header.ctx_index < registered.public_count:
        raise InvalidRecord("snark.bad_circuit", field="ctx_index", value=header.ctx_index)
    try:
        return Circuit(header, prover.prepare(zkey.read(zkey_file), registered), load(wasm_file))
    except MemoryError as failed:
        raise InvalidRecord("snark.out_of_memory", cause=str(failed)) from failed


class Counts(Protocol):
    """Told what happens in a cache."""

    def shape_found(self, *, is_hit: bool) -> None: ...

    def shapes_changed(self, tier: str, size: int, evicted: int) -> None: ...


class ShapeCache(Generic[T]):
    """Shapes by name, the least recently used given up for new ones. Threads may share it."""

    def __init__(
        self, bytes_max: int, tier: str, counts: Counts, drop: Callable[[T], None] = lambda _shape: None
    ) -> None:
        """``drop`` is called with each shape that is given up, by the thread that needs the room."""
        self._bytes_max, self._tier, self._counts, self._drop = bytes_max, tier, counts, drop
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, tuple[int, T]] = OrderedDict()
        self._loading: dict[bytes, Future[T]] = {}
        self.size = 0
        """In bytes, of what is kept and what is being loaded."""

    def names(self) -> list[bytes]:
        with self._lock:
            return list(self._kept)

    def peek(self, name: bytes) -> T | None:
        """A shape that is kept; it does not count as used."""
        with self._lock:
            found = self._kept.get(name)
        return None if found is None else found[1]

    def find(self, name: bytes) -> T | None:
        """A shape that is kept; counted as a hit or a miss."""
        with self._lock:
            shape = self._touch(name)
        self._counts.shape_found(is_hit=shape is not None)
        return shape

    def load(self, name: bytes, size: int, make: Callable[[], T]) -> T:
        """The shape, made unless it is kept; who asks for one that is being made waits for it."""
        with self._lock:
            shape = self._touch(name)
            if shape is not None:
                return shape
            flight = self._loading.get(name)
            is_ours = flight is None
            if flight is None:
                flight = self._loading[name] = Future()
        if not is_ours:
            return flight.result()
        try:
            self._reserve(size)
            try:
                shape = make()
            except BaseException:
                self._change(-size, 0)
                raise
            with self._lock:
                self._kept[name] = size, shape
        except BaseException as failed:
            flight.set_exception(failed)
            raise
        else:
            flight.set_result(shape)
            return shape
        finally:
            with self._lock:
                del self._loading[name]

    def require_fits(self, size: int) -> None:
        """Refuse what an empty cache has no room for."""
        if size > self._bytes_max:
            raise InvalidRecord("snark.out_of_memory", needed=size, cache_bytes=self._bytes_max)

    def evict(self, name: bytes) -> bool:
        """Forget a shape; whether it was there."""
        with self._lock:
            found = self._kept.pop(name, None)
        if found is not None:
            self._drop(found[1])
            self._change(-found[0], 1)
        return found is not None

    def _reserve(self, size: int) -> None:
        """Make room, or refuse before anything is made."""
        self.require_fits(size)
        while True:
            with self._lock:
                if self.size + size <= self._bytes_max:
                    self.size += size
                    break
                if not self._kept:
                    raise InvalidRecord("snark.out_of_memory", needed=size, cache_bytes=self._bytes_max)
                oldest = next(iter(self._kept))
            self.evict(oldest)
        self._change(0, 0)

    def _touch(self, name: bytes) -> T | None:
        found = self._kept.get(name)
        if found is None:
            return None
        self._kept.move_to_end(name)
        return found[1]

    def _change(self, size: int, evicted: int) -> None:
        with self._lock:
            self.size += size
            now = self.size
        self._counts.shapes_changed(self._tier, now, evicted)
