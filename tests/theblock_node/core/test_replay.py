"""Blocks of a chain that uses every domain: what they did when they were written down, they still do."""

from __future__ import annotations

import pytest
from support import replay
from theblock_node.core import fees, header, transition
from theblock_node.core.domains import REGISTRY
from theblock_node.core.domains.compute import rules as compute
from theblock_node.core.domains.storage import rules as storage
from theblock_node.core.domains.validators import stakes
from theblock_node.core.errors import InvalidBlock
from theblock_node.core.genesis import build, parse
from theblock_node.core.state import State
from theblock_node.core.transition import Applied

VECTORS = {path: replay.read(path) for path in replay.STORIES}
EVERY_DOMAIN = VECTORS[replay.EVERY_DOMAIN]
each_story = pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)


def run(vectors: replay.Story) -> tuple[State, list[Applied]]:
    """Every block of the vectors, checked and applied as a node does it."""
    genesis = parse(vectors.genesis)
    state, first = build(genesis)
    assert state.root == vectors.genesis_root
    parent, done = first.header, []
    for step in vectors.steps:
        block = step.block
        now_ms = block.header.timestamp_ms
        header.check_header(block.header, block.leader_sig, parent, state, genesis.chain, now_ms=now_ms)
        applied = transition.apply_block(state, parent, block, chain=genesis.chain, registry=REGISTRY)
        assert replay.outcome(applied) == {name: getattr(step, name) for name in replay.outcome(applied)}
        state.commit(applied.changes)
        assert state.root == step.state_root
        parent = block.header
        done.append(applied)
    return state, done


@each_story
def test_old_blocks_do_what_they_did_and_can_be_undone(path):
    vectors = VECTORS[path]
    state, done = run(vectors)

    roots = [vectors.genesis_root, *(step.state_root for step in vectors.steps)]
    for applied, before in zip(reversed(done), reversed(roots[:-1]), strict=True):
        state.undo(applied.changes)
        assert state.root == before
    assert list(state.rows()) == list(build(parse(vectors.genesis))[0].rows())


@each_story
def test_the_story_is_still_told_in_the_same_bytes(path):
    """After a change on purpose, before the chain has begun: `python -m support.replay` in `tests/`."""
    assert replay.render(replay.STORIES[path]()) == path.read_text()


def test_the_vectors_hold_every_command_and_every_event():
    steps = [step for vectors in VECTORS.values() for step in vectors.steps]
    receipts = [receipt for step in steps for receipt in step.receipts]
    events = [event for step in steps for told in (step.block_events, *step.tx_events) for event in told]

    assert {call for call, code in receipts if not code} == set(REGISTRY.commands)
    assert {name for name, _ in events} == set(REGISTRY.event_types)
    assert len({code for _, code in receipts if code}) >= 5


@pytest.mark.parametrize(
    ("module", "name"),
    [
        pytest.param(fees, "CHANGE_DENOMINATOR", id="base-fee"),
        pytest.param(stakes, "REPORTER_SHARE", id="reward-of-a-reporter"),
        pytest.param(storage, "LOSS_PENALTY", id="storage-reputation"),
        pytest.param(compute, "SLICE_PENALTY", id="compute-reputation"),
    ],
)
def test_a_changed_number_in_a_rule_is_seen(monkeypatch, module, name):
    monkeypatch.setattr(module, name, getattr(module, name) + 1)

    with pytest.raises(InvalidBlock) as seen:
        run(EVERY_DOMAIN)
    assert seen.value.code == "block.state_root"


@pytest.mark.parametrize(
    "name",
    [
        "energy_treasury_fee_bps",
        "energy_slashing_rate_bps",
        "bridge_unbond_blocks",
        "slash_equivocation_bps",
        "unbonding_epochs",
        "compute_grace_blocks",
        "storage_unbond_blocks",
    ],
)
def test_a_changed_default_of_a_param_is_seen(monkeypatch, name):
    param = REGISTRY.params[name]
    monkeypatch.setitem(param.presets, "minimal", param.first_value("minimal") + 1)

    with pytest.raises(InvalidBlock):
        run(EVERY_DOMAIN)
