"""Every back end gives the bytes of the exact twin, for every shape of tree."""

from __future__ import annotations

import itertools

import pytest
from support.devices import host_engine
from theblock_gpu import native
from theblock_gpu.device import find_devices
from theblock_gpu.hash import CudaEngine, Engine, PythonEngine, Stopped, compute
from theblock_node.core.proofs import gpu_hash
from theblock_node.core.proofs.gpu_hash import HashAlgorithm, HashTask

CONTEXT = b"job" * 11
SEED = bytes(range(7, 39))
COUNTS = (1, 2, 3, 15, 16, 17, 31, 33, 1000, 4097)
STARTS = (0, 2**32 - 2, 2**64 - 3)


def quiet(stage: str, done_ppm: int) -> None:
    pass


def cuda_engine() -> Engine:
    found = find_devices()
    if not found.devices:
        pytest.skip(f"not run on a device: {found.reason}")
    return CudaEngine(found.cupy, found.devices[0])


ENGINES = [
    pytest.param(PythonEngine, id="python"),
    pytest.param(host_engine, id="native"),
    pytest.param(cuda_engine, id="cuda", marks=pytest.mark.gpu),
]


@pytest.mark.parametrize("make", ENGINES)
@pytest.mark.parametrize("algorithm", list(HashAlgorithm))
def test_output_is_that_of_the_twin(make, algorithm):
    engine = make()
    for count, start in zip(COUNTS, itertools.cycle(STARTS)):
        task = HashTask(algorithm, SEED, start, count)
        output = compute(engine, task, CONTEXT, quiet)
        assert (output.root, output.openings) == gpu_hash.open_output(CONTEXT, gpu_hash.compute_digests(task))
        assert gpu_hash.verify_output(task, CONTEXT, output.root, output.openings)


@pytest.mark.parametrize("make", ENGINES[1:])
@pytest.mark.parametrize("algorithm", list(HashAlgorithm))
def test_large_task_is_that_of_the_twin(make, algorithm):
    engine, task = make(), HashTask(algorithm, SEED, 5, 70_001)
    levels = gpu_hash.build_levels(b"".join(gpu_hash.compute_digests(task)))

    output = compute(engine, task, CONTEXT, quiet)

    assert (output.root, output.openings) == gpu_hash.open_levels(CONTEXT, levels)


@pytest.mark.parametrize("make", ENGINES)
def test_work_that_nobody_wants_stops(make):
    told = []

    def refuse(stage: str, done_ppm: int) -> None:
        told.append(stage)
        raise Stopped

    with pytest.raises(Stopped):
        make().build(HashTask(HashAlgorithm.BLAKE3, SEED, 0, 100_000), refuse)
    assert len(told) == 1


def test_library_is_named_after_its_source(monkeypatch, tmp_path):
    changed = tmp_path / "other.cu"
    changed.write_bytes(native.SOURCE.read_bytes() + b"\n")
    before = native.library_name()
    monkeypatch.setattr(native, "SOURCE", changed)
    assert native.library_name() != before


def test_library_that_does_not_compile_is_told_of(monkeypatch, tmp_path):
    host_engine()
    broken = tmp_path / "broken.cu"
    broken.write_text("this is no C++")
    monkeypatch.setattr(native, "SOURCE", broken)
    with pytest.raises(native.NativeMissing, match="do not compile"):
        native.compile_library(tmp_path)


def test_host_without_a_compiler_is_told_of(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(native.NativeMissing, match="no C\\+\\+ compiler"):
        native.compile_library(tmp_path)
