"""The chain on disk under `kill -9`: nothing that was acknowledged is lost, and nothing is there by half."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support import replay
from theblock_node.core.domains import REGISTRY
from theblock_node.roles.assembly import GenesisMismatch, open_chain, read_genesis
from theblock_node.services.chain.importer import Chain, Standing
from theblock_node.store.chain import FAMILIES
from theblock_node.store.engine import Batch, StoreError
from theblock_node.store.memory import Image, MemoryEngine
from theblock_node.store.rocks import open_rocks

STORY = replay.read()
GENESIS = read_genesis(STORY.genesis, pinned=None)
WRITER = """
import importlib.util, sys
sys.path.insert(0, sys.argv[2])
spec = importlib.util.spec_from_file_location("test_chain", sys.argv[3])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.commit_all(sys.argv[1])
"""


def opened(engine) -> Chain:
    store, state, _ = open_chain(engine, GENESIS)
    return Chain(store, state, chain=GENESIS.chain, registry=REGISTRY)


def add(chain: Chain, step: replay.Step) -> Standing:
    return chain.add(step.block, now_ms=step.block.header.timestamp_ms)


def commit_all(folder: str) -> None:
    """What the process does that is killed: a block, then its height as the acknowledgement."""
    chain = opened(open_rocks(Path(folder), FAMILIES))
    for step in STORY.steps[chain.head.height :]:
        assert add(chain, step) is Standing.HEAD
        print(chain.head.height, flush=True)


def check_whole(chain: Chain) -> None:
    """Everything that the store says of itself is of one block, and of all below."""
    height = chain.head.height
    assert chain.state.root == ([GENESIS.state.root] + [step.state_root for step in STORY.steps])[height]
    for at, step in enumerate(STORY.steps, start=1):
        outcomes, there = chain.store.outcomes(at), at <= height
        assert (chain.store.block_bytes(at) is not None) == there
        assert (chain.store.height_of(step.block.id) == at) == there
        assert (outcomes is not None and len(outcomes.receipts) == len(step.receipts)) == there
        for receipt in outcomes.receipts if outcomes is not None else ():
            place = chain.store.find_tx(receipt.tx_id)
            assert place is not None
            assert place.height == at


def test_a_killed_node_has_every_block_that_it_acknowledged_and_goes_on(tmp_path):
    folder = tmp_path / "db"
    for acknowledged_min in (2, 40):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(Path(replay.__file__).parents[1]), __file__],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        last = 0
        while last < acknowledged_min:
            last = int(writer.stdout.readline())
        writer.kill()
        last = max([last, *(int(line) for line in writer.stdout.read().split("\n")[:-1])])
        writer.wait(10)
        writer.stdout.close()

        engine = open_rocks(folder, FAMILIES)
        chain = opened(engine)
        assert last <= chain.head.height < len(STORY.steps)
        check_whole(chain)
        engine.close()

    engine = open_rocks(folder, FAMILIES)
    chain = opened(engine)
    for step in STORY.steps[chain.head.height :]:
        assert add(chain, step) is Standing.HEAD
    check_whole(chain)
    engine.close()


class Remembering(MemoryEngine):
    """Keeps what a crash right after each write would leave."""

    def __init__(self) -> None:
        super().__init__(FAMILIES)
        self.images: list[Image] = []

    def write(self, batch: Batch) -> None:
        super().write(batch)
        self.images.append({family: dict(rows) for family, rows in self.image.items()})


def test_the_store_is_whole_after_every_single_write():
    engine = Remembering()
    chain = opened(engine)
    for step in STORY.steps:
        add(chain, step)

    heights = []
    for image in engine.images:
        left = opened(MemoryEngine(FAMILIES, image))
        check_whole(left)
        heights.append(left.head.height)
    assert heights == sorted(heights)
    assert set(heights) == set(range(len(STORY.steps) + 1))


def test_a_store_is_opened_by_its_own_genesis_and_only_with_the_rows_of_its_head():
    image = {}
    chain = opened(MemoryEngine(FAMILIES, image))
    for step in STORY.steps[:5]:
        add(chain, step)
    other = read_genesis(
        STORY.genesis.replace(b'"time_seconds": 1790000000', b'"time_seconds": 1790000001'), pinned=None
    )
    with pytest.raises(GenesisMismatch):
        open_chain(MemoryEngine(FAMILIES, image), other)

    engine = MemoryEngine(FAMILIES, image)
    key, value = next(iter(engine.iterate("state")))
    batch = Batch()
    batch.put("state", key, value[:-1] + bytes([value[-1] ^ 1]))
    engine.write(batch)

    with pytest.raises(StoreError) as found:
        open_chain(engine, GENESIS)
    assert found.value.code == "store.corrupt"
