"""Sources of headers: what is packed, files, nodes, and whose turn it is to submit."""

from __future__ import annotations

import json

import pytest
from support.headers import START_TIME, hash_of, mine_bitcoin, mine_tbpow, real_headers
from support.http import serving
from theblock_node.config import BadConfig, BridgeSource
from theblock_node.core.domains.bridge.records import LightClient
from theblock_node.core.errors import InvalidTx
from theblock_node.services.bridge import relayer
from theblock_node.services.bridge.headers import HttpNode, SourceUnreachable, open_source
from theblock_node.services.bridge.relayer import Batch


async def test_packed_headers_begin_with_the_genesis():
    source = open_source(BridgeSource(driver="builtin", dataset="bitcoin-main-1-1111"))

    assert await source.tip() == 1111
    assert await source.headers(1, 2) == real_headers()[:2]
    assert await source.headers(1111, 5) == real_headers()[-1:]
    assert hash_of((await source.headers(0, 1))[0]).hex()[:16] == "000000000019d668"


async def test_file_is_read_again_when_it_changes(tmp_path):
    path = tmp_path / "headers.json"
    source = open_source(BridgeSource(driver="file", headers_file=str(path)))
    with pytest.raises(SourceUnreachable):
        await source.tip()

    path.write_text(json.dumps({"first_height": 5, "headers": ["aa" * 80]}))
    assert (await source.tip(), await source.headers(5, 9)) == (5, [b"\xaa" * 80])
    path.write_text(json.dumps({"first_height": 5, "headers": ["aa" * 80, "bb" * 80]}))
    assert await source.tip() == 6
    path.write_text("{}")
    with pytest.raises(SourceUnreachable):
        await source.tip()


async def test_node_is_asked_over_http_and_another_where_it_fails():
    header = mine_tbpow("ext-1", 0, bytes(32), START_TIME).hex()
    answers = {"/tip": {"height": 3}, "/headers": lambda query: {"headers": [header] * query["count"]}}
    with serving({}) as dead, serving(answers) as alive:
        source = HttpNode([dead, alive])
        assert await source.tip() == 3
        assert len(await source.headers(0, 2)) == 2
        with pytest.raises(SourceUnreachable):
            await HttpNode([dead]).tip()


@pytest.mark.parametrize(
    "source",
    [
        BridgeSource(driver="builtin", dataset="unknown"),
        BridgeSource(driver="rpc", endpoints=("ftp://node",)),
        BridgeSource(driver="rpc"),
        BridgeSource(driver="magic"),
    ],
)
def test_source_that_makes_no_sense_is_a_bad_config(source):
    with pytest.raises(BadConfig):
        open_source(source)


@pytest.mark.parametrize(
    ("base", "source_tip", "ordinal", "idle", "batch"),
    [
        pytest.param(-1, 1111, 0, 0, Batch(0, 100), id="from-the-checkpoint"),
        pytest.param(0, 1111, 0, 0, Batch(1, 99), id="up-to-the-next-round-height"),
        pytest.param(99, 1111, 0, 0, None, id="the-others-turn"),
        pytest.param(99, 1111, 1, 0, Batch(100, 100), id="our-turn"),
        pytest.param(99, 1111, 0, 10, Batch(100, 100), id="the-other-sleeps"),
        pytest.param(1099, 1111, 1, 0, Batch(1100, 12), id="last-part"),
        pytest.param(1111, 1111, 1, 99, None, id="nothing-left"),
    ],
)
def test_members_take_turns(base, source_tip, ordinal, idle, batch):
    assert relayer.plan_batch(base, source_tip, ordinal=ordinal, members=2, idle_blocks=idle) == batch


def test_forged_header_is_found_before_it_is_submitted():
    first = mine_bitcoin(bytes(32), START_TIME)
    second = mine_bitcoin(hash_of(first), START_TIME + 600)
    client = LightClient(1, "own", "bitcoin/1", 0, hash_of(first), 0, hash_of(first), bytes(32), 0, 0, 0)

    assert relayer.check_batch(client, None, [first, second], now_seconds=START_TIME).height == 1
    for batch, code in (([second], "bridge.checkpoint_mismatch"), ([first, first], "bridge.unknown_parent")):
        with pytest.raises(InvalidTx) as refused:
            relayer.check_batch(client, None, batch, now_seconds=START_TIME)
        assert refused.value.code == code
