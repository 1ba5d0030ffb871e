"""The oracle on a chain: from meter to credit, over restarts, key changes and refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from theblock_node.client.chain import Committed
from theblock_node.client.channel import Endpoint
from theblock_node.client.errors import RefusedError
from theblock_node.client.oracle import OracleClient
from theblock_node.config import EnergySettings, Meter, MockMeter
from theblock_node.core.crypto import SigningKey
from theblock_node.core.domains.energy import attestation
from theblock_node.rpc.oracle import OracleServicer
from theblock_node.rpc.server import RpcServer
from theblock_node.services.energy import readings
from theblock_node.services.energy.keys import KeyRing
from theblock_node.services.energy.meters import open_meter
from theblock_node.services.energy.service import EnergyService
from theblock_node.services.energy.spool import open_spool
from theblock_node.sim.dev_chain import START_SECONDS, DevChain, dev_chain

FIRST, SECOND = SigningKey.from_seed(b"\x01" * 32), SigningKey.from_seed(b"\x02" * 32)
PUSHER = SigningKey.from_seed(b"\x03" * 32)
WAIT_S = 20


def settings(*faults: str) -> EnergySettings:
    mock = MockMeter(step_wh=250, start_wh=1_000, faults=faults)
    meter = Meter(name="roof", address="meter-1", provider_id="solar-roof", mock=mock, push_key=PUSHER.public_key.hex())
    return EnergySettings(meters=(meter,))


@asynccontextmanager
async def running(
    dev: DevChain, folder: Path, given: EnergySettings, ring: KeyRing, oracle: str = "solar-0"
) -> AsyncIterator[EnergyService]:
    client, chain_id = dev.client(), dev.chain.chain.chain_id
    spool = open_spool(folder / oracle, entries_max=100)
    service = EnergyService(
        settings=given,
        oracle_id=oracle,
        chain_id=chain_id,
        chain=client,
        wallet=dev.wallet(oracle),
        ring=ring,
        spool=spool,
        meters={meter.name: open_meter(meter, dev.clock, origin_seconds=START_SECONDS) for meter in given.meters},
        clock=dev.clock,
    )

    async def follow() -> None:
        async for news in client.events(0, final=True):
            if isinstance(news, Committed):
                service.take(news)

    tasks = [asyncio.create_task(service.run()), asyncio.create_task(follow())]
    try:
        yield service
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        spool.close()


async def until(is_so: Callable[[], Any]) -> None:
    async with asyncio.timeout(WAIT_S):
        # What is waited for is another's progress on the chain: there is no event to wait on.
        while not (value := is_so()) or (asyncio.iscoroutine(value) and not await value):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def offer(dev: DevChain, oracle: str, key: SigningKey) -> dict[str, str]:
    message = attestation.possession_message(dev.chain.chain.chain_id, "solar-roof", oracle, 1, key.public_key)
    return {"oracle_id": oracle, "public_key": key.public_key.hex(), "proof": key.sign(message).hex()}


async def register(dev: DevChain, *keys: SigningKey) -> None:
    """Register the provider of the meter; the first key is of ``solar-0``, and so on."""
    command = {
        "provider_id": "solar-roof",
        "capacity_wh": "100000",
        "price_per_kwh": "2000",
        "meter_address": "meter-1",
        "jurisdiction": "US_CA",
        "stake": "1000000",
        "initial_meter_wh": None,
        "keys": [offer(dev, f"solar-{at}", key) for at, key in enumerate(keys)],
    }
    await dev.client().call(dev.wallet("alice"), "energy.register_provider", command, final=True)


async def provider(dev: DevChain) -> dict[str, Any]:
    reply = await dev.client().query("energy.provider", {"provider_id": "solar-roof"})
    return dict(reply["provider"])


async def total_of(dev: DevChain) -> int:
    return int((await provider(dev))["last_meter_wh"] or 0)


async def test_meter_becomes_credit(tmp_path):
    async with dev_chain(funded=("alice", "solar-0"), instant=True) as dev:
        await register(dev, FIRST)
        async with running(dev, tmp_path, settings(), KeyRing(FIRST)) as service:
            await until(lambda: service.details()["meters"][0]["accepted"])
            first = await total_of(dev)
            for _ in range(3):
                reached = service.details()["meters"][0]["reading_height"]
                dev.clock.advance(15_000)
                await until(lambda low=reached: service.details()["meters"][0]["reading_height"] > low)

            rows = (await dev.client().query("energy.credits", {}))["credits"]
            assert sum(int(row["amount_wh"]) for row in rows) == await total_of(dev) - first >= 750
            await until(lambda: service.details()["spool_depth"] == 0)
            assert service.details()["refused"] == ""


async def test_restart_goes_on_without_signing_twice(tmp_path):
    async with dev_chain(funded=("alice", "solar-0"), instant=True) as dev:
        # Nobody registered it yet: what is read waits on the disk.
        async with running(dev, tmp_path, settings(), KeyRing(FIRST)) as service:
            await until(lambda: service.details()["refused"] == "energy.unknown_provider")
            assert service.spool_depth == 1
        await register(dev, FIRST)
        async with running(dev, tmp_path, settings(), KeyRing(FIRST)) as service:
            await until(lambda: service.details()["meters"][0]["accepted"])
        nonce = (await provider(dev))["last_nonce"]
        async with running(dev, tmp_path, settings(), KeyRing(FIRST)) as service:
            dev.clock.advance(15_000)
            # What was accepted before the restart counts in its details, so the chain is asked.
            await until(lambda: _nonce_above(dev, int(nonce)))
            assert int((await provider(dev))["last_nonce"]) == int(nonce) + 1


async def test_two_oracles_agree_on_a_credit(tmp_path):
    params = {"energy_min_attesters": 2, "energy_settlement_quorum_ppm": 666_667}
    async with dev_chain(funded=("alice", "solar-0", "solar-1"), params=params, instant=True) as dev:
        await register(dev, FIRST, SECOND)
        async with (
            running(dev, tmp_path, settings(), KeyRing(FIRST), "solar-0") as one,
            running(dev, tmp_path, settings(), KeyRing(SECOND), "solar-1") as other,
        ):
            await until(lambda: _nonce_above(dev, 0))
            dev.clock.advance(15_000)
            await until(lambda: _nonce_above(dev, 1))
            assert [service.details()["refused"] for service in (one, other)] == ["", ""]
        rows = (await dev.client().query("energy.credits", {}))["credits"]
        assert len(rows) >= 1


async def test_changed_key_signs_once_the_chain_says_so(tmp_path):
    async with dev_chain(funded=("alice", "solar-0"), instant=True) as dev:
        await register(dev, FIRST)
        async with running(dev, tmp_path, settings(), KeyRing(FIRST)) as service:
            await until(lambda: service.details()["meters"][0]["accepted"])
            service.reload_key(b"junk")
            assert service.details()["keys"]["invalid"] == "not hexadecimal"
            service.reload_key(b"02" * 32)
            assert service.details()["keys"] == {
                "active": FIRST.public_key.hex(), "staged": SECOND.public_key.hex(), "invalid": "",
            }  # fmt: skip

            public, proof = service.prove_possession("solar-roof", "solar-0", 2)
            command = {
                "provider_id": "solar-roof", "oracle_id": "solar-0", "new_key": public.hex(),
                "active_from_height": "0", "overlap_blocks": 0, "proof_of_possession": proof.hex(),
            }  # fmt: skip
            await dev.client().call(dev.wallet("alice"), "energy.rotate_provider_key", command, final=True)
            before = int((await provider(dev))["last_nonce"])
            dev.clock.advance(15_000)
            await until(lambda: service.details()["keys"]["active"] == SECOND.public_key.hex())
            await until(lambda: _nonce_above(dev, before))


async def _nonce_above(dev: DevChain, nonce: int) -> bool:
    return int((await provider(dev))["last_nonce"]) > nonce


@pytest.mark.parametrize(
    ("fault", "field", "value"),
    [
        ("offline", "reachable", False),
        ("skew", "error", "energy.future_skew"),
    ],
)
async def test_faulty_meter_is_reported_and_nothing_is_signed(tmp_path, fault, field, value):
    async with dev_chain(funded=("alice", "solar-0"), instant=True) as dev:
        await register(dev, FIRST)
        async with running(dev, tmp_path, settings(fault), KeyRing(FIRST)) as service:
            await until(lambda: service.details()["meters"][0][field] == value)
        assert int((await provider(dev))["last_nonce"]) == 0


async def test_pushed_reading_goes_the_same_way(tmp_path):
    async with dev_chain(funded=("alice", "solar-0"), instant=True) as dev:
        await register(dev, FIRST)
        async with running(dev, tmp_path, settings("offline"), KeyRing(FIRST)) as service:
            server = RpcServer(
                network="dev", host="127.0.0.1", port=0, mutual_port=0, health_port=None, tls=None,
                services=[OracleServicer(service).service()],
            )  # fmt: skip
            oracle = OracleClient(Endpoint("127.0.0.1", await server.start()), None)
            now = dev.clock.now_ms() // 1000
            signature = PUSHER.sign(readings.push_message("roof", 4_000, now))
            try:
                with pytest.raises(RefusedError) as refused:
                    await oracle.push("roof", 4_001, now, signature)
                assert refused.value.code == "energy.invalid_signature"
                assert await oracle.push("roof", 4_000, now, signature) == 1
                assert (await oracle.keys()).in_use == FIRST.public_key
                await until(lambda: service.details()["meters"][0]["accepted"])
                assert await total_of(dev) == 4_000
            finally:
                await oracle.close()
                await server.stop(0)


async def test_account_without_money_waits_for_some(tmp_path):
    async with dev_chain(funded=("alice",), instant=True) as dev:
        await register(dev, FIRST)
        async with running(dev, tmp_path, settings(), KeyRing(FIRST)) as service:
            await until(lambda: service.details()["refused"].startswith(("mempool.", "tx.", "accounts.")))
            gift = {"to": dev.wallet("solar-0").address, "amount_consumer": "1000000000000", "amount_industrial": "0"}
            await dev.client().call(dev.wallet("alice"), "accounts.transfer", gift, final=True)
            dev.clock.advance(15_000)

            await until(lambda: service.details()["meters"][0]["accepted"])
