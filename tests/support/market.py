"""The circuit `cube` on a chain and in storage, and jobs that ask for its proofs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from support.circuits import cube_key
from support.snark import read_vector
from theblock_node.core import crypto
from theblock_node.core.proofs import keys
from theblock_node.core.proofs.formats import zkey
from theblock_node.sim.dev_chain import DevChain

ZKEY, WASM = zkey.write(cube_key()), read_vector("cube.wasm")
CIRCUIT_HASH = crypto.blake3(WASM)
OBJECTS = {"0a" * 32: ZKEY, "0b" * 32: WASM}
"""By manifest."""


class Shelf:
    """Storage with the circuit's files."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def get(self, manifest_id: str, content_key: bytes) -> AsyncGenerator[bytes, None]:
        self.calls.append(manifest_id[:2])
        yield OBJECTS[manifest_id]


def cube_command(**changes: Any) -> dict[str, Any]:
    """What registers it."""
    objects = {
        name: {"manifest_id": manifest, "content_key": "00" * 32, "size": str(len(data))}
        for name, (manifest, data) in zip(("zkey_object", "wasm_object"), OBJECTS.items(), strict=True)
    }
    command = {
        "circuit_hash": CIRCUIT_HASH.hex(),
        "r1cs_hash": crypto.blake3(read_vector("cube.r1cs")).hex(),
        "zkey_hash": crypto.blake3(ZKEY).hex(),
        "wasm_hash": CIRCUIT_HASH.hex(),
        **objects,
        "verifying_key": keys.encode_verifying_key(cube_key().verifying).hex(),
        "output_count": 1,
        "domain_size": cube_key().domain_size,
        "ctx_index": 1,
        "ceremony": None,
    }
    return {**command, **changes}


def proof_job(*xs: int, deadline_blocks: int = 50_000) -> dict[str, Any]:
    """What asks for the cube of each of ``xs``."""
    inputs = [b'{"x": "%d"}' % x for x in xs]
    work = {"circuit_hash": CIRCUIT_HASH.hex(), "inputs": [text.hex() for text in inputs]}
    return {
        "lane": "CONSUMER",
        "work": {"type": "SnarkWork", **work},
        "max_price_per_unit": "20",
        "deadline_blocks": deadline_blocks,
    }


async def register_cube(dev: DevChain, **changes: Any) -> None:
    """For ``alice``."""
    await dev.client().call(dev.wallet("alice"), "compute.register_circuit", cube_command(**changes))


async def post_proofs(dev: DevChain, *xs: int) -> None:
    """A job of ``bob``."""
    await dev.client().call(dev.wallet("bob"), "compute.post_job", proof_job(*xs), final=True)
