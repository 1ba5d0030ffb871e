"""What others may ask the operator over HTTP: its figures, whether it lives, whether it is ready.

Served by the loop that does the work: a loop that hangs does not answer, and the kubelet starts the pod anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from theblock_operator.metrics import CONTENT_TYPE, Metrics

HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
REQUEST_MAX_BYTES = 1024
SHUTDOWN_S = 1.0

Trouble = Callable[[], str | None]
"""What is wrong, in words; None while all is well."""


@asynccontextmanager
async def serve(host: str, port: int, metrics: Metrics, *, sick: Trouble, unready: Trouble) -> AsyncIterator[int]:
    """Serve while the block runs; yields the port."""
    app = web.Application(client_max_size=REQUEST_MAX_BYTES)

    async def page(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={**HEADERS, "Content-Type": CONTENT_TYPE})

    async def health(_: web.Request) -> web.Response:
        return _answer(sick())

    async def readiness(_: web.Request) -> web.Response:
        return _answer(sick() or unready())

    app.router.add_get("/metrics", page)
    app.router.add_get("/healthz", health)
    app.router.add_get("/readyz", readiness)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S, handle_signals=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _answer(trouble: str | None) -> web.Response:
    return web.Response(status=200 if trouble is None else 503, text=f"{trouble or 'ok'}\n", headers=HEADERS)
