"""Slices of proving: what may be asked of a circuit, and whether a delivered bundle is the answer."""

from __future__ import annotations

from theblock_node.core import crypto
from theblock_node.core.domain import Context
from theblock_node.core.domains.compute import circuits
from theblock_node.core.domains.compute.records import (
    CIRCUIT_KEYS,
    INPUTS,
    STATEMENTS,
    Circuit,
    CircuitState,
    ProofSettled,
    Provider,
    Slice,
    SnarkWork,
    Statement,
)
from theblock_node.core.errors import InvalidRecord, InvalidTx
from theblock_node.core.proofs import bundle as bundles
from theblock_node.core.proofs import statements, witness
from theblock_node.core.proofs.bundle import ProofBundle
from theblock_node.core.proofs.field import R

CONTEXT_SIGNAL = "ctx"


def check_work(ctx: Context, work: SnarkWork) -> Circuit:
    """The circuit that is asked for; refuses inputs that could be those of no circuit."""
    circuit = circuits.get_circuit(ctx, work.circuit_hash)
    if circuit.state is not CircuitState.ACTIVE:
        raise InvalidTx("compute.circuit_revoked", circuit_hash=work.circuit_hash.hex(), state=circuit.state.name)
    for index, text in enumerate(work.inputs):
        try:
            signals = witness.parse_inputs(text)
        except InvalidRecord as refused:
            raise InvalidTx("compute.invalid_workload", field="inputs", index=index, **refused.facts) from refused
        if circuit.ctx_index is not None and CONTEXT_SIGNAL in signals:
            raise InvalidTx("compute.invalid_workload", field="inputs", index=index, signal=CONTEXT_SIGNAL)
    if len(work.public_inputs) not in (0, len(work.inputs)):
        raise InvalidTx("compute.invalid_workload", field="public_inputs", count=len(work.public_inputs))
    shown = circuit.public_count - circuit.output_count - (circuit.ctx_index is not None)
    for index, public in enumerate(work.public_inputs):
        if len(public.values) != shown or any(int.from_bytes(value, "little") >= R for value in public.values):
            raise InvalidTx("compute.invalid_workload", field="public_inputs", index=index, wanted=shown)
    return circuit


def check_bundle(ctx: Context, circuit: Circuit, provider: Provider, piece: Slice, bundle: ProofBundle) -> None:
    """Refuse a bundle that does not prove the slice; what needs no pairing is refused before there is one."""
    if circuit.state is CircuitState.REVOKED:
        raise InvalidTx("compute.circuit_revoked", circuit_hash=circuit.circuit_hash.hex(), state=circuit.state.name)
    for field, is_right in (
        ("system", bundle.system == bundles.GROTH16_BN254),
        ("circuit_hash", bundle.circuit_hash == circuit.circuit_hash),
        ("vk_hash", bundle.vk_hash == circuit.key_hash),
        ("program_commitment", bundle.program_commitment == circuit.circuit_hash),
        ("latency_ms", bundle.latency_ms > 0),
        ("artifact.circuit_hash", bundle.artifact.circuit_hash == circuit.circuit_hash),
        ("artifact.wasm_hash", bundle.artifact.wasm_hash == circuit.wasm_hash),
    ):
        if not is_right:
            raise InvalidTx("compute.proof_decode", field=field)
    inputs = bundles.read_inputs(bundle)
    if len(inputs) != circuit.public_count:
        raise InvalidTx("compute.proof_inputs", count=len(inputs), wanted=circuit.public_count)
    for index, value in enumerate(inputs):
        if value >= R:
            raise InvalidTx("compute.proof_inputs", index=index)
    if bundle.output_commitment != bundles.commit_output(bundle, circuit.output_count):
        raise InvalidTx("compute.proof_inputs", field="output_commitment")
    wanted = ctx.draft.get(INPUTS, (piece.job_id, piece.index))
    assert wanted is not None
    if wanted.public_inputs is not None and wanted.public_inputs.values != _shown(circuit, bundle):
        raise InvalidTx("compute.proof_inputs", field="public_inputs")
    if circuit.ctx_index is None:
        used = ctx.draft.get(STATEMENTS, bundles.statement_id(bundle))
        if used is not None:
            raise InvalidTx("compute.statement_used", job_id=used.job_id.hex(), index=used.index)
    elif inputs[circuit.ctx_index] != _compute_context(ctx, provider, piece, bundle):
        raise InvalidTx("compute.proof_ctx", index=circuit.ctx_index)
    if not crypto.verify(provider.member_key, bundles.signing_bytes(bundle), bundle.provider_signature):
        raise InvalidTx("compute.proof_signature", provider_id=provider.provider_id)
    key = ctx.draft.get(CIRCUIT_KEYS, circuit.circuit_hash)
    assert key is not None
    circuits.reserve(ctx, circuit.public_count)
    try:
        ctx.check_proof(bundle, key.verifying_key)
    except InvalidRecord as refused:
        if refused.code == "snark.invalid_proof":
            raise InvalidTx("compute.proof_invalid", job_id=piece.job_id.hex(), index=piece.index) from refused
        raise InvalidTx("compute.proof_decode", field="proof", cause=refused.code, **refused.facts) from refused


def settle_bundle(ctx: Context, circuit: Circuit, piece: Slice, bundle: ProofBundle) -> None:
    """Tell of a proof; an unbound statement is used up, as nothing in it says which slice it was proved for."""
    statement_id = bundles.statement_id(bundle)
    if circuit.ctx_index is None:
        ctx.draft.put(STATEMENTS, statement_id, Statement(1, piece.job_id, piece.index, ctx.height))
    ctx.emit(
        ProofSettled(
            piece.job_id,
            piece.index,
            piece.provider_id,
            circuit.circuit_hash,
            bundles.fingerprint(bundle),
            statement_id,
            bundle.backend,
            bundle.latency_ms,
        )
    )


def _shown(circuit: Circuit, bundle: ProofBundle) -> tuple[bytes, ...]:
    """The public inputs that are neither outputs nor the context."""
    return tuple(
        value for at, value in enumerate(bundle.public_inputs) if at >= circuit.output_count and at != circuit.ctx_index
    )


def _compute_context(ctx: Context, provider: Provider, piece: Slice, bundle: ProofBundle) -> int:
    return statements.compute_context(
        ctx.chain.chain_id,
        piece.job_id.hex(),
        piece.index,
        circuit_hash=bundle.circuit_hash,
        output_commitment=bundle.output_commitment,
        provider_key=provider.member_key,
    )
