"""Bundles: a circuit in one folder, with all that proving it takes and a description that follows from the rest.

`circuit.wasm` and `circuit.r1cs` are the compiler's, `circuit.zkey` is the key, `vk.json` its public part. A folder is
read whole and its description made anew: one in which anything was changed is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from theblock_node.cli.finding import Unusable
from theblock_node.core import crypto
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import keys, prover, r1cs, setup, statements, witness
from theblock_node.core.proofs.formats import documents, zkey
from theblock_node.core.proofs.formats import r1cs as r1cs_file

if TYPE_CHECKING:
    from theblock_node.core.proofs.keys import ProvingKey
    from theblock_node.core.proofs.prover import UsableKey
    from theblock_node.core.proofs.r1cs import R1cs

DESCRIPTION, VERIFYING_KEY = "circuit.json", "vk.json"
WASM, CIRCUIT, KEY = "circuit.wasm", "circuit.r1cs", "circuit.zkey"
BYTES_MAX = 2**30
CONTEXT_SIGNAL = "ctx"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A circuit's files, which belong together, and what was read from them."""

    description: dict[str, Any]
    wasm: bytes
    circuit_file: bytes
    key_file: bytes
    system: R1cs
    program: witness.Program
    usable: UsableKey

    @property
    def key(self) -> ProvingKey:
        return self.usable.key


def make(
    wasm: bytes, circuit_file: bytes, key_file: bytes, *, context_index: int | None, powers: str | None = None
) -> Bundle:
    """The bundle of those files; files of different circuits are refused.

    ``context_index`` counts public inputs, outputs among them, from 0. ``powers`` is the hash of the ceremony's first
    phase, for keys that come from one.
    """
    program, system, key = witness.load(wasm), r1cs_file.read(circuit_file), zkey.read(key_file)
    usable = prover.prepare(key, key.verifying)
    _check_together(program, system, key, circuit_file)
    if context_index is not None and not system.public_output_count <= context_index < system.public_count:
        raise _mixed("context_index", index=context_index)
    if key.contributions:
        keys.check_ceremony(key)
    elif powers is not None:
        raise _mixed("ceremony")
    description = {
        "circuit_hash": crypto.blake3(wasm).hex(),
        "r1cs_hash": crypto.blake3(circuit_file).hex(),
        "zkey_hash": crypto.blake3(key_file).hex(),
        "vk_hash": statements.compute_key_hash(key.verifying).hex(),
        "n_vars": system.wire_count,
        "n_constraints": len(system.constraints),
        "n_public": system.public_count,
        "n_outputs": system.public_output_count,
        "domain": key.domain_size,
        "ctx_index": context_index,
        "ceremony": describe_ceremony(key, powers),
    }
    return Bundle(description, wasm, circuit_file, key_file, system, program, usable)


def describe_ceremony(key: ProvingKey, powers: str | None) -> dict[str, Any] | None:
    """Where the key is from; None for one that a single party made."""
    if not key.contributions:
        return None
    transcript = b"".join(contribution.transcript for contribution in key.contributions)
    return {
        "ptau_hash": powers,
        "contributions": len(key.contributions),
        "transcript_hash": crypto.blake3(key.circuit_hash + transcript).hex(),
    }


def find_context(program: witness.Program, system: R1cs) -> int | None:
    """Where the public input `ctx` stands; `Unusable` where the files do not say."""
    if not program.takes(CONTEXT_SIGNAL):
        return None
    if system.public_input_count != 1:
        raise Unusable(
            f"the circuit takes {CONTEXT_SIGNAL}, and its place among {system.public_input_count} public inputs is not "
            "in these files",
            "give --ctx-index N, which counts outputs and then public inputs from 0",
        )
    return system.public_output_count


def write(folder: Path, bundle: Bundle) -> None:
    """Write a new folder; what is there already is never overwritten."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError as there:
        raise Unusable(f"{folder} is there already", "choose another name, or remove it") from there
    (folder / WASM).write_bytes(bundle.wasm)
    (folder / CIRCUIT).write_bytes(bundle.circuit_file)
    (folder / KEY).write_bytes(bundle.key_file)
    (folder / VERIFYING_KEY).write_text(documents.render_verifying_key(bundle.key.verifying))
    # Last, since it says that the rest is there.
    (folder / DESCRIPTION).write_text(_render(bundle.description))


def read(folder: Path) -> Bundle:
    """The bundle in a folder; refused where its description does not follow from its files."""
    text = take(folder / DESCRIPTION)
    try:
        claimed = json.loads(text)
        index, ceremony = claimed["ctx_index"], claimed["ceremony"]
        powers = None if ceremony is None else ceremony["ptau_hash"]
    except (ValueError, RecursionError, KeyError, TypeError) as wrong:
        raise _mixed("description") from wrong
    if not (index is None or type(index) is int) or not (powers is None or _is_hash(powers)):
        raise _mixed("description")
    files = (take(folder / name) for name in (WASM, CIRCUIT, KEY))
    bundle = make(*files, context_index=index, powers=powers)
    if _render(bundle.description).encode() != text:
        field = next((name for name, value in bundle.description.items() if claimed.get(name) != value), "form")
        raise _mixed("description", field=field)
    if documents.parse_verifying_key(take(folder / VERIFYING_KEY)) != bundle.key.verifying:
        raise _mixed("vk")
    return bundle


def take(path: Path) -> bytes:
    """The bytes of a file."""
    try:
        size = path.stat().st_size
        if size > BYTES_MAX:
            raise Unusable(f"{path}: {size} bytes, more than {BYTES_MAX}", "give a smaller one")
        return path.read_bytes()
    except OSError as failed:
        raise Unusable(f"{path}: {failed.strerror}", "`tb-cli snark compile` writes a bundle's folder") from failed


def _check_together(program: witness.Program, system: R1cs, key: ProvingKey, circuit_file: bytes) -> None:
    if program.wire_count != system.wire_count:
        raise _mixed("wasm", wires=program.wire_count, circuit=system.wire_count)
    if key.wire_count != system.wire_count or key.verifying.public_count != system.public_count:
        raise _mixed("zkey", wires=key.wire_count, circuit=system.wire_count)
    if key.domain_size != 1 << r1cs.domain_power(system):
        raise _mixed("zkey", domain=key.domain_size)
    if sorted(key.coefficients) != sorted(setup.list_coefficients(system)):
        raise _mixed("zkey", what="coefficients")
    if not key.contributions and not setup.is_dev_key(key, circuit_file):
        raise _mixed("zkey", what="circuit_hash")


def _mixed(part: str, **facts: object) -> InvalidRecord:
    return InvalidRecord("snark.bundle", part=part, **facts)


def _is_hash(text: object) -> bool:
    return isinstance(text, str) and len(text) == 64 and not set(text) - set("0123456789abcdef")


def _render(description: dict[str, Any]) -> str:
    return json.dumps(description, indent=1) + "\n"
