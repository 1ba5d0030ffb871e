"""Proofs for slices: asked of the prover, checked as the chain will, signed; and nothing where that cannot be."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.circuits import cube_files, cube_key
from support.market import Shelf
from support.proving import serving
from support.snark import read_vector
from theblock_node.client.errors import RefusedError
from theblock_node.client.prover import Proved, ProverClient
from theblock_node.client.wallet import Wallet
from theblock_node.clock import SystemClock
from theblock_node.core import codec, crypto
from theblock_node.core.domains.compute.records import (
    Circuit,
    CircuitReply,
    CircuitState,
    ObjectRef,
    SliceInputReply,
)
from theblock_node.core.proofs import bundle as bundles
from theblock_node.core.proofs import keys, statements, witness
from theblock_node.core.proofs.bundle import Backend
from theblock_node.core.proofs.formats import zkey
from theblock_node.services.compute.objects import ObjectFolder
from theblock_node.services.compute.workloads import snark
from theblock_node.services.compute.workloads.snark import Hopeless, NotProved, ProvedWrongly, SnarkWorker

JOB, INDEX = b"\x01" * 32, 2
WALLET = Wallet(b"w" * 32)
KEY = keys.encode_verifying_key(cube_key().verifying)
ZKEY, WASM = zkey.write(cube_key()), read_vector("cube.wasm")
CUBE = Circuit(
    version=1,
    circuit_hash=crypto.blake3(WASM),
    r1cs_hash=crypto.blake3(read_vector("cube.r1cs")),
    zkey_hash=crypto.blake3(ZKEY),
    wasm_hash=crypto.blake3(WASM),
    zkey_object=ObjectRef(b"\x0a" * 32, bytes(32), len(ZKEY)),
    wasm_object=ObjectRef(b"\x0b" * 32, bytes(32), len(WASM)),
    key_hash=statements.compute_key_hash(cube_key().verifying),
    public_count=2,
    output_count=1,
    domain_size=cube_key().domain_size,
    ctx_index=1,
    ceremony=None,
    owner=WALLET.address,
    state=CircuitState.ACTIVE,
    registered_height=1,
)


class Chain:
    """Answers what a worker asks."""

    def __init__(self, circuit: Circuit | None = CUBE, inputs: bytes | None = b'{"x": "3"}') -> None:
        self._replies = {
            "compute.circuit": CircuitReply(circuit, KEY if circuit else b""),
            "compute.slice_input": SliceInputReply(inputs),
        }

    async def tip(self) -> Any:
        return SimpleNamespace(chain_id=7, finalized_height=41)

    async def query(self, name: str, asked: dict[str, Any]) -> Any:
        if name == "compute.slice_input":
            assert asked == {"job_id": JOB.hex(), "index": INDEX}
        return codec.to_json(self._replies[name])


def worker(folder: Path, prover: Any, chain: Chain | None = None, shelf: Shelf | None = None) -> SnarkWorker:
    objects = ObjectFolder(folder / "circuits", shelf or Shelf(), bytes_max=2**24)
    return SnarkWorker(prover=prover, chain=chain or Chain(), objects=objects, wallet=WALLET, clock=SystemClock())


async def test_slice_is_proved_by_a_prover_that_is_handed_the_circuit(tmp_path):
    shelf = Shelf()
    async with serving(tmp_path) as (prover, _):
        proves = worker(tmp_path, prover, shelf=shelf)
        bundle, backend = await proves.prove(JOB, INDEX, CUBE.circuit_hash)
        again, _ = await proves.prove(JOB, INDEX, CUBE.circuit_hash)

        bundles.verify(bundle, KEY)
        assert (bundle.version, bundle.system, bundle.backend, backend) == (2, 1, Backend.CPU, backend)
        assert bundles.read_inputs(bundle)[0] == 27
        assert bundle.output_commitment == bundles.commit_output(bundle, 1)
        assert crypto.verify(WALLET.public_key, bundles.signing_bytes(bundle), bundle.provider_signature)
        assert (bundle.artifact.wasm_hash, bundle.artifact.generated_at) == (CUBE.wasm_hash, 41)
        assert shelf.calls == ["0a", "0b"]
        assert bundles.statement_id(again) == bundles.statement_id(bundle)
        assert bundles.fingerprint(again) != bundles.fingerprint(bundle)
        assert proves.last is not None
        assert (proves.last.circuit, proves.last.backend) == (CUBE.circuit_hash.hex(), backend)


async def test_member_can_open_the_commitment_to_its_witness(tmp_path):
    async with serving(tmp_path) as (prover, _):
        bundle, _ = await worker(tmp_path, prover).prove(JOB, INDEX, CUBE.circuit_hash)
    wires = witness.load(WASM).compute({"x": 3, "ctx": bundles.read_inputs(bundle)[1]})
    assert bundle.witness_commitment == statements.commit_witness(snark.make_salt(WALLET, JOB, INDEX), wires)
    assert snark.make_salt(WALLET, JOB, INDEX) != snark.make_salt(WALLET, JOB, INDEX + 1)


@pytest.mark.parametrize(
    ("chain", "told", "is_hopeless"),
    [
        pytest.param(Chain(circuit=None), "not registered", False, id="circuit-unknown"),
        pytest.param(Chain(circuit=replace(CUBE, state=CircuitState.REVOKED)), "revoked", False, id="circuit-revoked"),
        pytest.param(Chain(inputs=None), "no inputs", False, id="slice-ended"),
        pytest.param(Chain(inputs=b'{"y": "3"}'), "snark.bad_inputs", True, id="inputs-of-another-circuit"),
        pytest.param(Chain(inputs=b'{"x": "18446744073709551616"}'), "witness_failed", True, id="inputs-that-fail"),
        pytest.param(
            Chain(circuit=replace(CUBE, zkey_object=None)), "names no files", True, id="circuit-without-files"
        ),
        pytest.param(
            Chain(circuit=replace(CUBE, zkey_hash=bytes(32))), "not what the circuit says", True, id="another-zkey"
        ),
        pytest.param(
            Chain(circuit=replace(CUBE, zkey_object=ObjectRef(b"\x0a" * 32, bytes(32), 2**25))),
            "larger than the folder",
            True,
            id="zkey-without-room",
        ),
    ],
)
async def test_slice_is_not_proved(tmp_path, chain, told, is_hopeless):
    async with serving(tmp_path) as (prover, _):
        with pytest.raises(NotProved, match=told) as failed:
            await worker(tmp_path, prover, chain).prove(JOB, INDEX, CUBE.circuit_hash)
        assert isinstance(failed.value, Hopeless) == is_hopeless


async def test_circuit_that_is_too_large_for_the_prover_is_hopeless(tmp_path):
    async with serving(tmp_path, cache_bytes=1000) as (prover, _):
        with pytest.raises(Hopeless, match="out_of_memory"):
            await worker(tmp_path, prover).prove(JOB, INDEX, CUBE.circuit_hash)


@pytest.mark.parametrize(
    ("code", "is_hopeless"),
    [
        *((code, True) for code in sorted(snark.HOPELESS)),
        ("compute.prover_full", False),
        ("compute.self_check", False),
        ("compute.task_stopped", False),
        ("snark.self_check", False),
        ("snark.task_exists", False),
    ],
)
async def test_refusal_of_the_prover_says_whether_to_try_again(tmp_path, code, is_hopeless):
    class Refuses:
        async def prove(self, order: Any, *, deadline_s: float) -> Any:
            raise RefusedError(code, "", {})
            yield None

    with pytest.raises(NotProved, match=code) as failed:
        await worker(tmp_path, Refuses()).prove(JOB, INDEX, CUBE.circuit_hash)
    assert isinstance(failed.value, Hopeless) == is_hopeless


async def test_slice_waits_for_a_prover(tmp_path):
    prover = ProverClient(str(tmp_path / "nobody.sock"))
    with pytest.raises(NotProved, match="does not answer"):
        await worker(tmp_path, prover).prove(JOB, INDEX, CUBE.circuit_hash)
    await prover.close()


async def test_file_that_the_disk_spoilt_is_fetched_again(tmp_path):
    shelf = Shelf()
    async with serving(tmp_path) as (prover, _):
        proves = worker(tmp_path, prover, shelf=shelf)
        (tmp_path / "circuits" / CUBE.zkey_hash.hex()).write_bytes(ZKEY[:-1] + b"\xff")
        with pytest.raises(NotProved, match="file_hash"):
            await proves.prove(JOB, INDEX, CUBE.circuit_hash)
        await proves.prove(JOB, INDEX, CUBE.circuit_hash)
        assert shelf.calls == ["0b", "0a", "0b"]


@asynccontextmanager
async def lying(folder: Path, change: Any) -> Any:
    """A prover whose proofs are changed on their way."""
    async with serving(folder) as (prover, _):

        class Liar:
            load_circuit = prover.load_circuit

            async def prove(self, order: Any, *, deadline_s: float) -> Any:
                async for news in prover.prove(order, deadline_s=deadline_s):
                    yield change(news) if isinstance(news, Proved) else news

        yield Liar()


def bent(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda proved: replace(proved, proof=bent(proved.proof)), id="proof"),
        pytest.param(lambda proved: replace(proved, proof=proved.proof[1:]), id="short-proof"),
        pytest.param(lambda proved: replace(proved, public_inputs=proved.public_inputs[:1]), id="inputs"),
        pytest.param(lambda proved: replace(proved, public_inputs=(b"\xff" * 32, proved.public_inputs[1])), id="range"),
        pytest.param(lambda proved: replace(proved, public_inputs=(proved.public_inputs[0], bytes(32))), id="ctx"),
        pytest.param(lambda proved: replace(proved, output_commitment=bytes(32)), id="output-commitment"),
        pytest.param(lambda proved: replace(proved, witness_commitment=b""), id="witness-commitment"),
    ],
)
async def test_wrong_proof_is_found_before_it_is_signed(tmp_path, change):
    async with lying(tmp_path, change) as prover:
        with pytest.raises(ProvedWrongly):
            await worker(tmp_path, prover).prove(JOB, INDEX, CUBE.circuit_hash)


async def test_given_up_slice_stops_its_proof(tmp_path):
    async with serving(tmp_path) as (prover, _):
        begun = asyncio.Event()

        class Slow:
            load_circuit = prover.load_circuit
            ended = False

            async def prove(self, order: Any, *, deadline_s: float) -> Any:
                begun.set()
                try:
                    await asyncio.Event().wait()
                    yield None
                finally:
                    Slow.ended = True

        task = asyncio.create_task(worker(tmp_path, Slow()).prove(JOB, INDEX, CUBE.circuit_hash))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert Slow.ended


async def test_backend_of_a_device_is_said_in_the_bundle(tmp_path):
    async with lying(tmp_path, lambda proved: replace(proved, backend="cuda")) as prover:
        bundle, backend = await worker(tmp_path, prover).prove(JOB, INDEX, CUBE.circuit_hash)
        assert (bundle.backend, backend) == (Backend.GPU, "cuda")


def test_circuit_of_the_tests_is_the_one_of_its_files(tmp_path):
    files = cube_files(tmp_path)
    assert (files.circuit_hash, files.zkey_hash) == (CUBE.circuit_hash, CUBE.zkey_hash)
