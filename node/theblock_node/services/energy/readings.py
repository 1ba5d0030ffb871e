"""Which readings may be signed, and what to do next for a provider: decisions over values, no effects.

A register only ever rises, so a later reading covers all earlier ones: only the newest is submitted, one at a time
for each provider. What was signed once under a nonce is never replaced by something else under that nonce.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from theblock_node.config import EnergyPolicy
from theblock_node.core import crypto
from theblock_node.core.domains.energy import attestation
from theblock_node.core.domains.energy.records import NONCE_WINDOW, Provider, ProviderState
from theblock_node.core.errors import InvalidRecord

STUCK_POLLS = 40
"""A meter that says the same so often is thought stuck."""


class MeterUnreachable(Exception):
    """The meter did not answer, or not with a reading."""


@dataclass(frozen=True, slots=True)
class Reading:
    meter: str
    total_wh: int
    timestamp: int
    """Seconds since 1970."""


class MeterDriver(Protocol):
    async def read(self) -> Reading:
        """The register now; `MeterUnreachable` where there is no telling."""
        ...


@dataclass(frozen=True, slots=True)
class Signed:
    """What was last signed for a provider. It is on disk before anybody sees the signature."""

    provider_id: str
    meter_address: str
    total_wh: int
    timestamp: int
    nonce: int
    signature: bytes
    sequence: int
    """Place of the reading in the spool."""
    tx_id: str
    """Of the last transaction that carried it; empty before the first."""
    is_open: bool
    """Whether it may still be carried: neither final nor given up."""


@dataclass(frozen=True, slots=True)
class Sign:
    """Sign the newest reading under this nonce, and send it."""

    nonce: int


@dataclass(frozen=True, slots=True)
class Resend:
    """Send what was signed once more."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """What was signed can no longer be taken."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The newest reading and all before it need not be sent."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done before the chain changes."""

    reason: str


Step = Sign | Resend | GiveUp | Drop | Wait


class Fate(Enum):
    """What becomes of a reading whose transaction was refused."""

    COVERED = "covered"
    """Somebody's later word stands; nothing is lost."""
    REFUSED = "refused"
    RETRY = "retry"


_COVERED = {
    "energy.nonce_replay",
    "energy.duplicate_attestation",
    "energy.stale_reading",
    "energy.timestamp_skew",
}
_REFUSED = {
    "energy.invalid_signature",
    "energy.malformed_signature",
    "energy.meter_mismatch",
    "energy.meter_regression",
    "energy.implausible_delta",
    "tx.bad_arguments",
}


def judge_refusal(code: str) -> Fate:
    if code in _COVERED:
        return Fate.COVERED
    return Fate.REFUSED if code in _REFUSED else Fate.RETRY


def check_reading(reading: Reading, last: Reading | None, policy: EnergyPolicy, now_seconds: int) -> None:
    """Refuse a reading that must not be signed."""
    if now_seconds - reading.timestamp > policy.max_age_seconds:
        raise InvalidRecord("energy.stale_reading", age=now_seconds - reading.timestamp, max=policy.max_age_seconds)
    if reading.timestamp - now_seconds > policy.max_future_skew_seconds:
        skew = reading.timestamp - now_seconds
        raise InvalidRecord("energy.future_skew", skew=skew, max=policy.max_future_skew_seconds)
    if last is not None and reading.timestamp < last.timestamp:
        raise InvalidRecord("energy.stale_reading", timestamp=reading.timestamp, last=last.timestamp)
    if last is not None and reading.total_wh < last.total_wh:
        raise InvalidRecord("energy.meter_regression", total_wh=reading.total_wh, last=last.total_wh)


def plan_step(
    provider: Provider | None,
    newest: Reading,
    signed: Signed | None,
    *,
    policy: EnergyPolicy,
    has_key: bool,
    now_seconds: int,
    height: int,
) -> Step:
    """Say what to do with the newest reading of a meter; ``provider`` is its row at the head."""
    if signed is not None and signed.is_open:
        is_taken = provider is not None and signed.nonce <= provider.last_nonce
        is_old = now_seconds - signed.timestamp > policy.max_age_seconds
        return GiveUp() if is_taken or is_old else Resend()
    if now_seconds - newest.timestamp > policy.max_age_seconds:
        return Drop("energy.stale_reading")
    if provider is None:
        return Wait("energy.unknown_provider")
    if provider.state is not ProviderState.ACTIVE:
        return Wait("energy.provider_inactive")
    if not has_key:
        return Wait("energy.key_not_registered")
    if provider.last_meter_wh is not None:
        if newest.timestamp <= provider.last_timestamp:
            return Drop("covered")
        if newest.total_wh < provider.last_meter_wh:
            return Drop("energy.meter_regression")
        if newest.total_wh - provider.last_meter_wh > attestation.compute_delta_max(provider, newest.timestamp):
            return Drop("energy.implausible_delta")
        is_seen = provider.last_nonce > 0 and height - provider.last_seen_height < policy.heartbeat_blocks
        if newest.total_wh == provider.last_meter_wh and is_seen:
            return Drop("unchanged")
    nonce = max(provider.last_nonce, signed.nonce if signed else 0) + 1
    if nonce > provider.last_nonce + NONCE_WINDOW:
        return Wait("energy.nonce_gap")
    return Sign(nonce)


def push_message(meter: str, total_wh: int, timestamp: int) -> bytes:
    """What a meter signs that pushes its readings."""
    name = meter.encode()
    body = len(name).to_bytes(4, "little") + name + total_wh.to_bytes(8, "little") + timestamp.to_bytes(8, "little")
    return attestation.digest("theblock/energy/push/v1", body)


def check_push(reading: Reading, public_key: bytes, signature: bytes) -> None:
    """Refuse a pushed reading that the meter's key did not sign."""
    message = push_message(reading.meter, reading.total_wh, reading.timestamp)
    if not crypto.verify(public_key, message, signature):
        raise InvalidRecord("energy.invalid_signature", meter=reading.meter)


def is_stuck(totals: Sequence[int]) -> bool:
    """Whether the last polls all said the same."""
    return len(totals) >= STUCK_POLLS and len(set(totals[-STUCK_POLLS:])) == 1
