"""The typed services: a message for a record, with a oneof where the record has a union."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from support import bundles, market, provers
from theblock_node.core import codec
from theblock_node.core.crypto import SigningKey
from theblock_node.core.domains import REGISTRY
from theblock_node.core.domains.compute import records as r
from theblock_node.core.tx import TxPayload
from theblock_node.pb.theblock.compute.v1 import compute_pb2 as pb
from theblock_node.pb.theblock.compute.v1.compute_pb2_grpc import ComputeMarketStub
from theblock_node.sim.dev_chain import DevChain, dev_chain, seed_of

HASHES = pb.HashWork(algorithm="BLAKE3", seed="05" * 32, slice_count=2, digests_per_slice=40)
SNARK = pb.SnarkWork(
    circuit_hash=bundles.BOUND_HASH.hex(),
    inputs=[b'{"x":"3"}'.hex()],
    public_inputs=[pb.PublicInputs(values=["07" + "00" * 31])],
)


@asynccontextmanager
async def serving() -> Any:
    async with (
        dev_chain(funded=("alice", "bob", "forge-0"), instant=True) as dev,
        grpc.aio.insecure_channel(f"{dev.endpoint.host}:{dev.endpoint.port}") as channel,
    ):
        yield dev, ComputeMarketStub(channel)


async def unsigned(dev: DevChain, call: Any, arguments: Any) -> Any:
    """The arguments of the payload that the service makes of a message."""
    request = getattr(pb, f"{type(arguments).__name__}Request")
    reply = await call(request(arguments=arguments, from_address=dev.wallet("bob").address))
    payload = codec.decode(TxPayload, reply.unsigned_payload)
    return REGISTRY.decode_arguments(payload.call, payload.data)


@pytest.mark.parametrize(
    ("work", "record"),
    [
        pytest.param(
            pb.HashWorkOrSnarkWork(hash_work=HASHES),
            r.HashWork(r.HashAlgorithm.BLAKE3, b"\5" * 32, 2, 40),
            id="digests",
        ),
        pytest.param(
            pb.HashWorkOrSnarkWork(snark_work=SNARK),
            r.SnarkWork(bundles.BOUND_HASH, (b'{"x":"3"}',), (r.PublicInputs(((7).to_bytes(32, "little"),)),)),
            id="proofs",
        ),
    ],
)
async def test_union_is_a_oneof(work, record):
    async with serving() as (dev, market):
        asked = pb.PostJob(lane="CONSUMER", work=work, max_price_per_unit=20, deadline_blocks=5)
        assert await unsigned(dev, market.PostJob, asked) == r.PostJob(r.Lane.CONSUMER, record, 20, 5)


async def test_union_without_a_member_is_refused():
    async with serving() as (dev, market):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await unsigned(dev, market.PostJob, pb.PostJob(lane="CONSUMER", work=pb.HashWorkOrSnarkWork()))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_answers_say_which_member_they_hold():
    async with serving() as (dev, compute):
        await market.register_cube(dev)
        await provers.open_market(dev)
        await provers.post_job(dev)
        await market.post_proofs(dev, 3)
        works = {job.work.WhichOneof("kind") for job in (await compute.ListJobs(pb.ListJobsRequest())).jobs}
        listed = await compute.ListCircuits(pb.ListCircuitsRequest())
    assert works == {"hash_work", "circuit_work"}
    (circuit,) = listed.circuits
    assert (circuit.HasField("ceremony"), circuit.ctx_index, circuit.zkey_object.manifest_id) == (False, 1, "0a" * 32)


async def test_bundle_goes_through_a_message_and_back():
    key = SigningKey.from_seed(seed_of("forge-0"))
    bundle = bundles.make(1, bytes(32), 0, 3, key)
    row = codec.to_json(bundle)
    message = pb.ProofBundle(**{**row, "artifact": pb.Artifact(**{**row["artifact"], "generated_at": 3})})
    async with serving() as (dev, market):
        asked = pb.SubmitSlice(job_id="00" * 32, output=pb.HashOutputOrProofBundle(proof_bundle=message))
        assert await unsigned(dev, market.SubmitSlice, asked) == r.SubmitSlice(bytes(32), 0, bundle)
