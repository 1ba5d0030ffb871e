"""The pages in headless Chromium: they render, update live, draw the chart, and break no rule of their own.

Screenshots are kept under ``build/screenshots``.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import pytest
import uvicorn
from support.browser import browsing, needs_chromium, shoot
from support.explorer import (
    ALICE,
    ANSWERS,
    ENERGY_EVENTS,
    ToldChain,
    ToldHistory,
    ToldQueries,
    make_block,
    make_entry,
    tx_id,
)
from support.loopback import subnet
from theblock_node.services.explorer.api import make_app
from theblock_node.services.explorer.database import SqliteDatabase
from theblock_node.services.explorer.proofs import Keeper
from theblock_node.services.explorer.service import Follower, Reverted
from theblock_node.services.explorer.views import VIEWS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), needs_chromium]
HOST = f"{subnet(44)}.21"
BLOCKS = 60
PAGES = [
    "/",
    "/blocks",
    "/blocks/60",
    "/transactions",
    f"/transactions/{tx_id(58, 0)}",
    "/accounts",
    f"/accounts/{ALICE}",
    "/providers",
    "/events",
    "/proofs",
    *(f"/{path}" for path in VIEWS),
    "/blocks/999",
]


def make_chain() -> ToldChain:
    """Sixty blocks with some traffic, all but the last two final."""
    calls = [["accounts.transfer"] * ((height * 7) % 5 if height % 3 else 0) for height in range(1, BLOCKS)]
    blocks = [make_block(height, calls=made, final=max(0, height - 2)) for height, made in enumerate(calls, start=1)]
    return ToldChain([*blocks, make_block(BLOCKS, calls=["energy.settle"], events=ENERGY_EVENTS, final=BLOCKS - 2)])


@asynccontextmanager
async def serving(chain: ToldChain, folder: Path, history: ToldHistory | None = None):
    """The explorer over HTTP; yields its address."""
    database = SqliteDatabase(folder / "explorer.sqlite")
    follower = Follower(chain, database)
    app = make_app(database, follower, ToldQueries(**ANSWERS), "tbnet")
    config = uvicorn.Config(app, host=HOST, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    server.capture_signals = nullcontext
    keeper = Keeper(history or ToldHistory([make_entry(1, latency_ms=77)]), database, follower)
    tasks = [asyncio.create_task(work) for work in (follower.run(), server.serve(), keeper.run())]
    async with asyncio.timeout(30):
        while True:
            if server.started and follower.height == BLOCKS:
                break
            await asyncio.sleep(0.05)
    try:
        yield f"http://{HOST}:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        tasks[0].cancel()
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await database.close()


async def test_every_page_renders_without_a_complaint(tmp_path):
    async with serving(make_chain(), tmp_path) as address, browsing() as (page, complaints):
        for path in PAGES:
            answer = await page.goto(address + path, wait_until="load")
            assert answer.status == (404 if path == "/blocks/999" else 200), path
            await page.wait_for_selector("#pulse.on")
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
            name = "-".join(part[:20] for part in path.strip("/").split("/")).replace(":", "-") or "home"
            await shoot(page, f"light-{name}")

    assert [each for each in complaints if "404" not in each] == []


async def test_blocks_and_the_chart_follow_the_chain_live(tmp_path):
    chain = make_chain()
    async with serving(chain, tmp_path) as address, browsing() as (page, complaints):
        await page.goto(address + "/", wait_until="load")
        await page.wait_for_selector("#pulse.on")
        await page.wait_for_selector('#chart[data-height="60"]')
        points = await page.locator("#chart polyline.time").get_attribute("points")
        assert len(points.split()) == BLOCKS - 1

        chain.tell(make_block(61, calls=["accounts.transfer"] * 3, final=59))

        await page.wait_for_selector('#chart[data-height="61"]')
        assert await page.locator("#tip").text_content() == "61"
        first = page.locator("#block-rows tr").first
        assert await first.locator("td").first.text_content() == "61"
        assert await page.locator("#figure-final").text_content() == "59"
        await page.wait_for_selector(f'#tx-rows tr:first-child a[title="{tx_id(61, 2)}"]')
        assert await page.locator("#block-rows tr").count() == 10
        assert await page.locator("#tx-rows tr").count() == 10
        await page.locator("#chart rect.hover").last.hover()
        assert "block 61: 1.00 s, 3 transactions" in await page.locator("#point").text_content()
        await shoot(page, "live-home")

        chain.tell(Reverted(60))
        chain.tell(make_block(61, branch="b"))
        await page.wait_for_selector('#block-rows tr:first-child td.hex a[title^="b"]')

    assert complaints == []


async def test_proofs_are_shown_with_our_verdict_as_they_become_final(tmp_path):
    chain, history = make_chain(), ToldHistory([make_entry(4, latency_ms=1234, backend="GPU")])
    async with serving(chain, tmp_path, history) as address, browsing() as (page, complaints):
        await page.goto(address + "/proofs", wait_until="load")
        await page.wait_for_selector("#pulse.on")
        await page.wait_for_selector('#proof-rows tr[data-sequence="4"]')
        shown = await page.locator("#proof-rows tr").first.locator("td").all_text_contents()
        assert [shown[at] for at in (1, 2, 4, 5, 7, 8)] == ["0", "104", "gpu-0", "GPU", "1234", "verified"]

        history.entries += [make_entry(5, latency_ms=9, valid=False), make_entry(6), make_entry(7, latency_ms=8)]
        chain.tell(make_block(61, final=60))

        await page.wait_for_selector('#proof-rows tr[data-sequence="7"]')
        cells = await page.locator("#proof-rows tr td:last-child").all_text_contents()
        assert cells == ["verified", "snark.invalid_proof", "verified"]
        await shoot(page, "live-proofs")
        await page.goto(address + "/compute/jobs", wait_until="load")
        await page.locator("table td.hex a").first.click()
        await page.wait_for_url("**/proofs?job=**")

    assert complaints == []


async def test_searching_and_paging_lead_on(tmp_path):
    async with serving(make_chain(), tmp_path) as address, browsing() as (page, complaints):
        await page.goto(address + "/", wait_until="load")
        await page.get_by_role("searchbox").fill("58")
        await page.get_by_role("searchbox").press("Enter")
        await page.wait_for_url("**/blocks/58")
        await page.get_by_role("link", name="Transactions", exact=True).click()
        await page.wait_for_url("**/transactions")
        before = await page.locator("#tx-rows a").first.get_attribute("title")
        await page.get_by_role("link", name="Older").click()
        await page.wait_for_url("**/transactions?before=**")
        assert await page.locator("#tx-rows a").first.get_attribute("title") != before

    assert complaints == []


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dark", {"color_scheme": "dark"}),
        ("narrow", {"viewport": {"width": 390, "height": 844}}),
        ("narrow-dark", {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}),
    ],
)
async def test_pages_fit_dark_and_narrow_screens(tmp_path, name, options):
    async with serving(make_chain(), tmp_path) as address, browsing(**options) as (page, complaints):
        for path in ("/", "/blocks/60", "/providers/storage", "/energy/readings"):
            await page.goto(address + path, wait_until="load")
            await page.wait_for_selector("#pulse.on")
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
            await shoot(page, f"{name}-{path.strip('/').replace('/', '-') or 'home'}")

    assert complaints == []
