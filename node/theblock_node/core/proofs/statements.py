"""What stands for keys, statements and proofs on the chain.

Replay is judged by `statement_id`: the same statement has many valid proofs, so a `fingerprint` only names bytes.
A market's circuit takes `context` as a public input, so that a proof made for one job is none for another.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from theblock_node.core.proofs import encoding, keys
from theblock_node.core.proofs.keys import VerifyingKey
from theblock_node.core.proofs.retrieval import digest

CONTEXT_BITS = 253
"""The largest number of bits of which every value is below R."""


def compute_key_hash(key: VerifyingKey) -> bytes:
    return digest("theblock/compute/vk/v1", keys.encode_verifying_key(key))


def compute_statement_id(key_hash: bytes, inputs: Sequence[int]) -> bytes:
    return digest("theblock/compute/statement/v1", key_hash + _counted(inputs))


def compute_fingerprint(key_hash: bytes, inputs: Sequence[int], proof: bytes) -> bytes:
    """The name of ``proof`` in its 128-byte form, beside what it shows."""
    return digest("theblock/compute/bundle/v2", key_hash + _counted(inputs) + proof)


def commit_output(outputs: Sequence[int]) -> bytes:
    return digest("theblock/compute/output/v1", _counted(outputs))


def commit_witness(salt: bytes, witness: Sequence[int]) -> bytes:
    """A commitment that tells nothing as long as the 32 bytes of ``salt`` are secret and used once."""
    return digest("theblock/compute/witness/v1", salt + _scalars(witness))


def compute_context(
    chain_id: int, job_id: str, slice_index: int, *, circuit_hash: bytes, output_commitment: bytes, provider_key: bytes
) -> int:
    """The public input that ties a proof to one slice of one job, its output and its prover."""
    job = job_id.encode()
    body = b"".join(
        (
            struct.pack("<II", chain_id, len(job)),
            job,
            struct.pack("<I", slice_index),
            circuit_hash,
            output_commitment,
            provider_key,
        )
    )
    return int.from_bytes(digest("theblock/compute/snark-ctx/v1", body), "little") % (1 << CONTEXT_BITS)


def _counted(values: Sequence[int]) -> bytes:
    return struct.pack("<I", len(values)) + _scalars(values)


def _scalars(values: Sequence[int]) -> bytes:
    return b"".join(map(encoding.scalar_bytes, values))
