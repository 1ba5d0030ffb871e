"""A compute provider at work: takes the slices that the chain assigns it, computes them, delivers them.

Four tasks beside the caller's follower, which hands over final blocks through `take`: one looks at the prover, one
computes, one submits, and one compares the queue with the chain from time to time, so that nothing is missed
whatever happened while nobody looked. `slices` decides, `courier` remembers, this module acts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from random import Random
from typing import Any

import structlog

from theblock_node.client.chain import ChainClient, Committed
from theblock_node.client.errors import RefusedError, UnavailableError
from theblock_node.client.wallet import Wallet
from theblock_node.clock import Clock
from theblock_node.core import codec
from theblock_node.core.domains.compute.records import (
    AssignmentPage,
    CircuitWork,
    DeclineSlice,
    HashOutput,
    HashWork,
    Job,
    JobReply,
    ProviderPage,
    SliceStatus,
    SubmitSlice,
)
from theblock_node.core.domains.compute.rules import slice_context, slice_task
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs.bundle import ProofBundle
from theblock_node.services.compute import slices
from theblock_node.services.compute.courier import Courier
from theblock_node.services.compute.runner import Runner, TrialNews
from theblock_node.services.compute.slices import Entry, Fate, Key, State
from theblock_node.services.compute.workloads import gpu_hash
from theblock_node.services.compute.workloads.gpu_hash import TwinFailed
from theblock_node.services.compute.workloads.snark import Hopeless, NotProved

SUBMIT, DECLINE = "compute.submit_slice", "compute.decline_slice"
FINAL_WAIT_MS = 30_000
"""After so long a transaction is asked for; one that nobody knows is sent again."""
COMPARE_PERIOD_MS = 60_000
QUICK_COMPARE_PERIOD_MS = 5_000
"""While it drains, or nobody answered."""
GROWING_ABOVE = 16
"""Results that wait to be settled; normally it is a few."""
PROVER_WAIT_MS = 5_000
"""At most so long a slice waits for a prover that did not prove it: a container is back in seconds."""
TRIALS_MAX = 1
PROVIDERS_ASKED = 64
JOB_OVER = "compute.job_not_found"

log = structlog.get_logger("compute")


class ComputeService:
    def __init__(
        self,
        *,
        provider_id: str,
        chain: ChainClient,
        wallet: Wallet,
        courier: Courier,
        runner: Runner,
        clock: Clock,
        chance: Random,
    ) -> None:
        """``wallet`` signs and pays for what is delivered."""
        self._provider_id = provider_id
        self._chain = chain
        self._wallet = wallet
        self._courier = courier
        self._runner = runner
        self._clock = clock
        self._chance = chance
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._work_wake, self._submit_wake, self._compare_wake = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._changed = asyncio.Event()
        """Set, and replaced, whenever something happens to a slice."""
        self._drain_ms: int | None = None
        self._has_offers = True
        self._is_full = False
        """Some slice had no room in the queue."""
        self._no_endpoint = False
        self._trials = 0

    async def run(self) -> None:
        """Compute and deliver until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._runner.run())
            tasks.create_task(self._compare_always())
            tasks.create_task(self._work())
            tasks.create_task(self._submit())

    # What others tell and ask.

    def take(self, committed: Committed) -> None:
        """Learn from a final block what was assigned, and what became of what was delivered; it may be told twice."""
        for event in committed.all_events():
            match event.name:
                case "compute.job_assigned":
                    told = event.record
                    if told["provider_id"] == self._provider_id:
                        self._take_slice((bytes.fromhex(told["job_id"]), int(told["index"])))
                case "compute.slice_settled" | "compute.slice_violated":
                    told = event.record
                    key = bytes.fromhex(told["job_id"]), int(told["index"])
                    if told["provider_id"] == self._provider_id:
                        settled = event.name == "compute.slice_settled"
                        self._end(key, State.DELIVERED if settled else State.DEAD, "" if settled else event.name)
                case "compute.slice_released":
                    told = event.record
                    if told["provider_id"] == self._provider_id:
                        key = bytes.fromhex(told["job_id"]), int(told["index"])
                        self._end(key, State.CANCELLED, f"released: {told['reason']}")
        outcomes = {tx.tx_id: tx.error_code for tx in committed.txs if tx.call in (SUBMIT, DECLINE)}
        for entry in self._courier.of_txs(outcomes):
            self._close(entry, outcomes[entry.tx_id])
        self._wake()

    def drain(self, *, on: bool) -> None:
        """Finish what is locked; slices that are assigned later wait, unless the provider leaves the market."""
        if on and self._drain_ms is None:
            self._drain_ms, self._has_offers = self._clock.now_ms(), True
        elif not on:
            self._drain_ms = None
        self._compare_wake.set()
        self._wake()

    @property
    def is_draining(self) -> bool:
        return self._drain_ms is not None

    @property
    def left(self) -> int:
        """Slices that a drain waits for."""
        return sum(not self._is_held(entry) for entry in self._courier.live())

    def queue(self) -> list[Entry]:
        return self._courier.live()

    async def progress(self, key: Key) -> AsyncGenerator[Entry, None]:
        """Where a slice stands, now and at every change, until it is delivered or gone."""
        seen: Entry | None = None
        while True:
            changed = self._changed
            entry = self._courier.get(key)
            if entry is None:
                raise InvalidRecord("compute.slice_unknown", job_id=key[0].hex(), index=key[1])
            if entry != seen:
                yield entry
            if not entry.is_live:
                return
            seen = entry
            await changed.wait()

    def cancel(self, key: Key) -> None:
        """Take a slice out of the queue; the chain judges what follows."""
        entry = self._courier.get(key)
        if entry is None or not entry.is_live:
            raise InvalidRecord("compute.slice_unknown", job_id=key[0].hex(), index=key[1])
        log.warning("slice taken out of the queue", job_id=key[0].hex(), index=key[1], state=entry.state.value)
        self._end(key, State.CANCELLED, "cancelled")
        self._wake()

    async def try_out(
        self, workload: str, params_json: str, seed: bytes, data: bytes
    ) -> AsyncGenerator[TrialNews, None]:
        """Compute a task outside the market."""
        if workload != gpu_hash.NAME:
            raise InvalidRecord("compute.unsupported_workload", workload=workload[:63])
        task = gpu_hash.read_params(params_json, seed, data)
        if self._trials >= TRIALS_MAX:
            raise InvalidRecord("compute.trials_full", trials_max=TRIALS_MAX)
        self._trials += 1
        try:
            async with aclosing(self._runner.try_out(task, params_json)) as told:
                async for news in told:
                    yield news
        except TwinFailed as failed:
            raise InvalidRecord("compute.trial_failed", reason=str(failed)) from failed
        finally:
            self._trials -= 1

    def details(self) -> dict[str, Any]:
        """What the operator reads of the member."""
        counts = self._courier.counts()
        pending = counts[State.COMPUTED] + counts[State.SUBMITTED]
        errors = [entry.error for entry in self._courier.live() if entry.error]
        return {
            **self._runner.describe(),
            "running": len(self._running),
            "queued": max(0, counts[State.ASSIGNED] - len(self._running)),
            "courier_pending": pending,
            "courier_dead": counts[State.DEAD],
            "courier_growing": pending > GROWING_ABOVE,
            "drained": self.is_draining and not self.left,
            "last_error": errors[-1] if errors else "",
            "no_endpoint": self._no_endpoint,
        }

    # Computing.

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                entries, now_ms = self._courier.live(), self._clock.now_ms()
                for entry in slices.plan_starts(
                    entries, self._running, slots=self._runner.slots, now_ms=now_ms, is_held=self._is_held
                ):
                    self._running[entry.key] = tasks.create_task(self._compute(entry))
                await self._sleep(self._work_wake, slices.next_due_ms(entries, (State.ASSIGNED,), now_ms))

    async def _compute(self, entry: Entry) -> None:
        try:
            job = await self._find_job(entry)
            if job is None:
                return
            output, backend = await self._make(job, entry.index)
            command = SubmitSlice(job.job_id, entry.index, output)
            self._courier.save_result(entry.key, codec.encode(command), backend, self._clock.now_ms())
            log.info("slice computed", job_id=job.job_id.hex(), index=entry.index, backend=backend)
        except UnavailableError as failed:
            self._no_endpoint = True
            self._back_off(entry, str(failed))
        except RefusedError as refused:
            self._back_off(entry, refused.code)
        except Hopeless as failed:
            self._decline(entry, str(failed))
        except NotProved as failed:
            log.warning("slice not proved", job_id=entry.job_id.hex(), index=entry.index, reason=str(failed))
            self._back_off(entry, str(failed), wait_ms_max=PROVER_WAIT_MS)
        except (TwinFailed, TimeoutError) as failed:
            log.error("slice not computed", job_id=entry.job_id.hex(), index=entry.index, reason=str(failed))
            self._back_off(entry, f"not computed: {failed}")
        finally:
            del self._running[entry.key]
            self._wake()

    async def _make(self, job: Job, index: int) -> tuple[HashOutput | ProofBundle, str]:
        """What a slice asks for, and the back end that made it."""
        match job.work:
            case HashWork():
                context = slice_context(job.job_id, index)
                computed = await self._runner.compute(slice_task(job, index), context)
                return HashOutput(computed.output.root, computed.output.openings), computed.backend
            case CircuitWork(circuit_hash):
                return await self._runner.prove(job.job_id, index, circuit_hash)

    def _decline(self, entry: Entry, reason: str) -> None:
        """Give a slice back: soon after its assignment that costs nothing, and what is kept costs the bond."""
        log.error("slice given back", job_id=entry.job_id.hex(), index=entry.index, reason=reason)
        command = DeclineSlice(entry.job_id, entry.index)
        self._courier.save_result(entry.key, codec.encode(command), slices.DECLINED, self._clock.now_ms())

    async def _find_job(self, entry: Entry) -> Job | None:
        """The job of a slice that is still ours to deliver; else the slice ends, or waits."""
        reply = codec.from_json(JobReply, await self._chain.query("compute.job", {"job_id": entry.job_id.hex()}))
        self._no_endpoint = False
        piece = next((piece for piece in reply.slices if piece.index == entry.index), None)
        if reply.job is None or piece is None:
            self._back_off(entry, JOB_OVER)
            return None
        if piece.status is SliceStatus.ASSIGNED and piece.provider_id == self._provider_id:
            return reply.job
        match slices.judge_status(piece.status, piece.provider_id, self._provider_id):
            case Fate.DELIVERED:
                self._end(entry.key, State.DELIVERED, "")
            case Fate.LOST:
                self._end(entry.key, State.DEAD, f"the chain has it as {piece.status.name}")
            case _:
                self._back_off(entry, f"the chain has it as {piece.status.name}")
        return None

    # Delivering: one at a time, since every transaction has the next nonce of the one account.

    async def _submit(self) -> None:
        while True:
            now_ms = self._clock.now_ms()
            for entry in self._courier.live():
                if entry.state is not State.ASSIGNED and entry.not_before_ms <= now_ms:
                    await self._try(entry)
            entries = self._courier.live()
            await self._sleep(self._submit_wake, slices.next_due_ms(entries, (State.COMPUTED, State.SUBMITTED), now_ms))

    async def _try(self, entry: Entry) -> None:
        try:
            if entry.state is State.COMPUTED:
                entry = await self._sign(entry)
                await self._send(entry)
            else:
                await self._ask(entry)
            self._no_endpoint = False
        except UnavailableError as failed:
            # Whether it arrived is not known: the same transaction is asked for, and sent again.
            self._no_endpoint = True
            self._back_off(entry, str(failed))
        except RefusedError as refused:
            self._take_refusal(entry, refused)
        self._tell_change()

    async def _sign(self, entry: Entry) -> Entry:
        """Sign the delivery and keep it; nothing is sent that does not lie on the disk."""
        tip, account = await asyncio.gather(self._chain.tip(), self._chain.account(self._wallet.address))
        call, kind = (DECLINE, DeclineSlice) if entry.is_declined else (SUBMIT, SubmitSlice)
        signed = self._wallet.sign_call(
            call,
            codec.decode(kind, entry.bundle),
            chain_id=tip.chain_id,
            nonce=account.next_nonce,
            base_fee=tip.base_fee,
        )
        now_ms = self._clock.now_ms()
        self._courier.save_envelope(
            entry.key, signed.envelope, signed.tx_id.hex(), ask_ms=now_ms + FINAL_WAIT_MS, now_ms=now_ms
        )
        return replace(entry, state=State.SUBMITTED, envelope=signed.envelope, tx_id=signed.tx_id.hex())

    async def _send(self, entry: Entry) -> None:
        """Send what was signed, unless the slice ended while we waited for an answer."""
        kept = self._courier.get(entry.key)
        if kept is not None and (kept.state, kept.tx_id) == (State.SUBMITTED, entry.tx_id):
            await self._chain.submit(entry.envelope)

    async def _ask(self, entry: Entry) -> None:
        """What became of a transaction; one that nobody knows is sent again."""
        status = await self._chain.status(entry.tx_id)
        now_ms = self._clock.now_ms()
        if status.final and status.state in ("success", "failed"):
            # Its block went by unseen: the stream of final blocks begins where history is still kept.
            self._close(entry, status.error_code)
            return
        self._courier.ask_later(entry.key, now_ms + FINAL_WAIT_MS, now_ms)
        if status.state == "unknown":
            await self._send(entry)

    def _take_refusal(self, entry: Entry, refused: RefusedError) -> None:
        """The chain does not take a transaction."""
        if refused.facts.get("tx_id") == entry.tx_id != "":
            return  # It has it already.
        if slices.judge_refusal(refused.code, entry.wrong) is Fate.RETRY:
            log.warning("delivery refused", job_id=entry.job_id.hex(), index=entry.index, reason=refused.code)
            now_ms = self._clock.now_ms()
            again_ms = now_ms + slices.wait_ms(entry.attempts + 1, self._chance)
            if entry.state is State.COMPUTED:
                self._courier.back_off(entry.key, refused.code, again_ms, now_ms)
            else:
                self._courier.sign_again(entry.key, refused.code, again_ms, now_ms)
        else:
            self._close(entry, refused.code)

    def _close(self, entry: Entry, error_code: str) -> None:
        """Act on what became of a transaction in a final block."""
        now_ms = self._clock.now_ms()
        fate = slices.judge_refusal(error_code, entry.wrong) if error_code else Fate.DELIVERED
        match fate:
            case Fate.DELIVERED if entry.is_declined and not error_code:
                self._end(entry.key, State.CANCELLED, slices.DECLINED)
            case Fate.DELIVERED:
                self._end(entry.key, State.DELIVERED, error_code)
            case Fate.WRONG:
                log.error("result refused", job_id=entry.job_id.hex(), index=entry.index, backend=entry.backend)
                self._courier.compute_again(entry.key, error_code, now_ms)
            case Fate.LOST:
                self._end(entry.key, State.DEAD, error_code)
            case Fate.RETRY:
                again_ms = now_ms + slices.wait_ms(entry.attempts + 1, self._chance)
                self._courier.sign_again(entry.key, error_code, again_ms, now_ms)
        self._tell_change()

    # Comparing with the chain.

    async def _compare_always(self) -> None:
        while True:
            period_ms = COMPARE_PERIOD_MS
            try:
                await self._compare()
                self._no_endpoint = False
            except UnavailableError:
                self._no_endpoint, period_ms = True, QUICK_COMPARE_PERIOD_MS
            except RefusedError as refused:
                log.warning("queue not compared with the chain", reason=refused.code)
            self._courier.prune(self._clock.now_ms())
            self._wake()
            if self.is_draining:
                period_ms = QUICK_COMPARE_PERIOD_MS
            await self._sleep(self._compare_wake, self._clock.now_ms() + period_ms)

    async def _compare(self) -> None:
        """Take what the chain has assigned and we do not know; end what it has settled unseen."""
        if self.is_draining:
            asked = {"after": self._provider_id[:-1], "limit": PROVIDERS_ASKED}
            providers = codec.from_json(ProviderPage, await self._chain.query("compute.providers", asked, final=True))
            self._has_offers = any(offer.provider_id == self._provider_id for offer in providers.offers)
        asked = {"provider_id": self._provider_id}
        page = codec.from_json(AssignmentPage, await self._chain.query("compute.assignments", asked, final=True))
        assigned = {(piece.job_id, piece.index) for piece in page.slices}
        for key in sorted(assigned):
            self._take_slice(key)
        for entry in self._courier.live():
            # One that is being computed looks for itself; one that was sent is told of by its transaction first.
            if entry.key not in assigned and entry.key not in self._running and entry.state is not State.ASSIGNED:
                await self._find_job(entry)

    def _take_slice(self, key: Key) -> None:
        if not self._courier.take(key, self._clock.now_ms()):
            self._is_full = True
            log.warning("no room for a slice, it is taken later", job_id=key[0].hex(), index=key[1])

    # Small acts.

    def _is_held(self, entry: Entry) -> bool:
        """Assigned after a drain began, by a provider that stays in the market: for this pod's next run."""
        is_late = self._drain_ms is not None and entry.taken_ms > self._drain_ms
        return is_late and self._has_offers and entry.state is State.ASSIGNED and entry.key not in self._running

    def _end(self, key: Key, state: State, error: str) -> None:
        running = self._running.get(key)
        if running is not None and running is not asyncio.current_task():
            running.cancel()
        self._courier.end(key, state, error, self._clock.now_ms())
        if self._is_full:
            self._is_full = False
            self._compare_wake.set()
        if state is State.DEAD:
            log.error("slice given up", job_id=key[0].hex(), index=key[1], reason=error)
        self._tell_change()

    def _back_off(self, entry: Entry, error: str, *, wait_ms_max: int | None = None) -> None:
        now_ms = self._clock.now_ms()
        wait_ms = slices.wait_ms(entry.attempts + 1, self._chance)
        again_ms = now_ms + (wait_ms if wait_ms_max is None else min(wait_ms, wait_ms_max))
        self._courier.back_off(entry.key, error, again_ms, now_ms)

    def _wake(self) -> None:
        self._work_wake.set()
        self._submit_wake.set()
        self._tell_change()

    def _tell_change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _sleep(self, wake: asyncio.Event, until_ms: int | None) -> None:
        """Wait to be woken, or until a time."""
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(wake.wait())]
        if until_ms is not None:
            waits.append(asyncio.ensure_future(self._clock.sleep_until(until_ms)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        wake.clear()
