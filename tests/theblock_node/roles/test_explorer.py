"""An explorer as a process beside a validator: it shows what happens, survives kills, and both can be scraped."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import processes
import pytest
from support import market
from support.delivery import deliver_cube
from support.explorer import ask as ask_app
from support.loopback import subnet
from theblock_node.client.chain import ChainClient
from theblock_node.client.channel import Endpoint
from theblock_node.client.errors import UnavailableError
from theblock_node.client.node import NodeClient
from theblock_node.client.wallet import Wallet
from theblock_node.core import codec
from theblock_node.core.crypto import SigningKey
from theblock_node.core.proofs import bundle as bundles
from theblock_node.roles.assembly import GenesisMismatch
from theblock_node.roles.explorer import ChainSource, FinalReplies, RecentReplies
from theblock_node.services.explorer.api import make_app
from theblock_node.services.explorer.database import SqliteDatabase
from theblock_node.services.explorer.proofs import Keeper
from theblock_node.services.explorer.service import Follower
from theblock_node.services.explorer.views import VIEWS
from theblock_node.sim.dev_chain import dev_chain, seed_of

SUBNET = subnet(44)
HOST = f"{SUBNET}.2"
ALICE = Wallet(b"a" * 32)
BOB = Wallet(b"b" * 32)
PAGES = [
    "/",
    "/blocks",
    "/blocks/1",
    "/transactions",
    "/accounts",
    f"/accounts/{ALICE.address}",
    "/providers",
    "/events",
]
SPARE = {"metrics": processes.PORTS["metrics"], "http": processes.PORTS["http"]}


class Explorer:
    """The process, with the validator's certificate."""

    def __init__(self, folder: Path, settings: dict[str, Any], name: str = "explorer") -> None:
        self.folder = folder / name
        self.folder.mkdir()
        (self.folder / "node.key").write_text((b"e" * 32).hex())
        config = json.loads((folder / "v0" / "config.json").read_text())
        config |= {"role": "explorer", "kind": "Network", "resource": "test", "member": "test-explorer-0"}
        config |= {"settings": settings, "advertise": HOST}
        config["listen"]["host"] = HOST
        names = {"key": "node.key", "data": "data", "run": "run"}
        config["paths"] |= {name: str(self.folder / file) for name, file in names.items()}
        (self.folder / "config.json").write_text(json.dumps(config))
        self.running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "theblock_node", "explorer", "--config", str(self.folder / "config.json")]
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
def network(tmp_path):
    (validator,), tls = processes.make_network(
        tmp_path, subnet=SUBNET, count=1, funded=(ALICE.address,), block_time_ms=processes.QUICK_MS
    )
    config = json.loads((validator.folder / "config.json").read_text())
    (validator.folder / "config.json").write_text(json.dumps({**config, "allow_solo": True}))
    explorer = Explorer(tmp_path, {"database": {"dsn_file": None}})
    validator.start()
    yield validator, tls, explorer
    explorer.kill()
    validator.kill()


def get(path: str, *, host: str = HOST, port: str = "http") -> tuple[int, str]:
    """(status, text) of a page; no connection is status 0."""
    try:
        with urllib.request.urlopen(f"http://{host}:{SPARE[port]}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()
    except (urllib.error.URLError, ConnectionError):
        return 0, ""


async def ask(path: str, **where: str) -> tuple[int, str]:
    return await asyncio.to_thread(lambda: get(path, **where))


async def ask_json(path: str) -> dict[str, Any]:
    status, text = await ask(path)
    return json.loads(text) if status == 200 else {}


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
@pytest.mark.timeout(200)
async def test_the_explorer_shows_the_chain_and_loses_and_doubles_nothing(network):
    validator, tls, explorer = network
    client = ChainClient([validator.endpoint], tls)
    node = NodeClient(Endpoint(HOST, processes.PORTS["grpc"]), tls, name=validator.host)
    paid: list[str] = []

    async def is_final() -> bool:
        return (await client.tip()).finalized_height >= 1

    async def pay(count: int) -> None:
        for _ in range(count):
            call = {"to": BOB.address, "amount_consumer": "7", "amount_industrial": "0"}
            paid.append((await client.send(ALICE, "accounts.transfer", call)).tx_id.hex())

    async def has_all() -> bool:
        return len((await ask_json("/api/transactions?limit=256")).get("items", [])) >= len(paid)

    await wait_until(is_final, 40)
    await pay(3)
    explorer.start()
    await wait_until(has_all, 30)
    explorer.kill()
    await pay(2)
    explorer.start()
    await pay(1)
    await wait_until(has_all, 30)

    shown = (await ask_json("/api/transactions?limit=256"))["items"]
    assert sorted(tx["id"] for tx in shown) == sorted(paid)
    assert all(tx["success"] and tx["sender"] == ALICE.address for tx in shown)
    blocks = (await ask_json("/api/blocks?limit=256"))["items"]
    assert [block["height"] for block in blocks] == list(range(blocks[0]["height"], 0, -1))
    assert (await client.block(blocks[0]["height"])) is not None
    balance = (await ask_json(f"/api/accounts/{BOB.address}"))["account"]["balance"]
    assert int(balance) == 7 * len(paid)

    for path in [*PAGES, f"/transactions/{paid[0]}", *(f"/{path}" for path in VIEWS)]:
        status, text = await ask(path)
        assert (path, status) == (path, 200)
        assert "<h1>" in text or path == "/"

    async def is_ready() -> bool:
        status = await node.status()
        return status.ready and status.in_sync and status.details["database"] == "reachable"

    await wait_until(is_ready, 15)
    await scrape(validator.host, paid)
    assert explorer.stop() == 0
    await node.close()
    await client.close()


async def scrape(validator_host: str, paid: list[str]) -> None:
    """Every member serves metrics, under its own name, with what its role moves."""
    status, page = await ask("/metrics", host=HOST, port="metrics")
    assert status == 200
    assert 'member_info{member="test-explorer-0",network="test",role="explorer"' in page
    assert "\nmember_ready 1.0\n" in page

    def sample(page: str, start: str) -> float:
        found = [line for line in page.splitlines() if line.startswith(start)]
        assert found, start
        return float(found[0].rpartition(" ")[2])

    async def counted() -> bool:
        _, page = await ask("/metrics", host=validator_host, port="metrics")
        moved = [line for line in page.splitlines() if line.startswith('chain_tx_total{call="accounts.transfer"')]
        return bool(moved) and float(moved[0].rpartition(" ")[2]) >= len(paid)

    await wait_until(counted, 20)
    _, page = await ask("/metrics", host=validator_host, port="metrics")
    assert sample(page, "chain_height ") >= sample(page, "chain_finalized_height ") > 0
    assert sample(page, 'signer_state{state="Ready"}') == 1
    assert sample(page, 'rpc_calls_total{code="OK",method="/theblock.v1.Chain/Submit"}') >= len(paid)
    assert sample(page, "block_interval_seconds_count") > 0
    assert sample(page, "chain_blocks_made_total") > 0
    assert sample(page, "energy_provider_total ") == 0
    assert sample(page, "mempool_size ") >= 0


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_an_explorer_without_its_database_says_so(network, tmp_path):
    _, tls, _ = network
    (tmp_path / "dsn").write_text(f"host={tmp_path} dbname=nothing connect_timeout=1")
    explorer = Explorer(tmp_path, {"database": {"dsn_file": str(tmp_path / "dsn")}}, name="lonely")
    node = NodeClient(Endpoint(HOST, processes.PORTS["grpc"]), tls, name=f"{SUBNET}.1")
    explorer.start()
    try:

        async def is_up() -> bool:
            return (await ask("/healthz"))[0] == 503

        await wait_until(is_up, 60)
        status = await node.status()
        assert (status.ready, status.reason) == (False, "DatabaseUnreachable")
        assert status.details["database"] == "unreachable"
        code, text = await ask("/blocks")
        assert (code, "store.io" in text) == (503, True)
    finally:
        explorer.kill()
        await node.close()


async def test_the_source_translates_blocks_and_knows_its_chain():
    async with dev_chain(funded=("alice",), instant=False) as dev:
        client, alice = dev.client(), dev.wallet("alice")
        origin = (await client.tip()).genesis_hash
        source = ChainSource(client, origin)
        call = {"to": BOB.address, "amount_consumer": "7", "amount_industrial": "0"}
        sent = await client.send(alice, "accounts.transfer", call)
        dev.produce(2)

        assert await source.genesis() == origin
        stream = source.follow(0)
        first, second = await anext(stream), await anext(stream)
        await stream.aclose()

        assert [block.height for block in (first, second)] == [1, 2]
        assert [tx.id for tx in first.txs] == [sent.tx_id.hex()]
        assert first.txs[0].error_code == ""
        assert "accounts.transferred" in [name for name, _ in first.txs[0].events]
        with pytest.raises(GenesisMismatch):
            await ChainSource(client, "00" * 32).genesis()


async def test_what_many_ask_is_asked_once():
    async with dev_chain(funded=("alice",)) as dev:
        replies = RecentReplies(dev.client())

        first = await replies.query("accounts.list", {"after": "", "limit": 5})
        again = await replies.query("accounts.list", {"limit": 5, "after": ""})
        other = await replies.query("accounts.list", {"after": "", "limit": 1})

        assert again is first
        assert len(other["accounts"]) == 1


async def test_a_proof_that_the_chain_paid_for_is_shown_when_it_is_final(tmp_path):
    async with dev_chain(funded=("alice", "bob"), instant=True) as dev:
        client, bob = dev.client(), dev.wallet("bob")
        terms = {"provider_id": "prover-0", "member_key": bob.public_key.hex(), "bond": str(10**11)}
        offer = {"provider_id": "prover-0", "lane": "CONSUMER", "price_per_unit": "3", "units_per_epoch": "1000",
                 "bond_per_unit": "5"}  # fmt: skip
        await market.register_cube(dev)
        await client.call(bob, "compute.register_provider", terms)
        await client.call(bob, "compute.post_offer", offer)
        await market.post_proofs(dev, 3)
        (job,) = (await client.query("compute.jobs", {"limit": 1}))["jobs"]
        tip = await client.tip()
        sent = deliver_cube(tip.chain_id, job["job_id"], 0, 3, SigningKey(seed_of("bob")))
        output = {"type": "ProofBundle", **codec.to_json(sent)}
        delivery = {"job_id": job["job_id"], "index": 0, "output": output}
        await client.call(bob, "compute.submit_slice", delivery, final=True)

        database = SqliteDatabase(tmp_path / "explorer.sqlite")
        follower = Follower(ChainSource(client, tip.genesis_hash), database)
        app = make_app(database, follower, RecentReplies(client), "dev")
        keeper = Keeper(FinalReplies(client), database, follower)
        tasks = [asyncio.create_task(work) for work in (follower.run(), keeper.run())]

        async def is_shown() -> bool:
            return bool(rows_of(await ask_app(app, "/api/proofs")))

        await wait_until(is_shown, 20)
        ((shown,), (ended,)) = [rows_of(await ask_app(app, path)) for path in ("/api/proofs", "/compute/sla/history")]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await database.close()

    assert (shown["fingerprint"], shown["verdict"]) == (bundles.fingerprint(sent).hex(), "")
    assert (ended["outcome"], ended["proofs"][0]["public_inputs"][0]) == ("COMPLETED", "27")


def rows_of(answer: tuple[int, dict[str, str], str]) -> list[dict[str, Any]]:
    status, _, text = answer
    return json.loads(text)["items"] if status == 200 else []
