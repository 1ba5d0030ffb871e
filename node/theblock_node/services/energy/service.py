"""The oracle at work: polls meters into the spool, signs the newest reading of each, follows it until it is final.

Three kinds of task: one that polls for each meter, one that submits, and the caller's follower, which hands over
final blocks through `take`. `readings` decides; this module acts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from theblock_node.client.chain import ChainClient, Committed
from theblock_node.client.errors import RefusedError, UnavailableError
from theblock_node.client.wallet import Wallet
from theblock_node.clock import Clock
from theblock_node.config import EnergySettings, Meter
from theblock_node.core import codec
from theblock_node.core.crypto import SigningKey
from theblock_node.core.domains.energy import attestation
from theblock_node.core.domains.energy.records import ED25519, OracleKey, ProviderReply, SubmitReading
from theblock_node.core.errors import InvalidRecord, ProtocolError
from theblock_node.services.energy import keys, readings
from theblock_node.services.energy.readings import Fate, MeterDriver, MeterUnreachable, Reading, Signed
from theblock_node.services.energy.spool import Spool

FINAL_WAIT_MS = 30_000
"""After so long a transaction is asked for; one that nobody knows is sent again."""
POLLS_KEPT = readings.STUCK_POLLS
SPOOL_GROWS_ABOVE = 4
"""Readings of a meter that wait; normally it is one or two."""

log = structlog.get_logger("energy")


@dataclass(slots=True)
class _Watched:
    """A meter, and what is known of it."""

    config: Meter
    driver: MeterDriver
    last: Reading | None = None
    """The last that was taken."""
    polled: list[int] = field(default_factory=list)
    is_reachable: bool = True
    error: str = ""
    """Why the last reading was not taken."""
    refused: str = ""
    """Why the chain does not take what was signed; empty once it does."""
    accepted_height: int = 0
    tries: int = 0
    not_before_ms: int = 0
    sent_ms: int | None = None
    """When the open transaction was sent, or last asked for; None where that was before a restart."""
    chosen: bytes | None = None
    """Public key that signs for it now."""


class EnergyService:
    def __init__(
        self,
        *,
        settings: EnergySettings,
        oracle_id: str,
        chain_id: int,
        chain: ChainClient,
        wallet: Wallet,
        ring: keys.KeyRing,
        spool: Spool,
        meters: Mapping[str, MeterDriver],
        clock: Clock,
    ) -> None:
        """``meters`` are the drivers by the names in ``settings``; ``wallet`` pays for what it submits."""
        self._settings = settings
        self._oracle_id = oracle_id
        self._chain_id = chain_id
        self._chain = chain
        self._wallet = wallet
        self._spool = spool
        self._clock = clock
        self._wake = asyncio.Event()
        self._no_endpoint = False
        self._watched = {meter.name: _Watched(meter, meters[meter.name]) for meter in settings.meters}
        self.ring = ring
        self.is_draining = False

    async def run(self) -> None:
        """Poll and submit until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for watched in self._watched.values():
                tasks.create_task(self._poll(watched))
            tasks.create_task(self._submit())

    # What others may ask.

    def push(self, meter: str, total_wh: int, timestamp: int, signature: bytes) -> int:
        """Take a reading that the meter signed itself; returns its place in the spool."""
        watched = self._watched.get(meter)
        if watched is None:
            raise InvalidRecord("energy.unknown_meter", meter=meter)
        if watched.config.push_key is None:
            raise InvalidRecord("energy.push_not_allowed", meter=meter)
        if self.is_draining:
            raise InvalidRecord("energy.draining")
        reading = Reading(meter, total_wh, timestamp)
        readings.check_push(reading, bytes.fromhex(watched.config.push_key), signature)
        return self._take_reading(watched, reading)

    def prove_possession(self, provider_id: str, oracle_id: str, key_version: int) -> tuple[bytes, bytes]:
        """(public key, signature) of the key that is to be registered."""
        if oracle_id != self._oracle_id:
            raise InvalidRecord("energy.unknown_oracle", oracle_id=oracle_id)
        if provider_id not in {watched.config.provider_id for watched in self._watched.values()}:
            raise InvalidRecord("energy.unknown_provider", provider_id=provider_id)
        key = self.ring.newest
        message = attestation.possession_message(self._chain_id, provider_id, oracle_id, key_version, key.public_key)
        return key.public_key, key.sign(message)

    def reload_key(self, data: bytes) -> None:
        """Take a changed signing key file."""
        before, self.ring = self.ring, keys.reload(self.ring, data)
        if self.ring.invalid:
            log.warning("signing key not taken", reason=self.ring.invalid)
        elif self.ring.staged is not None and self.ring.staged is not before.staged:
            log.info("signing key staged", public_key=self.ring.staged.public_key.hex())
        self._wake.set()

    def take(self, committed: Committed) -> None:
        """Learn from a final block what became of what was submitted."""
        outcomes = {tx.tx_id: tx.error_code for tx in committed.txs}
        for watched in self._watched.values():
            signed = self._spool.signed(watched.config.provider_id)
            if signed is not None and signed.tx_id in outcomes:
                self._close(watched, signed, outcomes[signed.tx_id], committed.height)
        self._wake.set()

    def details(self) -> dict[str, Any]:
        """What the operator reads of the member."""
        ring, depth = self.ring, self._spool.depth
        refused = next((watched.refused for watched in self._watched.values() if watched.refused), "")
        return {
            "meters": [_describe(watched) for watched in self._watched.values()],
            "keys": {
                "active": ring.active.public_key.hex(),
                "staged": ring.staged.public_key.hex() if ring.staged else "",
                "invalid": ring.invalid,
            },
            "spool_depth": depth,
            "spool_growing": depth > SPOOL_GROWS_ABOVE * len(self._watched),
            "refused": refused,
            "no_endpoint": self._no_endpoint,
        }

    @property
    def spool_depth(self) -> int:
        return self._spool.depth

    # Reading meters.

    async def _poll(self, watched: _Watched) -> None:
        interval_ms = watched.config.interval_seconds * 1000
        while True:
            if not self.is_draining:
                await self._read(watched)
            # All members of a resource read in the same moments, so that what they say can agree.
            await self._clock.sleep_until((self._clock.now_ms() // interval_ms + 1) * interval_ms)

    async def _read(self, watched: _Watched) -> None:
        try:
            reading = await watched.driver.read()
        except MeterUnreachable as failed:
            watched.is_reachable, watched.error = False, str(failed)
            log.warning("meter does not answer", meter=watched.config.name, reason=str(failed))
            return
        watched.is_reachable = True
        watched.polled = [*watched.polled[1 - POLLS_KEPT :], reading.total_wh]
        try:
            self._take_reading(watched, reading)
        except ProtocolError as refused:
            log.warning("reading not taken", meter=watched.config.name, reason=str(refused))

    def _take_reading(self, watched: _Watched, reading: Reading) -> int:
        try:
            readings.check_reading(reading, watched.last, self._settings.policy, self._clock.now_ms() // 1000)
        except InvalidRecord as refused:
            watched.error = refused.code
            raise
        sequence = self._spool.add(reading)
        watched.last, watched.error = reading, ""
        self._wake.set()
        return sequence

    # Submitting.

    async def _submit(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            for watched in self._watched.values():
                if self._clock.now_ms() >= watched.not_before_ms:
                    await self._try(watched)

    async def _try(self, watched: _Watched) -> None:
        try:
            await self._advance(watched)
            self._no_endpoint = False
        except UnavailableError as failed:
            self._no_endpoint = True
            self._back_off(watched, "the chain does not answer", str(failed))
        except RefusedError as refused:
            signed = self._spool.signed(watched.config.provider_id)
            if signed is None or not signed.is_open:
                self._back_off(watched, "the chain refuses", refused.code)
            else:
                self._close(watched, signed, refused.code, 0)

    async def _advance(self, watched: _Watched) -> None:
        """Do the next thing for a meter, if there is one."""
        found = self._spool.newest(watched.config.name)
        signed = self._spool.signed(watched.config.provider_id)
        if found is None or await self._is_in_flight(watched, signed):
            return
        sequence, newest = found
        tip, answer = await asyncio.gather(
            self._chain.tip(), self._chain.query("energy.provider", {"provider_id": watched.config.provider_id})
        )
        reply = codec.from_json(ProviderReply, answer)
        rows: tuple[OracleKey, ...] = next((row.keys for row in reply.keys if row.oracle_id == self._oracle_id), ())
        key = keys.choose(self.ring, rows, tip.height + 1)
        watched.chosen = key.public_key if key else None
        self.ring = keys.promote(self.ring, (other.chosen for other in self._watched.values()))
        step = readings.plan_step(
            reply.provider,
            newest,
            signed,
            policy=self._settings.policy,
            has_key=key is not None,
            now_seconds=self._clock.now_ms() // 1000,
            height=tip.height,
        )
        match step:
            case readings.Sign(nonce):
                assert key is not None
                await self._send(watched, self._sign(watched, newest, sequence, nonce, key))
            case readings.Resend():
                assert signed is not None
                await self._send(watched, signed)
            case readings.GiveUp():
                assert signed is not None
                self._spool.save_signed(replace(signed, is_open=False))
                self._spool.forget(watched.config.name, signed.sequence)
                self._wake.set()
            case readings.Drop(reason):
                if reason.startswith("energy."):
                    watched.error = reason
                self._spool.forget(watched.config.name, sequence)
            case readings.Wait(reason):
                self._back_off(watched, "waiting", reason)

    async def _is_in_flight(self, watched: _Watched, signed: Signed | None) -> bool:
        """Whether a transaction of the meter may still become final by itself."""
        if signed is None or not signed.is_open or not signed.tx_id:
            return False
        if watched.sent_ms is not None and self._clock.now_ms() - watched.sent_ms < FINAL_WAIT_MS:
            return True
        status = await self._chain.status(signed.tx_id)
        watched.sent_ms = self._clock.now_ms()
        if status.final and status.state in ("success", "failed"):
            # Its block went by unseen: the stream of final blocks begins where history is still kept.
            self._close(watched, signed, status.error_code, status.height)
        return status.state != "unknown"

    def _sign(self, watched: _Watched, reading: Reading, sequence: int, nonce: int, key: SigningKey) -> Signed:
        config = watched.config
        body = attestation.reading_body(
            self._chain_id, config.provider_id, config.address, reading.total_wh, reading.timestamp, nonce
        )
        signed = Signed(
            config.provider_id,
            config.address,
            reading.total_wh,
            reading.timestamp,
            nonce,
            key.sign(attestation.attestation_message(body, self._oracle_id)),
            sequence,
            "",
            True,
        )
        self._spool.save_signed(signed)
        return signed

    async def _send(self, watched: _Watched, signed: Signed) -> None:
        command = SubmitReading(
            signed.provider_id,
            signed.meter_address,
            signed.total_wh,
            signed.timestamp,
            signed.nonce,
            self._oracle_id,
            ED25519,
            signed.signature,
        )
        sent = await self._chain.send(self._wallet, "energy.submit_reading", command)
        watched.sent_ms = self._clock.now_ms()
        self._spool.save_signed(replace(signed, tx_id=sent.tx_id.hex()))

    def _close(self, watched: _Watched, signed: Signed, error_code: str, height: int) -> None:
        """Act on what became of a transaction; it may be told twice."""
        fate = readings.judge_refusal(error_code) if error_code else Fate.COVERED
        if fate is Fate.RETRY:
            self._spool.save_signed(replace(signed, tx_id=""))
            self._back_off(watched, "reading not taken", error_code)
            return
        watched.refused, watched.tries = "", 0
        if fate is Fate.REFUSED:
            watched.refused = error_code
            log.error("reading refused", meter=watched.config.name, reason=error_code, nonce=signed.nonce)
        if not error_code:
            watched.accepted_height = height
        self._spool.save_signed(replace(signed, is_open=False))
        self._spool.forget(watched.config.name, signed.sequence)
        self._wake.set()

    def _back_off(self, watched: _Watched, what: str, reason: str) -> None:
        retry = self._settings.retry
        wait_ms = min(retry.max_ms, retry.initial_ms * 2 ** min(watched.tries, 16))
        watched.tries += 1
        watched.not_before_ms = self._clock.now_ms() + wait_ms
        watched.refused = "" if self._no_endpoint else reason
        log.info(what, meter=watched.config.name, reason=reason, again_in_ms=wait_ms)


def _describe(watched: _Watched) -> dict[str, Any]:
    return {
        "name": watched.config.name,
        "reachable": watched.is_reachable,
        "stuck": readings.is_stuck(watched.polled),
        "total_wh": watched.last.total_wh if watched.last else 0,
        "reading_height": watched.accepted_height,
        "accepted": watched.accepted_height > 0,
        "error": watched.error,
    }
