"""What was checked once is not checked again, and what merely looks like it is; no block does anything else for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import bundles
from support.chain import Chain, address, key_of
from theblock_node.core import codec, transition
from theblock_node.core.domains import REGISTRY
from theblock_node.core.domains.accounts import Transfer
from theblock_node.core.domains.compute import records as r
from theblock_node.core.errors import InvalidBlock
from theblock_node.core.proofs import groth16
from theblock_node.core.tx import Ed25519Auth, TxEnvelope
from theblock_node.services.chain.checks import Proofs, Verified

PAY = Transfer(address("bob"), 5, 0)


def test_what_was_checked_is_remembered_with_its_signature():
    chain, verified = Chain(), Verified()
    tx = chain.check(chain.tx("alice", "accounts.transfer", PAY))
    verified.add(tx)
    forged = replace(tx, envelope=replace(tx.envelope, auth=Ed25519Auth(key_of("alice").public_key, bytes(64))))

    assert verified(tx)
    assert forged.id == tx.id
    assert not verified(forged)


def test_a_forged_twin_of_a_checked_transaction_makes_a_block_invalid():
    chain, verified = Chain(), Verified()
    tx = chain.check(chain.tx("alice", "accounts.transfer", PAY))
    verified.add(tx)
    block, _ = chain.propose(tx.envelope)
    forged = replace(tx.envelope, auth=Ed25519Auth(key_of("alice").public_key, bytes(64)))
    twin = replace(block, body=replace(block.body, transactions=(forged,)))

    def apply(offered):
        return transition.apply_block(
            chain.state, chain.tip.header, offered, chain=chain.params, registry=REGISTRY, is_verified=verified
        )

    assert apply(block).receipts[0].error_code == ""
    with pytest.raises(InvalidBlock) as refused:
        apply(twin)
    assert refused.value.facts["cause"] == "tx.bad_signature"


def test_memory_is_bounded_and_forgets_the_oldest():
    chain, verified = Chain(), Verified(capacity=3)
    txs = [chain.check(chain.tx("alice", "accounts.transfer", PAY, nonce=nonce)) for nonce in range(1, 6)]
    for tx in txs:
        verified.add(tx)

    assert [verified(tx) for tx in txs] == [False, False, True, True, True]
    assert len({codec.encode(tx.envelope) for tx in txs}) == 5


def market() -> tuple[Chain, bytes]:
    """A chain with a job of four proofs of the bound circuit, assigned to ``forge``; and its id."""
    chain = Chain(funded={"forge": 10**15})
    chain.ok("owner", "compute.register_provider", r.RegisterProvider("forge-0", key_of("forge").public_key, 10**6))
    chain.ok("owner", "compute.post_offer", r.PostOffer("forge-0", r.Lane.CONSUMER, 10, 100, 0))
    chain.ok("bob", "compute.register_circuit", bundles.registration())
    work = r.SnarkWork(bundles.BOUND_HASH, tuple(bundles.inputs_of(3 + index) for index in range(4)))
    chain.ok("alice", "compute.post_job", r.PostJob(r.Lane.CONSUMER, work, 20, 50))
    return chain, chain.events("compute.job_posted")[-1].job_id


def delivery(chain: Chain, job_id: bytes, index: int, twist: str = "", *, nonce: int | None = None) -> TxEnvelope:
    made = bundles.make(chain.params.chain_id, job_id, index, 3 + index, key_of("forge"))
    if twist == "proof":
        made = replace(made, proof=bundles.make(chain.params.chain_id, job_id, index, 9, key_of("forge")).proof)
    elif twist == "points":
        made = replace(made, proof=bytes(128))
    elif twist == "input":
        made = replace(made, public_inputs=(bytes(32), made.public_inputs[1]))
    command = r.SubmitSlice(job_id, index, bundles.sign(made, key_of("forge")))
    return chain.tx("forge", "compute.submit_slice", command, nonce=nonce)


def look(chain: Chain, proofs: Proofs, envelope: TxEnvelope) -> None:
    head = chain.tip.header
    proofs.look_ahead(chain.check(envelope), chain.state, head, chain=chain.params, registry=REGISTRY)


@pytest.fixture
def pairings(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The proofs that were verified."""
    done: list[bytes] = []
    verify = groth16.verify

    def counting(prepared: groth16.PreparedKey, inputs: Sequence[int], proof: groth16.Proof) -> None:
        done.append(groth16.encode_proof(proof))
        verify(prepared, inputs, proof)

    monkeypatch.setattr(groth16, "verify", counting)
    return done


def test_proof_that_was_verified_at_the_door_is_not_verified_in_the_block(pairings):
    (chain, job_id), proofs = market(), Proofs()
    envelope = delivery(chain, job_id, 0)
    pairings.clear()

    look(chain, proofs, envelope)
    assert len(pairings) == 1
    block, expected = chain.propose(envelope)
    assert len(pairings) == 2
    applied = transition.apply_block(
        chain.state, chain.tip.header, block, chain=chain.params, registry=REGISTRY, check_proof=proofs
    )
    assert (len(pairings), applied.receipts[0].error_code) == (2, "")
    assert applied.changes == expected.changes


@pytest.mark.parametrize("twist", ["proof", "points", "input"])
def test_proof_that_does_not_hold_is_not_remembered(twist):
    (chain, job_id), proofs = market(), Proofs()
    look(chain, proofs, delivery(chain, job_id, 0))
    wrong = delivery(chain, job_id, 0, twist)

    look(chain, proofs, wrong)

    block, expected = chain.propose(wrong)
    applied = transition.apply_block(
        chain.state, chain.tip.header, block, chain=chain.params, registry=REGISTRY, check_proof=proofs
    )
    assert expected.receipts[0].error_code.startswith("compute.proof_")
    assert applied.receipts == expected.receipts


def test_only_what_may_be_delivered_is_looked_at_and_only_as_much_as_a_block_holds(pairings):
    (chain, job_id), proofs = market(), Proofs()
    stranger = r.SubmitSlice(job_id, 0, chain.check(delivery(chain, job_id, 0)).arguments.output)
    wrong = [chain.check(delivery(chain, job_id, index, "proof")) for index in range(4)]
    head = chain.tip.header
    pairings.clear()

    look(chain, proofs, chain.tx("alice", "compute.submit_slice", stranger))
    look(chain, proofs, chain.tx("alice", "accounts.transfer", PAY))
    assert pairings == []
    for tx in wrong * 10:
        proofs.look_ahead(tx, chain.state, head, chain=chain.params, registry=REGISTRY)
    assert len(pairings) == 16  # Of 64 units, four each.
    chain.run(1)
    look(chain, proofs, delivery(chain, job_id, 0))
    assert len(pairings) == 17


def test_memory_of_proofs_is_bounded(pairings):
    chain, job_id = market()
    proofs = Proofs(capacity=2)
    key = chain.query("compute.circuit", r.GetCircuit(bundles.BOUND_HASH)).verifying_key
    made = [bundles.make(chain.params.chain_id, job_id, index, 3, key_of("forge")) for index in range(3)]
    pairings.clear()
    for bundle in (*made, made[2], made[1], made[0]):
        proofs(bundle, key)
    assert len(pairings) == 4


def test_each_verification_is_timed_whatever_it_finds():
    chain, job_id = market()
    ticks = iter((1.0, 1.25, 2.0, 2.5))
    proofs = Proofs(clock_s=lambda: next(ticks))
    took: list[float] = []
    proofs.took_ms = took.append
    for envelope in (delivery(chain, job_id, 0, "proof"), delivery(chain, job_id, 0), delivery(chain, job_id, 0)):
        look(chain, proofs, envelope)
    assert took == [250, 500]


DELIVERIES = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(["", "", "proof", "points", "input"]), st.booleans()), max_size=6
)


@settings(max_examples=25, deadline=None)
@given(blocks=st.lists(DELIVERIES, min_size=1, max_size=3))
def test_blocks_do_the_same_with_and_without_what_was_looked_at(blocks):
    (chain, job_id), proofs = market(), Proofs()
    for deliveries in blocks:
        nonce = chain.nonce("forge")
        envelopes = [
            delivery(chain, job_id, index, twist, nonce=nonce + at)
            for at, (index, twist, _) in enumerate(deliveries, start=1)
        ]
        for envelope, (_, _, is_seen) in zip(envelopes, deliveries, strict=True):
            if is_seen:
                look(chain, proofs, envelope)
        parent = chain.tip.header
        block, _ = chain.propose(*envelopes)
        ahead = transition.apply_block(
            chain.state, parent, block, chain=chain.params, registry=REGISTRY, check_proof=proofs
        )
        plain = chain.take(block)
        assert ahead.tree.root == plain.tree.root
        assert replace(ahead, tree=plain.tree) == plain
