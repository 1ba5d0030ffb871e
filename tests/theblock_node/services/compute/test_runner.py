"""Who computes, and what a member says of its prover."""

from __future__ import annotations

from typing import Any

import pytest
from theblock_node.client.errors import UnavailableError
from theblock_node.client.prover import Capabilities, SelfCheck
from theblock_node.clock import SystemClock
from theblock_node.services.compute.runner import Runner
from theblock_node.services.compute.workloads.snark import LastProof, NotProved, ProvedWrongly

JOB = b"\x01" * 32


class Prover:
    """Answers with what it is told."""

    def __init__(self, *workloads: str) -> None:
        self.workloads, self.is_there = workloads, True

    async def capabilities(self) -> Capabilities:
        if not self.is_there:
            raise UnavailableError("gone")
        return Capabilities(self.workloads, "native", "", (), proof_backend="native")

    async def self_check(self) -> SelfCheck:
        return SelfCheck(bool(self.workloads), b"", b"")


class Worker:
    """Proves, or fails as it is told."""

    def __init__(self, failure: NotProved | None = None) -> None:
        self.failure = failure
        self.last: LastProof | None = None

    async def prove(self, job_id: bytes, index: int, circuit_hash: bytes) -> Any:
        if self.failure is not None:
            raise self.failure
        self.last = LastProof(circuit_hash.hex(), "native", 7, 41)
        return "bundle", "native"


def runner(prover: Prover, worker: Worker | None, *workloads: str) -> Runner:
    return Runner(prover, SystemClock(), self_check=True, proofs=worker, workloads=workloads)


@pytest.mark.parametrize(
    ("passed", "advertised", "told"),
    [
        pytest.param(("gpuHash", "snark"), ("gpuHash", "snark"), "passed", id="all-that-is-advertised"),
        pytest.param(("gpuHash", "snark"), ("gpuHash",), "passed", id="more-than-is-advertised"),
        pytest.param(("gpuHash",), ("gpuHash", "snark"), "failed", id="no-proofs"),
        pytest.param((), ("gpuHash",), "failed", id="nothing"),
    ],
)
async def test_member_advertises_no_more_than_its_prover_passed(passed, advertised, told):
    made = runner(Prover(*passed), Worker(), *advertised)
    await made.look()
    assert made.describe()["self_check"] == told


async def test_proof_is_made_and_shown():
    made = runner(Prover("snark"), Worker(), "snark")
    await made.look()
    assert made.describe()["last_proof"] is None
    assert await made.prove(JOB, 0, b"\x0c" * 32) == ("bundle", "native")
    told = made.describe()
    assert told["last_proof"] == {"circuit": "0c" * 32, "backend": "native", "milliseconds": 7, "at_ms": 41}
    assert told["proof_backend"] == "native"


async def test_nothing_is_proved_without_a_prover_that_proves():
    prover = Prover("gpuHash")
    made = runner(prover, Worker(), "gpuHash")
    for reason in ("does not answer", "makes no proofs"):
        with pytest.raises(NotProved, match=reason):
            await made.prove(JOB, 0, bytes(32))
        await made.look()
    with pytest.raises(NotProved, match="this member makes no proofs"):
        await runner(prover, None, "gpuHash").prove(JOB, 0, bytes(32))


async def test_prover_that_proves_wrongly_is_not_used_before_it_starts_anew():
    prover, worker = Prover("gpuHash", "snark"), Worker(ProvedWrongly("snark.invalid_proof"))
    made = runner(prover, worker, "snark")
    await made.look()
    with pytest.raises(ProvedWrongly):
        await made.prove(JOB, 0, bytes(32))
    worker.failure = None
    with pytest.raises(NotProved, match="it proved wrongly"):
        await made.prove(JOB, 0, bytes(32))
    await made.look()
    assert (made.can_prove, made.is_usable, made.describe()["self_check"]) == (False, False, "failed")
    prover.is_there = False
    await made.look()
    prover.is_there = True
    await made.look()
    assert await made.prove(JOB, 0, bytes(32))


async def test_prover_without_the_circuit_or_the_inputs_stays_trusted():
    worker = Worker(NotProved("the circuit names no files in storage"))
    made = runner(Prover("snark"), worker, "snark")
    await made.look()
    with pytest.raises(NotProved):
        await made.prove(JOB, 0, bytes(32))
    assert made.can_prove
