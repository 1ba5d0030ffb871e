"""The spawner with programs of the standard library in place of members."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from theblock_operator.embedded import files
from theblock_operator.embedded.spawning import LOST, Program, Spawner, SpawnerLost, launch, open_spawner

CODE = """
import os, signal, sys, time
print("here", os.getcwd(), os.environ["COLOUR"], sys.argv[1:], flush=True)
if sys.argv[1] == "wait":
    signal.pause()
sys.exit(int(sys.argv[1]))
"""


async def start(spawner: Spawner, folder: Path, *arguments: str, held: tuple[int, ...] = ()) -> Program:
    (folder / "program.py").write_text(CODE)
    output = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return await spawner.start(
            "program",
            arguments,
            name="program",
            folder=folder,
            environment={"COLOUR": "red"},
            output=output,
            held=held,
        )
    finally:
        os.close(output)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


async def test_a_program_runs_where_it_is_told_and_its_end_is_told(folder: Path) -> None:
    async with open_spawner(launch(["json"])) as spawner:
        program = await start(spawner, folder, "7", "more")

        assert await asyncio.wait_for(program.wait(), 30) == 7

    assert (folder / "log").read_text() == f"here {folder} red ['7', 'more']\n"


async def test_a_program_that_was_killed_ends_with_the_signal(folder: Path) -> None:
    async with open_spawner(launch(["json"])) as spawner:
        program = await start(spawner, folder, "wait")
        program.signal(signal.SIGKILL)

        assert await asyncio.wait_for(program.wait(), 30) == -signal.SIGKILL


async def test_a_program_holds_its_lock_while_it_lives(folder: Path) -> None:
    async with open_spawner(launch(["json"])) as spawner:
        lock = files.try_lock(folder / "lock")
        assert lock is not None
        program = await start(spawner, folder, "wait", held=(lock,))
        os.close(lock)
        taken = files.try_lock(folder / "lock")
        program.signal(signal.SIGTERM)
        await asyncio.wait_for(program.wait(), 30)
        freed = files.try_lock(folder / "lock")

    assert taken is None
    assert freed is not None
    os.close(freed)


async def test_a_module_that_cannot_be_imported_stops_nobody(folder: Path) -> None:
    async with open_spawner(launch(["no_such_module", "json"])) as spawner:
        program = await start(spawner, folder, "0")

        assert await asyncio.wait_for(program.wait(), 30) == 0


async def test_a_program_that_breaks_says_why_in_its_log(folder: Path) -> None:
    async with open_spawner(launch(["json"])) as spawner:
        program = await start(spawner, folder, "no number")

        assert await asyncio.wait_for(program.wait(), 30) == 1

    assert "ValueError: invalid literal" in (folder / "log").read_text()


async def test_with_the_spawner_its_programs_end(folder: Path) -> None:
    async with open_spawner(launch(["json"])) as spawner:
        program = await start(spawner, folder, "wait")
        parent = parent_of(program.pid)
        descriptor = os.pidfd_open(program.pid)
        os.kill(parent, signal.SIGKILL)

        assert await asyncio.wait_for(program.wait(), 30) == LOST
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, ended.set)
        await asyncio.wait_for(ended.wait(), 30)
        with pytest.raises(SpawnerLost):
            await start(spawner, folder, "0")
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
