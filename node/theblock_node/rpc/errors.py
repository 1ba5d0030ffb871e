"""Refusals as gRPC statuses, in one place.

A refusal `domain.reason` becomes ErrorInfo ``{reason: "REASON", domain: "domain.theblock.dev"}`` and a status.
Bad input is never INTERNAL or UNKNOWN. The table of all refusals with their statuses, `docs/spec/refusals.md`, is
made from the code: whoever adds one sees there what it became.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status

from theblock_node.core.errors import InvalidRecord, ProtocolError

ERROR_DOMAIN = "theblock.dev"
FACT_LENGTH_MAX = 256
FACTS_MAX = 32

_EXACT: dict[str, int] = {
    "accounts.already_claimed": code_pb2.FAILED_PRECONDITION,
    "accounts.session_limit": code_pb2.PERMISSION_DENIED,
    "accounts.session_scope": code_pb2.PERMISSION_DENIED,
    "block.decode": code_pb2.INVALID_ARGUMENT,
    "block.dup_tx": code_pb2.FAILED_PRECONDITION,
    "block.header": code_pb2.INVALID_ARGUMENT,
    "block.size": code_pb2.INVALID_ARGUMENT,
    "bridge.outflow_cap": code_pb2.RESOURCE_EXHAUSTED,
    "bridge.unauthorized_release": code_pb2.PERMISSION_DENIED,
    "chain.history_pruned": code_pb2.OUT_OF_RANGE,
    "compute.already_retired": code_pb2.FAILED_PRECONDITION,
    "compute.payout_mismatch": code_pb2.INVALID_ARGUMENT,
    "compute.slice_paid": code_pb2.ALREADY_EXISTS,
    "energy.already_open": code_pb2.FAILED_PRECONDITION,
    "energy.already_resolved": code_pb2.FAILED_PRECONDITION,
    "energy.insufficient_capacity": code_pb2.FAILED_PRECONDITION,
    "energy.meter_mismatch": code_pb2.FAILED_PRECONDITION,
    "energy.nonce_gap": code_pb2.ALREADY_EXISTS,
    "energy.unauthorized": code_pb2.PERMISSION_DENIED,
    "mempool.lane_auth": code_pb2.PERMISSION_DENIED,
    "mempool.lock_poisoned": code_pb2.UNAVAILABLE,
    "mempool.pending_limit": code_pb2.RESOURCE_EXHAUSTED,
    "rpc.admin_only": code_pb2.PERMISSION_DENIED,
    "rpc.banned": code_pb2.RESOURCE_EXHAUSTED,
    "rpc.deadline": code_pb2.DEADLINE_EXCEEDED,
    "rpc.idle": code_pb2.DEADLINE_EXCEEDED,
    "rpc.members_only": code_pb2.PERMISSION_DENIED,
    "rpc.not_ready": code_pb2.UNAVAILABLE,
    "rpc.rate_limited": code_pb2.RESOURCE_EXHAUSTED,
    "storage.already_retired": code_pb2.FAILED_PRECONDITION,
    "storage.capacity_below_use": code_pb2.FAILED_PRECONDITION,
    "storage.grant_expired": code_pb2.PERMISSION_DENIED,
    "storage.grant_invalid": code_pb2.PERMISSION_DENIED,
    "storage.insufficient_providers": code_pb2.RESOURCE_EXHAUSTED,
    "storage.integrity": code_pb2.DATA_LOSS,
    "storage.manifest_slots": code_pb2.INVALID_ARGUMENT,
    "storage.por_root": code_pb2.INVALID_ARGUMENT,
    "storage.shard_mismatch": code_pb2.DATA_LOSS,
    "storage.too_large": code_pb2.OUT_OF_RANGE,
    "storage.unrecoverable": code_pb2.DATA_LOSS,
    "store.io": code_pb2.UNAVAILABLE,
    "tx.auth_not_built": code_pb2.UNIMPLEMENTED,
    "tx.bad_nonce": code_pb2.FAILED_PRECONDITION,
    "tx.bad_signature": code_pb2.UNAUTHENTICATED,
    "tx.expired": code_pb2.FAILED_PRECONDITION,
    "tx.fee_below_base": code_pb2.FAILED_PRECONDITION,
    "tx.fee_overflow": code_pb2.OUT_OF_RANGE,
    "tx.insufficient_balance": code_pb2.FAILED_PRECONDITION,
    "tx.key_mismatch": code_pb2.UNAUTHENTICATED,
    "tx.pending_signatures": code_pb2.FAILED_PRECONDITION,
    "tx.sponsor_not_built": code_pb2.UNIMPLEMENTED,
    "validators.already_registered": code_pb2.ALREADY_EXISTS,
    "validators.bad_pop": code_pb2.UNAUTHENTICATED,
    "validators.bad_signature": code_pb2.UNAUTHENTICATED,
    "vote.signature": code_pb2.INVALID_ARGUMENT,
}
_MALFORMED_DOMAINS = frozenset({"codec", "tx", "address", "genesis"})
_BY_WORD: tuple[tuple[frozenset[str], int], ...] = (
    (frozenset({"unknown", "missing"}), code_pb2.NOT_FOUND),
    (frozenset({"exists", "duplicate", "dup", "already", "replay", "taken", "use", "used"}), code_pb2.ALREADY_EXISTS),
    (frozenset({"overflow"}), code_pb2.OUT_OF_RANGE),
    (frozenset({"full", "exhausted", "many", "capacity"}), code_pb2.RESOURCE_EXHAUSTED),
    (
        frozenset({"invalid", "malformed", "bad", "length", "path", "forbidden", "zero", "hex", "format"}),
        code_pb2.INVALID_ARGUMENT,
    ),
)
RPC_CODES = {
    "mempool.unknown_sender": 1,
    "mempool.insufficient_balance": 2,
    "mempool.nonce_gap": 3,
    "tx.invalid_selector": 4,
    "tx.bad_signature": 5,
    "tx.key_mismatch": 5,
    "mempool.duplicate": 6,
    "mempool.not_found": 7,
    "mempool.balance_overflow": 8,
    "tx.fee_overflow": 9,
    "mempool.fee_too_low": 10,
    "mempool.fee_below_floor": 10,
    "tx.tip_above_max_fee": 10,
    "mempool.full": 11,
    "mempool.pending_limit": 13,
    "tx.fee_too_large": 14,
    "tx.unknown_call": 19,
    "tx.bad_arguments": 19,
    "tx.expired": 21,
    "tx.gas_limit": 22,
    "address.format": 23,
    "tx.access_list": 24,
    "tx.malformed": 25,
    "tx.too_large": 26,
    "tx.wrong_chain": 27,
    "energy.invalid_signature": -33001,
    "energy.key_not_registered": -33001,
    "energy.implausible_delta": -33002,
    "energy.meter_mismatch": -33003,
    "energy.stale_reading": -33003,
    "energy.meter_regression": -33003,
    "energy.below_min_fill": -33004,
    "energy.unknown_reading": -33005,
    "energy.credit_expired": -33005,
    "energy.credit_frozen": -33005,
    "energy.already_open": -33005,
    "energy.unknown_dispute": -33005,
    "energy.already_resolved": -33005,
    "energy.dispute_window_closed": -33005,
    "energy.price_limit": -33005,
    "energy.unknown_provider": -33006,
    "energy.provider_exists": -33006,
    "energy.meter_in_use": -33006,
    "energy.insufficient_stake": -33006,
    "energy.nonce_replay": -33007,
    "energy.timestamp_skew": -33008,
    "energy.unauthorized": -33009,
    "rpc.rate_limited": -32001,
    "rpc.banned": -32002,
}
"""Numbers under which the reference system knew a refusal; they travel as a fact, the name decides."""


def status_code(code: str) -> int:
    """The gRPC status number of a refusal."""
    if code in _EXACT:
        return _EXACT[code]
    domain, _, reason = code.partition(".")
    if reason.endswith("not_built") or reason.startswith("unsupported"):
        return int(code_pb2.UNIMPLEMENTED)
    if domain in _MALFORMED_DOMAINS:
        return int(code_pb2.INVALID_ARGUMENT)
    if reason.endswith("not_found"):
        return int(code_pb2.NOT_FOUND)
    if reason.startswith("not_") and reason.rpartition("_")[2] in ("owner", "buyer", "assignee", "arbiter", "provider"):
        return int(code_pb2.PERMISSION_DENIED)
    words = set(reason.split("_"))
    return next((status for known, status in _BY_WORD if words & known), int(code_pb2.FAILED_PRECONDITION))


def status_name(code: str) -> str:
    """``FAILED_PRECONDITION`` and its like."""
    return str(code_pb2.Code.Name(status_code(code)))


def to_status(refused: ProtocolError) -> Any:
    """A refusal with its facts, as what a call is ended with."""
    domain, _, reason = refused.code.partition(".")
    facts = {name: str(value)[:FACT_LENGTH_MAX] for name, value in list(refused.facts.items())[:FACTS_MAX]}
    if refused.code in RPC_CODES:
        facts["rpc_code"] = str(RPC_CODES[refused.code])
    info = error_details_pb2.ErrorInfo(reason=reason.upper(), domain=f"{domain}.{ERROR_DOMAIN}", metadata=facts)
    code = status_code(refused.code)
    details = [_pack(info)]
    if code == code_pb2.INVALID_ARGUMENT:
        details.append(_pack(_violations(refused, facts)))
    if "retry_after_ms" in refused.facts:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(int(str(refused.facts["retry_after_ms"])))
        details.append(_pack(retry))
    return rpc_status.to_status(status_pb2.Status(code=code, message=str(refused)[:1024], details=details))


def refusal(field: str, reason: str) -> ProtocolError:
    """A request field that is not what it must be."""
    return InvalidRecord("codec.value", path=field, reason=reason)


def _violations(refused: ProtocolError, facts: dict[str, str]) -> Message:
    field = facts.get("path") or facts.get("field") or facts.get("record") or "request"
    violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=str(refused)[:1024])
    made: Message = error_details_pb2.BadRequest(field_violations=[violation])
    return made


def _pack(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
