"""Blocks of two branches, and a chain that tells what a test says, for tests of the explorer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

from support import snark
from theblock_node.core.proofs import groth16, keys, statements
from theblock_node.services.explorer.project import CommittedBlock, TxRow
from theblock_node.services.explorer.service import Reverted

GENESIS = "aa" * 32
CIRCUIT = "c1" * 32
ALICE = "0000:" + "a1" * 32
BOB = "0000:" + "b2" * 32


def block_id(height: int, branch: str = "a") -> str:
    return f"{branch}{height:063x}"


def tx_id(height: int, position: int, branch: str = "a") -> str:
    return f"{branch}{height:031x}{position:032x}"


def make_block(height: int, *, branch: str = "a", calls=(), events=(), final: int = 0) -> CommittedBlock:
    """A block of ``branch`` with a transfer from Alice to Bob for each of ``calls``."""
    txs = tuple(
        TxRow(
            tx_id(height, position, branch),
            position,
            call,
            ALICE,
            "",
            (("accounts.transferred", f'{{"source":"{ALICE}","to":"{BOB}","amount":"7"}}'),),
        )
        for position, call in enumerate(calls)
    )
    told = [("validators.finalized", f'{{"height":"{final}","hash":"00"}}')] if final else []
    return CommittedBlock(height, block_id(height, branch), height * 1000, txs, (*told, *events))


class ToldChain:
    """A source of blocks: each stream begins with what stands above ``after``, then brings what is told."""

    def __init__(self, blocks: list[CommittedBlock]) -> None:
        self.blocks = blocks
        self.genesis_hash = GENESIS
        self.asked: list[int] = []
        """From which heights streams were begun."""
        self._telling: asyncio.Queue[CommittedBlock | Reverted | None] = asyncio.Queue()

    def tell(self, news: CommittedBlock | Reverted) -> None:
        self._telling.put_nowait(news)

    def cut(self) -> None:
        self._telling.put_nowait(None)

    async def genesis(self) -> str:
        return self.genesis_hash

    async def follow(self, after: int) -> AsyncIterator[CommittedBlock | Reverted]:
        self.asked.append(after)
        for block in self.blocks:
            if block.height > after:
                yield block
        while (news := await self._telling.get()) is not None:
            yield news
        raise ConnectionError("cut")


def make_bundle(*, backend: str = "CPU", latency_ms: int = 42, valid: bool = True) -> dict[str, Any]:
    """The golden proof as a provider delivers it, as JSON; not ``valid``: of another number."""
    key_hash = statements.compute_key_hash(snark.cubic_key().verifying)
    return {
        "version": 2,
        "system": 1,
        "backend": backend,
        "circuit_hash": CIRCUIT,
        "vk_hash": key_hash.hex(),
        "program_commitment": CIRCUIT,
        "output_commitment": "04" * 32,
        "witness_commitment": "05" * 32,
        "public_inputs": [(35 if valid else 36).to_bytes(32, "little").hex()],
        "proof": groth16.encode_proof(snark.cubic_proof()).hex(),
        "latency_ms": latency_ms,
        "artifact": {"circuit_hash": CIRCUIT, "wasm_hash": CIRCUIT, "generated_at": "7"},
        "provider_signature": "00" * 64,
    }


def make_entry(sequence: int, **bundle: Any) -> dict[str, Any]:
    """How a slice ended; with a proof where something is said of it."""
    return {
        "version": 1,
        "sequence": str(sequence),
        "job_id": f"{sequence // 4:064x}",
        "index": sequence % 4,
        "provider_id": "gpu-0",
        "buyer": BOB,
        "outcome": "COMPLETED" if bundle else "VIOLATED",
        "reason": "NONE" if bundle else "DEADLINE_MISSED",
        "burned": "0",
        "refunded": "0",
        "payout": "18446744073709551615",
        "deadline_height": "600",
        "resolved_height": str(100 + sequence),
        "bundle": make_bundle(**bundle) if bundle else None,
    }


class ToldHistory:
    """The history of compute jobs as the chain pages through it, and its circuit."""

    def __init__(self, entries: list[dict[str, Any]], page_max: int = 256) -> None:
        self.entries = entries
        self.page_max = page_max
        """Fewer than asked for, as where answers would be too long."""
        self.asked: list[int] = []
        """From where pages were read."""
        self.fails_after: int | None = None
        """Pages after which the chain is gone."""
        key = snark.cubic_key().verifying
        self.circuit: dict[str, Any] = {
            "circuit": {"key_hash": statements.compute_key_hash(key).hex()},
            "verifying_key": keys.encode_verifying_key(key).hex(),
        }

    async def query(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        if name == "compute.circuit":
            return self.circuit if request["circuit_hash"] == CIRCUIT else {"circuit": None, "verifying_key": ""}
        assert name == "compute.sla_history"
        if self.fails_after is not None and len(self.asked) >= self.fails_after:
            raise ConnectionError("gone")
        before = int(request["before"])
        self.asked.append(before)
        rows = [row for row in reversed(self.entries) if not before or int(row["sequence"]) < before]
        page = rows[: min(request["limit"], self.page_max)]
        return {"entries": page, "before": page[-1]["sequence"] if len(rows) > len(page) else "0"}


class ToldQueries:
    """Answers of the chain, by the name of the query."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    async def query(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        answer = self.answers[name.replace(".", "_")]
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


MEMBER = "c3" * 32
NOW = 1_790_000_000
ENERGY_EVENTS = (
    (
        "energy.reading_submitted",
        f'{{"provider_id":"solar-roof","oracle_id":"solar-0","meter_address":"meter-1","total_wh":"128250",'
        f'"timestamp":"{NOW}","nonce":"41"}}',
    ),
    (
        "energy.settled",
        f'{{"seq":"7","buyer":"{BOB}","provider_id":"solar-roof","wh":"12500","price_paid":"25000000000",'
        '"treasury_fee":"125000000","fee_bps":50,"meter_hash":"' + "d4" * 32 + '"}',
    ),
    ("compute.job_assigned", '{"job_id":"' + "e5" * 32 + '","index":0,"provider_id":"gpu-0","price_per_unit":"3"}'),
    (
        "bridge.headers_accepted",
        '{"chain_id":"bitcoin","relayer":"bridge-0","count":100,"first_height":"1","tip_height":"100","tip_hash":"'
        + "f6" * 32
        + '"}',
    ),
)
ANSWERS: dict[str, Any] = {
    "accounts_list": {
        "accounts": [
            {"address": ALICE, "balance": "1000000000000000", "nonce": "12"},
            {"address": BOB, "balance": "41500000000", "nonce": "0"},
        ]
    },
    "accounts_account": {"account": {"address": ALICE, "balance": "1000000000000001", "nonce": "12"}},
    "validators_stakes": {
        "stakes": [
            {
                "validator": MEMBER,
                "owner": ALICE,
                "jailed_until": "0",
                "tombstoned": False,
                "roles": [{"role": "validator", "bonded": "1000000000000", "unbonding": []}],
            }
        ]
    },
    "storage_providers": {
        "providers": [
            {
                "provider_id": f"storage-{number}",
                "owner": ALICE,
                "region": "default",
                "capacity_bytes": "1073741824",
                "used_bytes": str(number * 7_340_032),
                "price_per_block": "1200",
                "bond": "50000000000",
                "reputation": 9800,
                "proof_successes": "412",
                "proof_failures": "1",
                "maintenance": number == 2,
                "retired": False,
            }
            for number in range(3)
        ]
    },
    "compute_providers": {
        "providers": [
            {
                "provider_id": "gpu-0",
                "owner": BOB,
                "bond": "20000000000",
                "locked": "5000000000",
                "running": 1,
                "settled": "88",
                "violated": "0",
                "reputation": 10000,
                "retired": False,
            }
        ]
    },
    "energy_providers": {
        "providers": [
            {
                "provider_id": "solar-roof",
                "owner": ALICE,
                "jurisdiction": "US_CA",
                "state": "active",
                "capacity_wh": "1000000",
                "price_per_kwh": "2000000000",
                "total_delivered_wh": "128250",
                "staked": "1000000000000",
                "credits": 2,
                "oracles": ["solar-0", "solar-1"],
                "last_seen_height": "3",
            }
        ]
    },
    "bridge_relayers": {
        "relayers": [
            {
                "relayer": "bridge-0",
                "owner": ALICE,
                "asset": "wBTC",
                "bond": "50000000000",
                "headers_submitted": "1110",
                "registered_height": "2",
                "retired": False,
            }
        ]
    },
    "energy_credits": {
        "credits": [
            {
                "credit_id": "d4" * 32,
                "provider_id": "solar-roof",
                "amount_wh": "250",
                "created_wh": "500",
                "created_height": "3",
                "expires_height": "90003",
                "frozen_by": "0",
            }
        ]
    },
    "energy_disputes": {"disputes": []},
    "compute_jobs": {
        "jobs": [
            {
                "job_id": "e5" * 32,
                "buyer": BOB,
                "lane": "consumer",
                "work": {"type": "CircuitWork", "circuit_hash": "ab" * 32},
                "slice_count": 4,
                "open_slices": 1,
                "live_slices": 2,
                "max_price_per_unit": "3",
                "escrowed": "12000",
                "placed_height": "2",
                "deadline_height": "400",
            }
        ]
    },
    "storage_contracts": {
        "contracts": [
            {
                "manifest_id": "a7" * 32,
                "owner": BOB,
                "status": "active",
                "original_bytes": "5242880",
                "data": 2,
                "parity": 1,
                "providers": ["storage-0", "storage-1", "storage-2"],
                "deposit": "90000000",
                "paid": "1200000",
                "start_height": "2",
            }
        ]
    },
    "bridge_clients": {
        "clients": [
            {
                "chain_id": "bitcoin",
                "profile": "bitcoin/1",
                "checkpoint_height": "0",
                "tip_height": "100",
                "tip_hash": "f6" * 32,
                "last_reorg_depth": 0,
                "updated_height": "3",
            }
        ]
    },
    "bridge_headers": {
        "headers": [
            {
                "height": str(height),
                "hash": f"{height:064x}",
                "timestamp": str(NOW + 600 * height),
                "bits": 486604799,
                "merkle_root": f"{height + 1000:064x}",
                "submitted_by": "bridge-0",
                "included_height": "3",
            }
            for height in range(100, 88, -1)
        ]
    },
}
"""An answer to every query that the pages ask."""


async def ask(app: Any, target: str, *, method: str = "GET") -> tuple[int, dict[str, str], str]:
    """(status, headers, text) with which an ASGI application answers a request."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [],
        "client": ("127.44.0.1", 1),
        "server": ("127.44.0.1", 80),
    }
    sent: list[dict[str, Any]] = []

    asked = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not asked:
            await asyncio.Event().wait()  # It stays until the answer has ended.
        return asked.pop()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]).decode()
