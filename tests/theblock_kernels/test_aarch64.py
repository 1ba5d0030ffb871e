"""The kernels built for 64-bit Arm make the twin's proofs, run there or by an emulator of its processor."""

from __future__ import annotations

import platform
import random
import struct
import subprocess
from pathlib import Path

import pytest
from support import snark as circuits
from theblock_kernels import snark
from theblock_node.core.proofs import prover
from theblock_node.core.proofs.field import R
from theblock_node.core.proofs.formats.container import g1_bytes, g2_bytes

from tests.theblock_kernels.test_snark import bases_of

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "gpu" / "kernels" / "kernels.cpp"
IS_NATIVE = platform.machine() == "aarch64"
COMPILER = "g++" if IS_NATIVE else "aarch64-linux-gnu-g++"
RUNNER = () if IS_NATIVE else ("qemu-aarch64-static",)


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("aarch64") / "prove"
    words = [COMPILER, "-static", "-std=c++17", "-O2", "-pthread", '-DBACK_END="portable"']
    subprocess.run([*words, str(HERE / "prove.cpp"), str(SOURCE), "-o", str(made)], check=True, timeout=300)
    return made


@pytest.mark.timeout(320)
@pytest.mark.parametrize("key_of", [circuits.cubic_key, circuits.chain_key], ids=["cubic", "snarkjs"])
def test_proofs_are_the_twins(program, key_of):
    key, chance = key_of(), random.Random(9)
    witness = [1, *(chance.randrange(R) for _ in range(key.wire_count - 1))]
    r, s = chance.randrange(R), chance.randrange(R)
    bases = bases_of(key)
    sizes = (key.wire_count, bases.public_count, key.domain_size.bit_length() - 1, len(key.coefficients))
    parts = (bases.fixed, bases.coefficients, bases.a, bases.b1, bases.b2, bases.c, bases.h, snark.encode(witness))
    told = struct.pack("<4Q", *sizes) + b"".join(parts) + snark.encode([r, s])

    done = subprocess.run([*RUNNER, str(program)], input=told, capture_output=True, timeout=120, check=True)

    twin = prover.make_proof(prover.UsableKey(key, circuits.cubic_prepared()), witness, r=r, s=s)
    assert done.stdout == g1_bytes(twin.a) + g2_bytes(twin.b) + g1_bytes(twin.c)
