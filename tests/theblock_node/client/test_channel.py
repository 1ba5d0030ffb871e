"""Channels to several servers: the one that answers is asked, refusals end it, files that change are read again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.loopback import subnet
from support.probe import Probe, ask, serving, tell
from theblock_node.client import channel as channels
from theblock_node.client.channel import Channels, ClientTls, Endpoint
from theblock_node.client.errors import RefusedError, UnavailableError
from theblock_node.core.errors import InvalidTx
from theblock_node.rpc.server import TlsFiles
from theblock_operator import ca

HOST = f"{subnet(48)}.2"
NOBODY = Endpoint("127.48.0.3", 9)


async def same(data: bytes) -> bytes:
    return data


async def refuse(data: bytes) -> bytes:
    raise InvalidTx("energy.stale_reading")


async def call(tried: Channels, data: bytes = b"x") -> bytes:
    answer: bytes = await tried.call(lambda channel, timeout: ask(channel, data, timeout), deadline_s=5)
    return answer


async def test_a_call_goes_to_whoever_answers_and_stays_with_them():
    async with serving(Probe(same), host=HOST) as (_, port):
        tried = Channels([NOBODY, Endpoint(HOST, port)], None)
        assert await call(tried) == b"x"
        assert tried.current == Endpoint(HOST, port)
        assert await call(tried) == b"x"
        await tried.close()


async def test_a_refusal_is_an_answer_and_nobody_else_is_asked():
    asked = []

    async def count(data: bytes) -> bytes:
        asked.append(data)
        return data

    async with serving(Probe(refuse), host=HOST) as (_, first), serving(Probe(count), host=HOST) as (_, second):
        tried = Channels([Endpoint(HOST, first), Endpoint(HOST, second)], None)
        with pytest.raises(RefusedError) as refused:
            await call(tried)
        await tried.close()

    assert refused.value.code == "energy.stale_reading"
    assert asked == []


async def test_when_nobody_answers_it_ends_after_its_rounds(monkeypatch):
    monkeypatch.setattr(channels, "BACK_OFF_S", 0.01)
    attempts = []
    tried = Channels([NOBODY, Endpoint("127.48.0.4", 9)], None)

    async def attempt(channel, _deadline_s):
        attempts.append(tried.current)
        return await ask(channel, b"", 1.0)

    with pytest.raises(UnavailableError):
        await tried.call(attempt)
    await tried.close()

    assert attempts == [NOBODY, Endpoint("127.48.0.4", 9)] * channels.ROUNDS


async def test_a_stream_that_breaks_turns_to_the_next_for_the_next_time():
    async def break_at_second(data: bytes) -> bytes:
        if data.endswith(b"\1"):
            raise KeyError
        return data

    async with serving(Probe(break_at_second), host=HOST) as (_, first), serving(Probe(same), host=HOST) as (_, second):
        tried, got = Channels([Endpoint(HOST, first), Endpoint(HOST, second)], None), []

        async def follow() -> None:
            async for response in tried.stream(lambda channel: tell(channel, b"x")):
                got.append(response.tx_id)

        with pytest.raises(UnavailableError):
            await follow()
        await follow()
        await tried.close()

    assert got == [b"x\0", b"x\0", b"x\1", b"x\2"]


def test_endpoints_may_change_and_the_one_in_use_stays_first():
    one, two, three = (Endpoint(HOST, port) for port in (1, 2, 3))
    tried = Channels([one, two], None)

    tried.set_endpoints([three, two, one])
    assert tried.current == one
    tried.set_endpoints([three, two])
    assert tried.current == two
    tried.set_endpoints([])
    assert tried.current == two
    with pytest.raises(ValueError, match="at least one"):
        Channels([], None)


@pytest.mark.parametrize("text", ["", "host", ":5", "host:", "host:port", "host:-5", "host:5.0"])
def test_what_is_no_endpoint_is_refused(text):
    with pytest.raises(ValueError, match="host:port"):
        Endpoint.parse(text)


def test_endpoints_read_as_they_are_written():
    assert Endpoint.parse("127.0.0.1:26658") == Endpoint("127.0.0.1", 26658)
    assert str(Endpoint.parse("[::1]:5")) == "[::1]:5"
    assert str(Endpoint.of_socket("/run/x.sock")) == "unix:/run/x.sock"


class Files:
    """A server's and a client's certificates in one folder, from an authority that may change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.renew()

    def renew(self) -> None:
        now = int(time.time())
        authority = ca.make_authority("dev", now=now, seconds=3600)
        (self.folder / "ca.crt").write_text(authority.certificate)
        for name in ("tls", "client"):
            uri = f"theblock://dev/validator/{name}"
            pair = ca.issue(authority, common_name=name, dns_names=["v-0.svc"], uri=uri, now=now, seconds=3600)
            (self.folder / f"{name}.crt").write_text(pair.certificate)
            (self.folder / f"{name}.key").write_text(pair.key)


async def test_certificates_that_change_are_used_from_the_next_call_on(tmp_path):
    files = Files(tmp_path)
    tls = ClientTls(tmp_path / "ca.crt", tmp_path / "client.crt", tmp_path / "client.key")

    server_files = TlsFiles(tmp_path, tmp_path / "ca.crt")

    async with serving(Probe(same), host=HOST, tls=server_files) as (server, port):
        at = Endpoint(HOST, port, server.mutual_port)
        tried = Channels([at], tls, names=lambda _endpoint: "v-0.svc")
        assert await call(tried) == b"x"
        files.renew()
        assert await call(tried) == b"x"
    # Who comes back after a restart knows the new authority alone.
    async with serving(Probe(same), host=HOST, tls=server_files, port=at.port, mutual_port=at.mutual_port):
        assert await call(tried) == b"x"
        misnamed = Channels([at], tls, names=lambda _endpoint: "v-1.svc")
        with pytest.raises(UnavailableError):
            await call(misnamed)
        await tried.close()
        await misnamed.close()
