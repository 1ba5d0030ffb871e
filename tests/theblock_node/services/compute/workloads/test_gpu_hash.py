"""The twin in a process of its own: exact, in steps, and gone when nobody waits for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from theblock_node.client.errors import RefusedError
from theblock_node.client.prover import Progress
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import gpu_hash as hashing
from theblock_node.core.proofs.gpu_hash import HashAlgorithm, HashTask
from theblock_node.services.compute.workloads import gpu_hash
from theblock_node.services.compute.workloads.gpu_hash import Output, TwinFailed

SEED = b"\x05" * 32
CONTEXT = b"\x09" * 33


@pytest.mark.parametrize("algorithm", list(HashAlgorithm))
@pytest.mark.parametrize("count", [1, 17, 20_000])
async def test_twin_tells_its_steps_and_the_output(algorithm, count):
    task = HashTask(algorithm, SEED, 2**64 - 9, count)
    news = [told async for told in gpu_hash.run_twin(task, CONTEXT)]

    output = news.pop()
    assert isinstance(output, Output)
    assert hashing.verify_output(task, CONTEXT, output.root, output.openings)
    assert output.root == hashing.build_levels(b"".join(hashing.compute_digests(task)))[-1]
    steps = -(-count // gpu_hash.STEP)
    assert [told.stage for told in news if isinstance(told, Progress)] == ["hash"] * steps + ["tree"]
    gpu_hash.require_right(task, CONTEXT, output)


async def test_twin_ends_with_who_waits_for_it():
    task = HashTask(HashAlgorithm.BLAKE3, SEED, 0, hashing.COUNT_MAX)
    news = gpu_hash.run_twin(task, CONTEXT)
    await anext(news)
    twins = children()
    assert len(twins) == 1

    await news.aclose()

    assert not twins & children()


async def test_twin_that_dies_is_told_of(monkeypatch):
    monkeypatch.setattr(gpu_hash, "__name__", "theblock_node.services.compute.no_such_module")
    with pytest.raises(TwinFailed, match="ended with 1"):
        [told async for told in gpu_hash.run_twin(HashTask(HashAlgorithm.BLAKE3, SEED, 0, 1), CONTEXT)]


async def test_twin_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(gpu_hash, "TASK_SECONDS_MAX", 0.01)
    with pytest.raises(TimeoutError):
        [told async for told in gpu_hash.run_twin(HashTask(HashAlgorithm.BLAKE3, SEED, 0, 1), CONTEXT)]
    assert not children()


def test_wrong_output_is_refused_before_it_is_signed():
    task = HashTask(HashAlgorithm.BLAKE3, SEED, 0, 40)
    root, openings = hashing.open_output(CONTEXT, hashing.compute_digests(task))
    for wrong in (Output(bytes(32), openings), Output(root, openings[1:]), Output(b"short", openings)):
        with pytest.raises(RefusedError) as refused:
            gpu_hash.require_right(task, CONTEXT, wrong)
        assert refused.value.code == "compute.proof_invalid"


def test_parameters_are_read():
    task = gpu_hash.read_params('{"algorithm": "Blake3", "count": 5, "start": "18446744073709551615"}', SEED, b"")
    assert task == HashTask(HashAlgorithm.BLAKE3, SEED, 2**64 - 1, 5)


@pytest.mark.parametrize(
    ("params", "data", "field"),
    [
        pytest.param('{"algorithm":"keccak256","count":1}', b"", "algorithm", id="not-built"),
        pytest.param('{"algorithm":"blake3","count":1}', b"x", "input", id="input"),
    ],
)
def test_parameters_are_refused(params, data, field):
    with pytest.raises(InvalidRecord) as refused:
        gpu_hash.read_params(params, SEED, data)
    assert (refused.value.code, refused.value.facts["field"]) == ("compute.invalid_workload", field)


def children() -> set[str]:
    """Processes that run the twin for this one."""
    own = set(Path("/proc/self/task").glob("*/children"))
    found = {child for path in own for child in path.read_text().split()}
    return {child for child in found if b"workloads.gpu_hash" in _command(child)}


def _command(process: str) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""
