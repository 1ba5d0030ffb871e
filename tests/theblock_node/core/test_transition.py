"""What a block does: what holds for every chain, what is refused, and that the checks of it find planted faults."""

from dataclasses import dataclass, replace
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.chain import Chain, address, key_of
from theblock_node.core import codec, tx
from theblock_node.core.address import address_of
from theblock_node.core.block import Block, DoubleVote, Evidence, tx_root
from theblock_node.core.domain import Context, Domain, Registry
from theblock_node.core.domains import DOMAINS, accounts, escrow, supply, validators
from theblock_node.core.domains.accounts import Transfer
from theblock_node.core.errors import InvalidBlock, InvalidTx
from theblock_node.core.numeric import U8, U64, MaxLen
from theblock_node.core.state import Changes
from theblock_node.core.transition import FAILED, SUCCESS, apply_block

BOB = address("bob")
PAY = Transfer(BOB, 5, 0)

probe = Domain("probe", service="Probe")


@dataclass(frozen=True, slots=True)
class Mark:
    version: U8
    text: Annotated[str, MaxLen(8)]


MARKS = probe.table("probe/mark", U64, Mark)


@dataclass(frozen=True, slots=True)
class Poke:
    """Write ``text``, tell of it ``count`` times, hold ``amount``, then refuse if ``text`` is "no"."""

    text: str
    count: U64
    amount: U64


@probe.event
@dataclass(frozen=True, slots=True)
class Poked:
    text: Annotated[str, MaxLen(16)]


@probe.rule(Poke)
def poke(ctx: Context, command: Poke) -> None:
    ctx.draft.put(MARKS, 1, Mark(1, command.text))
    escrow.hold(ctx, "probe", b"", ctx.sender, command.amount)
    for _ in range(command.count):
        ctx.emit(Poked(command.text))
    if command.text == "no":
        raise InvalidTx("probe.no")


PROBED = Registry([*DOMAINS, probe])


def apply(chain: Chain, block: Block):
    return apply_block(chain.state, chain.tip.header, block, chain=chain.params, registry=chain.registry)


def refusal(chain: Chain, block: Block) -> InvalidBlock:
    with pytest.raises(InvalidBlock) as refused:
        apply(chain, block)
    return refused.value


def test_a_block_pays_its_fees_and_says_so():
    chain = Chain()
    applied = chain.block(
        chain.tx("alice", "accounts.transfer", PAY, tip=700, pct=37),
        chain.tx("alice", "accounts.transfer", PAY, nonce=2),
    )

    first, second = applied.receipts
    fee = 1000 * 350
    assert (first.status, first.gas_used, first.base_fee_paid, first.tip_paid) == (SUCCESS, 1000, fee, 700)
    assert (first.fee_consumer, first.fee_industrial) == tx.decompose(37, fee + 700)
    assert (first.index, second.index, second.block_height) == (0, 1, 1)
    assert chain.balance("alice") == 10**15 - 2 * fee - 700 - 10
    assert accounts.get_balance(chain.state, address_of(chain.tip.header.proposer)) == 700
    assert supply.get_supply(chain.state).burned == 2 * fee
    assert chain.tip.header.gas_used == 2000


def test_the_base_fee_moves_with_the_gas_used():
    chain = Chain()
    chain.block(*[chain.tx("alice", "accounts.transfer", PAY, nonce=nonce) for nonce in range(1, 65)])
    chain.block()
    chain.block()

    fees = [block.header.base_fee for block in chain.blocks]
    assert fees == [350, 350, 350 - 350 * 36 // 100 // 8, fees[2] - fees[2] // 8]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        pytest.param(Poke("no", 1, 9), "probe.no", id="the-rule-refuses"),
        pytest.param(Poke("far too long", 0, 9), "codec.value", id="a-row-cannot-be-stored"),
        pytest.param(Poke("ok", 1025, 9), "codec.value", id="too-many-events"),
        pytest.param(Poke("ok", 0, 10**16), "accounts.insufficient_balance", id="too-poor"),
    ],
)
def test_a_failed_transaction_pays_and_leaves_nothing_else(command, code):
    chain = Chain(registry=PROBED)
    applied = chain.block(chain.tx("alice", "probe.poke", command), chain.tx("bob", "probe.poke", Poke("ok", 2, 1)))

    failed, fine = applied.receipts
    assert (failed.status, failed.error_code, failed.events) == (FAILED, code, ())
    assert (fine.status, len(fine.events), len(applied.tx_events[1])) == (SUCCESS, 2, 2)
    assert applied.tx_events[0] == ()
    assert chain.balance("alice") == 10**15 - failed.base_fee_paid
    assert chain.nonce("alice") == 1
    assert escrow.get_held(chain.state, "probe", b"") == 1
    assert chain.state.get(MARKS, 1) == Mark(1, "ok")
    assert chain.replay().root == chain.state.root


def test_an_event_that_cannot_be_told_fails_its_transaction():
    @dataclass(frozen=True, slots=True)
    class Shout:
        text: str

    loud = Domain("loud", service="Loud")
    loud.rule(Shout)(lambda ctx, command: ctx.emit(Poked(command.text)))
    loud.event(Poked)
    chain = Chain(registry=Registry([*DOMAINS, loud]))

    assert chain.refused("alice", "loud.shout", Shout("x" * 17)) == "codec.value"
    assert chain.ok("alice", "loud.shout", Shout("x" * 16)) == [Poked("x" * 16)]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"nonce": 2}, "tx.bad_nonce", id="a-gap"),
        pytest.param({"nonce": 0}, "tx.bad_nonce", id="used"),
        pytest.param({"max_fee": 349_999}, "tx.fee_below_base", id="below-the-base-fee"),
        pytest.param({"max_fee": 350_000, "tip": 1}, "tx.fee_below_base", id="the-tip-counts"),
        pytest.param({"expires_at_height": 3}, "tx.expired", id="too-late"),
    ],
)
def test_what_may_not_pay_is_left_out_and_makes_a_block_invalid(changes, code):
    chain = Chain(params={"min_base_fee": 350})
    chain.run(3)
    bad = chain.tx("alice", "accounts.transfer", PAY, **changes)
    good, _ = chain.propose()

    with pytest.raises(AssertionError, match=code):
        chain.propose(bad)
    refused = refusal(chain, replace(good, body=replace(good.body, transactions=(bad,))))

    assert refused.code == "block.root"
    header = replace(good.header, tx_root=_tx_root(bad))
    refused = refusal(chain, Block(header, replace(good.body, transactions=(bad,)), good.leader_sig))
    assert (refused.code, refused.facts["cause"]) == ("block.tx", code)


def _tx_root(*envelopes: tx.TxEnvelope) -> bytes:
    return tx_root([tx.tx_id(envelope.payload) for envelope in envelopes])


def test_one_who_cannot_pay_the_fee_is_left_out(chain):
    with pytest.raises(AssertionError, match=r"tx\.insufficient_balance"):
        chain.propose(chain.tx("pauper", "accounts.transfer", PAY))


def test_a_block_takes_what_fits():
    chain = Chain(overrides={"block_txs_max": 3})
    made, _ = chain.propose(*[chain.tx("alice", "accounts.transfer", PAY, nonce=nonce) for nonce in range(1, 6)])
    assert len(made.body.transactions) == 3

    over = [chain.tx("alice", "accounts.transfer", PAY, nonce=nonce) for nonce in range(1, 5)]
    assert refusal(chain, replace(made, body=replace(made.body, transactions=tuple(over)))).code == "block.size"


def test_gas_is_limited():
    chain = Chain(funded={"rich": 10**16}, overrides={"block_txs_max": 1000})
    txs = [chain.tx("rich", "accounts.transfer", PAY, nonce=nonce) for nonce in range(1, 203)]
    made, _ = chain.propose(*txs)

    assert len(made.body.transactions) == 200
    assert made.header.gas_used == 200_000


def _fault(name):
    def change(block: Block) -> Block:
        value = getattr(block.header, name)
        changed = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
        return replace(block, header=replace(block.header, **{name: changed}))

    return change


def _body(**changes):
    return lambda block: replace(block, body=replace(block.body, **changes))


def _resigned(block: Block) -> Block:
    first, *rest = block.body.transactions
    forged = replace(first, auth=replace(first.auth, signature=rest[0].auth.signature))
    return replace(block, body=replace(block.body, transactions=(forged, *rest)))


def _turned(block: Block) -> Block:
    return replace(block, body=replace(block.body, transactions=block.body.transactions[::-1]))


def _twice(block: Block) -> Block:
    return replace(block, body=replace(block.body, transactions=block.body.transactions[:1] * 2))


@pytest.mark.parametrize(
    ("plant", "code"),
    [
        pytest.param(_fault("state_root"), "block.state_root", id="state-root"),
        pytest.param(_fault("shard_roots_root"), "block.state_root", id="shard-roots"),
        pytest.param(_fault("gas_used"), "block.state_root", id="gas-used"),
        pytest.param(_fault("receipts_root"), "block.root", id="receipts-root"),
        pytest.param(_fault("tx_root"), "block.root", id="tx-root"),
        pytest.param(_fault("timestamp_ms"), None, id="the-time-alone-changes-nothing"),
        pytest.param(_body(transactions=()), "block.root", id="a-transaction-dropped"),
        pytest.param(_body(attestations=()), "block.state_root", id="votes-dropped"),
        pytest.param(_turned, "block.root", id="order"),
        pytest.param(_twice, "block.dup_tx", id="a-transaction-twice"),
        pytest.param(_resigned, "block.tx", id="a-forged-signature"),
    ],
)
def test_planted_faults_are_found(chain, plant, code):
    chain.run(4)
    block, _ = chain.propose(
        chain.tx("alice", "accounts.transfer", PAY),
        chain.tx("bob", "accounts.transfer", Transfer(address("alice"), 1, 1)),
    )
    assert len(block.body.attestations) == 4
    before = chain.state.root

    if code is None:
        apply(chain, plant(block))
    else:
        assert refusal(chain, plant(block)).code == code
    assert chain.state.root == before


def test_a_signature_that_was_checked_is_not_checked_again(chain):
    block, _ = chain.propose(chain.tx("alice", "accounts.transfer", PAY), chain.tx("bob", "accounts.transfer", PAY))
    forged = _resigned(block)
    ids = {tx.tx_id(envelope.payload) for envelope in block.body.transactions}

    assert refusal(chain, forged).facts["cause"] == "tx.bad_signature"
    apply_block(
        chain.state, chain.tip.header, forged, chain=chain.params, registry=chain.registry,
        is_verified=lambda checked: checked.id in ids,
    )  # fmt: skip


NAMES = ("alice", "bob", "carol")
MOVES = st.one_of(
    st.tuples(
        st.just("transfer"),
        st.sampled_from(NAMES),
        st.sampled_from(NAMES),
        st.sampled_from([0, 1, 10**6, 10**15, 2**64 - 1]),
    ),
    st.tuples(st.just("bond"), st.just("owner"), st.integers(0, 3), st.sampled_from([0, 1, 10**11])),
    st.tuples(st.just("unbond"), st.just("owner"), st.integers(0, 3), st.sampled_from([1, 10**11, 10**12])),
    st.tuples(
        st.just("poke"), st.sampled_from(NAMES), st.sampled_from(["ok", "no", "far too long"]), st.integers(0, 10**9)
    ),
    st.tuples(st.just("double vote"), st.just(""), st.integers(0, 2), st.integers(1, 3)),
)


def _envelope(chain: Chain, move, nonce: int, tip: int) -> tx.TxEnvelope:
    kind, name, where, amount = move
    if kind == "transfer":
        command = accounts.Transfer(address(where), amount, 1)
        return chain.tx(name, "accounts.transfer", command, nonce=nonce, tip=tip)
    if kind == "poke":
        return chain.tx(name, "probe.poke", Poke(where, 1, amount), nonce=nonce, tip=tip)
    identity = key_of(f"v-{where}").public_key
    made = validators.Bond if kind == "bond" else validators.Unbond
    return chain.tx(name, f"validators.{kind}", made(identity, validators.Role.VALIDATOR, amount), nonce=nonce, tip=tip)


def _blocks(chain: Chain, plan) -> None:
    for moves, slots in plan:
        evidence, envelopes, nonces = [], [], {name: chain.nonce(name) for name in (*NAMES, "owner")}
        for move in moves:
            if move[0] == "double vote":
                target = 4 * move[3]
                pair = [chain.vote(f"v-{move[2]}", (0, bytes(32)), (target, bytes([at]) * 32)) for at in range(2)]
                evidence.append(Evidence(1, DoubleVote(*pair)))
            else:
                nonces[move[1]] += 1
                envelopes.append(_envelope(chain, move, nonces[move[1]], tip=len(envelopes)))
        chain.block(*envelopes, slots=slots, evidence=evidence, may_leave_out=True)


PLANS = st.lists(st.tuples(st.lists(MOVES, max_size=6), st.integers(1, 3)), min_size=1, max_size=20)


@settings(max_examples=40, deadline=None)
@given(PLANS)
def test_money_is_kept_blocks_replay_and_undo(plan):
    chain = Chain(registry=PROBED, funded={"carol": 10**9})
    roots, nonces = [chain.state.root], []
    for step in plan:
        _blocks(chain, [step])
        roots.append(chain.state.root)
        nonces.append(chain.nonce("alice"))
        assert chain.money() == chain.minted()

    assert chain.state.root == chain.replay().root
    rows = list(chain.state.rows())
    assert nonces == sorted(nonces)
    for applied, root in zip(reversed(chain.applied), reversed(roots[:-1]), strict=True):
        chain.state.undo(applied.changes)
        assert chain.state.root == root
    for applied in chain.applied:
        chain.state.commit(applied.changes)
    assert list(chain.state.rows()) == rows


def test_planted_leak_of_money_is_found(chain, monkeypatch):
    """The sum above would see one nBLOCK."""
    monkeypatch.setattr(accounts, "credit", lambda draft, to, amount: _credit(draft, to, amount + 1))
    chain.ok("alice", "accounts.transfer", PAY)

    assert chain.money() == chain.minted() + 1


_credit = accounts.credit


def test_planted_change_of_a_row_is_found_by_undoing(chain):
    chain.run(2)
    root = chain.state.root
    applied = chain.block(chain.tx("alice", "accounts.transfer", PAY))
    rows = [
        replace(row, before=codec.encode(accounts.Account(1, address("alice"), 1, 0)))
        if row.before and row.table == "accounts/account"
        else row
        for row in applied.changes.rows
    ]

    chain.state.undo(Changes(tuple(rows)))

    assert chain.state.root != root
