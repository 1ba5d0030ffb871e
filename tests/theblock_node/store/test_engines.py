"""What every engine promises, over each engine."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from theblock_node.store.engine import Batch, Engine, StoreError
from theblock_node.store.memory import Image, MemoryEngine
from theblock_node.store.rocks import open_rocks

FAMILIES = ("rows", "other")


@pytest.fixture(params=["memory", "rocks"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Engine]:
    """Opens the same store again each time it is called."""
    image: Image = {}
    if request.param == "memory":
        return lambda: MemoryEngine(FAMILIES, image)
    return lambda: open_rocks(tmp_path / "db", FAMILIES)


def rows(engine: Engine, family: str = "rows") -> dict[bytes, bytes]:
    return dict(engine.iterate(family))


def test_an_engine_equals_a_dictionary_under_random_batches(reopen):
    chance = random.Random(5)
    model: dict[tuple[str, bytes], bytes] = {}
    engine = reopen()
    for _ in range(60):
        batch = Batch()
        for _ in range(chance.randrange(8)):
            family, key = chance.choice(FAMILIES), bytes([chance.randrange(12)])
            value = None if chance.random() < 0.3 else chance.randbytes(4)
            batch.rows.append((family, key, value))
            model.pop((family, key), None)
            if value is not None:
                model[family, key] = value
        engine.write(batch)
        if chance.random() < 0.1:
            engine.close()
            engine = reopen()

    for family in FAMILIES:
        wanted = sorted((key, value) for (name, key), value in model.items() if name == family)
        assert list(engine.iterate(family)) == wanted
        assert all(engine.get(family, key) == value for key, value in wanted)
    engine.close()


def test_iteration_is_ordered_bounded_and_unmoved_by_later_writes(reopen):
    engine = reopen()
    first = Batch()
    for key in (b"\xff", b"a", b"b", b"ba", b"\x00"):
        first.put("rows", key, key)
    engine.write(first)

    found = engine.iterate("rows", start=b"a", stop=b"c")
    seen = [next(found)]
    late = Batch()
    late.put("rows", b"bb", b"late")
    engine.write(late)
    seen += list(found)

    assert [key for key, _ in seen] == [b"a", b"b", b"ba"]
    engine.close()


def test_a_batch_with_an_unknown_family_writes_nothing(reopen):
    engine = reopen()
    batch = Batch()
    batch.put("rows", b"k", b"v")
    batch.put("nowhere", b"k", b"v")

    with pytest.raises(StoreError) as refused:
        engine.write(batch)

    assert refused.value.code == "store.family"
    assert rows(engine) == {}
    engine.close()


def test_a_second_opener_is_locked_out(tmp_path):
    engine = open_rocks(tmp_path / "db", FAMILIES)
    with pytest.raises(StoreError) as refused:
        open_rocks(tmp_path / "db", FAMILIES)
    assert refused.value.code == "store.locked"
    engine.close()


def test_a_new_family_joins_an_old_store(tmp_path):
    engine = open_rocks(tmp_path / "db", ("rows",))
    batch = Batch()
    batch.put("rows", b"k", b"v")
    engine.write(batch)
    engine.close()

    engine = open_rocks(tmp_path / "db", ("rows", "later"))

    assert rows(engine) == {b"k": b"v"}
    assert rows(engine, "later") == {}
    engine.close()


WRITER = """
import sys
from pathlib import Path
from theblock_node.store.engine import Batch
from theblock_node.store.rocks import open_rocks
engine = open_rocks(Path(sys.argv[1]), ("rows", "other"))
for number in range(1_000_000):
    batch = Batch()
    for part in range(8):
        batch.put("rows" if part % 2 else "other", number.to_bytes(4, "big") + bytes([part]), b"x" * 200)
    engine.write(batch)
    print(number, flush=True)
"""


def test_a_killed_writer_loses_no_acknowledged_batch_and_keeps_no_half(tmp_path):
    for acknowledged_min in (3, 40):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / f"db{acknowledged_min}")], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        last = -1
        while last < acknowledged_min:
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        last = max([last, *(int(line) for line in writer.stdout.read().split("\n")[:-1])])
        writer.wait(10)
        writer.stdout.close()

        engine = open_rocks(tmp_path / f"db{acknowledged_min}", FAMILIES)
        parts: dict[int, int] = {}
        for family in FAMILIES:
            for key, _ in engine.iterate(family):
                number = int.from_bytes(key[:4], "big")
                parts[number] = parts.get(number, 0) + 1
        engine.close()
        assert set(parts) >= set(range(last + 1))
        assert set(parts.values()) == {8}
