"""A compute provider and its prover as processes beside a validator: killed at work, it delivers all the same."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import processes
import pytest
from support import market
from support.loopback import subnet
from support.provers import Prover
from support.storage import Authority
from theblock_node.client.chain import ChainClient
from theblock_node.client.channel import ClientTls, Endpoint
from theblock_node.client.compute import ComputeClient
from theblock_node.client.errors import UnavailableError
from theblock_node.client.node import NodeClient
from theblock_node.client.wallet import Wallet
from theblock_node.config import BadConfig, ComputeSettings
from theblock_node.core.domains.compute.rules import slice_context
from theblock_node.core.proofs import gpu_hash
from theblock_node.core.proofs.gpu_hash import HashAlgorithm, HashTask
from theblock_node.pb.theblock.v1 import storage_pb2, storage_pb2_grpc
from theblock_node.pb.theblock.v1.storage_pb2_grpc import add_StorageServicer_to_server
from theblock_node.roles.compute_provider import check_settings
from theblock_node.rpc.server import RpcServer, Service, TlsFiles

SUBNET = subnet(42)
ALICE = Wallet(b"a" * 32)
MEMBER = "forge-0"
DIGESTS = 120_000
SLICES = 3


class Forge:
    """The provider's process, with the validator's certificate, and its prover."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.wallet, self.endpoint = Wallet(b"f" * 32), Endpoint(f"{SUBNET}.2", processes.PORTS["grpc"])
        self.folder = folder / "forge"
        (self.folder / "run").mkdir(parents=True)
        (self.folder / "node.key").write_text((b"f" * 32).hex())
        self.prover = Prover(self.folder / "run", cache_bytes=2**26)
        config = json.loads((folder / "v0" / "config.json").read_text())
        config |= {"role": "compute_provider", "kind": "ComputeProvider", "resource": "forge", "member": MEMBER}
        config |= {"advertise": f"{SUBNET}.2", "settings": {"prover": {"socket": self.prover.socket}, **settings}}
        config["listen"]["host"] = f"{SUBNET}.2"
        for name, file in {"key": "node.key", "data": "data", "run": "run"}.items():
            config["paths"][name] = str(self.folder / file)
        (self.folder / "config.json").write_text(json.dumps(config))
        self.running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "theblock_node", "compute_provider"]
        with (self.folder / "log").open("ab") as log:
            self.running = subprocess.Popen(
                [*command, "--config", str(self.folder / "config.json")], stdout=log, stderr=log
            )

    def kill(self) -> None:
        if self.running is not None:
            self.running.kill()
            self.running.wait(10)
            self.running = None

    def stop(self) -> int:
        assert self.running is not None
        self.running.terminate()
        code = self.running.wait(20)
        self.running = None
        return code


@pytest.fixture
def network(tmp_path) -> Iterator[tuple[ClientTls, Endpoint, Forge]]:
    funded = tuple(Wallet(seed).address for seed in (b"a" * 32, b"f" * 32))
    (validator,), tls = processes.make_network(
        tmp_path, subnet=SUBNET, count=1, funded=funded, block_time_ms=processes.QUICK_MS
    )
    config = json.loads((validator.folder / "config.json").read_text())
    (validator.folder / "config.json").write_text(json.dumps({**config, "allow_solo": True}))
    forge = Forge(tmp_path, workloads=["gpuHash", "snark"])
    validator.start()
    yield tls, validator.endpoint, forge
    validator.kill()
    forge.kill()
    forge.prover.kill()


async def wait_until(condition: Callable[[], Awaitable[Any]], limit_s: float) -> None:
    async with asyncio.timeout(limit_s):
        while True:
            try:
                if await condition():
                    return
            except UnavailableError:
                pass
            await asyncio.sleep(0.2)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_provider_killed_at_work_goes_on_and_stops_well(network):
    tls, endpoint, forge = network
    client = ChainClient([endpoint], tls)

    async def is_up() -> bool:
        return (await client.tip()).finalized_height >= 2

    await wait_until(is_up, 60)
    await forge.prover.start()
    forge.start()
    node, compute = (make(forge.endpoint, tls, name=endpoint.host) for make in (NodeClient, ComputeClient))

    async def details() -> dict[str, Any]:
        return dict((await node.status()).details)

    async def is_checked() -> bool:
        return (await details())["self_check"] == "passed" and (await node.status()).ready

    await wait_until(is_checked, 60)
    await enter_market(client, forge)
    job_id = await post_job(client)

    async def is_running() -> bool:
        return (await details())["running"] > 0

    await wait_until(is_running, 40)
    forge.kill()
    forge.start()
    await wait_until(is_running, 40)
    # Now the prover goes, in the middle of a slice: the twin does the rest, and the status says so.
    forge.prover.kill()

    async def pieces() -> list[dict[str, Any]]:
        return list((await client.query("compute.job", {"job_id": job_id.hex()}))["slices"])

    async def is_settled() -> bool:
        return all(piece["status"] == "SETTLED" for piece in await pieces())

    await wait_until(is_settled, 90)
    told = await details()
    assert (told["backend"], told["self_check"]) == ("python", "running")
    assert told["fallback_reason"] == "the prover does not answer"
    assert [piece["root"] for piece in await pieces()] == [expected_root(job_id, index) for index in range(SLICES)]

    async def is_empty() -> bool:
        return not await compute.queue()

    await wait_until(is_empty, 40)
    row = (await client.query("compute.providers", {"after": "", "limit": 0}))["providers"][0]
    assert (row["settled"], row["violated"], row["running"]) == (str(SLICES), "0", 0)
    assert forge.stop() == 0
    for each in (node, compute, client):
        await each.close()


def expected_root(job_id: bytes, index: int) -> str:
    task = HashTask(HashAlgorithm.BLAKE3, b"\x5a" * 32, index * DIGESTS, DIGESTS)
    levels = gpu_hash.build_levels(b"".join(gpu_hash.compute_digests(task)))
    return gpu_hash.open_levels(slice_context(job_id, index), levels)[0].hex()


async def enter_market(client: ChainClient, forge: Forge) -> None:
    terms = {"provider_id": MEMBER, "member_key": forge.wallet.public_key.hex(), "bond": str(10**9)}
    offer = {"provider_id": MEMBER, "lane": "CONSUMER", "price_per_unit": "10", "bond_per_unit": "0"}
    await client.call(ALICE, "compute.register_provider", terms)
    await client.call(ALICE, "compute.post_offer", {**offer, "units_per_epoch": "1000"})


async def post_job(client: ChainClient) -> bytes:
    work = {"algorithm": "BLAKE3", "seed": "5a" * 32, "slice_count": SLICES, "digests_per_slice": DIGESTS}
    job = {
        "lane": "CONSUMER",
        "work": {"type": "HashWork", **work},
        "max_price_per_unit": "20",
        "deadline_blocks": 1000,
    }
    await client.call(ALICE, "compute.post_job", job)
    return bytes.fromhex((await client.query("compute.jobs", {"limit": 1}))["jobs"][0]["job_id"])


class Shelf(storage_pb2_grpc.StorageServicer):
    """A storage provider that has the files of the circuit and nothing else."""

    async def Get(self, request, context):
        yield storage_pb2.GetResponse(chunk=market.OBJECTS[request.manifest_id.hex()])


@asynccontextmanager
async def shelf(folder: Path, authority: Authority) -> AsyncIterator[None]:
    """Serve the files at an address that ``peers.json`` names."""
    host = f"{SUBNET}.3"
    certificate = authority.issue("shelf-0", host, network="test")
    server = RpcServer(
        network="test",
        host=host,
        port=processes.PORTS["grpc"],
        health_port=None,
        tls=TlsFiles(certificate, authority.ca),
        services=[Service("theblock.v1.Storage", lambda server: add_StorageServicer_to_server(Shelf(), server))],
    )
    peers = json.loads((folder / "peers.json").read_text())["peers"]
    peer = {"name": "shelf-0", "role": "storage_provider", "resource": "shelf", "host": host, "p2p": 1, "peer_id": ""}
    peers.append({**peer, "grpc": processes.PORTS["grpc"]})
    (folder / "peers.json").write_text(json.dumps({"peers": peers}))
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_proof_is_delivered_with_a_circuit_from_a_storage_provider(tmp_path):
    funded = tuple(Wallet(seed).address for seed in (b"a" * 32, b"f" * 32))
    (validator,), _ = processes.make_network(tmp_path, subnet=SUBNET, count=1, funded=funded)
    config = json.loads((validator.folder / "config.json").read_text())
    (validator.folder / "config.json").write_text(json.dumps({**config, "allow_solo": True}))
    # An authority of our own, since more members than the validator show certificates here.
    authority = Authority(tmp_path / "ca")
    shutil.rmtree(validator.folder / "tls")
    issued = authority.issue("validators-0", validator.host, role="validator", network="test")
    shutil.copytree(issued, validator.folder / "tls")
    forge = Forge(tmp_path, workloads=["snark"])
    client = ChainClient([validator.endpoint], ClientTls(authority.ca))

    async def is_up() -> bool:
        return (await client.tip()).finalized_height >= 2

    async def is_settled() -> bool:
        row = (await client.query("compute.providers", {"after": "", "limit": 0}))["providers"][0]
        return (row["settled"], row["violated"]) == ("1", "0")

    try:
        async with shelf(tmp_path, authority):
            validator.start()
            await wait_until(is_up, 60)
            await forge.prover.start()
            forge.start()
            await enter_market(client, forge)
            await client.call(ALICE, "compute.register_circuit", market.cube_command())
            await client.call(ALICE, "compute.post_job", market.proof_job(3))
            await wait_until(is_settled, 90)
            history = (await client.query("compute.sla_history", {"limit": 0, "before": "0"}))["entries"]
            assert history[0]["bundle"]["public_inputs"][0] == "1b" + "00" * 31
            assert forge.stop() == 0
    finally:
        await client.close()
        forge.kill()
        forge.prover.kill()
        validator.kill()


@pytest.mark.parametrize("workload", ["", "GPUHASH", "transcode"])
def test_workload_that_is_not_built_is_refused_at_the_start(workload):
    check_settings(ComputeSettings(workloads=("gpuHash", "snark")))
    with pytest.raises(BadConfig, match="workloads"):
        check_settings(ComputeSettings(workloads=("gpuHash", workload)))
