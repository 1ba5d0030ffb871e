"""Validators as processes on loopback addresses: Submit calls a second, transfers a second, time to finality.

The load comes from this process, on the same cores as the validators; a network has cores of its own.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
from theblock_node.client.chain import ChainClient, Committed
from theblock_node.client.channel import ClientTls, Endpoint, open_channel
from theblock_node.client.errors import RefusedError, UnavailableError
from theblock_node.client.wallet import Wallet
from theblock_node.core.crypto import blake3
from theblock_node.core.domains.accounts import Transfer
from theblock_node.pb.theblock.v1 import chain_pb2, chain_pb2_grpc

from bench.figures import Figure, Peer
from tests import processes

SUBNET = "127.47.0"
WALLETS = [Wallet(blake3(b"bench" + number.to_bytes(4, "little"))) for number in range(250)]
CHAIN_ID = 1_000_001
BASE_FEE = 350
FUNDS = 10**13
IN_FLIGHT = 48
SUBMITS = 1500
"""Calls of one round."""
ROUNDS = 5
LOAD_S = 20
FINALITY_SAMPLES = 9
START_S = 150.0
ECHO_PORT = 26700


@dataclass(frozen=True, slots=True)
class _Network:
    members: Sequence[processes.Process]
    tls: ClientTls
    """Of a member: other callers are held to a lower rate."""


def run_submit() -> Iterator[Figure]:
    yield asyncio.run(_submit())


def run() -> Iterator[Figure]:
    yield from asyncio.run(_devnet())


def transfers(nonce: int) -> list[bytes]:
    """A signed transfer of every wallet."""
    return [
        wallet.sign_call(
            "accounts.transfer",
            Transfer(WALLETS[at - 1].address, 1, 0),
            chain_id=CHAIN_ID,
            nonce=nonce,
            base_fee=BASE_FEE,
        ).envelope
        for at, wallet in enumerate(WALLETS)
    ]


async def _submit() -> Figure:
    async with _network(1) as network:
        member = network.members[0]
        echo_at = Endpoint(member.host, ECHO_PORT)
        echo = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.echo", member.host, str(ECHO_PORT), str(member.folder / "tls"))
        )
        try:
            envelopes = [envelope for nonce in range(1, 41) for envelope in transfers(nonce)]
            async with (
                open_channel(member.endpoint, network.tls) as ours,
                open_channel(echo_at, ClientTls(network.tls.ca)) as peer,
            ):
                rates: dict[str, list[float]] = {"ours": [], "echo": []}
                for at in range(ROUNDS):
                    part = envelopes[at * SUBMITS : (at + 1) * SUBMITS]
                    rates["ours"].append(await _submits_per_second(ours, part))
                    rates["echo"].append(await _submits_per_second(peer, part))
        finally:
            echo.terminate()
            await echo.wait()
    return Figure(
        "rpc.submit",
        statistics.median(rates["ours"]),
        "calls/s",
        (Peer("grpc.aio server that does nothing", statistics.median(rates["echo"])),),
        note=f"{IN_FLIGHT} in flight over TLS; decoded, signature checked, pooled; the client shares the cores",
    )


async def _submits_per_second(channel: grpc.aio.Channel, envelopes: Sequence[bytes]) -> float:
    stub, waiting = chain_pb2_grpc.ChainStub(channel), iter(envelopes)

    async def work() -> None:
        for envelope in waiting:
            await stub.Submit(chain_pb2.SubmitRequest(envelope=envelope), timeout=20, wait_for_ready=True)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(IN_FLIGHT):
            tasks.create_task(work())
    return len(envelopes) / (time.perf_counter() - started)


async def _devnet() -> list[Figure]:
    started = time.perf_counter()
    async with _network(4) as network:
        ready_s = time.perf_counter() - started
        clients = [ChainClient([member.endpoint], network.tls) for member in network.members]
        rate, per_block = await _load(clients)
        waits = await _finality(clients[0])
        cpu_s = sum(member.cpu_seconds() for member in network.members)
        memory = max(member.resident_mib() for member in network.members)
        for client in clients:
            await client.close()
    lived = time.perf_counter() - started
    note = f"4 validators, 1 block/s, target_gas_per_block 1,000,000; at most {per_block} in a block"
    return [
        Figure("devnet.start", ready_s, "s", note="from nothing to two final blocks", is_time=True),
        Figure("devnet.transfers", rate, "transfers/s", note=note),
        Figure(
            "devnet.finality", statistics.median(waits), "s", note="from Submit to final, one at a time", is_time=True
        ),
        Figure("devnet.cpu", cpu_s / lived, "cores", note=f"all four together; {memory} MiB the largest", is_time=True),
    ]


async def _load(clients: Sequence[ChainClient]) -> tuple[float, int]:
    """Transfers a second that stood in blocks while more were offered than fit, and the most in one block."""
    head = (await clients[0].tip()).height
    blocks: list[Committed] = []

    async def follow() -> None:
        async for news in clients[0].events(head, final=False):
            if isinstance(news, Committed):
                blocks.append(news)

    deadline, nonce = time.perf_counter() + LOAD_S, 1

    async def feed(envelopes: Iterator[tuple[int, bytes]]) -> None:
        for at, envelope in envelopes:
            # A wallet stays with one validator: its next nonce may reach another before the one that it follows.
            while time.perf_counter() < deadline:
                try:
                    await clients[at % len(clients)].submit(envelope)
                    break
                except RefusedError:
                    await asyncio.sleep(0.2)  # The pool has as much of this wallet as it takes.

    follower = asyncio.create_task(follow())
    while time.perf_counter() < deadline:
        ready = enumerate(await asyncio.to_thread(transfers, nonce))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(IN_FLIGHT):
                tasks.create_task(feed(ready))
        nonce += 1
    follower.cancel()
    await asyncio.gather(follower, return_exceptions=True)
    standing = {block.height: block for block in blocks}
    full = [block for height, block in sorted(standing.items()) if block.txs][1:-1]
    counts = Counter({block.height: sum(not tx.error_code for tx in block.txs) for block in full})
    seconds = (full[-1].timestamp_ms - full[0].timestamp_ms) / 1000
    # The first block's transfers came before its time.
    return (counts.total() - counts[full[0].height]) / seconds, max(counts.values())


async def _finality(client: ChainClient) -> list[float]:
    waits = []
    for _ in range(FINALITY_SAMPLES):
        news = client.events((await client.tip()).finalized_height, final=True)
        started = time.perf_counter()
        signed = await client.send(WALLETS[0], "accounts.transfer", Transfer(WALLETS[1].address, 1, 0))
        wanted = signed.tx_id.hex()
        async for block in news:
            if isinstance(block, Committed) and any(tx.tx_id == wanted for tx in block.txs):
                break
        waits.append(time.perf_counter() - started)
    return waits


@asynccontextmanager
async def _network(count: int) -> AsyncIterator[_Network]:
    """Running validators that have made two blocks final."""
    with TemporaryDirectory(prefix="theblock-bench-") as name:
        folder = Path(name)
        funded = tuple(wallet.address for wallet in WALLETS)
        members, authority = processes.make_network(folder / "net", subnet=SUBNET, count=count, funded=funded)
        admin = folder / "net" / "admin"
        _change(
            folder / "net" / "genesis.json",
            params={"target_gas_per_block": "1000000"},
            allocations=[{"address": address, "amount": str(FUNDS)} for address in funded],
        )
        for member in members:
            _change(member.folder / "config.json", allow_solo=count == 1)
            member.start()
        tls = ClientTls(authority.ca, admin / "tls.crt", admin / "tls.key")
        try:
            await _wait_final(members, tls)
            yield _Network(members, tls)
        finally:
            for member in members:
                if member.running is not None:
                    member.kill()


def _change(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


async def _wait_final(members: Sequence[processes.Process], tls: ClientTls) -> None:
    async with asyncio.timeout(START_S):
        for member in members:
            client = ChainClient([member.endpoint], tls)
            try:
                await _until_final(member, client)
            finally:
                await client.close()


async def _until_final(member: processes.Process, client: ChainClient) -> None:
    height = 0
    while height < 2:
        await asyncio.sleep(0.1)
        if member.running is None or member.running.poll() is not None:
            raise RuntimeError(f"{member.name} ended: {(member.folder / 'log').read_text()[-500:]}")
        with suppress(UnavailableError):
            height = (await client.tip()).finalized_height
