"""How a block joins: in any order, on a better branch, or not at all; a disk that fails changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from support import chain as sample
from support.chain import address
from theblock_node.core.block import Block
from theblock_node.core.domains import REGISTRY
from theblock_node.core.domains.accounts import Transfer
from theblock_node.core.errors import InvalidBlock
from theblock_node.roles.assembly import open_chain, read_genesis
from theblock_node.services.chain import importer
from theblock_node.services.chain.importer import Chain, Move, Standing
from theblock_node.store.chain import FAMILIES
from theblock_node.store.engine import Batch, StoreError
from theblock_node.store.memory import MemoryEngine

PAY = Transfer(address("bob"), 5, 0)


class Disk(MemoryEngine):
    """Fails when it is told to, before anything is written."""

    fails = False

    def write(self, batch: Batch) -> None:
        if self.fails:
            raise StoreError("store.io", reason="full")
        super().write(batch)


class Node:
    """A chain over a disk, and how its head moved."""

    def __init__(self) -> None:
        self.genesis = read_genesis(json.dumps(sample.genesis_document()).encode(), pinned=None)
        self.disk = Disk(FAMILIES, {})
        self.moves: list[Move] = []
        self.chain = self._open()

    def _open(self) -> Chain:
        store, state, _ = open_chain(self.disk, self.genesis)
        return Chain(store, state, chain=self.genesis.chain, registry=REGISTRY, moved=self.moves.append)

    def reopen(self) -> Chain:
        """What a restart finds on the disk."""
        self.moves = []
        return self._open()

    def add(self, block: Block, *, now_ms: int = 1000 * (sample.GENESIS_SECONDS + 1000)) -> Standing:
        return self.chain.add(block, now_ms=now_ms)


@pytest.fixture
def node() -> Node:
    return Node()


def branch(count: int, *, amount: int, slots: int = 1, onto: sample.Chain | None = None) -> list[Block]:
    """Blocks from the genesis (or a chain's tip) on, told apart by what they pay."""
    made = onto or sample.Chain()
    for at in range(count):
        pay = Transfer(address("bob"), amount, 0)
        made.block(made.tx("alice", "accounts.transfer", pay), slots=slots if at == 0 else 1)
    return made.blocks[-count:]


def test_blocks_in_any_order_end_in_the_same_chain(node):
    blocks = branch(6, amount=1)

    standings = [node.add(block) for block in reversed(blocks)]

    assert standings == [Standing.ORPHAN] * 5 + [Standing.HEAD]
    assert node.chain.head_id == blocks[-1].id
    assert node.chain.orphans == []
    assert node.add(blocks[3]) is Standing.KNOWN
    assert node.chain.state.root == node.reopen().state.root == blocks[-1].header.state_root


def test_the_longer_branch_takes_over_and_tells_what_it_undid(node):
    short, long = branch(2, amount=1), branch(3, amount=2, slots=2)
    for block in short:
        node.add(block)
    node.moves.clear()

    standings = [node.add(block) for block in long]

    assert standings == [Standing.SIDE, Standing.SIDE, Standing.HEAD]
    [move] = node.moves
    assert [one.id for one in move.undone] == [block.id for block in reversed(short)]
    assert [one.id for one in move.added] == [block.id for block in long]
    assert node.chain.head_id == node.reopen().head_id == long[-1].id
    assert node.chain.store.height_of(short[0].id) is None
    assert node.chain.has(short[0].id), "it may win again"


def test_a_switch_that_the_disk_refuses_changes_nothing(node):
    short, long = branch(2, amount=1), branch(3, amount=2, slots=2)
    for block in [*short, *long[:2]]:
        node.add(block)
    root = node.chain.state.root
    node.disk.fails = True

    with pytest.raises(StoreError):
        node.add(long[2])

    node.disk.fails = False
    assert (node.chain.head_id, node.chain.state.root) == (short[-1].id, root)
    assert node.reopen().head_id == short[-1].id
    # The next block of the branch finds all of it still there.
    assert node.add(branch(1, amount=3, onto=_follow(long))[0]) is Standing.HEAD


def _follow(blocks: list[Block]) -> sample.Chain:
    made = sample.Chain()
    for block in blocks:
        made.take(block)
    return made


def test_a_branch_with_a_bad_block_is_dropped_and_its_block_remembered(node):
    short = branch(2, amount=1)
    other = sample.Chain()
    branch(2, amount=2, slots=2, onto=other)
    good, _ = other.propose()
    bad = other.seal(replace(good.header, state_root=bytes(32)), good.body)
    for block in [*short, *other.blocks[1:]]:
        node.add(block)

    assert node.add(bad) is Standing.SIDE, "it would be better, but is not what it says"

    assert node.chain.head_id == short[-1].id
    assert node.chain.state.root == short[-1].header.state_root
    with pytest.raises(InvalidBlock, match="known to be invalid"):
        node.add(bad)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"chain_id": 7}, "block.header", id="another-chain"),
        pytest.param({"proposer": sample.key_of("alice").public_key}, "block.leader", id="no-validator"),
        pytest.param({"gas_used": 9}, "block.leader_sig", id="signed-for-another-header"),
    ],
)
def test_an_orphan_is_kept_only_if_a_validator_sealed_it(node, change, code):
    blocks = branch(2, amount=1)
    header = replace(blocks[1].header, **change)

    with pytest.raises(InvalidBlock) as refused:
        node.add(Block(header, blocks[1].body, blocks[1].leader_sig))

    assert refused.value.code == code
    assert node.chain.orphans == []


def test_a_block_from_the_future_is_refused_and_taken_in_its_time(node):
    [block] = branch(1, amount=1)

    with pytest.raises(InvalidBlock) as refused:
        node.add(block, now_ms=block.header.timestamp_ms - node.genesis.chain.future_ms_max - 1)
    assert refused.value.code == "block.timestamp"
    assert node.add(block) is Standing.HEAD


def test_what_is_final_is_never_undone(node):
    made = sample.Chain()
    made.run(16)
    for block in made.blocks[1:]:
        node.add(block)
    assert node.chain.final.height >= 8

    late = branch(1, amount=2, slots=2)[0]

    assert node.add(late) is Standing.STALE
    assert node.chain.final_view().rows() != node.chain.state.rows()
    again = node.reopen()
    assert (again.final_id, again.head_id) == (node.chain.final_id, node.chain.head_id)
    final_root = made.blocks[node.chain.final.height].header.state_root
    assert again.tree_at(again.final.height).root == final_root
    votes = node.chain.certificate(node.chain.final.height)
    assert len({vote.validator for vote in votes}) >= 3


def test_orphans_and_branches_are_bounded(node, monkeypatch):
    monkeypatch.setattr(importer, "ORPHANS_MAX", 3)
    monkeypatch.setattr(importer, "SIDE_MAX", 2)
    blocks = branch(8, amount=1)
    for block in reversed(blocks[2:]):
        node.add(block)
    assert [block.header.height for block in node.chain.orphans] == [5, 4, 3]
    for block in blocks[:2]:
        node.add(block)
    assert node.chain.head.height == 5

    for amount in range(2, 7):
        assert node.add(branch(1, amount=amount, slots=2)[0]) is Standing.SIDE

    assert sum(node.chain.has(branch(1, amount=amount, slots=2)[0].id) for amount in range(2, 7)) == 2
