"""Four validator processes over QUIC: finality, a killed one that comes back, and nothing acknowledged that is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import processes
import pytest
from support.loopback import subnet
from theblock_node.client.chain import ChainClient
from theblock_node.client.errors import UnavailableError
from theblock_node.client.wallet import Wallet

ALICE = Wallet(b"a" * 32)
BOB = Wallet(b"b" * 32)


@pytest.fixture
def network(tmp_path) -> Iterator[tuple[list[processes.Process], object]]:
    made = processes.make_network(tmp_path, subnet=subnet(40), count=4, funded=(ALICE.address,))
    yield made
    for process in made[0]:
        if process.running is not None:
            process.kill()


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
async def test_four_processes_finalize_and_lose_nothing_to_a_kill(network):
    members, tls = network
    for member in members:
        member.start()
    clients = [ChainClient([member.endpoint], tls) for member in members]

    async def final_at_least(height: int) -> bool:
        return min([(await client.tip()).finalized_height for client in clients]) >= height

    await wait_until(lambda: final_at_least(2), 40)

    victim, client = members[1], clients[1]
    paid, status = await client.call(ALICE, "accounts.transfer", _pay(7))
    before = await client.tip()
    victim.kill()
    waiting = await clients[2].send(ALICE, "accounts.transfer", _pay(8))
    victim.start()

    await wait_until(lambda: final_at_least(before.height + 4), 40)
    after = await client.status(paid)
    assert (after.height, after.state, after.final) == (status.height, "success", True)
    await clients[1].wait(waiting.tx_id.hex(), final=True, timeout_s=20)
    assert [(await each.account(BOB.address)).balance for each in clients] == [15] * 4

    assert victim.stop() == 0
    for each in clients:
        await each.close()


def _pay(amount: int) -> dict[str, object]:
    return {"to": BOB.address, "amount_consumer": str(amount), "amount_industrial": "0"}
