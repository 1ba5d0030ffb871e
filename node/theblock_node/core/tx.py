"""The signed transaction envelope around one call of one domain, and the checks on it that need no state.

Layout and order of checks: the payload's bytes are what is signed (with the chain's tag in front); the id
covers everything that the sender chose and nothing that a relay can change.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Annotated, Any, ClassVar

from theblock_node.core import codec, crypto
from theblock_node.core.address import Address, address_of, parse_address
from theblock_node.core.domain import Registry
from theblock_node.core.errors import InvalidRecord, InvalidTx
from theblock_node.core.numeric import U8, U32, U64, Bytes32, Bytes64, MaxLen, Pattern

TX_BYTES_MAX = 131_072
INTRINSIC_GAS = 1000
INTRINSIC_BYTES = 1024
"""Bytes of an envelope that the intrinsic gas covers; each further one costs 1 gas."""
FEE_LIMIT = 2**63
NO_EXPIRY = 0


class FeeLane(IntEnum):
    CONSUMER = 0
    INDUSTRIAL = 1
    PRIORITY = 2
    TREASURY = 3


@dataclass(frozen=True, slots=True, order=True)
class StateKey:
    table: Annotated[str, MaxLen(80)]
    key: Annotated[bytes, MaxLen(1024)]


@dataclass(frozen=True, slots=True)
class TxPayload:
    version: U8
    chain_id: U32
    from_: Address
    nonce: U64
    lane: FeeLane
    max_fee: U64
    tip: U64
    pct: U8
    """Fee selector: percent of the fee booked to the consumer lane."""
    gas_limit: U64
    expires_at_height: U64
    memo: Annotated[bytes, MaxLen(1024)]
    call: Annotated[str, MaxLen(80), Pattern(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")]
    data: Annotated[bytes, MaxLen(65_536)]
    reads: Annotated[tuple[StateKey, ...], MaxLen(256)] = ()
    writes: Annotated[tuple[StateKey, ...], MaxLen(256)] = ()
    fee_payer: Address | None = None

    VERSION: ClassVar[int] = 3


@dataclass(frozen=True, slots=True)
class Ed25519Auth:
    public_key: Bytes32
    signature: Bytes64


@dataclass(frozen=True, slots=True)
class IndexedSignature:
    index: U8
    signature: Bytes64


@dataclass(frozen=True, slots=True)
class MultisigAuth:
    threshold: U8
    keys: Annotated[tuple[Bytes32, ...], MaxLen(32)]
    sigs: Annotated[tuple[IndexedSignature, ...], MaxLen(32)]


@dataclass(frozen=True, slots=True)
class SessionAuth:
    session_key: Bytes32
    signature: Bytes64


@dataclass(frozen=True, slots=True)
class PqSignature:
    public_key: Annotated[bytes, MaxLen(4096)]
    signature: Annotated[bytes, MaxLen(8192)]


@dataclass(frozen=True, slots=True)
class DualAuth:
    ed25519: Ed25519Auth
    pq: PqSignature


@dataclass(frozen=True, slots=True)
class PqAuth:
    pq: PqSignature


Auth = Ed25519Auth | MultisigAuth | SessionAuth | DualAuth | PqAuth


@dataclass(frozen=True, slots=True)
class TxEnvelope:
    payload: TxPayload
    auth: Auth
    payer_auth: Ed25519Auth | None = None


@dataclass(frozen=True, slots=True)
class CheckedTx:
    """An envelope that passed every check which needs no state."""

    envelope: TxEnvelope
    id: bytes
    size: int
    gas: int
    """Gas that it uses: intrinsic plus the call's surcharge."""
    arguments: Any
    message: bytes
    """What its sender signed."""

    @property
    def payload(self) -> TxPayload:
        return self.envelope.payload


def signing_message(payload: TxPayload) -> bytes:
    return b"THE_BLOCKv3|" + struct.pack("<I", payload.chain_id) + codec.encode(payload)


def tx_id(payload: TxPayload) -> bytes:
    return _id_of(signing_message(payload))


def sign(payload: TxPayload, key: crypto.SigningKey) -> TxEnvelope:
    return TxEnvelope(payload, Ed25519Auth(key.public_key, key.sign(signing_message(payload))))


def compute_gas(size: int, surcharge: int) -> int:
    return INTRINSIC_GAS + max(0, size - INTRINSIC_BYTES) + surcharge


def decompose(pct: int, fee: int) -> tuple[int, int]:
    """Split a fee between the consumer and the industrial lane, the consumer's part rounded up."""
    if pct > 100:
        raise InvalidTx("tx.invalid_selector", pct=pct)
    if fee >= FEE_LIMIT:
        raise InvalidTx("tx.fee_overflow", fee=fee)
    consumer = -(-fee * pct // 100)
    return consumer, fee - consumer


def decode(data: bytes, registry: Registry, *, chain_id: int, gas_max: int) -> CheckedTx:
    """Decode an envelope and check all but its signature; the cheapest refusals come first."""
    if len(data) > TX_BYTES_MAX:
        raise InvalidTx("tx.too_large", size=len(data), max=TX_BYTES_MAX)
    try:
        envelope = codec.decode(TxEnvelope, data, profile=codec.TRANSACTION)
    except InvalidRecord as refused:
        raise InvalidTx("tx.malformed", cause=refused.code, **refused.facts) from refused
    return check(envelope, len(data), registry, chain_id=chain_id, gas_max=gas_max)


def check(envelope: TxEnvelope, size: int, registry: Registry, *, chain_id: int, gas_max: int) -> CheckedTx:
    payload = envelope.payload
    if payload.chain_id != chain_id:
        raise InvalidTx("tx.wrong_chain", chain_id=payload.chain_id, expected=chain_id)
    if payload.pct > 100:
        raise InvalidTx("tx.invalid_selector", pct=payload.pct)
    if payload.max_fee >= FEE_LIMIT:
        raise InvalidTx("tx.fee_too_large", max_fee=payload.max_fee)
    if payload.tip > payload.max_fee:
        raise InvalidTx("tx.tip_above_max_fee", tip=payload.tip, max_fee=payload.max_fee)
    arguments = registry.decode_arguments(payload.call, payload.data)
    gas = compute_gas(size, registry.commands[payload.call].gas)
    if not gas <= payload.gas_limit <= gas_max:
        raise InvalidTx("tx.gas_limit", gas_limit=payload.gas_limit, min=gas, max=gas_max)
    _check_access(payload.reads, registry)
    _check_access(payload.writes, registry)
    if payload.fee_payer is not None or envelope.payer_auth is not None:
        raise InvalidTx("tx.sponsor_not_built")
    _check_auth(envelope)
    message = signing_message(payload)
    return CheckedTx(envelope, _id_of(message), size, gas, arguments, message)


def signature_item(tx: CheckedTx) -> tuple[bytes, bytes, bytes]:
    """(public key, message, signature) for batch verification."""
    auth = tx.envelope.auth
    assert isinstance(auth, Ed25519Auth)
    return auth.public_key, tx.message, auth.signature


def check_signature(tx: CheckedTx) -> None:
    if not crypto.verify(*signature_item(tx)):
        raise InvalidTx("tx.bad_signature", tx_id=tx.id.hex())


def _id_of(message: bytes) -> bytes:
    return crypto.blake3(b"TX" + message)


def _check_access(keys: Sequence[StateKey], registry: Registry) -> None:
    if not keys:
        return
    encoded = [(key.table.encode(), key.key) for key in keys]
    if any(left >= right for left, right in pairwise(encoded)):
        raise InvalidTx("tx.access_list", reason="not sorted and unique")
    unknown = [key.table for key in keys if key.table not in registry.tables]
    if unknown:
        raise InvalidTx("tx.access_list", reason="unknown table", table=unknown[0])


def _check_auth(envelope: TxEnvelope) -> None:
    auth = envelope.auth
    if not isinstance(auth, Ed25519Auth):
        raise InvalidTx("tx.auth_not_built", variant=type(auth).__name__)
    shard, account = parse_address(envelope.payload.from_)
    if account != auth.public_key.hex():
        raise InvalidTx(
            "tx.key_mismatch", sender=envelope.payload.from_, key_address=address_of(auth.public_key, shard)
        )
