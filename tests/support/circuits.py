"""Circuits for the prover: one that is bound to its slice, with a program in Python in the place of its wasm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from support.snark import TOXIC, bound_file, bound_key, read_vector
from theblock_gpu import circuits
from theblock_gpu.circuits import Circuit, Header
from theblock_node.client.prover import CircuitFiles
from theblock_node.core import crypto
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import keys, setup
from theblock_node.core.proofs.field import R
from theblock_node.core.proofs.formats import zkey
from theblock_node.core.proofs.keys import ProvingKey

WASM = b"cubic, bound"
LEAKY_WASM = b"cubic, whose output depends on ctx"
WRONG_WASM = b"cubic, with wires of another sum"


@dataclass(frozen=True)
class Cubic:
    """What a module of wasm would compute."""

    wasm: bytes

    def compute(self, inputs: Mapping[str, Any]) -> list[int]:
        if set(inputs) != {"x", "ctx"}:
            raise InvalidRecord("snark.bad_inputs", signal="x", reason="missing")
        x, ctx = inputs["x"], inputs["ctx"]
        if x == 13:
            raise InvalidRecord("snark.witness_failed", reason="assert_failed", exception=4)
        out = (x**3 + x + 5 + (ctx if self.wasm == LEAKY_WASM else 0) + (self.wasm == WRONG_WASM)) % R
        return [1, out, ctx, x, x * x % R, ctx * ctx % R]


def load_program(wasm: bytes) -> Cubic:
    if wasm not in (WASM, LEAKY_WASM, WRONG_WASM):
        raise InvalidRecord("snark.bad_wasm", reason="magic")
    return Cubic(wasm)


def bound_header(wasm: bytes = WASM, **changes: Any) -> Header:
    values = {
        "circuit_hash": crypto.blake3(wasm),
        "zkey_hash": crypto.blake3(bound_file()),
        "zkey_size": len(bound_file()),
        "wasm_size": len(wasm),
        "verifying_key": keys.encode_verifying_key(bound_key().verifying),
        "output_count": 1,
        "ctx_index": 1,
    }
    return Header(**{**values, **changes})


def bound_circuit(wasm: bytes = WASM, **changes: Any) -> Circuit:
    return circuits.build(bound_header(wasm, **changes), bound_file(), wasm, load_program)


# The circuit `cube`, as circom compiled it.


@cache
def cube_key() -> ProvingKey:
    return setup.setup_dev(read_vector("cube.r1cs"), TOXIC)


def cube_files(folder: Path) -> CircuitFiles:
    """The circuit as a node hands it over, its files in ``folder``."""
    zkey_file, wasm = zkey.write(cube_key()), read_vector("cube.wasm")
    (folder / "cube.zkey").write_bytes(zkey_file)
    (folder / "cube.wasm").write_bytes(wasm)
    return CircuitFiles(
        circuit_hash=crypto.blake3(wasm),
        zkey_hash=crypto.blake3(zkey_file),
        zkey=folder / "cube.zkey",
        wasm=folder / "cube.wasm",
        verifying_key=keys.encode_verifying_key(cube_key().verifying),
        output_count=1,
        ctx_index=1,
    )
