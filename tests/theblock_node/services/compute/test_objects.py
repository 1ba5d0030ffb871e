"""Files of circuits come from storage once, are what they should be, and never take more room than they may."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from support.market import ZKEY
from support.storage import shelf
from theblock_node.client.errors import RefusedError, UnavailableError
from theblock_node.client.storage import cut
from theblock_node.core import crypto
from theblock_node.services.compute.objects import NotFetched, ObjectFolder, StorageSource
from theblock_node.sim.dev_chain import dev_chain

SUBNET = "127.42.5"
FIRST, SECOND, THIRD = (bytes([number]) * 40 for number in (1, 2, 3))


class Shelf:
    """Storage that answers with what it is told, one answer a call."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self._answers = list(answers)
        self.calls = 0

    async def get(self, manifest_id: str, content_key: bytes) -> AsyncGenerator[bytes, None]:
        assert (manifest_id, content_key) == ("aa" * 32, b"\x0b" * 32)
        self.calls += 1
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            yield FIRST[:7]
            raise answer
        for at in range(0, len(answer), 7):
            yield answer[at : at + 7]


async def fetch(folder: ObjectFolder, wanted: bytes, size: int | None = None) -> bytes:
    path = await folder.fetch(b"\xaa" * 32, b"\x0b" * 32, len(wanted) if size is None else size, crypto.blake3(wanted))
    return path.read_bytes()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_file_is_fetched_once_however_many_want_it(tmp_path):
    shelf = Shelf(FIRST)
    folder = ObjectFolder(tmp_path, shelf, bytes_max=100)
    assert await asyncio.gather(*(fetch(folder, FIRST) for _ in range(5))) == [FIRST] * 5
    assert await fetch(ObjectFolder(tmp_path, shelf, bytes_max=100), FIRST) == FIRST
    assert shelf.calls == 1


async def test_providers_that_break_off_are_replaced_by_the_next(tmp_path):
    shelf = Shelf(UnavailableError("gone"), UnavailableError("gone"), FIRST)
    assert await fetch(ObjectFolder(tmp_path, shelf, bytes_max=100), FIRST) == FIRST
    assert shelf.calls == 3


@pytest.mark.parametrize(
    ("answers", "size", "told"),
    [
        pytest.param([UnavailableError("gone")] * 3, None, "gone", id="nobody-answers"),
        pytest.param([RefusedError("storage.unknown_manifest", "", {})], None, "unknown_manifest", id="refused"),
        pytest.param([FIRST[:-1]], None, "not what the circuit says", id="short"),
        pytest.param([SECOND], None, "not what the circuit says", id="another-file"),
        pytest.param([FIRST + b"x"], None, "longer", id="long"),
        pytest.param([], 101, "larger than the folder", id="beyond-the-folder"),
    ],
)
async def test_file_is_not_had(tmp_path, answers, size, told):
    with pytest.raises(NotFetched, match=told):
        await fetch(ObjectFolder(tmp_path, Shelf(*answers), bytes_max=100), FIRST, size)
    assert names(tmp_path) == set()


async def test_least_recently_used_file_makes_room(tmp_path):
    folder = ObjectFolder(tmp_path, Shelf(FIRST, SECOND, THIRD), bytes_max=100)
    await fetch(folder, FIRST)
    await fetch(folder, SECOND)
    for age, data in enumerate((FIRST, SECOND)):
        os.utime(tmp_path / crypto.blake3(data).hex(), (age, age))
    await fetch(folder, FIRST)
    await fetch(folder, THIRD)
    assert names(tmp_path) == {crypto.blake3(data).hex() for data in (FIRST, THIRD)}


async def test_file_that_was_found_to_be_wrong_is_fetched_again(tmp_path):
    shelf = Shelf(FIRST, FIRST)
    folder = ObjectFolder(tmp_path, shelf, bytes_max=100)
    await fetch(folder, FIRST)
    folder.forget(crypto.blake3(FIRST))
    folder.forget(crypto.blake3(FIRST))
    await fetch(folder, FIRST)
    assert shelf.calls == 2


async def test_half_a_file_of_a_process_that_died_is_removed(tmp_path):
    (tmp_path / "ab.part").write_bytes(b"half")
    ObjectFolder(tmp_path, Shelf(), bytes_max=100)
    assert names(tmp_path) == set()


async def test_source_without_providers_says_so(tmp_path):
    source = StorageSource(None)
    source.set_endpoints([])
    with pytest.raises(NotFetched, match="no storage provider is known"):
        await fetch(ObjectFolder(tmp_path, source, bytes_max=100), FIRST)
    await source.close()


async def test_file_comes_from_the_providers_of_the_network_and_outlives_one_of_them(tmp_path):
    funded, params = ("shelf-0", "shelf-1", "shelf-2"), {"por_deadline_blocks": 200}
    async with (
        dev_chain(funded=funded, params=params) as dev,
        shelf(dev, tmp_path, count=3, subnet=SUBNET) as providers,
    ):
        stored = await providers.while_blocks(providers.client(providers[0]).put(len(ZKEY), lambda: cut(ZKEY)))
        certificate = providers.authority.issue("forge-0", f"{SUBNET}.9", role="compute_provider")
        source = StorageSource(providers.authority.client(certificate))
        source.set_endpoints([provider.neighbour.endpoint for provider in providers])
        await providers[0].kill()
        folder = ObjectFolder(tmp_path / "circuits", source, bytes_max=2**20)

        ref = bytes.fromhex(stored.manifest_id), stored.content_key
        path = await providers.while_blocks(folder.fetch(*ref, len(ZKEY), crypto.blake3(ZKEY)))

        assert path.read_bytes() == ZKEY
        await source.close()
