"""A key that signs calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from theblock_node.core import codec
from theblock_node.core import tx as txs
from theblock_node.core.address import address_of
from theblock_node.core.crypto import SigningKey
from theblock_node.core.domains import REGISTRY
from theblock_node.core.errors import InvalidRecord, InvalidTx

FEE_ROOM = 4
"""How many times the present base fee a transaction is ready to pay."""


@dataclass(frozen=True, slots=True)
class SignedCall:
    envelope: bytes
    tx_id: bytes


class Wallet:
    """Signs with one seed; knows nothing of nonces but what it is told."""

    def __init__(self, seed: bytes, shard: int = 0) -> None:
        self._key = SigningKey.from_seed(seed)
        self.public_key = self._key.public_key
        self.address = address_of(self.public_key, shard)

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def sign_call(
        self,
        call: str,
        arguments: Mapping[str, Any] | Any,
        *,
        chain_id: int,
        nonce: int,
        base_fee: int,
        tip: int = 0,
        memo: bytes = b"",
        expires_at_height: int = txs.NO_EXPIRY,
    ) -> SignedCall:
        """A signed envelope around ``call``; ``arguments`` as JSON or as the command's own record."""
        spec = REGISTRY.commands.get(call)
        if spec is None:
            raise InvalidTx("tx.unknown_call", call=call)
        record = codec.from_json(spec.type, dict(arguments)) if isinstance(arguments, Mapping) else arguments
        if not isinstance(record, spec.type):
            raise InvalidRecord("codec.value", path="$", expected=spec.type.__name__)
        payload = txs.TxPayload(
            version=3,
            chain_id=chain_id,
            from_=self.address,
            nonce=nonce,
            lane=txs.FeeLane.CONSUMER,
            max_fee=0,
            tip=tip,
            pct=100,
            gas_limit=0,
            expires_at_height=expires_at_height,
            memo=memo,
            call=call,
            data=codec.encode(record),
        )
        size = len(codec.encode(txs.sign(payload, self._key)))
        gas = txs.compute_gas(size, spec.gas)
        filled = replace(payload, gas_limit=gas, max_fee=tip + gas * max(base_fee, 1) * FEE_ROOM)
        envelope = txs.sign(filled, self._key)
        return SignedCall(codec.encode(envelope), txs.tx_id(filled))
