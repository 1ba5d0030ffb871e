"""The `gpu_hash` workload: many short digests under one root, checked by re-computing a few of them.

Message i of a task is ``seed || u64le(i)`` (40 bytes), hashed with the task's algorithm; the output is the
RFC 6962-shaped BLAKE3 root over the digests. Which digests are opened follows from the output itself, so a
worker must have fixed all of them before it learns which ones count (Fiat-Shamir). This module is the exact
twin of the kernels in `gpu/`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from theblock_node.core import crypto, merkle
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.numeric import U32, U64, Bytes32, MaxLen

Node = Callable[[int, int], bytes]
"""The hash at a level, leaves are level 0, and an index in it."""
DIGEST_BYTES = 32
COUNT_MAX = 2**22
"""Digests in one task."""
OPENINGS = 16
PATH_LENGTH_MAX = 22
MESSAGE_BYTES = 40
UNIT_BYTES = 2**20
SEED_BYTES = 32
PARAMS_LENGTH_MAX = 4096


class HashAlgorithm(IntEnum):
    BLAKE3 = 0
    SHA256 = 1


@dataclass(frozen=True, slots=True)
class HashTask:
    """Hash messages ``start`` to ``start + count - 1`` of ``seed``."""

    algorithm: HashAlgorithm
    seed: Bytes32
    start: U64
    count: U32


@dataclass(frozen=True, slots=True)
class HashOpening:
    """One digest's way to the root; the digest itself is recomputed."""

    path: Annotated[tuple[Bytes32, ...], MaxLen(PATH_LENGTH_MAX)]


def read_task(params_json: str, seed: bytes) -> HashTask:
    """The task of ``{"algorithm", "count", "start"}``, where ``start`` is text, as every u64 in JSON is."""
    if len(params_json) > PARAMS_LENGTH_MAX:
        raise _bad("params_json", f"{len(params_json)} characters")
    try:
        params = json.loads(params_json or "{}")
    except (ValueError, RecursionError) as refused:
        raise _bad("params_json", "no JSON") from refused
    if not isinstance(params, dict) or params.keys() - {"algorithm", "count", "start"}:
        raise _bad("params_json", "no object of algorithm, count and start")
    name, count, start = params.get("algorithm"), params.get("count"), params.get("start", "0")
    algorithm = next((one for one in HashAlgorithm if one.name == str(name).upper()), None)
    if algorithm is None:
        raise _bad("algorithm", str(name)[:63])
    if type(count) is not int:
        raise _bad("count", str(count)[:63])
    if not isinstance(start, str) or not start.isascii() or not start.isdecimal() or len(start) > 20:
        raise _bad("start", str(start)[:63])
    return check_task(HashTask(algorithm, seed, int(start), count))


def check_task(task: HashTask) -> HashTask:
    """The task, if it is one: the bounds are those of the market."""
    if len(task.seed) != SEED_BYTES:
        raise _bad("seed", f"{len(task.seed)} bytes where {SEED_BYTES} are wanted")
    if not 1 <= task.count <= COUNT_MAX:
        raise _bad("count", task.count)
    if not 0 <= task.start < 2**64:
        raise _bad("start", task.start)
    return task


def message(task: HashTask, index: int) -> bytes:
    return task.seed + struct.pack("<Q", (task.start + index) % 2**64)


def compute_digest(task: HashTask, index: int) -> bytes:
    hashed = crypto.blake3 if task.algorithm is HashAlgorithm.BLAKE3 else crypto.sha256
    return hashed(message(task, index))


def compute_digests(task: HashTask) -> list[bytes]:
    return [compute_digest(task, index) for index in range(task.count)]


def compute_units(task: HashTask) -> int:
    """MiB of messages, rounded up."""
    return -(-task.count * MESSAGE_BYTES // UNIT_BYTES)


def opened_indexes(context: bytes, root: bytes, count: int) -> list[int]:
    """Which digests an output must open: distinct, ascending, at most ``OPENINGS``."""
    if count <= OPENINGS:
        return list(range(count))
    chosen: set[int] = set()
    stream = crypto.blake3_xof(b"theblock/compute/open/v1" + context + root, 8 * OPENINGS * 4)
    for at in range(0, len(stream), 8):
        if len(chosen) < OPENINGS:
            chosen.add(int.from_bytes(stream[at : at + 8], "little") % count)
    return sorted(chosen)


def level_sizes(count: int) -> list[int]:
    """How many hashes each level of the tree over ``count`` digests has, leaves first."""
    sizes = [count]
    while sizes[-1] > 1:
        sizes.append((sizes[-1] + 1) // 2)
    return sizes


def build_levels(digests: bytes) -> list[bytes]:
    """Every level of the tree over concatenated digests, leaves first, each as one run of hashes."""
    size, pair = DIGEST_BYTES, 2 * DIGEST_BYTES
    level = b"".join(crypto.blake3(b"\x00" + digests[at : at + size]) for at in range(0, len(digests), size))
    levels = [level]
    while len(level) > size:
        ends = len(level) - len(level) % pair
        paired = b"".join(crypto.blake3(b"\x01" + level[at : at + pair]) for at in range(0, ends, pair))
        level = paired + level[ends:]
        levels.append(level)
    return levels


def open_levels(context: bytes, levels: Sequence[bytes]) -> tuple[bytes, tuple[HashOpening, ...]]:
    """As `open_output`, for a tree that `build_levels` made."""
    size = DIGEST_BYTES
    return open_tree(context, len(levels[0]) // size, lambda level, at: levels[level][at * size : (at + 1) * size])


def open_tree(context: bytes, count: int, node: Node) -> tuple[bytes, tuple[HashOpening, ...]]:
    """As `open_output`, for a tree over ``count`` digests that lies anywhere."""
    sizes = level_sizes(count)
    root = node(len(sizes) - 1, 0)

    def path(index: int) -> tuple[bytes, ...]:
        places = [(level, index >> level ^ 1) for level in range(len(sizes) - 1)]
        return tuple(node(level, at) for level, at in places if at < sizes[level])

    return root, tuple(HashOpening(path(index)) for index in opened_indexes(context, root, count))


def open_output(context: bytes, digests: Sequence[bytes]) -> tuple[bytes, tuple[HashOpening, ...]]:
    """The root over ``digests`` and the openings that it asks for."""
    root = merkle.list_root(digests)
    indexes = opened_indexes(context, root, len(digests))
    return root, tuple(HashOpening(tuple(merkle.list_proof(digests, index))) for index in indexes)


def verify_output(task: HashTask, context: bytes, root: bytes, openings: Sequence[HashOpening]) -> bool:
    """Whether every opened digest, recomputed, stands under ``root``."""
    indexes = opened_indexes(context, root, task.count)
    if len(indexes) != len(openings):
        return False
    return all(
        merkle.list_root_from_proof(compute_digest(task, index), index, task.count, opening.path) == root
        for index, opening in zip(indexes, openings, strict=True)
    )


def _bad(field: str, value: object) -> InvalidRecord:
    return InvalidRecord("compute.invalid_workload", field=field, value=value)
