"""The shell of every server: what a call ends with, when it must end, who is let in, which certificate is shown."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path

import grpc
import pytest
from support.loopback import subnet
from support.probe import NAME, Probe, ask, serving, tell
from theblock_node.client.channel import ClientTls, Endpoint, open_channel
from theblock_node.client.errors import RefusedError, translate
from theblock_node.core.errors import InvalidTx
from theblock_node.pb.theblock.v1 import chain_pb2
from theblock_node.rpc import server as servers
from theblock_node.rpc.limits import Rate
from theblock_node.rpc.server import RpcServer, TlsFiles
from theblock_node.store.engine import StoreError
from theblock_operator import ca

HOST = f"{subnet(48)}.1"
NETWORK = "dev"


async def same(data: bytes) -> bytes:
    return data


def channel_to(port: int) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"{HOST}:{port}")


async def failure(call) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return failed.value


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        pytest.param(InvalidTx("energy.stale_reading", last=7), "FAILED_PRECONDITION", "energy.stale_reading", id="no"),
        pytest.param(StoreError("store.io", reason="/secret/path"), "UNAVAILABLE", "store.io", id="disk"),
        pytest.param(TimeoutError(), "DEADLINE_EXCEEDED", "rpc.deadline", id="late"),
    ],
)
async def test_what_fails_by_name_is_told_by_name(raised, status, code):
    async def refuse(data: bytes) -> bytes:
        raise raised

    async with serving(Probe(refuse), host=HOST) as (_, port), channel_to(port) as channel:
        failed = await failure(ask(channel))

    assert failed.code().name == status
    assert code in (translate(failed).code if isinstance(translate(failed), RefusedError) else str(translate(failed)))
    assert "/secret" not in str(failed.details())


async def test_a_fault_of_ours_is_an_id_to_the_caller_and_a_trace_to_us(caplog):
    async def broken(data: bytes) -> bytes:
        raise KeyError("the seed is 1234")

    async with serving(Probe(broken), host=HOST) as (_, port), channel_to(port) as channel:
        failed = await failure(ask(channel))

    assert failed.code() is grpc.StatusCode.INTERNAL
    assert "1234" not in str(failed.details())
    fault = str(failed.details()).rpartition(" ")[2]
    [record] = [record for record in caplog.records if fault in record.getMessage()]
    assert record.exc_info is not None
    assert "1234" in str(record.exc_info[1])


async def test_bytes_that_are_no_message_are_bad_input():
    async with serving(Probe(same), host=HOST) as (_, port), channel_to(port) as channel:
        failed = await failure(channel.unary_unary(f"/{NAME}/Ask")(b"\xff\xff\xff", timeout=5))
        unknown = await failure(channel.unary_unary(f"/{NAME}/Nothing")(b"", timeout=5))

    assert (failed.code().name, translate(failed).code) == ("INVALID_ARGUMENT", "codec.malformed")
    assert unknown.code().name == "UNIMPLEMENTED"


@pytest.mark.parametrize(("name", "deadline_s"), [("UNARY_SECONDS", None), ("UNARY_SECONDS_MAX", 600.0)])
async def test_every_unary_call_ends_whatever_its_caller_asks_for(monkeypatch, name, deadline_s):
    monkeypatch.setattr(servers, name, 0.2)
    ended = asyncio.Event()

    async def forever(data: bytes) -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return data

    async with serving(Probe(forever), host=HOST) as (_, port), channel_to(port) as channel:
        failed = await failure(ask(channel, deadline_s=deadline_s))
        await asyncio.wait_for(ended.wait(), 5)

    assert failed.code().name == "DEADLINE_EXCEEDED"


async def test_who_streams_and_falls_silent_is_ended(monkeypatch):
    monkeypatch.setattr(servers, "IDLE_SECONDS", 0.2)

    async def silent():
        yield chain_pb2.SubmitRequest(envelope=b"a")
        await asyncio.Event().wait()

    async with serving(Probe(same), host=HOST) as (_, port), channel_to(port) as channel:
        collect = channel.stream_unary(f"/{NAME}/Collect", request_serializer=chain_pb2.SubmitRequest.SerializeToString)
        failed = await failure(collect(silent(), timeout=30))

    assert translate(failed).code == "rpc.idle"


async def test_streams_pass_and_end_with_the_refusal_that_comes_late():
    async def refuse_third(data: bytes) -> bytes:
        if data.endswith(b"\2"):
            raise InvalidTx("energy.stale_reading")
        return data

    got: list[bytes] = []

    async def read_all(stream) -> None:
        async for response in stream:
            got.append(response.tx_id)

    async with serving(Probe(refuse_third), host=HOST) as (_, port), channel_to(port) as channel:
        failed = await failure(read_all(tell(channel, b"x")))

    assert got == [b"x\0", b"x\1"]
    assert translate(failed).code == "energy.stale_reading"


async def test_calls_are_told_with_how_they_ended():
    told = []

    async def maybe(data: bytes) -> bytes:
        if data == b"no":
            raise InvalidTx("tx.bad_signature")
        return data

    observe = lambda method, code, seconds: told.append((method, code, seconds is not None))  # noqa: E731
    async with serving(Probe(maybe), host=HOST, observe=observe) as (_, port), channel_to(port) as channel:
        await ask(channel, b"yes")
        await failure(ask(channel, b"no"))
        assert [response.tx_id async for response in tell(channel)] == [b"\0", b"\1", b"\2"]

    assert told == [
        (f"/{NAME}/Ask", "OK", True),
        (f"/{NAME}/Ask", "UNAUTHENTICATED", True),
        (f"/{NAME}/Tell", "OK", False),
    ]


async def test_the_public_is_limited_and_told_when_to_come_back():
    async with (
        serving(Probe(same), host=HOST, public_rate=Rate(per_second=1, burst=2)) as (_, port),
        channel_to(port) as channel,
    ):
        for _ in range(2):
            await ask(channel)
        refused = translate(await failure(ask(channel)))

    assert isinstance(refused, RefusedError)
    assert refused.code == "rpc.rate_limited"
    assert 0 < int(refused.facts["retry_after_ms"]) <= 1001


async def test_a_port_that_is_taken_is_said_so():
    async with serving(Probe(same), host=HOST) as (_, port):
        options = {"port": port, "mutual_port": 0, "health_port": None, "tls": None}
        other = RpcServer(network=NETWORK, host=HOST, services=[], **options)
        with pytest.raises(OSError, match=str(port)):
            await other.start()


class Authority:
    """An authority and files of a member, as the operator mounts them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = int(time.time())
        self.pair = ca.make_authority(NETWORK, now=self.now, seconds=3600)
        (folder / "ca.crt").write_text(self.pair.certificate)

    def issue(self, name: str, uri: str) -> ca.Pair:
        pair = ca.issue(
            self.pair, common_name=name, dns_names=["x.svc"], uri=uri, now=self.now, seconds=3600, addresses=[HOST]
        )
        (self.folder / f"{name}.crt").write_text(pair.certificate)
        (self.folder / f"{name}.key").write_text(pair.key)
        return pair

    def client(self, name: str) -> ClientTls:
        return ClientTls(self.folder / "ca.crt", self.folder / f"{name}.crt", self.folder / f"{name}.key")


async def test_the_mutual_port_wants_a_certificate_of_the_network_and_the_public_one_none(tmp_path):
    authority = Authority(tmp_path)
    authority.issue("tls", "theblock://dev/validator/v-0")
    authority.issue("member", "theblock://dev/validator/v-1")
    (tmp_path / "strange").mkdir()
    stranger = Authority(tmp_path / "strange")
    stranger.issue("member", "theblock://dev/operator")
    files = TlsFiles(tmp_path, tmp_path / "ca.crt")

    async with serving(Probe(same), host=HOST, tls=files, public_rate=Rate(1, 1)) as (server, port):
        at = Endpoint(HOST, port, server.mutual_port)
        async with open_channel(at, authority.client("member")) as known:
            assert [await ask(known, b"a") for _ in range(20)] == [b"a"] * 20, "members are not held to the public rate"
        async with open_channel(at, ClientTls(tmp_path / "ca.crt")) as public:
            assert await ask(public, b"b") == b"b"
        forged = ClientTls(tmp_path / "ca.crt", stranger.folder / "member.crt", stranger.folder / "member.key")
        async with open_channel(at, forged) as channel:
            assert (await failure(ask(channel))).code() is grpc.StatusCode.UNAVAILABLE


async def test_a_renewed_certificate_is_shown_from_the_next_handshake_on(tmp_path):
    authority = Authority(tmp_path)
    first = authority.issue("tls", "theblock://dev/validator/v-0")
    files = TlsFiles(tmp_path, tmp_path / "ca.crt")

    async with serving(Probe(same), host=HOST, tls=files) as (_, port):
        shown = lambda: asyncio.to_thread(ssl.get_server_certificate, (HOST, port))  # noqa: E731
        assert ca.read(await shown()).fingerprint == ca.read(first.certificate).fingerprint
        second = authority.issue("tls", "theblock://dev/validator/v-0")
        assert ca.read(await shown()).fingerprint == ca.read(second.certificate).fingerprint
        (tmp_path / "tls.key").unlink()
        assert ca.read(await shown()).fingerprint == ca.read(second.certificate).fingerprint, "the old one stays"
