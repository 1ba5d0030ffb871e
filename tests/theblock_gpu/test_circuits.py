"""Circuits are what their header says, and the cache that keeps them is bounded and loads each once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import generate_latest
from support.circuits import WASM, bound_circuit, bound_file, bound_header, load_program
from support.snark import read_vector
from theblock_gpu import circuits
from theblock_gpu.circuits import ShapeCache
from theblock_gpu.metrics import Metrics
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import keys, witness
from theblock_node.core.proofs.formats import zkey


def test_circuit_is_built_of_its_files():
    circuit = bound_circuit()
    assert (circuit.public_count, circuit.header.output_count, circuit.header.ctx_index) == (2, 1, 1)


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    ("changes", "zkey_file", "wasm", "code"),
    [
        pytest.param({}, flipped(bound_file()), WASM, "snark.file_hash", id="zkey-of-another-hash"),
        pytest.param({}, bound_file(), flipped(WASM), "snark.file_hash", id="wasm-of-another-hash"),
        pytest.param({"output_count": 3}, bound_file(), WASM, "snark.bad_circuit", id="more-outputs-than-inputs"),
        pytest.param({"ctx_index": 2}, bound_file(), WASM, "snark.bad_circuit", id="ctx-beyond-the-inputs"),
        pytest.param({"ctx_index": 0}, bound_file(), WASM, "snark.bad_circuit", id="ctx-among-the-outputs"),
        pytest.param({"verifying_key": b""}, bound_file(), WASM, "snark.key_size", id="no-key"),
        pytest.param(
            {"verifying_key": keys.encode_verifying_key(zkey.read(read_vector("cube_chain.zkey")).verifying)},
            bound_file(), WASM, "snark.key_not_registered", id="another-key",
        ),
    ],
)  # fmt: skip
def test_circuit_is_refused(changes, zkey_file, wasm, code):
    with pytest.raises(InvalidRecord) as refused:
        circuits.build(bound_header(**changes), zkey_file, wasm, load_program)
    assert refused.value.code == code


def test_wasm_that_no_compiler_made_is_refused():
    with pytest.raises(InvalidRecord) as refused:
        circuits.build(bound_header(), bound_file(), WASM, witness.load)
    assert refused.value.code == "snark.bad_wasm"


def test_host_without_memory_refuses_a_circuit_by_name():
    def fail(wasm):
        raise MemoryError("the compiler")

    with pytest.raises(InvalidRecord) as refused:
        circuits.build(bound_header(), bound_file(), WASM, fail)
    assert refused.value.code == "snark.out_of_memory"


def open_cache(bytes_max: int = 10) -> tuple[ShapeCache[str], Metrics, list[str]]:
    metrics, dropped = Metrics(), []
    return ShapeCache(bytes_max, "host", metrics, dropped.append), metrics, dropped


def count(metrics: Metrics, name: str) -> float:
    told = generate_latest(metrics.registry).decode().splitlines()
    return next(float(row.rpartition(" ")[2]) for row in told if row.startswith(name))


def test_least_recently_used_makes_room():
    cache, metrics, dropped = open_cache()
    for name in ("a", "b"):
        cache.load(name.encode(), 4, lambda name=name: name)
    assert cache.find(b"a") == "a"
    assert cache.find(b"c") is None

    assert cache.load(b"c", 4, lambda: "c") == "c"

    assert (cache.names(), dropped, cache.size) == ([b"a", b"c"], ["b"], 8)
    assert [count(metrics, f"snark_shape_cache_{what}_total") for what in ("hits", "misses", "evictions")] == [1, 1, 1]
    assert count(metrics, 'snark_shape_cache_bytes{tier="host"}') == 8


def test_what_an_empty_cache_has_no_room_for_evicts_nothing():
    cache, _, dropped = open_cache()
    cache.load(b"a", 4, lambda: "a")
    with pytest.raises(InvalidRecord) as refused:
        cache.load(b"b", 11, lambda: "b")
    assert refused.value.code == "snark.out_of_memory"
    assert (cache.names(), dropped, cache.size) == ([b"a"], [], 4)


def test_evicted_shape_is_dropped_once():
    cache, _, dropped = open_cache()
    cache.load(b"a", 4, lambda: "a")
    assert [cache.evict(b"a"), cache.evict(b"a")] == [True, False]
    assert (dropped, cache.size) == (["a"], 0)


def test_sixteen_threads_load_a_shape_once():
    cache, _, _ = open_cache()
    together, made = threading.Barrier(16), []

    def ask(_: int) -> str:
        together.wait(10)
        return cache.load(b"a", 4, lambda: made.append(1) or "a")

    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(ask, range(16))) == ["a"] * 16
    assert (len(made), cache.size) == (1, 4)


def test_failed_load_is_told_to_all_who_wait_and_leaves_no_room_taken():
    cache, _, _ = open_cache()
    begun, go_on = threading.Event(), threading.Event()

    def fail() -> str:
        begun.set()
        go_on.wait(10)
        raise InvalidRecord("snark.bad_wasm")

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(cache.load, b"a", 4, fail)
        begun.wait(10)
        second = threads.submit(cache.load, b"a", 4, lambda: "a")
        go_on.set()
        assert isinstance(first.exception(10), InvalidRecord)
        assert second.exception(10) is first.exception() or second.result() == "a"
    cache.evict(b"a")
    assert cache.size == 0
    assert cache.load(b"a", 10, lambda: "again") == "again"
