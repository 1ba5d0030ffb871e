"""The typed services of every domain, made from what the domains declare.

A request is the JSON form of a command or query, field by field (`tools/generate/domains.py`), so one mapping
serves them all; `Query` on the chain service takes the same JSON by name.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

import grpc
from google.protobuf import json_format

from theblock_node.core import codec
from theblock_node.core import tx as txs
from theblock_node.core.domain import CommandSpec, Domain, QuerySpec, Reading, Registry, snake
from theblock_node.core.errors import InvalidRecord, InvalidTx
from theblock_node.rpc.server import Service


class Backend(Protocol):
    """What the services need of the chain."""

    async def submit(self, envelope: bytes) -> bytes:
        """Take a signed transaction; returns its id."""
        ...

    def reading(self, *, final: bool) -> Reading:
        """The committed state at the head, or as of the final block."""
        ...

    def next_nonce(self, address: str) -> int: ...

    def base_fee(self) -> int: ...


def answer(registry: Registry, reading: Reading, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Run the query ``name`` with arguments in JSON form."""
    spec = registry.queries.get(name)
    if spec is None:
        raise InvalidRecord("rpc.unknown_query", name=name[:80])
    return run_query(spec, reading, request)


def run_query(spec: QuerySpec, reading: Reading, request: Mapping[str, Any]) -> dict[str, Any]:
    record: Any = codec.from_json(spec.request, dict(request))
    return codec.to_json(spec.function(reading, record))  # type: ignore[no-any-return]


def make_services(registry: Registry, backend: Backend) -> list[Service]:
    """One typed service for each domain that has something to call."""
    return [_service(domain, backend) for domain in registry.domains if domain.commands or domain.queries]


def _service(domain: Domain, backend: Backend) -> Service:
    module = importlib.import_module(f"theblock_node.pb.theblock.{domain.name}.v1.{domain.name}_pb2")
    name = f"theblock.{domain.name}.v1.{domain.service}"
    handlers = {spec.type.__name__: _command(spec, module, backend) for spec in domain.commands.values()}
    handlers |= {spec.request.__name__: _query(spec, module, backend) for spec in domain.queries.values()}

    def register(server: grpc.aio.Server) -> None:
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))

    return Service(name, register)


def _query(spec: QuerySpec, module: Any, backend: Backend) -> Any:
    name = spec.request.__name__
    request_type, response_type = getattr(module, f"{name}Request"), getattr(module, f"{name}Response")

    async def call(request: Any, _context: Any) -> Any:
        reply = run_query(spec, backend.reading(final=False), _to_json(spec.request, request))
        return json_format.ParseDict(_to_fields(codec.kind_of(spec.reply), reply), response_type())

    return _handler(call, request_type, response_type)


def _command(spec: CommandSpec, module: Any, backend: Backend) -> Any:
    name = spec.type.__name__
    request_type, response_type = getattr(module, f"{name}Request"), getattr(module, f"{name}Response")

    async def call(request: Any, _context: Any) -> Any:
        if request.tx:
            _require_call(request.tx, spec.name)
            return response_type(tx_id=(await backend.submit(request.tx)).hex())
        arguments: Any = codec.from_json(spec.type, _to_json(spec.type, request.arguments))
        payload = _unsigned(spec, arguments, request.from_address, backend)
        return response_type(tx_id=txs.tx_id(payload).hex(), unsigned_payload=codec.encode(payload))

    return _handler(call, request_type, response_type)


def _handler(call: Any, request_type: Any, response_type: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        call, request_deserializer=request_type.FromString, response_serializer=response_type.SerializeToString
    )


def _require_call(envelope: bytes, call: str) -> None:
    try:
        decoded = codec.decode(txs.TxEnvelope, envelope, profile=codec.TRANSACTION)
    except InvalidRecord as refused:
        raise InvalidTx("tx.malformed", cause=refused.code, **refused.facts) from refused
    if decoded.payload.call != call:
        raise InvalidTx("tx.bad_arguments", path="tx", call=decoded.payload.call, expected=call)


def _unsigned(spec: CommandSpec, arguments: Any, sender: str, backend: Backend) -> txs.TxPayload:
    """A payload to be signed, with the fee that the present base fee asks for and room for it to rise."""
    data = codec.encode(arguments)
    gas = txs.compute_gas(txs.INTRINSIC_BYTES + len(data), spec.gas)
    fee = gas * 2 * max(backend.base_fee(), 1)
    reading = backend.reading(final=False)
    payload = txs.TxPayload(
        3, reading.chain.chain_id, sender, backend.next_nonce(sender), txs.FeeLane.CONSUMER, fee, 0, 100, gas,
        txs.NO_EXPIRY, b"", spec.name, data,
    )  # fmt: skip
    codec.encode(payload)
    return payload


def _to_json(record: type, message: Any) -> dict[str, Any]:
    """The JSON form of a message; fields that proto3 leaves out when zero are put back."""
    found = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return _from_fields(codec.kind_of(record), found)  # type: ignore[no-any-return]


def _from_fields(kind: Any, found: Any) -> Any:
    """JSON as records have it, from a message's: what is absent is null, a union says its ``type``."""
    match kind.tag:
        case "struct":
            parts = [(name.rstrip("_"), part) for name, part in kind.parts]
            return {
                name: _from_fields(part, found.get(name))
                for name, part in parts
                if name in found or part.tag == "option"
            }
        case "union":
            named = {snake(part.source.__name__): part for part in kind.parts}
            return next(
                (
                    {"type": named[name].source.__name__, **_from_fields(named[name], inner)}
                    for name, inner in found.items()
                ),
                {},
            )
        case "option":
            return None if found is None else _from_fields(kind.parts[0], found)
        case "list" | "set":
            return [_from_fields(kind.parts[0], inner) for inner in found]
    return found


def _to_fields(kind: Any, value: Any) -> Any:
    """The other way."""
    match kind.tag:
        case "struct":
            parts = {name.rstrip("_"): part for name, part in kind.parts}
            return {name: _to_fields(parts[name], inner) for name, inner in value.items()}
        case "union":
            part = next(part for part in kind.parts if part.source.__name__ == value["type"])
            inner = {name: each for name, each in value.items() if name != "type"}
            return {snake(value["type"]): _to_fields(part, inner)}
        case "option":
            return None if value is None else _to_fields(kind.parts[0], value)
        case "list" | "set":
            return [_to_fields(kind.parts[0], inner) for inner in value]
    return value
