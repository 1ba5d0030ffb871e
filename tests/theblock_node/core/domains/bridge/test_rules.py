"""Rules of the bridge: relayers, light clients, headers, forks."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.chain import GENESIS_SECONDS, Chain, address, key_of
from support.headers import EASY_BITS, START_TIME, bitcoin_chain, hash_of, mine_bitcoin, mine_tbpow, real_headers
from theblock_node.core.domains.bridge import pow as work
from theblock_node.core.domains.bridge import records as r

BOND = 50 * 10**9


def make_chain(*, start: r.StartLightClient | None = None) -> Chain:
    """``owner`` owns the relayer of the member ``relay``, and has begun a light client."""
    chain = Chain(funded={"relay": 10**15})
    register(chain, "btc-0", "relay")
    chain.ok("owner", "bridge.start_light_client", start or r.StartLightClient("bitcoin", "bitcoin/1", None))
    return chain


def register(chain: Chain, relayer: str, member: str, bond: int = BOND) -> None:
    chain.ok("owner", "bridge.register_relayer", r.RegisterRelayer(relayer, key_of(member).public_key, "wBTC", bond))


def own_chain(first: bytes) -> Chain:
    """A chain that follows one of our own, from its first header on."""
    start = r.StartLightClient("own", "bitcoin/1", r.Checkpoint(0, hash_of(first)))
    chain = make_chain(start=start)
    submit(chain, "own", first)
    return chain


def submit(chain: Chain, chain_id: str, *headers: bytes) -> list[object]:
    return chain.ok("relay", "bridge.submit_headers", r.SubmitHeaders(chain_id, headers))


def client(chain: Chain, chain_id: str = "own") -> r.LightClient:
    found = chain.query("bridge.headers", r.ListHeaders(chain_id)).client
    assert found is not None
    return found


def test_all_real_headers_are_taken():
    chain, headers = make_chain(), real_headers()

    for at in range(0, len(headers), 100):
        submit(chain, "bitcoin", *headers[at : at + 100])

    tip = client(chain, "bitcoin")
    assert (tip.tip_height, tip.tip_hash) == (1111, hash_of(headers[-1]))
    page = chain.query("bridge.headers", r.ListHeaders("bitcoin", from_height=2, limit=10))
    assert [row.height for row in page.headers] == [2, 1, 0]
    relayer = chain.query("bridge.relayers", r.ListRelayers()).relayers[0]
    assert relayer.headers_submitted == 1111


def test_known_headers_cost_a_fee_and_change_nothing():
    chain, headers = make_chain(), real_headers()
    submit(chain, "bitcoin", *headers[:5])

    assert submit(chain, "bitcoin", *headers[:5]) == []
    told = submit(chain, "bitcoin", *headers[3:8])

    assert [record.count for record in told] == [3]


def test_batch_is_taken_up_to_the_first_bad_header():
    chain, headers = make_chain(), real_headers()
    forged = headers[3][:-1] + bytes([headers[3][-1] ^ 1])

    told = submit(chain, "bitcoin", *headers[:3], forged, headers[4])

    assert [type(record) for record in told] == [r.HeaderRefused, r.HeadersAccepted]
    assert (told[0].index, told[0].code) == (3, "bridge.bad_pow")
    assert client(chain, "bitcoin").tip_height == 3


def test_forged_headers_are_refused_by_name():
    headers = list(islice(bitcoin_chain(), 13))
    chain = own_chain(headers[0])
    submit(chain, "own", *headers[1:])
    tip, time = hash_of(headers[-1]), START_TIME + 600 * 12
    good = mine_bitcoin(tip, time + 600)
    easy = work.compute_target(EASY_BITS)
    tries = (good[:-4] + bytes([at, 0, 0, 0]) for at in range(256))
    lazy = next(header for header in tries if int.from_bytes(hash_of(header), "big") > easy)
    cases = {
        "bridge.header_length": good[:79],
        "bridge.unknown_parent": mine_bitcoin(bytes(32), time + 600),
        "bridge.bad_bits": mine_bitcoin(tip, time + 600, 0x207FFFFE),
        "bridge.bad_pow": lazy,
    }
    late = {"past": mine_bitcoin(tip, time - 600 * 5), "future": mine_bitcoin(tip, GENESIS_SECONDS + 8_000)}

    for code, header in cases.items():
        assert chain.refused("relay", "bridge.submit_header", r.SubmitHeader("own", header)) == code
    for header in late.values():
        assert chain.refused("relay", "bridge.submit_header", r.SubmitHeader("own", header)) == "bridge.bad_time"
    chain.ok("relay", "bridge.submit_header", r.SubmitHeader("own", good))


def test_longer_branch_with_more_work_becomes_the_chain():
    headers = list(islice(bitcoin_chain(), 6))
    chain = own_chain(headers[0])
    submit(chain, "own", *headers[1:])
    branch = list(islice(bitcoin_chain(spacing=500, start=headers[2], time=START_TIME + 1200), 4))

    assert [type(record) for record in submit(chain, "own", *branch[:2])] == [r.HeadersAccepted]
    assert client(chain).tip_hash == hash_of(headers[5])
    told = submit(chain, "own", *branch[2:])

    assert told[0] == r.Reorganised("own", 3, 6, hash_of(branch[3]))
    page = chain.query("bridge.headers", r.ListHeaders("own"))
    assert [row.hash for row in page.headers] == [hash_of(header) for header in reversed([*headers[:3], *branch])]


def test_checkpoint_must_be_shown_first_and_begin_a_period():
    headers = list(islice(bitcoin_chain(), 3))
    chain = make_chain(start=r.StartLightClient("own", "bitcoin/1", r.Checkpoint(4032, hash_of(headers[1]))))

    assert chain.refused("relay", "bridge.submit_header", r.SubmitHeader("own", headers[2])) == "bridge.unknown_parent"
    submit(chain, "own", headers[1], headers[2])

    assert client(chain).tip_height == 4033
    assert client(chain).limit_bits == EASY_BITS
    odd = r.StartLightClient("odd", "bitcoin/1", r.Checkpoint(4000, bytes(32)))
    assert chain.refused("owner", "bridge.start_light_client", odd) == "bridge.checkpoint_height"


def test_tbpow_chain_is_followed_and_states_its_heights():
    first = mine_tbpow("ext-1", 7, bytes(32), START_TIME)
    start = work.parse_header(work.Profile.TBPOW, "ext-1", first)
    chain = make_chain(start=r.StartLightClient("ext-1", "tbpow/1", r.Checkpoint(7, start.hash)))
    wrong = mine_tbpow("ext-1", 9, start.hash, START_TIME + 5)
    other = mine_tbpow("ext-2", 8, start.hash, START_TIME + 5)
    submit(chain, "ext-1", first)

    assert chain.refused("relay", "bridge.submit_header", r.SubmitHeader("ext-1", wrong)) == "bridge.bad_height"
    assert chain.refused("relay", "bridge.submit_header", r.SubmitHeader("ext-1", other)) == "bridge.wrong_chain"
    submit(chain, "ext-1", mine_tbpow("ext-1", 8, start.hash, START_TIME + 5))

    assert client(chain, "ext-1").tip_height == 8


def test_what_lies_too_deep_is_forgotten(monkeypatch):
    monkeypatch.setattr(r, "HEADERS_KEPT", 3)
    headers = list(islice(bitcoin_chain(), 9))
    side = mine_bitcoin(hash_of(headers[1]), START_TIME + 1)
    chain = own_chain(headers[0])
    submit(chain, "own", *headers[1:3])
    late = mine_bitcoin(hash_of(headers[3]), START_TIME + 2500)

    submit(chain, "own", mine_bitcoin(hash_of(headers[1]), START_TIME + 700), *headers[3:])

    kept = {record.height for _, record in chain.state.items(r.HEADERS)}
    assert kept == {5, 6, 7, 8}
    assert chain.refused("relay", "bridge.submit_header", r.SubmitHeader("own", side)) == "bridge.unknown_parent"
    assert chain.refused("relay", "bridge.submit_header", r.SubmitHeader("own", late)) == "bridge.unknown_parent"


@pytest.mark.parametrize(
    ("name", "call", "command", "code"),
    [
        ("alice", "submit_header", r.SubmitHeader("bitcoin", bytes(80)), "bridge.not_owner"),
        ("relay", "submit_header", r.SubmitHeader("nowhere", bytes(80)), "bridge.unknown_chain"),
        ("owner", "start_light_client", r.StartLightClient("bitcoin", "bitcoin/1", None), "bridge.client_exists"),
        ("alice", "start_light_client", r.StartLightClient("x", "tbpow/1", None), "bridge.not_owner"),
        ("owner", "start_light_client", r.StartLightClient("x", "tbpow/1", None), "bridge.checkpoint_needed"),
        ("alice", "register_relayer", r.RegisterRelayer("btc-0", bytes(32), "wBTC", BOND), "bridge.relayer_exists"),
        ("owner", "register_relayer", r.RegisterRelayer("btc-1", bytes(32), "wBTC", BOND - 1), "bridge.bond_low"),
        ("alice", "retire_relayer", r.RetireRelayer("btc-0"), "bridge.not_owner"),
        ("alice", "retire_relayer", r.RetireRelayer("btc-9"), "bridge.unknown_relayer"),
    ],
)
def test_commands_are_refused(name, call, command, code):
    assert make_chain().refused(name, f"bridge.{call}", command) == code


def test_bond_returns_after_the_unbonding_time():
    chain = make_chain()
    taken = r.RegisterRelayer("btc-1", key_of("relay").public_key, "wBTC", BOND)
    assert chain.refused("owner", "bridge.register_relayer", taken) == "bridge.member_taken"

    chain.ok("owner", "bridge.retire_relayer", r.RetireRelayer("btc-0"))
    header = r.SubmitHeader("bitcoin", real_headers()[0])
    assert chain.refused("relay", "bridge.submit_header", header) == "bridge.not_owner"
    before = chain.balance("owner")
    chain.run(8)

    assert chain.balance("owner") - before == BOND
    register(chain, "btc-1", "relay")
    assert address("owner") in {row.owner for row in chain.query("bridge.relayers", r.ListRelayers()).relayers}


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 900)), min_size=1, max_size=30), st.randoms())
def test_order_of_submission_does_not_matter(tree, chance):
    """The best chain is a matter of the headers alone."""
    first = mine_bitcoin(bytes(32), START_TIME)
    made, times = [first], [START_TIME]
    for parent, seconds in tree:
        at = parent % len(made)
        times.append(times[at] + seconds)
        made.append(mine_bitcoin(hash_of(made[at]), times[-1]))
    parents = {index + 1: parent % (index + 1) for index, (parent, _) in enumerate(tree)}
    tips = set()
    for _ in range(2):
        chain, known, left = own_chain(first), {0}, list(range(1, len(made)))
        while left:
            ready = [index for index in left if parents[index] in known]
            index = chance.choice(ready)
            submit(chain, "own", made[index])
            known.add(index)
            left.remove(index)
        tips.add((client(chain).tip_hash, client(chain).tip_work))

    assert len(tips) == 1


def test_coinbase_of_a_block_is_shown_with_its_depth():
    """The only transaction of Bitcoin's block 1, under the real header."""
    chain, headers = make_chain(), real_headers()
    submit(chain, "bitcoin", *headers[:3])
    coinbase = bytes.fromhex(
        "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff0704ffff001d0104ffffffff"
        "0100f2052a0100000043410496b538e853519c726a2c91e61ec11600ae1390813a627c66fb8be7947be63c52da7589379515d4e0a6"
        "04f8141781e62294721166bf621e73a82cbf2342c858eeac00000000"
    )

    found = chain.query("bridge.inclusion", r.GetInclusion("bitcoin", hash_of(headers[0]), coinbase, 0, 1, ()))

    assert (found.height, found.confirmations) == (1, 3)
