"""Pages and JSON: what they show, what they refuse, and that nothing from the chain becomes markup."""

from __future__ import annotations

import asyncio
import json

import psycopg
import pytest
from support.explorer import (
    ALICE,
    ANSWERS,
    BOB,
    ENERGY_EVENTS,
    ToldChain,
    ToldHistory,
    ToldQueries,
    ask,
    block_id,
    make_block,
    make_entry,
    tx_id,
)
from theblock_node.client.errors import RefusedError, UnavailableError
from theblock_node.core import codec
from theblock_node.core.domains import REGISTRY
from theblock_node.services.explorer import api
from theblock_node.services.explorer.api import make_app
from theblock_node.services.explorer.database import Position
from theblock_node.services.explorer.pages import format_amount, format_bytes, format_time, format_wh, shorten
from theblock_node.services.explorer.project import CommittedBlock, TxRow, project_block
from theblock_node.services.explorer.proofs import Keys, copy_history
from theblock_node.services.explorer.service import Follower
from theblock_node.services.explorer.views import PROVIDERS, VIEWS, EventView

PAGES = [
    "/",
    "/blocks",
    "/blocks/3",
    f"/blocks/{block_id(3)}",
    "/transactions",
    f"/transactions/{tx_id(2, 1)}",
    "/accounts",
    f"/accounts/{ALICE}",
    "/providers",
    "/events",
    "/events?name=energy.settled",
    "/proofs",
    f"/proofs?job={1:064x}",
    *(f"/{path}" for path in VIEWS),
]
MARKUP = "<script>alert(1)</script>\"'><img src=x>"


@pytest.fixture
async def app(database):
    """The application over three blocks."""
    for block in (make_block(1), make_block(2, calls=["accounts.transfer"] * 3), make_block(3, events=ENERGY_EVENTS)):
        await database.write(project_block(block), Position(block.height, 1))
    history = ToldHistory([make_entry(at, **({"latency_ms": at} if at % 3 else {})) for at in range(1, 31)])
    await copy_history(history, database, Keys(history), 64)
    return make_app(database, Follower(ToldChain([]), database), ToldQueries(**ANSWERS), "tbnet")


async def get_json(app, target):
    status, _, text = await ask(app, target)
    return status, json.loads(text)


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_shows_and_may_load_nothing_from_elsewhere(app, path):
    status, headers, text = await ask(app, path)

    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert " style=" not in text
    assert " onclick=" not in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_has_its_facts_as_json(app, path):
    status, facts = await get_json(app, "/api" if path == "/" else f"/api{path}")

    assert status == 200
    assert "error" not in facts


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        pytest.param("/blocks/9", 404, "explorer.not_found", id="no-such-height"),
        pytest.param(f"/blocks/{block_id(9)}", 404, "explorer.not_found", id="no-such-block"),
        pytest.param("/blocks/nonsense", 400, "explorer.bad_request", id="no-height"),
        pytest.param("/blocks/" + "9" * 40, 400, "explorer.bad_request", id="height-beyond-all-bounds"),
        pytest.param(f"/transactions/{tx_id(9, 9)}", 404, "explorer.not_found", id="no-such-transaction"),
        pytest.param("/transactions/ABC", 400, "explorer.bad_request", id="no-transaction"),
        pytest.param("/accounts/nobody", 400, "explorer.bad_request", id="no-address"),
        pytest.param("/accounts?after=x", 400, "explorer.bad_request", id="no-address-to-go-on-from"),
        pytest.param("/blocks?limit=0", 400, "explorer.bad_request", id="no-rows"),
        pytest.param("/blocks?limit=-1", 400, "explorer.bad_request", id="fewer-than-none"),
        pytest.param("/blocks?limit=%D9%A3", 400, "explorer.bad_request", id="digits-of-another-script"),
        pytest.param("/blocks?before=x", 400, "explorer.bad_request", id="no-place"),
        pytest.param("/transactions?before=1.2.3", 400, "explorer.bad_request", id="no-such-place"),
        pytest.param("/events?name=no.event", 400, "explorer.bad_request", id="no-such-event"),
        pytest.param("/bridge/headers?chain=dogecoin", 404, "explorer.not_found", id="no-such-chain"),
        pytest.param("/bridge/headers?chain=..%2F", 400, "explorer.bad_request", id="no-chain"),
        pytest.param("/proofs?job=x", 400, "explorer.bad_request", id="no-job"),
        pytest.param("/nowhere", 404, "explorer.not_found", id="no-such-page"),
    ],
)
async def test_refusals_are_typed_for_people_and_programs(app, path, status, error):
    page_status, headers, text = await ask(app, path)
    json_status, facts = await get_json(app, f"/api{path}")

    assert (page_status, json_status, facts["error"]) == (status, status, error)
    assert error in text
    assert "content-security-policy" in headers


async def test_other_methods_are_refused(app):
    status, _, text = await ask(app, "/api/blocks", method="POST")

    assert (status, json.loads(text)["error"]) == (405, "explorer.bad_request")


@pytest.mark.parametrize("path", ["/../api.py", "/..%2fapi.py", "/%2e%2e/database.py", "/nothing.js"])
async def test_assets_are_all_that_can_be_read(app, path):
    status, _, _ = await ask(app, f"/assets{path}")

    assert status == 404


async def test_lists_go_on_where_the_last_one_ended_even_within_a_block(app):
    seen, target = [], "/api/transactions?limit=2"
    while target:
        _, page = await get_json(app, target)
        seen += [tx["id"] for tx in page["items"]]
        target = page["next"] and f"/api/transactions?limit=2&before={page['next']}"

    assert seen == [tx_id(2, 2), tx_id(2, 1), tx_id(2, 0)]


async def test_events_of_several_names_go_on_too(app, database):
    await database.write(project_block(make_block(4, events=ENERGY_EVENTS * 2)), Position(4, 1))
    seen, target = [], "/api/energy/receipts?limit=2"
    while target:
        _, page = await get_json(app, target)
        seen += [(row["height"], row["seq"]) for row in page["items"]]
        target = page["next"] and f"/api/energy/receipts?limit=2&before={page['next']}"

    assert seen == [(4, "7"), (4, "7"), (3, "7")]


async def test_the_history_of_compute_jobs_has_a_page_of_25_with_proofs(app):
    status, page = await get_json(app, "/compute/sla/history")
    _, rest = await get_json(app, f"/compute/sla/history?limit=256&before={page['next']}")

    assert (status, len(page["items"]), len(rest["items"]), rest["next"]) == (200, 25, 5, None)
    assert [row["sequence"] for row in (*page["items"], *rest["items"])] == list(range(30, 0, -1))
    assert [len(row["proofs"]) for row in page["items"][:4]] == [0, 1, 1, 0]
    assert page["items"][1]["proofs"][0]["verified"]
    assert (await get_json(app, "/compute/sla/history?limit=0"))[0] == 400


async def test_proofs_are_listed_with_our_own_verdict_and_by_job(app):
    _, facts = await get_json(app, f"/api/proofs?job={2:064x}")
    _, _, text = await ask(app, f"/proofs?job={2:064x}")
    _, page = await get_json(app, "/api/proofs?limit=3")

    assert [(row["sequence"], row["verdict"]) for row in facts["items"]] == [(11, ""), (10, ""), (8, "")]
    assert text.count('class="mark ok">verified') == 3
    assert [row["sequence"] for row in page["items"]] == [29, 28, 26]
    assert page["next"] == "26"


async def test_a_limit_is_a_limit(app, database, monkeypatch):
    monkeypatch.setattr(api, "LIMIT_MAX", 2)

    _, page = await get_json(app, "/api/blocks?limit=999999999")

    assert len(page["items"]) == 2


async def test_an_account_shows_what_it_sent_and_got(app):
    _, facts = await get_json(app, f"/api/accounts/{BOB}")

    assert [tx["id"] for tx in facts["items"]] == [tx_id(2, position) for position in (2, 1, 0)]
    assert facts["account"]["balance"] == "1000000000000001"


async def test_an_account_that_was_never_used_is_shown_as_that(database):
    queries = ToldQueries(accounts_account={"account": None})
    app = make_app(database, Follower(ToldChain([]), database), queries, "tbnet")

    status, _, text = await ask(app, f"/accounts/{BOB}")

    assert status == 200
    assert "never used" in text


async def test_what_the_chain_says_never_becomes_markup(database):
    texts = json.dumps({"provider_id": MARKUP, "note": MARKUP, "deep": [MARKUP]})
    tx = TxRow(tx_id(1, 0), 0, MARKUP, MARKUP, MARKUP, (("energy.settled", texts), (MARKUP, texts)))
    block = CommittedBlock(1, block_id(1), 1000, (tx,), (("energy.reading_submitted", texts),))
    await database.write(project_block(block), Position(1, 1))
    answers = {
        name: {rows: [_marked(row) for row in table] if isinstance(table, list) else _marked(table)}
        for name, answer in ANSWERS.items()
        for rows, table in answer.items()
    }
    marked = make_entry(1, latency_ms=1)
    history = ToldHistory([{**marked, "provider_id": MARKUP, "job_id": MARKUP}])
    await copy_history(history, database, Keys(history), 64)
    app = make_app(database, Follower(ToldChain([]), database), ToldQueries(**answers), MARKUP)

    for path in [
        "/",
        "/blocks/1",
        f"/transactions/{tx_id(1, 0)}",
        "/events",
        "/providers",
        "/proofs",
        *(f"/{path}" for path in VIEWS),
    ]:
        _, _, text = await ask(app, path)
        assert "<script>alert" not in text, path
        assert "<img src=x" not in text, path
        assert "&lt;script&gt;" in text, path


def _marked(row):
    """The row with markup in every text that is not a number."""
    return {key: MARKUP if isinstance(value, str) and not value.isdigit() else value for key, value in row.items()}


@pytest.mark.parametrize(
    ("words", "target"),
    [
        pytest.param("3", "/blocks/3", id="height"),
        pytest.param(block_id(3), "/blocks/3", id="block"),
        pytest.param(tx_id(2, 1), f"/transactions/{tx_id(2, 1)}", id="transaction"),
        pytest.param(ALICE.upper(), f"/accounts/{ALICE}", id="address"),
        pytest.param("", "/", id="nothing"),
        pytest.param("//evil.example", "/", id="another-site"),
        pytest.param("javascript:alert(1)", "/", id="a-script"),
    ],
)
async def test_searching_leads_to_what_the_words_name(app, words, target):
    status, headers, _ = await ask(app, f"/search?q={words}")

    assert (status, headers["location"]) == (303, target)


@pytest.mark.parametrize(
    ("failed", "status", "error"),
    [
        pytest.param(UnavailableError("nobody"), 503, "chain.unavailable", id="no-validator"),
        pytest.param(RefusedError("address.format", "no", {}), 400, "address.format", id="refused"),
    ],
)
async def test_a_chain_that_does_not_answer_is_said(database, failed, status, error):
    app = make_app(database, Follower(ToldChain([]), database), ToldQueries(accounts_list=failed), "tbnet")

    assert (await get_json(app, "/api/accounts"))[0] == status
    assert error in (await ask(app, "/accounts"))[2]


async def test_a_database_that_does_not_answer_is_said_and_not_healthy(database):
    class Broken:
        async def read(self, sql, values=()):
            raise psycopg.OperationalError("gone")

    app = make_app(Broken(), Follower(ToldChain([]), Broken()), ToldQueries(), "tbnet")

    assert (await get_json(app, "/api/blocks")) == (
        503,
        {"error": "store.io", "message": "the explorer's database does not answer; try again"},
    )
    assert (await ask(app, "/healthz"))[0] == 503


async def test_live_streams_are_bounded(app, monkeypatch):
    monkeypatch.setattr(api, "LIVE_MAX", 0)

    status, facts = await get_json(app, "/live")

    assert (status, facts["error"]) == (429, "explorer.busy")


async def test_a_live_stream_brings_blocks_and_ends_after_its_time(database, monkeypatch):
    monkeypatch.setattr(api, "LIVE_SECONDS_MAX", 0.3)
    monkeypatch.setattr(api, "LIVE_IDLE_SECONDS", 0.1)
    chain = ToldChain([])
    follower = Follower(chain, database)
    app = make_app(database, follower, ToldQueries(), "tbnet")
    running = asyncio.create_task(follower.run())
    streaming = asyncio.create_task(ask(app, "/live"))
    await asyncio.sleep(0)
    chain.tell(make_block(1, calls=["a.b"]))

    status, headers, text = await asyncio.wait_for(streaming, 10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("data: ")]
    assert json.loads(line.removeprefix("data: "))["tx_count"] == 1


@pytest.mark.parametrize("view", VIEWS.values(), ids=lambda view: view.path)
def test_a_views_columns_are_fields_of_what_it_shows(view):
    if isinstance(view, EventView):
        known = {"height", "tx_id", "name"}
        for name in view.names:
            known |= {field for field, _ in codec.kind_of(REGISTRY.event_types[name]).parts}
    else:
        spec = REGISTRY.queries[view.query]
        asked = dict(codec.kind_of(spec.request).parts)
        assert set(view.request) <= set(asked)
        (listed,) = [part for name, part in codec.kind_of(spec.reply).parts if name == view.rows]
        known = {field for field, _ in listed.parts[0].parts}

    assert {column.key for column in view.columns} <= known


def test_each_kind_of_provider_has_a_view():
    assert set(PROVIDERS) == {"validators", "storage", "compute", "energy", "bridge"}


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (format_amount("0"), "0"),
        (format_amount("1"), "0.000000001"),
        (format_amount(str(2**64 - 1)), "18,446,744,073.709551615"),
        (format_amount(-1_500_000_000), "-1.5"),
        (format_wh("999"), "999 Wh"),
        (format_wh("1000"), "1 kWh"),
        (format_wh("1234567"), "1,234.567 kWh"),
        (format_bytes("1023"), "1023 B"),
        (format_bytes("1536"), "1.5 KiB"),
        (format_bytes(str(2**64 - 1)), "16384 PiB"),
        (format_time(0), "–"),
        (format_time(2**63), "–"),
        (format_time(1_790_000_000), "2026-09-21 14:13:20"),
        (shorten("a" * 20), "a" * 20),
        (shorten("abcdefghijklmnopqrstu"), "abcdefghij…pqrstu"),
    ],
)
def test_values_are_shown_exactly(shown, text):
    assert shown == text
