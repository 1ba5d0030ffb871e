"""An energy oracle and a relayer as processes beside a validator: readings and headers become final on the chain."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import processes
import pytest
from support.headers import hash_of, real_headers
from support.loopback import subnet
from theblock_node.client.chain import ChainClient
from theblock_node.client.channel import ClientTls, Endpoint
from theblock_node.client.errors import UnavailableError
from theblock_node.client.node import NodeClient
from theblock_node.client.wallet import Wallet
from theblock_node.core.crypto import SigningKey
from theblock_node.core.domains.energy import attestation

SUBNET = subnet(40)
ALICE = Wallet(b"a" * 32)
SIGNER = SigningKey.from_seed(b"s" * 32)
ENERGY = {
    "meters": [
        {
            "name": "roof",
            "address": "meter-1",
            "provider_id": "solar-roof",
            "driver": "mock",
            "endpoint": None,
            "interval_seconds": 2,
            "scale_to_wh": 1000,
            "mock": {"step_wh": 250, "start_wh": 0, "faults": []},
        }
    ],
    "policy": {"max_age_seconds": 300, "max_future_skew_seconds": 30, "heartbeat_blocks": 360},
    "retry": {"initial_ms": 500, "max_ms": 2000},
    "spool_entries": 1000,
}
BRIDGE = {
    "asset": "wBTC",
    "chain_id": "bitcoin",
    "profile": "bitcoin/1",
    "checkpoint": None,
    "source": {"driver": "builtin", "dataset": "bitcoin-main-1-1111", "endpoints": [], "headers_file": None},
    "confirm_depth": 6,
    "header_sync": True,
    "members": 1,
}


class Member:
    """A process of another role, with the validator's certificate."""

    def __init__(self, folder: Path, host: str, role: str, seed: bytes, settings: dict[str, Any]) -> None:
        self.wallet, self.endpoint, self.role = Wallet(seed), Endpoint(host, processes.PORTS["grpc"]), role
        self.folder = folder / role
        self.folder.mkdir()
        (self.folder / "node.key").write_text(seed.hex())
        (self.folder / "signing.key").write_text((b"s" * 32).hex())
        config = json.loads((folder / "v0" / "config.json").read_text())
        config |= {"role": role, "kind": role, "resource": role, "member": f"{role.replace('_', '-')}-0"}
        config |= {"settings": settings, "advertise": host}
        config["listen"]["host"] = host
        names = {"key": "node.key", "signing": "signing.key", "data": "data", "run": "run"}
        config["paths"] |= {name: str(self.folder / file) for name, file in names.items()}
        (self.folder / "config.json").write_text(json.dumps(config))
        self.running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "theblock_node", self.role, "--config", str(self.folder / "config.json")]
            self.running = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self) -> int:
        assert self.running is not None
        self.running.terminate()
        code = self.running.wait(20)
        self.running = None
        return code

    def kill(self) -> None:
        if self.running is not None:
            self.running.kill()
            self.running.wait(10)
            self.running = None


@pytest.fixture
def network(tmp_path) -> Iterator[tuple[ClientTls, Endpoint, Member, Member]]:
    oracle_seed, relayer_seed = b"o" * 32, b"r" * 32
    funded = tuple(Wallet(seed).address for seed in (b"a" * 32, oracle_seed, relayer_seed))
    (validator,), tls = processes.make_network(
        tmp_path, subnet=SUBNET, count=1, funded=funded, block_time_ms=processes.QUICK_MS
    )
    config = json.loads((validator.folder / "config.json").read_text())
    (validator.folder / "config.json").write_text(json.dumps({**config, "allow_solo": True}))
    oracle = Member(tmp_path, f"{SUBNET}.2", "energy_oracle", oracle_seed, ENERGY)
    relayer = Member(tmp_path, f"{SUBNET}.3", "bridge", relayer_seed, BRIDGE)
    validator.start()
    yield tls, validator.endpoint, oracle, relayer
    validator.kill()
    oracle.kill()
    relayer.kill()


async def wait_until(condition: Callable[[], Awaitable[bool]], limit_s: float) -> None:
    async with asyncio.timeout(limit_s):
        while True:
            try:
                if await condition():
                    return
            except UnavailableError:
                pass
            await asyncio.sleep(0.3)


@pytest.mark.slow
@pytest.mark.timeout(110)
async def test_oracle_and_relayer_do_their_duty_and_stop_well(network):
    tls, endpoint, oracle, relayer = network
    client = ChainClient([endpoint], tls)

    async def is_up() -> bool:
        return (await client.tip()).finalized_height >= 2

    await wait_until(is_up, 40)
    oracle.start()
    relayer.start()
    await register(client, relayer)
    nodes = {member.role: NodeClient(member.endpoint, tls, name=endpoint.host) for member in (oracle, relayer)}

    async def details(role: str) -> dict[str, Any]:
        return (await nodes[role].status()).details

    async def is_done() -> bool:
        meters, headers = (await details("energy_oracle"))["meters"], await details("bridge")
        return meters[0]["reading_height"] > 0 and headers["state"] == "exhausted"

    await wait_until(is_done, 60)

    assert (await details("bridge"))["best_hash"] == hash_of(real_headers()[-1]).hex()
    assert (await details("bridge"))["key_state"] == "active"
    status = await nodes["energy_oracle"].status()
    assert (status.ready, status.details["refused"]) == (True, "")
    row = (await client.query("energy.provider", {"provider_id": "solar-roof"}))["provider"]
    assert int(row["last_nonce"]) >= 1
    assert (oracle.stop(), relayer.stop()) == (0, 0)
    for node in nodes.values():
        await node.close()
    await client.close()


async def register(client: ChainClient, relayer: Member) -> None:
    chain_id = (await client.tip()).chain_id
    message = attestation.possession_message(chain_id, "solar-roof", "energy-oracle-0", 1, SIGNER.public_key)
    key = {
        "oracle_id": "energy-oracle-0",
        "public_key": SIGNER.public_key.hex(),
        "proof": SIGNER.sign(message).hex(),
    }
    provider = {
        "provider_id": "solar-roof",
        "capacity_wh": "1000000",
        "price_per_kwh": "2000",
        "meter_address": "meter-1",
        "jurisdiction": "US_CA",
        "stake": str(1000 * 10**9),
        "initial_meter_wh": None,
        "keys": [key],
    }
    bond = {
        "relayer": "bridge-0",
        "member_key": relayer.wallet.public_key.hex(),
        "asset": "wBTC",
        "bond": str(50 * 10**9),
    }
    await client.send(ALICE, "energy.register_provider", provider)
    await client.send(ALICE, "bridge.register_relayer", bond)
    start = {"chain_id": "bitcoin", "profile": "bitcoin/1", "checkpoint": None}
    await client.call(ALICE, "bridge.start_light_client", start, final=True)
