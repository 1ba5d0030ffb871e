from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from theblock_operator.embedded import control
from theblock_operator.embedded.control import ControlError, NotRunning, Refusal

Ask = Callable[..., Any]


async def answer(verb: str, arguments: dict[str, Any]) -> Any:
    if verb == "refuse":
        raise Refusal("Invalid", "no", [("spec.stake", "must be positive")])
    return {"verb": verb, **arguments}


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    async with control.serve(tmp_path / "run" / "control.sock", answer):
        yield tmp_path / "run" / "control.sock"


async def ask(path: Path, verb: str, **arguments: Any) -> Any:
    return await asyncio.to_thread(partial(control.call, path, verb, **arguments))


async def test_a_question_gets_its_answer(path: Path) -> None:
    assert await ask(path, "get", kind="Pod") == {"verb": "get", "kind": "Pod"}


async def test_a_refusal_arrives_with_the_paths_of_fields(path: Path) -> None:
    with pytest.raises(ControlError) as refused:
        await ask(path, "refuse")

    assert refused.value.reason == "Invalid"
    assert refused.value.faults == [("spec.stake", "must be positive")]


def test_only_the_owner_may_open_the_socket(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("line", [b"nonsense\n", b"[]\n", b"{}\n", b'{"verb": "x", "arguments": 1}\n', b"\xff\n"])
async def test_a_line_that_is_no_request_is_refused_and_the_connection_goes_on(path: Path, line: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(line + b'{"verb": "get"}\n')

    refused, answered = json.loads(await reader.readline()), json.loads(await reader.readline())

    assert refused["error"]["reason"] == "Malformed"
    assert answered == {"result": {"verb": "get"}}
    writer.close()


async def test_a_line_without_an_end_closes_the_connection(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "LINE_SIZE_MAX", 1000)
    async with control.serve(path.with_name("small.sock"), answer):
        reader, writer = await asyncio.open_unix_connection(path.with_name("small.sock"))

        writer.write(b"x" * 5000)

        assert await reader.read() == b""
        writer.close()


async def test_where_nobody_listens_nothing_runs(tmp_path: Path) -> None:
    with pytest.raises(NotRunning):
        await ask(tmp_path / "none.sock", "get")
