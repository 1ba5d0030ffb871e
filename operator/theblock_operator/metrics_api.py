"""The operator's metrics API: an extension of the API server by which autoscalers see the backlog of ComputeProviders.

Served by every replica, leader or not, on a port of its own. Only the API server's front proxy is answered; whom it
speaks for, and that they may ask, the API server has checked before.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from theblock_operator import ca, custom_metrics, front_proxy
from theblock_operator.api import ApiError, Invalid, NotFound
from theblock_operator.custom_metrics import GROUP_VERSION, KIND, METRICS, RESOURCE, refusal
from theblock_operator.front_proxy import Objects, Trust, Unproven
from theblock_operator.observed import Object

log = logging.getLogger(__name__)
API_SERVICE = "{1}.{0}".format(*GROUP_VERSION.split("/"))
ROOT = f"/apis/{GROUP_VERSION}"
LOOK_S = 60.0
"""How often our certificate, and whom we trust, are looked at."""
RETRY_S = 5.0
REQUEST_MAX_BYTES = 1024
KEEP_ALIVE_S = 30.0
SHUTDOWN_S = 1.0
REASONS = {401: "Unauthorized", 404: "NotFound", 405: "MethodNotAllowed"}


class Api(Objects, Protocol):
    async def select(self, kind: str, namespace: str, labels: str) -> list[Object]:
        """Objects that a label selector, as the API server takes it, selects."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where the API stands."""

    service: str
    """Name of our Service, and of the Secret with our authority."""
    namespace: str
    """Of both."""
    watched: Sequence[str]
    host: str
    port: int


class MetricsApi:
    """Owned by one event loop."""

    def __init__(self, api: Api, place: Place, now: Callable[[], int] = lambda: int(time.time())) -> None:
        self._api = api
        self._place = place
        self._now = now
        self._own: ca.Pair | None = None
        self._trust: Trust | None = None
        self._site: web.TCPSite | None = None
        app = web.Application(client_max_size=REQUEST_MAX_BYTES, middlewares=[self._guard])
        app.router.add_get(ROOT, self._discover)
        app.router.add_get(ROOT + "/namespaces/{namespace}/{resource}/{name}/{metric}", self._measure)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=SHUTDOWN_S,
            handle_signals=False,
            keepalive_timeout=KEEP_ALIVE_S,
        )

    @property
    def port(self) -> int | None:
        """Where it listens; None until it is known whom to answer."""
        return self._runner.addresses[0][1] if self._site is not None else None

    async def run(self) -> None:
        """Serve until cancelled."""
        await self.open()
        try:
            while True:
                wait_s = LOOK_S
                try:
                    await self.look()
                except (ApiError, Unproven) as failed:
                    log.warning("the metrics API %s: %s", "stays as it is" if self.port else "waits", failed)
                    wait_s = RETRY_S
                await asyncio.sleep(wait_s)
        finally:
            await self.close()

    async def open(self) -> None:
        await self._runner.setup()

    async def close(self) -> None:
        await self._runner.cleanup()

    async def look(self) -> None:
        """Bring our certificate, its announcement and whom we trust to what they should be."""
        place, now = self._place, self._now()
        trust = await front_proxy.get_trust(self._api)
        authority = await front_proxy.ensure_authority(self._api, place.namespace, place.service, now)
        await self._announce(authority.bundle)
        own = self._own
        if own is None or front_proxy.is_due(own.certificate, authority, now):
            own = front_proxy.issue(authority, place.service, place.namespace, now)
        if (own, trust) != (self._own, self._trust):
            await self._listen(own, trust)

    async def _announce(self, bundle: str) -> None:
        """Tell the API server by which authority we are known, if it is us whom it would ask."""
        found = await self._api.get("APIService", "", API_SERVICE)
        spec = found["spec"]
        asked = spec.get("service") or {}
        if (asked.get("namespace"), asked.get("name")) != (self._place.namespace, self._place.service):
            raise Unproven(f"APIService {API_SERVICE} leads to another: {asked.get('namespace')}/{asked.get('name')}")
        encoded = base64.b64encode(bundle.encode()).decode()
        if spec.get("caBundle") != encoded:
            await self._api.patch("APIService", "", API_SERVICE, {"spec": {"caBundle": encoded}})

    async def _listen(self, own: ca.Pair, trust: Trust) -> None:
        """Take connections with this certificate and trust, and end those that were taken with others."""
        context = front_proxy.server_context(own, trust)
        if self._site is not None:
            await self._site.stop()
        self._site = web.TCPSite(self._runner, self._place.host, self._place.port, ssl_context=context)
        await self._site.start()
        self._own, self._trust = own, trust
        assert self._runner.server is not None
        for connection in self._runner.server.connections:
            connection.force_close()
        log.info("the metrics API answers the API server on port %s", self.port)

    # Requests.

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Answer the front proxy alone, and refuse as the API server does."""
        peer = request.transport.get_extra_info("peercert") if request.transport is not None else None
        if self._trust is None or not self._trust.admits(peer):
            return _refuse(401, "this is not the certificate of the API server's front proxy")
        try:
            return await handler(request)
        except web.HTTPException as refused:
            return _refuse(refused.status, f"{request.method} {request.path}: {refused.reason}")
        except Invalid as refused:
            return _refuse(400, refused.message, "BadRequest")
        except ApiError as failed:
            return _refuse(503, f"the API server does not tell: {failed}", "ServiceUnavailable")

    async def _discover(self, _: web.Request) -> web.Response:
        return web.json_response(custom_metrics.discovery())

    async def _measure(self, request: web.Request) -> web.Response:
        namespace, resource, name, metric = (
            request.match_info[part] for part in ("namespace", "resource", "name", "metric")
        )
        if resource != RESOURCE or metric not in METRICS:
            return _refuse(404, f"there is no metric {metric} of {resource}", name=metric, kind=resource)
        if request.query.get("metricLabelSelector"):
            return _refuse(400, f"metricLabelSelector: the metric {metric} has no labels", "BadRequest", name=metric)
        if namespace not in self._place.watched:
            return _refuse(404, f"namespace {namespace} is not watched by this operator", name=name, kind=RESOURCE)
        if name == "*":
            found = await self._api.select(KIND, namespace, request.query.get("labelSelector", ""))
            return web.json_response(custom_metrics.value_list(metric, found, self._now()))
        try:
            one = await self._api.get(KIND, namespace, name)
        except NotFound:
            said = f"there is no {KIND} {namespace}/{name} whose {metric} could be told"
            return _refuse(404, said, name=name, kind=RESOURCE)
        if custom_metrics.read(one, metric) is None:
            said = f"{metric} of {KIND} {namespace}/{name} is not known: its chain does not answer"
            return _refuse(503, said, "ServiceUnavailable", name=name, kind=RESOURCE)
        return web.json_response(custom_metrics.value_list(metric, [one], self._now()))


def _refuse(code: int, message: str, reason: str = "", **details: str) -> web.Response:
    said = refusal(code, reason or REASONS.get(code, "BadRequest"), message, **details)
    return web.json_response(said, status=code)
