"""The shell of every gRPC server: its ports, typed errors, limits, deadlines, health, reflection, channelz.

The public port takes TLS without a client certificate and is rate-limited; the mutual port, one below it unless
another is named, asks for a certificate of the network's authority (gRPC for Python cannot ask for one
optionally); the health port speaks plain gRPC for the kubelet's probe. Certificates are read again when their
files change.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_channelz.v1 import channelz
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from theblock_node.clock import Clock, SystemClock
from theblock_node.core.errors import InvalidRecord, ProtocolError
from theblock_node.rpc import auth, errors, limits
from theblock_node.store.engine import StoreError

log = logging.getLogger(__name__)
MESSAGE_BYTES_MAX = 5 * 2**20
CALLS_MAX = 1024
"""Calls in progress, of all callers together."""
UNARY_SECONDS = 10.0
"""A call without a deadline gets this one."""
UNARY_SECONDS_MAX = 60.0
IDLE_SECONDS = 60.0
"""How long a caller who streams to us may be silent."""
STOP_SECONDS = 5.0
MUTUAL_BELOW = 1
"""The mutual port is this much below the public one."""
HEALTH = "/grpc.health."
OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_metadata_size", 16_384),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.max_concurrent_streams", 256),
    ("grpc.so_reuseport", 0),
)
Register = Callable[[grpc.aio.Server], None]
Observe = Callable[[str, str, float | None], None]
"""Told of each call that ended: method, status code, and its seconds where it is unary."""


@dataclass(frozen=True, slots=True)
class Service:
    """Something to serve: what registers it, and its full name for reflection."""

    name: str
    register: Register


class Health:
    """What the probes ask: `startup`, `liveness`, `readiness`, and "" for all."""

    NAMES = ("", "startup", "liveness", "readiness")

    def __init__(self) -> None:
        self.servicer = health.aio.HealthServicer()
        self._told: dict[str, bool] = {}

    async def tell(self, name: str, is_serving: bool) -> None:
        if self._told.get(name) != is_serving:
            self._told[name] = is_serving
            serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
            await self.servicer.set(name, serving if is_serving else not_serving)

    async def tell_all(self, is_serving: bool) -> None:
        for name in self.NAMES:
            await self.tell(name, is_serving)


class TlsFiles:
    """The member's certificate and the authorities that it trusts, as the files stand now."""

    def __init__(self, folder: Path, ca: Path) -> None:
        self._folder = folder
        self._ca = ca

    def read(self) -> tuple[bytes, bytes, bytes]:
        """(key, certificate, authorities) in PEM."""
        return (
            (self._folder / "tls.key").read_bytes(),
            (self._folder / "tls.crt").read_bytes(),
            self._ca.read_bytes(),
        )

    def credentials(self, *, is_mutual: bool) -> grpc.ServerCredentials:
        """Credentials that follow the files: looked at before each handshake, the old ones stay where that fails."""
        seen = self.read()

        def changed() -> grpc.ServerCertificateConfiguration | None:
            nonlocal seen
            try:
                now = self.read()
            except OSError as failed:
                log.warning("certificate files cannot be read, the old ones stay: %s", failed)
                return None
            if now == seen:
                return None
            seen = now
            log.info("certificate files changed")
            return _configuration(*now)

        # The stubs do not know that the fetcher may answer None for "as before".
        return grpc.dynamic_ssl_server_credentials(
            _configuration(*seen),
            changed,  # type: ignore[arg-type]
            require_client_authentication=is_mutual,
        )


class RpcServer:
    """One member's servers. `start` binds, `stop` lets calls finish."""

    def __init__(
        self,
        *,
        network: str,
        host: str,
        port: int,
        health_port: int | None,
        tls: TlsFiles | None,
        services: Sequence[Service],
        mutual_port: int | None = None,
        clock: Clock | None = None,
        public_rate: limits.Rate = limits.PUBLIC,
        observe: Observe | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._health_port = health_port
        self._tls = tls
        self.mutual_port = port - MUTUAL_BELOW if mutual_port is None else mutual_port
        """Where a client certificate is asked for; 0 chooses one at `start`."""
        self.health = Health()
        guard = Guard(network, clock or SystemClock(), limits.Limits(public_rate), observe)
        self._server = grpc.aio.server(interceptors=[guard], options=OPTIONS, maximum_concurrent_rpcs=CALLS_MAX)
        self._health_server = grpc.aio.server(options=OPTIONS, maximum_concurrent_rpcs=32)
        for service in services:
            service.register(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health.servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health.servicer, self._health_server)
        channelz.add_channelz_servicer(self._server)
        names = [service.name for service in services]
        reflection.enable_server_reflection(
            [*names, health.SERVICE_NAME, "grpc.channelz.v1.Channelz", reflection.SERVICE_NAME], self._server
        )

    async def start(self) -> int:
        """Bind and serve; returns the public port. `OSError` where a port is taken."""
        if self._tls is None:
            self._port = _bind(self._server, self._host, self._port, None)
        else:
            self._port = _bind(self._server, self._host, self._port, self._tls.credentials(is_mutual=False))
            self.mutual_port = _bind(self._server, self._host, self.mutual_port, self._tls.credentials(is_mutual=True))
        if self._health_port is not None:
            self._health_port = _bind(self._health_server, self._host, self._health_port, None)
        await self._server.start()
        await self._health_server.start()
        return self._port

    @property
    def health_port(self) -> int | None:
        return self._health_port

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Say that nothing is served any more, and give calls in progress ``seconds`` to end."""
        await self.health.tell_all(False)
        await self._server.stop(seconds)
        await self._health_server.stop(min(seconds, 1.0))


class Guard(grpc.aio.ServerInterceptor):
    """Around every call: who calls, how often, for how long, and what a refusal looks like.

    It decodes requests itself, so that bytes which are no message are refused like any other bad input.
    """

    def __init__(self, network: str, clock: Clock, admission: limits.Limits, observe: Observe | None = None) -> None:
        self._network = network
        self._clock = clock
        self._limits = admission
        self._observe = observe

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or method.startswith(HEALTH):
            return handler
        call = _Call(self, method, handler)
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(call.unary_unary)
        if handler.stream_unary is not None:
            return grpc.stream_unary_rpc_method_handler(call.stream_unary)
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(call.unary_stream)
        return grpc.stream_stream_rpc_method_handler(call.stream_stream)

    @contextmanager
    def observed(self, method: str, *, is_unary: bool) -> Iterator[None]:
        """Tell of the call that the block answers, however it ends."""
        started, code = time.monotonic(), "OK"
        try:
            yield
        except BaseException as failed:
            code = _name_status(failed)
            raise
        finally:
            if self._observe is not None:
                self._observe(method, code, time.monotonic() - started if is_unary else None)

    @contextmanager
    def admitted(self, method: str, context: Any) -> Iterator[None]:
        """Count a call while the block runs, or refuse it."""
        caller = auth.read_caller(context.peer(), context.auth_context())
        is_known = caller.is_of(self._network)
        with self._limits.admit(caller.address, method, self._clock.now_ms(), is_known=is_known):
            auth.require_allowed(method, caller, self._network)
            yield


class _Call:
    """One method behind the guard: bytes in, bytes out."""

    def __init__(self, guard: Guard, method: str, handler: Any) -> None:
        self._guard = guard
        self._method = method
        self._behaviour = handler.unary_unary or handler.stream_unary or handler.unary_stream or handler.stream_stream
        self._load = handler.request_deserializer or _same
        self._dump = handler.response_serializer or _same

    async def unary_unary(self, data: bytes, context: Any) -> bytes:
        async def answer() -> Any:
            async with asyncio.timeout(seconds_left(context)):
                return await self._behaviour(self._read(data), context)

        return await self._single(answer, context)

    async def stream_unary(self, requests: Any, context: Any) -> bytes:
        # Whole objects take longer than a question: only silence ends such a call, or the caller's own deadline.
        return await self._single(lambda: self._behaviour(self._read_all(requests), context), context)

    async def unary_stream(self, data: bytes, context: Any) -> AsyncIterator[bytes]:
        async for response in self._stream(lambda: self._read(data), context):
            yield response

    async def stream_stream(self, requests: Any, context: Any) -> AsyncIterator[bytes]:
        async for response in self._stream(lambda: self._read_all(requests), context):
            yield response

    async def _single(self, answer: Callable[[], Any], context: Any) -> bytes:
        try:
            with (
                self._guard.observed(self._method, is_unary=True),
                self._guard.admitted(self._method, context),
            ):
                return self._dump(await answer())  # type: ignore[no-any-return]
        except Exception as failed:
            await self._end(failed, context)
            raise

    async def _stream(self, request: Callable[[], Any], context: Any) -> AsyncIterator[bytes]:
        try:
            with (
                self._guard.observed(self._method, is_unary=False),
                self._guard.admitted(self._method, context),
            ):
                responses = self._behaviour(request(), context)
                assert inspect.isasyncgen(responses), f"{self._method} must be an asynchronous generator"
                try:
                    async for response in responses:
                        yield self._dump(response)
                finally:
                    await responses.aclose()
        except Exception as failed:
            await self._end(failed, context)
            raise

    async def _end(self, failed: Exception, context: Any) -> None:
        """End the call as ``failed`` says; returns only for what gRPC itself handles."""
        match failed:
            case ProtocolError():
                await context.abort_with_status(errors.to_status(failed))
            case StoreError():
                log.error("store failed in %s", self._method, exc_info=failed)
                await context.abort_with_status(errors.to_status(InvalidRecord("store.io")))
            case TimeoutError():
                await context.abort_with_status(errors.to_status(InvalidRecord("rpc.deadline", method=self._method)))
            case grpc.aio.AbortError():
                return
            case _:
                # A fault of ours: logged under an id, which is all that the caller learns.
                fault = secrets.token_hex(8)
                log.error("fault %s in %s", fault, self._method, exc_info=failed)
                await context.abort(grpc.StatusCode.INTERNAL, f"internal fault {fault}")

    def _read(self, data: bytes) -> Any:
        try:
            return self._load(data)
        except DecodeError as wrong:
            raise InvalidRecord("codec.malformed", path="request", method=self._method) from wrong

    async def _read_all(self, requests: Any) -> AsyncIterator[Any]:
        waiting = aiter(requests)
        while True:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    data = await anext(waiting, None)
            except TimeoutError as silent:
                raise InvalidRecord("rpc.idle", seconds=IDLE_SECONDS) from silent
            if data is None:
                return
            yield self._read(data)


def _name_status(failed: BaseException) -> str:
    """The status code with which a call that failed so ends."""
    match failed:
        case ProtocolError():
            return errors.status_name(failed.code)
        case StoreError():
            return "UNAVAILABLE"
        case TimeoutError():
            return "DEADLINE_EXCEEDED"
        case grpc.aio.AbortError():
            return "ABORTED"
        case asyncio.CancelledError() | GeneratorExit():
            return "CANCELLED"
        case _:
            return "INTERNAL"


def seconds_left(context: Any) -> float:
    """How long a unary call may still take."""
    left = context.time_remaining()
    return UNARY_SECONDS if left is None else min(float(left), UNARY_SECONDS_MAX)


def _bind(server: grpc.aio.Server, host: str, port: int, credentials: grpc.ServerCredentials | None) -> int:
    address = f"{host}:{port}"
    try:
        return (
            server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
        )
    except RuntimeError as failed:
        raise OSError(f"{address} cannot be bound") from failed


def _configuration(key: bytes, certificate: bytes, authorities: bytes) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(key, certificate)], authorities)


def _same(value: Any) -> Any:
    return value
