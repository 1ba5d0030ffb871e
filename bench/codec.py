"""The canonical codec on a signed transfer, beside msgspec and protobuf of the same record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from theblock_node.core import codec, tx
from theblock_node.core.address import address_of
from theblock_node.core.crypto import SigningKey
from theblock_node.core.domains.accounts import Transfer
from theblock_node.core.tx import Ed25519Auth, FeeLane, TxEnvelope, TxPayload

from bench.figures import Figure, compare

COUNT = 1000


class _PackedPayload(msgspec.Struct, array_like=True, gc=False):
    version: int
    chain_id: int
    from_: str
    nonce: int
    lane: int
    max_fee: int
    tip: int
    pct: int
    gas_limit: int
    expires_at_height: int
    memo: bytes
    call: str
    data: bytes
    reads: list[Any]
    writes: list[Any]
    fee_payer: str | None


class _Packed(msgspec.Struct, array_like=True, gc=False):
    """The same record, in the form that msgspec is fastest with."""

    payload: _PackedPayload
    public_key: bytes
    signature: bytes


def run() -> Iterator[Figure]:
    envelopes = [_envelope(number) for number in range(COUNT)]
    ours = [codec.encode(envelope) for envelope in envelopes]
    packed = [_packed(envelope) for envelope in envelopes]
    encoder, decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(_Packed)
    packed_bytes = [encoder.encode(record) for record in packed]
    message = _message_class()
    messages = [_message(message, envelope) for envelope in envelopes]
    message_bytes = [made.SerializeToString() for made in messages]
    sizes = f"{len(ours[0])} B here, {len(packed_bytes[0])} B msgpack, {len(message_bytes[0])} B protobuf"

    def protobuf_decode() -> int:
        for data in message_bytes:
            _read(message.FromString(data))
        return COUNT

    yield compare(
        "codec.encode_tx",
        "tx/s",
        "ours",
        {
            "ours": lambda: len([codec.encode(envelope) for envelope in envelopes]),
            "msgspec": lambda: len([encoder.encode(record) for record in packed]),
            "protobuf, message made before": lambda: len([made.SerializeToString() for made in messages]),
            "protobuf, message made for it": lambda: len(
                [_message(message, envelope).SerializeToString() for envelope in envelopes]
            ),
        },
        note=f"a signed transfer: {sizes}",
    )
    yield compare(
        "codec.decode_tx",
        "tx/s",
        "ours",
        {
            "ours": lambda: len([codec.decode(TxEnvelope, data) for data in ours]),
            "msgspec": lambda: len([decoder.decode(data) for data in packed_bytes]),
            "protobuf, all fields read": protobuf_decode,
        },
        note="ours checks bounds and patterns, and refuses a second encoding of a value; the peers do not",
    )


def _envelope(number: int) -> TxEnvelope:
    key = SigningKey.from_seed(bytes([number % 7 + 1]) * 32)
    address = address_of(key.public_key)
    payload = TxPayload(
        version=3,
        chain_id=1,
        from_=address,
        nonce=number,
        lane=FeeLane.CONSUMER,
        max_fee=2_000_000,
        tip=50_000,
        pct=100,
        gas_limit=1000,
        expires_at_height=0,
        memo=b"",
        call="accounts.transfer",
        data=codec.encode(Transfer(address, number, 0)),
    )
    return tx.sign(payload, key)


def _auth(envelope: TxEnvelope) -> Ed25519Auth:
    assert isinstance(envelope.auth, Ed25519Auth)
    return envelope.auth


def _packed(envelope: TxEnvelope) -> _Packed:
    payload, auth = envelope.payload, _auth(envelope)
    values = {name: getattr(payload, name) for name in _PackedPayload.__struct_fields__}
    values |= {"lane": int(payload.lane), "reads": [], "writes": []}
    return _Packed(_PackedPayload(**values), auth.public_key, auth.signature)


_FIELDS = descriptor_pb2.FieldDescriptorProto
_KINDS = {"u": _FIELDS.TYPE_UINT64, "s": _FIELDS.TYPE_STRING, "b": _FIELDS.TYPE_BYTES}
_LAYOUT = (
    *(("version", "u"), ("chain_id", "u"), ("from_", "s"), ("nonce", "u"), ("lane", "u"), ("max_fee", "u")),
    *(("tip", "u"), ("pct", "u"), ("gas_limit", "u"), ("expires_at_height", "u"), ("memo", "b"), ("call", "s")),
    ("data", "b"),
)


def _message_class() -> Any:
    """The record as a protobuf message; the auth's two fields stand beside the payload's, which favours protobuf."""
    file = descriptor_pb2.FileDescriptorProto(name="bench_tx.proto", package="bench", syntax="proto3")
    message = file.message_type.add(name="Tx")
    for number, (name, kind) in enumerate((*_LAYOUT, ("public_key", "b"), ("signature", "b")), start=1):
        message.field.add(name=name, number=number, type=_KINDS[kind], label=_FIELDS.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("bench.Tx"))


def _message(message: Any, envelope: TxEnvelope) -> Any:
    payload, auth = envelope.payload, _auth(envelope)
    return message(
        version=payload.version,
        chain_id=payload.chain_id,
        from_=payload.from_,
        nonce=payload.nonce,
        lane=int(payload.lane),
        max_fee=payload.max_fee,
        tip=payload.tip,
        pct=payload.pct,
        gas_limit=payload.gas_limit,
        expires_at_height=payload.expires_at_height,
        memo=payload.memo,
        call=payload.call,
        data=payload.data,
        public_key=auth.public_key,
        signature=auth.signature,
    )


def _read(made: Any) -> tuple[Any, ...]:
    """Every field as a Python value, which is when protobuf makes it one."""
    return (
        *(made.version, made.chain_id, made.from_, made.nonce, made.lane, made.max_fee, made.tip, made.pct),
        *(made.gas_limit, made.expires_at_height, made.memo, made.call, made.data, made.public_key, made.signature),
    )
