"""The bundle that a compute provider delivers for a slice of proving: a proof, what it shows, and whose it is.

Everything beside the proof and its public inputs is a claim, which whoever takes a bundle compares with what is
registered. `verify` is the only costly part, and its answer follows from what `fingerprint` names alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache
from typing import Annotated, ClassVar

from theblock_node.core import codec
from theblock_node.core.numeric import U8, U32, Bytes32, Bytes64, FixedBytes, Height, MaxLen
from theblock_node.core.proofs import groth16, keys, statements
from theblock_node.core.proofs.groth16 import PreparedKey
from theblock_node.core.proofs.retrieval import digest

GROTH16_BN254 = 1
PUBLIC_INPUTS_MAX = 1024
PREPARED_KEYS_MAX = 64
"""Verifying keys that are kept ready; one of the largest takes about a MiB."""


class Backend(IntEnum):
    CPU = 0
    GPU = 1


@dataclass(frozen=True, slots=True)
class Artifact:
    """What the prover ran."""

    circuit_hash: Bytes32
    wasm_hash: Bytes32
    generated_at: Height
    """When the proof was made, as its prover saw the chain."""


@dataclass(frozen=True, slots=True)
class ProofBundle:
    version: U8
    system: U8
    """1: Groth16 over BN254."""
    backend: Backend
    circuit_hash: Bytes32
    vk_hash: Bytes32
    program_commitment: Bytes32
    """The circuit's hash."""
    output_commitment: Bytes32
    witness_commitment: Bytes32
    """Salted; only the prover can open it."""
    public_inputs: Annotated[tuple[Bytes32, ...], MaxLen(PUBLIC_INPUTS_MAX)]
    """Little-endian, outputs first."""
    proof: Annotated[bytes, FixedBytes(groth16.PROOF_BYTES)]
    latency_ms: U32
    artifact: Artifact
    provider_signature: Bytes64
    """Of the provider's member key over `signing_bytes`."""

    VERSION: ClassVar[int] = 2


def signing_bytes(bundle: ProofBundle) -> bytes:
    """What the provider signs: everything but the signature."""
    blank = replace(bundle, provider_signature=bytes(64))
    return digest("theblock/compute/bundle-signature/v1", codec.encode(blank))


def read_inputs(bundle: ProofBundle) -> list[int]:
    """The public inputs as numbers, which may still be out of range."""
    return [int.from_bytes(value, "little") for value in bundle.public_inputs]


def fingerprint(bundle: ProofBundle) -> bytes:
    return statements.compute_fingerprint(bundle.vk_hash, read_inputs(bundle), bundle.proof)


def statement_id(bundle: ProofBundle) -> bytes:
    return statements.compute_statement_id(bundle.vk_hash, read_inputs(bundle))


def commit_output(bundle: ProofBundle, output_count: int) -> bytes:
    """What ``output_commitment`` must be for a circuit with so many outputs."""
    return statements.commit_output(read_inputs(bundle)[:output_count])


@lru_cache(PREPARED_KEYS_MAX)
def prepare(verifying_key: bytes, public_count: int) -> PreparedKey:
    """The key of those canonical bytes, checked and made ready; a hostile one is refused."""
    return groth16.prepare(keys.decode_verifying_key(verifying_key), public_count)


def verify(bundle: ProofBundle, verifying_key: bytes) -> None:
    """Refuse a bundle whose proof does not show its public inputs under that key, whose hash it names."""
    inputs = read_inputs(bundle)
    groth16.verify(prepare(verifying_key, len(inputs)), inputs, groth16.decode_proof(bundle.proof))
