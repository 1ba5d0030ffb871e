"""Circuits: registered once, with the key that decides over their proofs, and taken out of use by their owner."""

from __future__ import annotations

from dataclasses import replace

from theblock_node.core.domain import Context
from theblock_node.core.domains.compute.records import (
    ALLOW_DEV_CIRCUITS,
    ALLOW_UNBOUND_CIRCUITS,
    CIRCUIT_KEYS,
    CIRCUITS,
    VERIFY_UNITS,
    Circuit,
    CircuitKey,
    CircuitRegistered,
    CircuitState,
    CircuitStateChanged,
    RegisterCircuit,
    SetCircuitState,
    domain,
)
from theblock_node.core.errors import InvalidTx
from theblock_node.core.proofs import bundle, keys, statements

DOMAIN_SIZE_MAX = 2**28
"""The field has no larger domain."""
UNIT_DOMAIN_SIZE = 2**14
UNITS_A_PROOF = 4
INPUTS_A_UNIT = 16


def compute_units(domain_size: int) -> int:
    """What a proof of a circuit is paid by."""
    return -(-domain_size // UNIT_DOMAIN_SIZE)


def compute_verify_units(public_count: int) -> int:
    """What a verification costs every validator."""
    return UNITS_A_PROOF + public_count // INPUTS_A_UNIT


def reserve(ctx: Context, public_count: int) -> None:
    """Count a verification, of which a block holds a bounded number; a block's first may be a large one."""
    units, limit = compute_verify_units(public_count), ctx.param(VERIFY_UNITS)
    if ctx.meter.verify_units and ctx.meter.verify_units + units > limit:
        raise InvalidTx("compute.verify_budget", used=ctx.meter.verify_units, units=units, max=limit)
    ctx.meter.verify_units += units


def get_circuit(ctx: Context, circuit_hash: bytes) -> Circuit:
    circuit = ctx.draft.get(CIRCUITS, circuit_hash)
    if circuit is None:
        raise InvalidTx("compute.circuit_unknown", circuit_hash=circuit_hash.hex())
    return circuit  # type: ignore[no-any-return]


@domain.rule(RegisterCircuit, gas=50_000)
def register_circuit(ctx: Context, command: RegisterCircuit) -> None:
    if ctx.draft.get(CIRCUITS, command.circuit_hash) is not None:
        raise InvalidTx("compute.circuit_exists", circuit_hash=command.circuit_hash.hex())
    is_dev = command.ceremony is None or not command.ceremony.contributions
    if is_dev and not ctx.param(ALLOW_DEV_CIRCUITS):
        raise InvalidTx("compute.circuit_dev_key", circuit_hash=command.circuit_hash.hex())
    if command.ctx_index is None and not ctx.param(ALLOW_UNBOUND_CIRCUITS):
        raise InvalidTx("compute.proof_ctx", field="ctx_index", reason="missing")
    size = command.domain_size
    if not 2 <= size <= DOMAIN_SIZE_MAX or size & size - 1:
        raise InvalidTx("compute.invalid_circuit", field="domain_size", value=size)
    key = keys.decode_verifying_key(command.verifying_key)
    if key.public_count > bundle.PUBLIC_INPUTS_MAX:
        raise InvalidTx("compute.invalid_circuit", field="verifying_key", public_count=key.public_count)
    if command.output_count > key.public_count:
        raise InvalidTx("compute.invalid_circuit", field="output_count", value=command.output_count)
    if command.ctx_index is not None and not command.output_count <= command.ctx_index < key.public_count:
        raise InvalidTx("compute.invalid_circuit", field="ctx_index", value=command.ctx_index)
    reserve(ctx, key.public_count)
    bundle.prepare(command.verifying_key, key.public_count)

    circuit = Circuit(
        1,
        command.circuit_hash,
        command.r1cs_hash,
        command.zkey_hash,
        command.wasm_hash,
        command.zkey_object,
        command.wasm_object,
        statements.compute_key_hash(key),
        key.public_count,
        command.output_count,
        command.domain_size,
        command.ctx_index,
        command.ceremony,
        ctx.sender,
        CircuitState.ACTIVE,
        ctx.height,
    )
    ctx.draft.put(CIRCUITS, circuit.circuit_hash, circuit)
    ctx.draft.put(CIRCUIT_KEYS, circuit.circuit_hash, CircuitKey(1, command.verifying_key))
    ctx.emit(CircuitRegistered(circuit.circuit_hash, circuit.owner, circuit.key_hash))


@domain.rule(SetCircuitState)
def set_circuit_state(ctx: Context, command: SetCircuitState) -> None:
    circuit = get_circuit(ctx, command.circuit_hash)
    if circuit.owner != ctx.sender:
        raise InvalidTx("compute.not_owner", circuit_hash=command.circuit_hash.hex())
    if command.state <= circuit.state:
        raise InvalidTx("compute.circuit_state", state=circuit.state.name, wanted=command.state.name)
    ctx.draft.put(CIRCUITS, circuit.circuit_hash, replace(circuit, state=command.state))
    ctx.emit(CircuitStateChanged(circuit.circuit_hash, command.state))
