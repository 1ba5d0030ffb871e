"""Pages, JSON and live updates over the explorer's database and the chain's queries.

Each handler gathers facts once: the page and the JSON under ``/api`` show the same.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from theblock_node.client.errors import RefusedError
from theblock_node.core.domains import REGISTRY
from theblock_node.services.explorer import proofs, queries
from theblock_node.services.explorer.database import UNREACHABLE, Database
from theblock_node.services.explorer.pages import Pages
from theblock_node.services.explorer.project import ADDRESS
from theblock_node.services.explorer.queries import HEIGHT_MAX, Page
from theblock_node.services.explorer.service import Follower
from theblock_node.services.explorer.views import BRIDGE_HEADERS, PROVIDERS, VIEWS, EventView, View, tabs_of

LIMIT_DEFAULT = 25
LIMIT_MAX = 256
LIVE_MAX = 256
"""Open live streams."""
LIVE_SECONDS_MAX = 3600
LIVE_IDLE_SECONDS = 15
HEX_64 = re.compile(r"^[0-9a-f]{64}$")
CHAIN_NAME = re.compile(r"^[a-z0-9]([-a-z0-9]{0,62}[a-z0-9])?$")
BEFORE = re.compile(r"^([0-9]{1,18})(?:\.([0-9]{1,9}))?$")
SECURITY = [
    (b"content-security-policy", b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
     b"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
]  # fmt: skip
Facts = dict[str, Any]


class Chain(Protocol):
    """What pages ask the chain itself: things as they stand now. `ConnectionError` while it does not answer."""

    async def query(self, name: str, request: dict[str, Any]) -> dict[str, Any]: ...


class NotFound(Exception):
    """There is no such block, transaction or view."""


class BadRequest(Exception):
    """A parameter is malformed; the message names it."""


def make_app(database: Database, follower: Follower, chain: Chain, network: str) -> Starlette:
    """The ASGI application of the explorer."""
    explorer = Explorer(database, follower, chain)
    pages = Pages(network)

    def page(template: str, gather: Callable[[Request], Awaitable[Facts]]) -> Callable[[Request], Awaitable[Response]]:
        async def show(request: Request) -> Response:
            status, facts = await _gather(gather, request)
            position = {"tip": follower.height, "final": follower.position.final, "path": request.url.path}
            text = pages.render(template if status == 200 else "problem.html", {**facts, **position, "status": status})
            return HTMLResponse(text, status)

        return show

    def as_json(gather: Callable[[Request], Awaitable[Facts]]) -> Callable[[Request], Awaitable[Response]]:
        async def show(request: Request) -> Response:
            status, facts = await _gather(gather, request)
            return JSONResponse(facts, status)

        return show

    shown = [
        ("/", "home.html", explorer.home),
        ("/blocks", "blocks.html", explorer.blocks),
        ("/blocks/{name}", "block.html", explorer.block),
        ("/transactions", "transactions.html", explorer.transactions),
        ("/transactions/{id}", "transaction.html", explorer.transaction),
        ("/accounts", "accounts.html", explorer.accounts),
        ("/accounts/{address}", "account.html", explorer.account),
        ("/providers", "providers.html", explorer.providers),
        ("/events", "events.html", explorer.events),
        ("/proofs", "proofs.html", explorer.proofs),
        *((f"/{view.path}", "view.html", explorer.view(view)) for view in VIEWS.values()),
    ]
    routes = [Route(path, page(template, gather)) for path, template, gather in shown]
    routes += [Route(f"/api{path}" if path != "/" else "/api", as_json(gather)) for path, _, gather in shown]
    routes += [
        Route("/api/status", as_json(explorer.status)),
        Route("/api/chart", as_json(explorer.chart)),
        Route("/compute/sla/history", as_json(explorer.sla_history)),
        Route("/search", explorer.search),
        Route("/live", explorer.live),
        Route("/healthz", explorer.healthz),
    ]

    async def missing(request: Request, failed: Exception) -> Response:
        async def refuse(_request: Request) -> Facts:
            raise NotFound(f"nothing is at {request.url.path}")

        assert isinstance(failed, HTTPException)
        if failed.status_code != 404:
            facts = {"error": "explorer.bad_request", "message": failed.detail}
            return JSONResponse(facts, failed.status_code, headers=failed.headers)
        is_api = request.url.path.startswith("/api/")
        return await (as_json(refuse) if is_api else page("problem.html", refuse))(request)

    assets = Mount("/assets", StaticFiles(directory=Path(__file__).parent / "assets"))
    return Starlette(
        routes=[*routes, assets],
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers={HTTPException: missing},
    )


async def _gather(gather: Callable[[Request], Awaitable[Facts]], request: Request) -> tuple[int, Facts]:
    """(status, facts), where a refusal is facts too."""
    try:
        return 200, await gather(request)
    except BadRequest as refused:
        return 400, {"error": "explorer.bad_request", "message": str(refused)}
    except RefusedError as refused:
        return 400, {"error": refused.code, "message": str(refused)}
    except NotFound as refused:
        return 404, {"error": "explorer.not_found", "message": str(refused)}
    except UNREACHABLE:
        return 503, {"error": "store.io", "message": "the explorer's database does not answer; try again"}
    except ConnectionError:
        return 503, {"error": "chain.unavailable", "message": "no validator answers; try again"}


class Explorer:
    """Gathers what the pages show."""

    def __init__(self, database: Database, follower: Follower, chain: Chain) -> None:
        self._database = database
        self._follower = follower
        self._chain = chain
        self._live = 0

    async def status(self, _request: Request) -> Facts:
        return {
            "height": self._follower.height,
            "final": self._follower.position.final,
            "serving": self._follower.is_serving,
            "writer": self._follower.is_writer,
        }

    async def home(self, request: Request) -> Facts:
        page = Page((HEIGHT_MAX, 0), 10)
        blocks = await queries.read_blocks(self._database, page)
        transactions = await queries.read_transactions(self._database, page)
        totals = await queries.read_totals(self._database)
        return {"blocks": blocks["items"], "transactions": transactions["items"], "totals": totals}

    async def blocks(self, request: Request) -> Facts:
        return await queries.read_blocks(self._database, read_page(request))

    async def block(self, request: Request) -> Facts:
        name = request.path_params["name"]
        if not HEX_64.match(name) and not BEFORE.match(name):
            raise BadRequest("block: a height, or 64 lower-case hex digits")
        found = await queries.find_block(self._database, name)
        if found is None:
            raise NotFound(f"no block {name}")
        return found

    async def transactions(self, request: Request) -> Facts:
        return await queries.read_transactions(self._database, read_page(request))

    async def transaction(self, request: Request) -> Facts:
        tx_id = request.path_params["id"]
        if not HEX_64.match(tx_id):
            raise BadRequest("transaction: 64 lower-case hex digits")
        found = await queries.find_transaction(self._database, tx_id)
        if found is None:
            raise NotFound(f"no transaction {tx_id}")
        return found

    async def accounts(self, request: Request) -> Facts:
        after = request.query_params.get("after", "")
        if after and not ADDRESS.match(after):
            raise BadRequest(ADDRESS_FORM)
        limit = read_page(request).limit
        found = await self._chain.query("accounts.list", {"after": after, "limit": limit})
        items = found["accounts"]
        return {"items": items, "next": items[-1]["address"] if len(items) == limit else None}

    async def account(self, request: Request) -> Facts:
        address = request.path_params["address"]
        if not ADDRESS.match(address):
            raise BadRequest(ADDRESS_FORM)
        found = await self._chain.query("accounts.account", {"address": address})
        mentions = await queries.read_mentions(self._database, address, read_page(request))
        return {"address": address, "account": found["account"], **mentions}

    async def providers(self, _request: Request) -> Facts:
        replies = await asyncio.gather(
            *(self._chain.query(view.query, dict(view.request)) for view in PROVIDERS.values())
        )
        return {
            "kinds": {
                kind: {"title": view.title, "path": view.path, "items": reply[view.rows][:LIMIT_MAX]}
                for (kind, view), reply in zip(PROVIDERS.items(), replies, strict=True)
            }
        }

    async def events(self, request: Request) -> Facts:
        name = request.query_params.get("name", "")
        if name and name not in REGISTRY.event_types:
            raise BadRequest("name: none of the events of the chain")
        found = await queries.read_events(self._database, [name] if name else [], read_page(request))
        return {**found, "name": name, "names": sorted(REGISTRY.event_types)}

    async def proofs(self, request: Request) -> Facts:
        job_id, page = request.query_params.get("job", ""), read_page(request)
        if job_id and not HEX_64.match(job_id):
            raise BadRequest("job: 64 lower-case hex digits")
        found = await proofs.read_proofs(self._database, before=page.before[0], limit=page.limit, job_id=job_id)
        return {**found, "job": job_id, "tabs": tabs_of("compute/"), "view": "proofs"}

    async def sla_history(self, request: Request) -> Facts:
        page = read_page(request)
        return await proofs.read_history(self._database, before=page.before[0], limit=page.limit)

    def view(self, view: View) -> Callable[[Request], Awaitable[Facts]]:
        """What gathers the rows of ``view``."""

        async def gather(request: Request) -> Facts:
            shown = {"title": view.title, "view": view.path, "tabs": tabs_of(view.path)}
            if isinstance(view, EventView):
                found = await queries.read_events(self._database, view.names, read_page(request))
                rows = [
                    {**event["record"], **{key: event[key] for key in ("height", "tx_id", "name")}}
                    for event in found["items"]
                ]
                return {**shown, "items": rows, "next": found["next"]}
            asked = dict(view.request)
            if view.path == BRIDGE_HEADERS:
                shown["chains"], asked["chain_id"] = await self._choose_chain(request)
                if not asked["chain_id"]:
                    return {**shown, "items": [], "next": None}
            reply = await self._chain.query(view.query, asked)
            return {**shown, "items": reply[view.rows][:LIMIT_MAX], "next": None}

        return gather

    async def _choose_chain(self, request: Request) -> tuple[list[str], str]:
        """(all foreign chains, the one asked for or the first); empty where there is none."""
        name = request.query_params.get("chain", "")
        if name and not CHAIN_NAME.match(name):
            raise BadRequest("chain: the name of a foreign chain")
        clients = await self._chain.query("bridge.clients", {})
        names = [client["chain_id"] for client in clients["clients"]]
        if name and name not in names:
            raise NotFound(f"no foreign chain {name}")
        return names, name or (names[0] if names else "")

    async def chart(self, request: Request) -> Facts:
        return await queries.read_chart(self._database, read_page(request).limit)

    async def search(self, request: Request) -> Response:
        """Send the browser to what the words name."""
        words = request.query_params.get("q", "").strip().lower()
        target = "/"
        if BEFORE.match(words) and words.isdigit():
            target = f"/blocks/{int(words)}"
        elif HEX_64.match(words):
            try:
                height = await queries.find_height(self._database, words)
            except UNREACHABLE:
                height = None  # The page to which this leads will say so.
            target = f"/transactions/{words}" if height is None else f"/blocks/{height}"
        elif ADDRESS.match(words):
            target = f"/accounts/{words}"
        return Response(status_code=303, headers={"location": target})

    async def live(self, _request: Request) -> Response:
        """Server-sent events: blocks as they are stored, and heights back to which the chain was reverted."""
        if self._live >= LIVE_MAX:
            facts = {"error": "explorer.busy", "message": "too many live streams"}
            return JSONResponse(facts, 429, headers={"retry-after": "10"})
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self._stream(), media_type="text/event-stream", headers=headers)

    async def _stream(self) -> AsyncIterator[str]:
        self._live += 1
        try:
            loop, told = asyncio.get_running_loop(), self._follower.told
            until = loop.time() + LIVE_SECONDS_MAX
            yield ": here\n\n"
            while loop.time() < until:
                news = await self._follower.wait_news(told, LIVE_IDLE_SECONDS)
                yield "".join(f"data: {text}\n\n" for _, text in news) or ": waiting\n\n"
                told = news[-1][0] if news else told
        finally:
            self._live -= 1

    async def healthz(self, _request: Request) -> Response:
        return Response(status_code=200 if self._follower.is_serving else 503)


class SecurityHeaders:
    """Adds the headers that keep pages from loading or sending anything elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *SECURITY]
            await send(message)

        await self._app(scope, receive, send_with)


ADDRESS_FORM = "address: hhhh:account, four hex digits of the shard and 64 of the account"


def read_page(request: Request) -> Page:
    """The page that the query string asks for, within bounds."""
    limit = request.query_params.get("limit")
    if limit is not None and not (limit.isascii() and limit.isdigit() and 0 < len(limit) <= 9 and int(limit)):
        raise BadRequest("limit: a whole number above 0")
    before = BEFORE.match(request.query_params.get("before", str(HEIGHT_MAX)[:18]))
    if before is None:
        raise BadRequest("before: a height, or height.position")
    return Page((int(before[1]), int(before[2] or 0)), min(int(limit or LIMIT_DEFAULT), LIMIT_MAX))
