"""The workload `snark` in the node: the prover beside it proves, and what it made is checked and signed here.

The node itself never proves: without a prover a slice waits. A circuit that the prover does not have is fetched from
the storage market and handed to it.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from theblock_node.client.chain import ChainClient
from theblock_node.client.errors import RefusedError, UnavailableError
from theblock_node.client.prover import CircuitFiles, ProofOrder, Proved, ProverClient
from theblock_node.client.wallet import Wallet
from theblock_node.clock import Clock
from theblock_node.core import codec, crypto
from theblock_node.core.domains.compute.records import Circuit, CircuitReply, CircuitState, ObjectRef, SliceInputReply
from theblock_node.core.errors import InvalidRecord, ProtocolError
from theblock_node.core.proofs import bundle as bundles
from theblock_node.core.proofs import statements
from theblock_node.core.proofs.bundle import Artifact, Backend, ProofBundle
from theblock_node.services.compute.objects import NotFetched, ObjectFolder, WrongObject

NAME = "snark"
CUDA = "cuda"
TASK_SECONDS_MAX = 600.0
HOPELESS = frozenset(
    f"snark.{reason}"
    for reason in (
        "bad_inputs",
        "witness_failed",
        "ctx_outputs",
        "bad_wasm",
        "bad_circuit",
        "out_of_memory",
        "no_backend",
        "job_quarantined",
    )
)
"""Refusals of the prover that will be the same tomorrow: of what the buyer sent, of a circuit too large for it, and of
a slice whose proofs failed three times."""
NOT_LOADED, WRONG_FILE = "snark.circuit_not_loaded", "snark.file_hash"

log = structlog.get_logger("compute")


class NotProved(Exception):
    """No proof now; the text says why. A later try may make one."""


class Hopeless(NotProved):
    """Never a proof by this member, whatever it tries."""


class ProvedWrongly(NotProved):
    """The prover made what the chain would refuse."""


@dataclass(frozen=True, slots=True)
class LastProof:
    circuit: str
    backend: str
    milliseconds: int
    at_ms: int


class SnarkWorker:
    def __init__(
        self, *, prover: ProverClient, chain: ChainClient, objects: ObjectFolder, wallet: Wallet, clock: Clock
    ) -> None:
        """``wallet`` holds the member's key, to which proofs are bound."""
        self._prover, self._chain, self._objects = prover, chain, objects
        self._wallet, self._clock = wallet, clock
        self.last: LastProof | None = None

    async def prove(self, job_id: bytes, index: int, circuit_hash: bytes) -> tuple[ProofBundle, str]:
        """The bundle of a slice, as the chain will take it, and the back end that proved; raises `NotProved`."""
        circuit, key = await self._find_circuit(circuit_hash)
        asked = {"job_id": job_id.hex(), "index": index}
        reply = codec.from_json(SliceInputReply, await self._chain.query("compute.slice_input", asked))
        if reply.inputs is None:
            raise NotProved("the chain has no inputs for the slice")
        tip = await self._chain.tip()
        order = ProofOrder(
            task_id=job_id + bytes([index]),
            circuit_hash=circuit_hash,
            inputs_json=reply.inputs,
            chain_id=tip.chain_id,
            job_id=job_id,
            index=index,
            provider_key=self._wallet.public_key,
            salt=make_salt(self._wallet, job_id, index),
        )
        proved = await self._ask(order, circuit, key)
        made = make_bundle(circuit, proved, tip.finalized_height)
        try:
            await asyncio.to_thread(require_right, made, circuit, key, order)
            signed = replace(made, provider_signature=self._wallet.sign(bundles.signing_bytes(made)))
        except ProtocolError as refused:
            raise ProvedWrongly(refused.code) from refused
        self.last = LastProof(circuit_hash.hex(), proved.backend, proved.latency_ms, self._clock.now_ms())
        return signed, proved.backend

    async def _find_circuit(self, circuit_hash: bytes) -> tuple[Circuit, bytes]:
        """The registered circuit, and its verifying key."""
        asked = {"circuit_hash": circuit_hash.hex()}
        reply = codec.from_json(CircuitReply, await self._chain.query("compute.circuit", asked))
        if reply.circuit is None or reply.circuit.state is CircuitState.REVOKED:
            raise NotProved("the circuit is not registered, or revoked")
        return reply.circuit, reply.verifying_key

    async def _ask(self, order: ProofOrder, circuit: Circuit, key: bytes) -> Proved:
        """The prover's proof, once it has the circuit."""
        try:
            try:
                return await self._ask_once(order)
            except RefusedError as refused:
                if refused.code != NOT_LOADED:
                    raise
            await self._hand_over(circuit, key)
            return await self._ask_once(order)
        except UnavailableError as failed:
            raise NotProved(f"the prover does not answer: {failed}") from failed
        except RefusedError as refused:
            raise (Hopeless if refused.code in HOPELESS else NotProved)(refused.code) from refused

    async def _ask_once(self, order: ProofOrder) -> Proved:
        async with aclosing(self._prover.prove(order, deadline_s=TASK_SECONDS_MAX)) as told:
            async for news in told:
                if isinstance(news, Proved):
                    return news
        raise UnavailableError("the prover ended without a proof")

    async def _hand_over(self, circuit: Circuit, key: bytes) -> None:
        if circuit.zkey_object is None or circuit.wasm_object is None:
            raise Hopeless("the circuit names no files in storage")
        try:
            files = CircuitFiles(
                circuit_hash=circuit.circuit_hash,
                zkey_hash=circuit.zkey_hash,
                zkey=await self._fetch(circuit.zkey_object, circuit.zkey_hash),
                wasm=await self._fetch(circuit.wasm_object, circuit.wasm_hash),
                verifying_key=key,
                output_count=circuit.output_count,
                ctx_index=circuit.ctx_index,
            )
            await self._prover.load_circuit(files)
        except WrongObject as failed:
            raise Hopeless(f"the circuit's files: {failed}") from failed
        except NotFetched as failed:
            raise NotProved(f"the circuit's files: {failed}") from failed
        except RefusedError as refused:
            if refused.code == WRONG_FILE:
                # The disk changed what was right when it came.
                self._objects.forget(circuit.zkey_hash)
                self._objects.forget(circuit.wasm_hash)
            raise
        log.info("circuit handed to the prover", circuit_hash=circuit.circuit_hash.hex())

    async def _fetch(self, ref: ObjectRef, content_hash: bytes) -> Path:
        return await self._objects.fetch(ref.manifest_id, ref.content_key, ref.size, content_hash)


def make_salt(wallet: Wallet, job_id: bytes, index: int) -> bytes:
    """Secret, another for every slice, and the member can make it again to open the commitment to its witness."""
    return crypto.blake3(wallet.sign(b"theblock/compute/witness-salt/v1" + job_id + bytes([index])))


def make_bundle(circuit: Circuit, proved: Proved, height: int) -> ProofBundle:
    """What is delivered, not signed yet."""
    return ProofBundle(
        version=ProofBundle.VERSION,
        system=bundles.GROTH16_BN254,
        backend=Backend.GPU if proved.backend == CUDA else Backend.CPU,
        circuit_hash=circuit.circuit_hash,
        vk_hash=circuit.key_hash,
        program_commitment=circuit.circuit_hash,
        output_commitment=proved.output_commitment,
        witness_commitment=proved.witness_commitment,
        public_inputs=proved.public_inputs,
        proof=proved.proof,
        latency_ms=max(1, proved.latency_ms),
        artifact=Artifact(circuit.circuit_hash, circuit.wasm_hash, height),
        provider_signature=bytes(64),
    )


def require_right(made: ProofBundle, circuit: Circuit, key: bytes, order: ProofOrder) -> None:
    """What the chain will ask of a bundle, asked first: a wrong prover costs time, and never the bond."""
    codec.encode(made)
    inputs = bundles.read_inputs(made)
    if len(inputs) != circuit.public_count:
        raise InvalidRecord("compute.proof_inputs", count=len(inputs))
    if made.output_commitment != bundles.commit_output(made, circuit.output_count):
        raise InvalidRecord("compute.proof_inputs", field="output_commitment")
    if circuit.ctx_index is not None:
        wanted = statements.compute_context(
            order.chain_id,
            order.job_id.hex(),
            order.index,
            circuit_hash=circuit.circuit_hash,
            output_commitment=made.output_commitment,
            provider_key=order.provider_key,
        )
        if inputs[circuit.ctx_index] != wanted:
            raise InvalidRecord("compute.proof_ctx")
    bundles.verify(made, key)
