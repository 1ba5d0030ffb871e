"""`tb-cli compute`: jobs, and what came of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from theblock_node.cli.app import App
from theblock_node.cli.forms import AMOUNT, HEX
from theblock_node.cli.frame import Group, Leaf, acts
from theblock_node.cli.submitting import record_of, submit

if TYPE_CHECKING:
    from theblock_node.client.chain import ChainClient

POLL_S = 0.5
RUNNING = ("OPEN", "ASSIGNED")
PROOF_FACTS = ("fingerprint", "backend", "latency_ms")
HISTORY_PAGES_MAX = 32
"""How far back the history is searched for a job's proofs."""


@click.group(cls=Group, domain="compute", no_args_is_help=True)
def compute() -> None:
    """Jobs for provers, and the market for their time."""


@compute.command("submit", cls=Leaf, signs=True)
@click.option(
    "--algorithm", type=click.Choice(["BLAKE3", "SHA256"], case_sensitive=False), default="BLAKE3", show_default=True
)
@click.option("--slices", type=click.IntRange(1, 64), default=1, show_default=True, help="Parts that may run apart.")
@click.option("--digests", type=click.IntRange(1, 2**32 - 1), required=True, help="Digests of each slice.")
@click.option("--max-price", type=AMOUNT, required=True, help="Most nBLOCK for a unit, or as 1.5BLOCK.")
@click.option("--deadline-blocks", type=click.IntRange(1, 2**32 - 1), default=600, show_default=True)
@click.option(
    "--lane", type=click.Choice(["CONSUMER", "INDUSTRIAL"], case_sensitive=False), default="CONSUMER", show_default=True
)
@click.option("--seed", type=HEX, metavar="HEX", help="What the messages are made from, 32 bytes; random.")
@acts
async def submit_job(
    app: App,
    algorithm: str,
    slices: int,
    digests: int,
    max_price: str,
    deadline_blocks: int,
    lane: str,
    seed: str | None,
) -> None:
    """Post a job; `tb-cli compute result JOB` shows what comes of it."""
    import secrets

    work = {
        "algorithm": algorithm.upper(),
        "seed": seed or secrets.token_hex(32),
        "slice_count": slices,
        "digests_per_slice": digests,
    }
    arguments = {
        "lane": lane.upper(),
        "work": {"type": "HashWork", **work},
        "max_price_per_unit": max_price,
        "deadline_blocks": deadline_blocks,
    }
    async with app.chain() as chain:
        told = await submit(app, chain, "compute.post_job", arguments)
    posted = record_of(told, "compute.job_posted")
    app.show({"job_id": posted["job_id"] if posted else None, "seed": work["seed"], **told})


@compute.command(cls=Leaf)
@click.argument("job", type=HEX, metavar="JOB")
@click.option("--follow", is_flag=True, help="Wait until no slice is open or being computed, at most --timeout.")
@acts
async def result(app: App, job: str, follow: bool) -> None:
    """The slices of JOB: who computes each, and once it is settled its digest's root or its proof's fingerprint."""
    async with app.chain() as chain:
        app.show(await (_wait(app, chain, job) if follow else _read(chain, job)))


@compute.command(cls=Leaf)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@acts
async def jobs(app: App, limit: int) -> None:
    """The youngest jobs."""
    async with app.chain() as chain:
        page = await chain.query("compute.jobs", {"limit": limit})
    app.show(page, text=page["jobs"])


@compute.command(cls=Leaf)
@click.option("--limit", type=click.IntRange(1, 256), default=10, show_default=True, help="Ends of slices looked at.")
@acts
async def proofs(app: App, limit: int) -> None:
    """Proofs among the youngest ends of slices; the explorer lists all, and verifies each again."""
    async with app.chain() as chain:
        page = await chain.query("compute.sla_history", {"limit": limit, "before": "0"})
    shown = ("job_id", "index", "provider_id")
    rows = [
        {**{name: entry[name] for name in shown}, **_describe_proof(entry["bundle"])}
        for entry in page["entries"]
        if entry["bundle"] is not None
    ]
    app.show({"proofs": rows}, text=rows)


async def _wait(app: App, chain: ChainClient, job: str) -> dict[str, Any]:
    import asyncio

    try:
        async with asyncio.timeout(app.choices.timeout):
            while True:
                found = await _read(chain, job)
                if not any(piece["status"] in RUNNING for piece in found["slices"]):
                    return found
                await asyncio.sleep(POLL_S)
    except TimeoutError as late:
        raise TimeoutError(f"job {job}") from late


async def _read(chain: ChainClient, job: str) -> dict[str, Any]:
    from theblock_node.client.errors import RefusedError

    found = await chain.query("compute.job", {"job_id": job})
    if found["job"] is None:
        raise RefusedError("compute.unknown_job", "", {"job_id": job})
    if found["job"]["work"]["type"] == "CircuitWork":
        proofs = await _find_proofs(chain, job, int(found["job"]["placed_height"]))
        for piece in found["slices"]:
            # Only proofs say anything of a slice of proving.
            del piece["root"]
            piece |= proofs.get(piece["index"], dict.fromkeys(PROOF_FACTS))
    return found


async def _find_proofs(chain: ChainClient, job: str, placed_height: int) -> dict[int, dict[str, Any]]:
    """By slice, what the history says of the job's proofs."""
    found: dict[int, dict[str, Any]] = {}
    before = "0"
    for _ in range(HISTORY_PAGES_MAX):
        page = await chain.query("compute.sla_history", {"limit": 256, "before": before})
        for entry in page["entries"]:
            if entry["job_id"] == job and entry["bundle"] is not None:
                found[entry["index"]] = _describe_proof(entry["bundle"])
        before = page["before"]
        if before == "0" or any(int(entry["resolved_height"]) < placed_height for entry in page["entries"]):
            break
    return found


def _describe_proof(told: Any) -> dict[str, Any]:
    from theblock_node.core import codec
    from theblock_node.core.proofs import bundle as bundles

    bundle = codec.from_json(bundles.ProofBundle, told)
    facts = (bundles.fingerprint(bundle).hex(), bundle.backend.name, bundle.latency_ms)
    return dict(zip(PROOF_FACTS, facts, strict=True))
