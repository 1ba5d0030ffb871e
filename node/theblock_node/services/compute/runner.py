"""Who computes: the prover beside the node while it answers and is right, else, for hashes, the exact twin.

The prover is looked at every few seconds, and checked by its own self-check whenever it is new. A task that it
does not finish goes to the twin at once: the output is the same, only later. What computes, and why it is nothing
better, stands in `describe`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any

import structlog

from theblock_node.client.errors import RefusedError, UnavailableError
from theblock_node.client.prover import Capabilities, Progress, ProverClient
from theblock_node.clock import Clock
from theblock_node.core.proofs import gpu_hash as hashing
from theblock_node.core.proofs.bundle import ProofBundle
from theblock_node.core.proofs.gpu_hash import HashTask
from theblock_node.services.compute.workloads import gpu_hash, snark
from theblock_node.services.compute.workloads.gpu_hash import Output
from theblock_node.services.compute.workloads.snark import NotProved, ProvedWrongly, SnarkWorker

LOOK_PERIOD_MS = 5_000
STARTING_MS = 60_000
"""For so long a prover that does not answer is taken to be starting."""
NO_ANSWER = "the prover does not answer"

log = structlog.get_logger("compute")


@dataclass(frozen=True, slots=True)
class Computed:
    output: Output
    backend: str


@dataclass(frozen=True, slots=True)
class TrialNews:
    """How far a trial run is; the last one has the digest."""

    stage: str
    done_ppm: int
    digest: bytes = b""
    backend: str = ""


class Runner:
    def __init__(
        self,
        prover: ProverClient,
        clock: Clock,
        *,
        self_check: bool,
        proofs: SnarkWorker | None = None,
        workloads: Collection[str] = (gpu_hash.NAME,),
    ) -> None:
        """``proofs`` is None where no circuit can be had; ``workloads`` are advertised, so the prover must pass them.

        What the chain assigns is done either way, if it can be: it asks for workloads whoever advertises them.
        """
        self._workloads = frozenset(workloads)
        self._proofs = proofs
        self._prover = prover
        self._clock = clock
        self._wants_check = self_check
        self._known: Capabilities | None = None
        """What the prover says of itself; None while it does not answer."""
        self._wrong = ""
        """Why it is not used although it answers."""
        self._silent_since_ms = clock.now_ms()
        self.units_per_second = 0
        """Of the last task."""

    async def run(self) -> None:
        """Look at the prover until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep_until(self._clock.now_ms() + LOOK_PERIOD_MS)

    async def look(self) -> None:
        """Learn whether the prover is there, and whether it is right if it is new."""
        try:
            known = await self._prover.capabilities()
            if self._known is None and self._wants_check:
                checked = await self._prover.self_check()
                self._wrong = "" if checked.passed else "it did not pass its self-check"
            elif self._known is None:
                self._wrong = ""
            if self._known is None:
                log.info("prover answers", backend=known.backend, reason=known.fallback_reason)
            self._known = known
        except (UnavailableError, RefusedError) as failed:
            self._lose(str(failed))

    @property
    def is_usable(self) -> bool:
        return self._known is not None and not self._wrong and gpu_hash.NAME in self._known.workloads

    @property
    def can_prove(self) -> bool:
        return self._known is not None and not self._wrong and snark.NAME in self._known.workloads

    @property
    def slots(self) -> int:
        """How many slices are computed at once: one for each device that may work."""
        devices = self._known.devices if self._known is not None and (self.is_usable or self.can_prove) else ()
        return max(1, sum(device.health != "Quarantined" for device in devices))

    async def compute(self, task: HashTask, context: bytes) -> Computed:
        """The output, right wherever it comes from; raises `TwinFailed` and `TimeoutError`."""
        if self.is_usable:
            try:
                output, got = await gpu_hash.run_prover(self._prover, task, context)
                self._measure(task, got.elapsed_us)
                return Computed(output, got.backend)
            except UnavailableError as failed:
                self._lose(str(failed))
            except RefusedError as refused:
                self._distrust(refused)
        started_ms = self._clock.now_ms()
        async with aclosing(gpu_hash.run_twin(task, context)) as steps:
            async for step in steps:
                if isinstance(step, Output):
                    self._measure(task, (self._clock.now_ms() - started_ms) * 1000)
                    return Computed(step, gpu_hash.PYTHON)
        raise gpu_hash.TwinFailed("the twin ended without an output")

    async def prove(self, job_id: bytes, index: int, circuit_hash: bytes) -> tuple[ProofBundle, str]:
        """The bundle of a slice, and the back end that proved; raises `NotProved`: no twin stands in for a prover."""
        if self._proofs is None:
            raise NotProved("this member makes no proofs")
        if not self.can_prove:
            raise NotProved(self._fallback_reason() or "the prover makes no proofs")
        try:
            return await self._proofs.prove(job_id, index, circuit_hash)
        except ProvedWrongly as wrong:
            log.error("the prover proves wrongly and is not used", reason=str(wrong))
            self._wrong = "it proved wrongly"
            raise

    async def try_out(self, task: HashTask, params_json: str) -> AsyncGenerator[TrialNews, None]:
        """A task outside the market, with how far it is."""
        if self.is_usable:
            try:
                async for news in self._prover.run_task(gpu_hash.NAME, params_json, task.seed, b"", b""):
                    if isinstance(news, Progress):
                        yield TrialNews(news.stage, news.done_ppm)
                    else:
                        yield TrialNews("done", gpu_hash.DONE, news.digest, news.backend)
                        return
            except UnavailableError as failed:
                self._lose(str(failed))
            except RefusedError as refused:
                self._distrust(refused)
        async with aclosing(gpu_hash.run_twin(task, b"")) as steps:
            async for step in steps:
                if isinstance(step, Output):
                    yield TrialNews("done", gpu_hash.DONE, step.root, gpu_hash.PYTHON)
                else:
                    yield TrialNews(step.stage, step.done_ppm)

    def describe(self) -> dict[str, Any]:
        """What the operator reads of it."""
        known = self._known
        last = self._proofs.last if self._proofs is not None else None
        return {
            "backend": known.backend if known is not None and self.is_usable else gpu_hash.PYTHON,
            "fallback_reason": self._fallback_reason(),
            "self_check": self._self_check(),
            "devices": [
                {
                    "index": device.index,
                    "model": device.model,
                    "memory_mib": device.memory_mib,
                    "health": device.health,
                    "reason": device.reason,
                }
                for device in (known.devices if known is not None else ())
            ],
            "units_per_second": self.units_per_second,
            "proof_backend": known.proof_backend if known is not None and self.can_prove else "",
            "last_proof": None if last is None else asdict(last),
        }

    def _self_check(self) -> str:
        if self._known is not None:
            passed = () if self._wrong else self._known.workloads
            return "passed" if self._workloads.issubset(passed) else "failed"
        is_starting = self._clock.now_ms() - self._silent_since_ms < STARTING_MS
        return "running" if is_starting else "missing"

    def _fallback_reason(self) -> str:
        if self._known is None:
            return NO_ANSWER
        if self.is_usable:
            return self._known.fallback_reason
        return f"the prover is not used: {self._wrong or 'no back end passed its self-check'}"

    def _lose(self, reason: str) -> None:
        if self._known is not None:
            log.warning("prover lost, the twin computes", reason=reason)
            self._silent_since_ms = self._clock.now_ms()
        self._known = None

    def _distrust(self, refused: RefusedError) -> None:
        """A full prover is asked again next time; one that is wrong is not, before it starts anew."""
        log.warning("prover refuses, the twin computes", reason=refused.code)
        if refused.code == "compute.proof_invalid":
            self._wrong = "it computed wrongly"

    def _measure(self, task: HashTask, elapsed_us: int) -> None:
        hashed_bytes = task.count * hashing.MESSAGE_BYTES
        self.units_per_second = hashed_bytes * 1_000_000 // max(1, elapsed_us) // hashing.UNIT_BYTES
