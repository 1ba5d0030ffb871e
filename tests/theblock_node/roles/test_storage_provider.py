"""Storage providers as processes beside a validator: kill, restart and drain them, and read objects all the while."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import processes
import pytest
from support.loopback import subnet
from support.storage import Authority
from theblock_node.client.chain import ChainClient
from theblock_node.client.channel import ClientTls, Endpoint
from theblock_node.client.errors import UnavailableError
from theblock_node.client.node import NodeClient
from theblock_node.client.storage import StorageClient, Stored, cut
from theblock_node.client.wallet import Wallet
from theblock_node.config import BadConfig, StorageSettings
from theblock_node.roles.storage_provider import check_settings

SUBNET = subnet(41)
ALICE = Wallet(b"a" * 32)
OBJECT = Random(3).randbytes(3_000_000)


class Provider:
    """A process of a storage provider."""

    def __init__(self, folder: Path, at: int, authority: Authority) -> None:
        self.name, self.host = f"shelf-{at}", f"{SUBNET}.{at + 102}"
        self.wallet = Wallet(bytes([at + 1]) * 32)
        self.folder = folder / self.name
        self.tls = authority.issue(self.name, self.host, network="test")
        (self.folder / "own").mkdir(parents=True)
        (self.folder / "own" / "node.key").write_text((bytes([at + 1]) * 32).hex())
        config = json.loads((folder / "v0" / "config.json").read_text())
        config |= {"role": "storage_provider", "kind": "StorageProvider", "resource": "shelf", "member": self.name}
        settings = {"capacity_bytes": 64 * 2**20, "repair_interval_seconds": 5, "placement": "Resource"}
        config |= {"settings": settings, "advertise": self.host, "ordinal": at}
        config["listen"]["host"] = self.host
        own = self.folder / "own"
        config["paths"] |= {"key": str(own / "node.key"), "data": str(own / "data"), "run": str(own / "run")}
        config["paths"] |= {"tls": str(self.tls)}
        (own / "config.json").write_text(json.dumps(config))
        self.running: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.host, processes.PORTS["grpc"])

    @property
    def peer(self) -> dict[str, Any]:
        return {
            "name": self.name, "role": "storage_provider", "resource": "shelf", "host": self.host,
            "p2p": processes.PORTS["p2p"], "grpc": processes.PORTS["grpc"], "peer_id": self.wallet.public_key.hex(),
        }  # fmt: skip

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "theblock_node", "storage_provider", "--config"]
            self.running = subprocess.Popen(
                [*command, str(self.folder / "own" / "config.json")], stdout=log, stderr=log
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


class Network:
    def __init__(self, folder: Path) -> None:
        wallets = [Wallet(bytes([at + 1]) * 32).address for at in range(3)]
        (self.validator,), _ = processes.make_network(
            folder, subnet=SUBNET, count=1, funded=(ALICE.address, *wallets), block_time_ms=processes.QUICK_MS
        )
        config = json.loads((self.validator.folder / "config.json").read_text())
        (self.validator.folder / "config.json").write_text(json.dumps({**config, "allow_solo": True}))
        authority = Authority(folder / "ca")
        shutil.rmtree(self.validator.folder / "tls")
        issued = authority.issue("validators-0", self.validator.host, role="validator", network="test")
        shutil.copytree(issued, self.validator.folder / "tls")
        admin = authority.issue("operator-1", "127.0.0.1", role="admin", network="test")
        self.public, self.admin = ClientTls(authority.ca), authority.client(admin)
        self.providers = [Provider(folder, at, authority) for at in range(3)]
        peers = json.loads((folder / "peers.json").read_text())["peers"]
        peers += [provider.peer for provider in self.providers]
        (folder / "peers.json").write_text(json.dumps({"peers": peers}))

    def close(self) -> None:
        for provider in self.providers:
            provider.kill()
        self.validator.kill()


@pytest.fixture
def network(tmp_path) -> Iterator[Network]:
    made = Network(tmp_path)
    made.validator.start()
    for provider in made.providers:
        provider.start()
    yield made
    made.close()


async def wait_until(condition: Callable[[], Awaitable[bool]], limit_s: float) -> None:
    async with asyncio.timeout(limit_s):
        while True:
            try:
                if await condition():
                    return
            except UnavailableError:
                pass
            await asyncio.sleep(0.3)


async def read(client: StorageClient, stored: Stored) -> bytes:
    return b"".join([piece async for piece in client.get(stored.manifest_id, stored.content_key)])


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_objects_outlive_kills_and_departures(network):
    chain = ChainClient([network.validator.endpoint], network.public)
    first, second, third = network.providers
    nodes = {provider.name: NodeClient(provider.endpoint, network.admin) for provider in network.providers}
    clients = [StorageClient([provider.endpoint], network.public) for provider in network.providers]

    async def is_up() -> bool:
        return all([(await node.status()).ready for node in nodes.values()])

    await wait_until(is_up, 60)
    for provider in network.providers:
        offer = {
            "provider_id": provider.name,
            "member_key": provider.wallet.public_key.hex(),
            "region": "default",
            "capacity_bytes": str(64 * 2**20),
            "price_per_block": "1000",
            "bond": str(64 * 10**9),
        }
        await chain.call(ALICE, "storage.register_provider", offer)

    stored = await clients[0].put(len(OBJECT), lambda: cut(OBJECT))
    assert stored.providers == ("shelf-0", "shelf-1", "shelf-2")

    second.kill()
    assert await read(clients[2], stored) == OBJECT

    second.start()
    await wait_until(is_up, 40)
    assert (await clients[1].usage()).shards == 3

    async def is_proven() -> bool:
        rows = (await chain.query("storage.contract", {"id": stored.contract_id}))["replicas"]
        return all(int(row["successes"]) >= 1 for row in rows)

    await wait_until(is_proven, 90)

    await nodes[first.name].drain(True)
    await chain.call(ALICE, "storage.set_maintenance", {"provider_id": first.name, "on": True}, final=True)

    async def is_drained() -> bool:
        return (await nodes[first.name].status()).drained

    await wait_until(is_drained, 40)
    assert first.stop() == 0
    assert await read(clients[1], stored) == OBJECT
    await chain.call(ALICE, "storage.retire_provider", {"provider_id": first.name})
    assert (second.stop(), third.stop()) == (0, 0)
    for client in [*clients, *nodes.values(), chain]:
        await client.close()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("placement", "Nearby", id="placement"),
        pytest.param("policy", "strict", id="policy"),
        pytest.param("compression", "lz77-rle", id="compression"),
        pytest.param("encryption", "rot13", id="encryption"),
    ],
)
def test_unknown_name_is_refused_at_the_start(field, value):
    with pytest.raises(BadConfig, match=field):
        check_settings(StorageSettings(**{field: value}))
