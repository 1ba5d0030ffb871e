"""Circuits and proofs over the prover's socket: with a circuit that circom compiled, and with callers of every kind."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import generate_latest
from support.circuits import cube_files, cube_key
from support.proving import serving
from theblock_gpu.metrics import Metrics
from theblock_node.client.errors import RefusedError, UnavailableError
from theblock_node.client.prover import CircuitFiles, Progress, ProofOrder, Proved, ProverClient
from theblock_node.core.proofs import groth16, prover, statements, witness
from theblock_node.core.proofs.formats import wtns
from theblock_node.pb.theblock.v1 import prover_pb2, prover_pb2_grpc

WAIT_S = 20


def order(files: CircuitFiles, inputs: bytes = b'{"x": "3"}', **changes: Any) -> ProofOrder:
    made = ProofOrder(b"task", files.circuit_hash, inputs, 7, b"\x01" * 32, 0, b"\x02" * 32, b"\x03" * 32)
    return replace(made, **changes)


async def prove(client: ProverClient, asked: ProofOrder) -> Proved:
    async with aclosing(client.prove(asked)) as told:
        async for news in told:
            if isinstance(news, Proved):
                return news
    raise AssertionError("no proof")


async def refusal(client: ProverClient, asked: ProofOrder) -> str:
    with pytest.raises(RefusedError) as refused:
        await prove(client, asked)
    return refused.value.code


def count(metrics: Metrics, line: str) -> float:
    told = generate_latest(metrics.registry).decode().splitlines()
    return next((float(row.rpartition(" ")[2]) for row in told if row.startswith(line)), 0.0)


async def test_circom_circuit_is_proved_for_its_slice(tmp_path):
    files = cube_files(tmp_path)
    async with serving(tmp_path) as (client, metrics):
        assert not await client.load_circuit(files)
        assert await client.load_circuit(files)
        told = [news async for news in client.prove(order(files))]

        done = told.pop()
        assert isinstance(done, Proved)
        assert told
        assert all(isinstance(news, Progress) for news in told)
        inputs = [int.from_bytes(value, "little") for value in done.public_inputs]
        assert inputs[0] == 27
        assert done.output_commitment == statements.commit_output([27])
        bound = statements.compute_context(
            7,
            "01" * 32,
            0,
            circuit_hash=files.circuit_hash,
            output_commitment=done.output_commitment,
            provider_key=b"\x02" * 32,
        )
        assert inputs[1] == bound
        wires = witness.load(files.wasm.read_bytes()).compute({"x": 3, "ctx": bound})
        assert done.witness_commitment == statements.commit_witness(b"\x03" * 32, wires)
        prepared = groth16.prepare(cube_key().verifying, 2)
        groth16.verify(prepared, inputs, groth16.decode_proof(done.proof))
        assert (done.backend in ("native", "python"), done.latency_ms >= 1) == (True, True)
        known = await client.capabilities()
        assert (known.circuits, known.proof_backend) == ((files.circuit_hash,), done.backend)
        assert count(metrics, 'snark_prover_latency_seconds_count{backend="cpu"}') == 1
        assert count(metrics, 'snark_prover_latency_seconds_bucket{backend="cpu",le="0.005"}') in (0, 1)
        assert count(metrics, 'snark_prover_latency_seconds_bucket{backend="cpu",le="163.84"}') == 1
        assert count(metrics, 'snark_prover_stage_seconds_count{backend="cpu",stage="prove"}') == 1
        assert count(metrics, "snark_witness_seconds_count") == 1
        assert count(metrics, "snark_shape_cache_hits_total") == 1
        assert count(metrics, 'prover_tasks_total{backend="' + done.backend + '",outcome="done",workload="snark"}') == 1


async def test_given_wires_are_proved(tmp_path):
    files = cube_files(tmp_path)
    commitment = statements.commit_output([27])
    bound = statements.compute_context(
        7, "01" * 32, 0, circuit_hash=files.circuit_hash, output_commitment=commitment, provider_key=b"\x02" * 32
    )
    wires = witness.load(files.wasm.read_bytes()).compute({"x": 3, "ctx": bound})
    async with serving(tmp_path) as (client, _):
        await client.load_circuit(files)
        request = prover_pb2.ProveRequest(
            task_id=b"task",
            circuit_hash=files.circuit_hash,
            wtns=wtns.write(wires),
            chain_id=7,
            job_id=b"\x01" * 32,
            provider_key=b"\x02" * 32,
            salt=bytes(32),
        )
        told = [
            news
            async for news in client.channels.stream(lambda channel: prover_pb2_grpc.ProverStub(channel).Prove(request))
        ]
        assert told[-1].result.output_commitment == commitment


async def test_circuit_that_is_not_loaded_is_asked_for(tmp_path):
    files = cube_files(tmp_path)
    async with serving(tmp_path) as (client, metrics):
        for _ in range(4):
            assert await refusal(client, order(files)) == "snark.circuit_not_loaded"
        assert count(metrics, "snark_shape_cache_misses_total") == 4
        await client.load_circuit(files)
        assert await client.evict_circuit(files.circuit_hash)
        assert not await client.evict_circuit(files.circuit_hash)
        assert await refusal(client, order(files)) == "snark.circuit_not_loaded"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"task_id": b""}, "compute.invalid_workload", id="no-task-id"),
        pytest.param({"task_id": bytes(65)}, "compute.invalid_workload", id="long-task-id"),
        pytest.param({"circuit_hash": b"x"}, "compute.invalid_workload", id="circuit-hash"),
        pytest.param({"job_id": b"x"}, "compute.invalid_workload", id="job-id"),
        pytest.param({"provider_key": b"x"}, "compute.invalid_workload", id="provider-key"),
        pytest.param({"salt": b"x"}, "compute.invalid_workload", id="salt"),
        pytest.param({"inputs_json": bytes(2**14 + 1)}, "compute.invalid_workload", id="long-inputs"),
        pytest.param({"inputs_json": b""}, "snark.bad_inputs", id="no-inputs"),
        pytest.param({"inputs_json": b'{"x": "3", "ctx": "1"}'}, "snark.bad_inputs", id="ctx"),
        pytest.param({"inputs_json": b'{"y": "3"}'}, "snark.bad_inputs", id="another-signal"),
        pytest.param({"inputs_json": b'{"x": "18446744073709551616"}'}, "snark.witness_failed", id="assertion"),
    ],
)
async def test_proof_is_refused(tmp_path, changes, code):
    files = cube_files(tmp_path)
    async with serving(tmp_path) as (client, _):
        await client.load_circuit(files)
        assert await refusal(client, order(files, **changes)) == code


async def test_proof_without_a_source_or_with_too_many_wires_is_refused(tmp_path):
    fixed = {"task_id": b"t", "circuit_hash": bytes(32), "job_id": bytes(32), "provider_key": bytes(32)}
    async with serving(tmp_path) as (client, _):
        for source in ({}, {"wtns": bytes(2**22 + 1)}):
            request = prover_pb2.ProveRequest(**fixed, salt=bytes(32), **source)
            with pytest.raises(RefusedError) as refused:
                async for _news in client.channels.stream(
                    lambda channel, request=request: prover_pb2_grpc.ProverStub(channel).Prove(request)
                ):
                    pass
            assert refused.value.code == "compute.invalid_workload"


async def test_task_that_failed_three_times_is_refused_for_a_while(tmp_path):
    files = cube_files(tmp_path)
    bad = order(files, b'{"y": "3"}')
    async with serving(tmp_path) as (client, _):
        await client.load_circuit(files)
        codes = [await refusal(client, bad) for _ in range(4)]
        assert codes == ["snark.bad_inputs"] * 3 + ["snark.job_quarantined"]
        assert await refusal(client, order(files)) == "snark.job_quarantined"
        assert (await prove(client, order(files, index=1))).proof


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(lambda files: replace(files, circuit_hash=b"x"), "compute.invalid_workload", id="circuit-hash"),
        pytest.param(lambda files: replace(files, zkey_hash=b"x"), "compute.invalid_workload", id="zkey-hash"),
        pytest.param(lambda files: replace(files, zkey_hash=bytes(32)), "snark.file_hash", id="another-zkey"),
        pytest.param(lambda files: replace(files, circuit_hash=bytes(32)), "snark.file_hash", id="another-wasm"),
        pytest.param(lambda files: replace(files, verifying_key=bytes(2**18 + 1)), "compute.invalid_workload",
                     id="long-key"),
        pytest.param(lambda files: replace(files, ctx_index=2), "snark.bad_circuit", id="ctx-index"),
    ],
)  # fmt: skip
async def test_circuit_is_refused(tmp_path, change, code):
    files = change(cube_files(tmp_path))
    async with serving(tmp_path) as (client, _):
        with pytest.raises(RefusedError) as refused:
            await client.load_circuit(files)
        assert refused.value.code == code
        assert (await client.capabilities()).circuits == ()


HEADER = prover_pb2.CircuitHeader(circuit_hash=bytes(32), zkey_hash=bytes(32), zkey_size=2, wasm_size=1)
PART = prover_pb2.LoadCircuitRequest


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([], id="nothing"),
        pytest.param([PART(zkey_chunk=b"x")], id="no-header"),
        pytest.param([PART(header=HEADER), PART(header=HEADER)], id="two-headers"),
        pytest.param([PART(header=HEADER), PART(zkey_chunk=b"xxx")], id="longer-than-told"),
        pytest.param([PART(header=HEADER), PART(zkey_chunk=b"xx")], id="file-missing"),
        pytest.param([PART(header=HEADER), PART(zkey_chunk=b"")], id="empty-piece"),
        pytest.param([PART(header=HEADER), PART()], id="no-part"),
    ],
)
async def test_upload_is_refused(tmp_path, parts):
    async def requests():
        for part in parts:
            yield part

    async with serving(tmp_path) as (client, _):
        with pytest.raises(RefusedError) as refused:
            await client.channels.call(
                lambda channel, timeout: prover_pb2_grpc.ProverStub(channel).LoadCircuit(requests(), timeout=timeout)
            )
        assert refused.value.code == "snark.bad_circuit"


@pytest.mark.parametrize("size", [{"zkey_size": 2**30 + 1}, {"wasm_size": 2**26 + 1}, {"zkey_size": 0}])
async def test_upload_beyond_the_bounds_is_refused_by_its_header(tmp_path, size):
    async def requests():
        header = prover_pb2.CircuitHeader()
        header.CopyFrom(HEADER)
        for name, value in size.items():
            setattr(header, name, value)
        yield PART(header=header)

    async with serving(tmp_path) as (client, _):
        with pytest.raises(RefusedError) as refused:
            await client.channels.call(
                lambda channel, timeout: prover_pb2_grpc.ProverStub(channel).LoadCircuit(requests(), timeout=timeout)
            )
        assert refused.value.code == "compute.invalid_workload"


async def test_circuit_for_which_the_cache_is_too_small_is_refused_by_its_header(tmp_path):
    async with serving(tmp_path, cache_bytes=1000) as (client, _):
        with pytest.raises(RefusedError) as refused:
            await client.load_circuit(cube_files(tmp_path))
        assert refused.value.code == "snark.out_of_memory"


async def test_unchecked_prover_makes_no_proofs(tmp_path):
    files = cube_files(tmp_path)
    async with serving(tmp_path, checked=False) as (client, _):
        for asked in (client.load_circuit(files), prove(client, order(files))):
            with pytest.raises(UnavailableError, match="self_check"):
                await asked
        assert (await client.capabilities()).proof_backend == ""


class Gate:
    """A CPU that proves once it is let."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def prove(self, usable, wires, *, r, s):
        if usable.key.domain_size > 4:  # Not the golden one.
            self.begun.set()
            assert self.go_on.wait(WAIT_S)
        return prover.prove(usable, wires, r=r, s=s)

    async def wait_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.wait, WAIT_S)


async def test_others_are_answered_while_a_proof_is_made(tmp_path):
    files, gate = cube_files(tmp_path), Gate()
    async with serving(tmp_path, prove_on_cpu=gate.prove) as (client, _):
        await client.load_circuit(files)
        proof = asyncio.create_task(prove(client, order(files)))
        await gate.wait_begun()
        assert (await client.capabilities()).workloads == ("gpuHash", "snark")
        assert await refusal(client, order(files)) == "snark.task_exists"
        gate.go_on.set()
        assert (await proof).proof


async def test_cancelled_proof_ends_and_is_no_failure(tmp_path):
    files, gate = cube_files(tmp_path), Gate()
    async with serving(tmp_path, prove_on_cpu=gate.prove) as (client, metrics):
        await client.load_circuit(files)
        for _ in range(3):
            gate.begun.clear()
            gate.go_on.clear()
            proof = asyncio.create_task(refusal(client, order(files)))
            await gate.wait_begun()
            assert await client.cancel(b"task")
            gate.go_on.set()
            assert await proof == "compute.task_stopped"
        assert not await client.cancel(b"task")
        assert (await prove(client, order(files))).proof
        backend = (await client.capabilities()).proof_backend
        assert count(metrics, f'prover_tasks_total{{backend="{backend}",outcome="stopped"') == 3
        assert count(metrics, "snark_prover_failure_total") == 0


async def test_proof_ends_with_its_caller(tmp_path):
    files, gate = cube_files(tmp_path), Gate()
    async with serving(tmp_path, prove_on_cpu=gate.prove) as (client, metrics):
        await client.load_circuit(files)
        proof = asyncio.create_task(prove(client, order(files)))
        await gate.wait_begun()
        proof.cancel()
        gate.go_on.set()
        async with asyncio.timeout(WAIT_S):
            while await client.cancel(b"task"):
                pass
        backend = (await client.capabilities()).proof_backend
        assert count(metrics, f'prover_tasks_total{{backend="{backend}",outcome="stopped"') == 1
        assert (await prove(client, order(files))).proof


async def test_late_proof_is_given_up(tmp_path, monkeypatch):
    files, gate = cube_files(tmp_path), Gate()
    async with serving(tmp_path, prove_on_cpu=gate.prove) as (client, _):
        await client.load_circuit(files)
        with pytest.raises((RefusedError, UnavailableError), match=r"task_stopped|DEADLINE"):
            async for _news in client.prove(order(files), deadline_s=0.3):
                pass
        gate.go_on.set()
        assert (await prove(client, order(files))).proof


async def test_circuit_that_differs_takes_the_place_of_the_one_of_its_name(tmp_path):
    files = cube_files(tmp_path)
    async with serving(tmp_path) as (client, _):
        await client.load_circuit(files)
        assert not await client.load_circuit(replace(files, ctx_index=None))
        with pytest.raises(RefusedError) as refused:
            await prove(client, order(files))
        assert refused.value.facts["reason"] == "missing"  # Nobody gives it its ctx any more.
