"""Rules of the storage market: pledges, contracts, challenges, payment, loss, moves and leaving."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.chain import Chain, address, key_of
from theblock_node.core import merkle
from theblock_node.core.domains import accounts
from theblock_node.core.domains.storage import records as r
from theblock_node.core.domains.storage.rules import ack_message
from theblock_node.core.numeric import BLOCK
from theblock_node.core.proofs import retrieval

GIB = 2**30
PRICE = 4 * 2**20
"""nBLOCK per GiB: a replica of one shard of 256 bytes costs one a block."""
SIZE = 256
SHARDS = [bytes([slot]) * SIZE for slot in range(3)]
IDS = [retrieval.shard_id(slot, shard) for slot, shard in enumerate(SHARDS)]
ROOT = merkle.list_root(IDS)
CORE = b"o" * 32
BOND = 64 * BLOCK
CAPACITY = 64 * 2**20
NAMES = ("p-0", "p-1", "p-2", "p-3")


def terms(name: str, **changes: Any) -> r.RegisterProvider:
    made = r.RegisterProvider(name, key_of(name).public_key, "eu-west", CAPACITY, PRICE, BOND)
    return replace(made, **changes)


def make_chain(**params: int) -> Chain:
    """Four providers of ``owner``; deadlines are long unless told otherwise."""
    chain = Chain(funded=dict.fromkeys(NAMES, 10**12), params=params)
    for name in NAMES:
        chain.ok("owner", "storage.register_provider", terms(name))
    return chain


def offer(name: str, *slots: int, root: bytes = ROOT, **changes: Any) -> r.ReplicaOffer:
    message = ack_message(1_000_002, CORE, root, name, slots)
    return replace(r.ReplicaOffer(name, slots, SIZE * len(slots), key_of(name).sign(message)), **changes)


def anchoring(*offers: r.ReplicaOffer, **changes: Any) -> r.AnchorManifest:
    offers = offers or (offer("p-0", 0), offer("p-1", 1), offer("p-2", 2))
    return replace(r.AnchorManifest(b"m" * 32, CORE, ROOT, 1, 2, 1, 500, 1000, offers), **changes)


def anchor(chain: Chain, command: r.AnchorManifest | None = None) -> r.Contract:
    told = chain.ok("alice", "storage.anchor_manifest", command or anchoring())
    return chain.query("storage.contract", r.GetContract(told[-1].contract_id)).contract


def provider(chain: Chain, name: str) -> r.Provider:
    return chain.query("storage.provider", r.GetProvider(name)).provider


def replica(chain: Chain, contract: r.Contract, name: str) -> r.Replica:
    rows = chain.query("storage.contract", r.GetContract(contract.contract_id)).replicas
    return next(row for row in rows if row.provider_id == name)


def wait_challenge(chain: Chain, name: str) -> r.Challenge:
    """Blocks until the provider is asked."""
    for _ in range(40):
        found = chain.query("storage.challenges", r.ListChallenges(name)).challenges
        if found:
            return found[0]
        chain.run(1)
    raise AssertionError(f"{name} is never asked")


def answer(chain: Chain, contract: r.Contract, challenge: r.Challenge) -> r.AnswerChallenge:
    held = replica(chain, contract, challenge.provider_id)
    asked = retrieval.compute_samples(
        challenge.beacon,
        contract.contract_id.hex(),
        challenge.provider_id,
        challenge.epoch,
        chunk_count=1,
        slots=held.slots,
        count=4,
    )
    openings = tuple(retrieval.open_sample(sample, SHARDS[sample.slot], IDS, 3) for sample in asked)
    return r.AnswerChallenge(contract.contract_id, challenge.provider_id, challenge.epoch, openings)


def check_books(chain: Chain) -> None:
    """Money is kept, and what providers have locked and used is what their replicas say."""
    assert chain.money() == chain.minted()
    held = [row for _, row in chain.state.items(r.REPLICAS) if row.status is r.ReplicaStatus.HELD]
    for name in NAMES:
        mine = [row for row in held if row.provider_id == name]
        row = provider(chain, name)
        assert row.used_bytes == sum(one.size for one in mine)
        assert row.slots_held == sum(len(one.slots) for one in mine)
        assert row.locked == sum(one.collateral for one in mine)
        assert row.locked <= row.bond
    assert chain.replay().root == chain.state.root


# Pledges.


def test_terms_may_change_and_the_bond_rise():
    chain = make_chain()
    before = chain.balance("owner")

    told = chain.ok("owner", "storage.register_provider", terms("p-0", bond=BOND + 5, price_per_block=9))

    assert told == [r.ProviderRegistered("p-0", address("owner"), CAPACITY, 9, BOND + 5, 2)]
    assert before - chain.balance("owner") >= 5
    check_books(chain)


@pytest.mark.parametrize(
    ("sender", "command", "code"),
    [
        pytest.param("bob", terms("p-0"), "storage.provider_exists", id="of-another-owner"),
        pytest.param("owner", terms("p-0", bond=BOND - 1), "storage.bond_lowered", id="less-bond"),
        pytest.param(
            "owner", terms("p-9", capacity_bytes=CAPACITY + 1), "storage.pledge_above_bond", id="one-byte-too-many"
        ),
        pytest.param("owner", terms("p-9", capacity_bytes=0), "storage.capacity_below_use", id="nothing-pledged"),
        pytest.param("owner", terms("p-9", bond=10**18), "accounts.insufficient_balance", id="more-than-there-is"),
    ],
)
def test_pledge_is_refused(sender, command, code):
    chain = make_chain()
    assert chain.refused(sender, "storage.register_provider", command) == code


def test_key_may_not_change_under_held_slots():
    chain = make_chain()
    anchor(chain)
    changed = terms("p-0", member_key=key_of("new").public_key)
    assert chain.refused("owner", "storage.register_provider", changed) == "storage.key_in_use"
    chain.ok("owner", "storage.register_provider", terms("p-3", member_key=key_of("new").public_key))


# Contracts.


def test_anchoring_locks_deposit_room_and_collateral():
    chain = make_chain()
    before = chain.balance("alice")

    contract = anchor(chain)

    assert (contract.price_per_block, contract.deposit, contract.paid) == (3, 3000, 0)
    assert before - chain.balance("alice") >= 3000
    assert [(provider(chain, name).locked, provider(chain, name).used_bytes) for name in NAMES] == [
        (1000, SIZE), (1000, SIZE), (1000, SIZE), (0, 0),
    ]  # fmt: skip
    check_books(chain)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        pytest.param(anchoring(data=0), "storage.layout_forbidden", id="no-data"),
        pytest.param(anchoring(parity=0), "storage.layout_forbidden", id="no-parity"),
        pytest.param(anchoring(data=200, parity=56), "storage.layout_forbidden", id="256-slots"),
        pytest.param(anchoring(chunk_count=0), "storage.layout_forbidden", id="no-chunks"),
        pytest.param(anchoring(chunk_count=65_537), "storage.layout_forbidden", id="too-many-chunks"),
        pytest.param(anchoring(original_bytes=0), "storage.layout_forbidden", id="empty"),
        pytest.param(anchoring(retention_blocks=0), "storage.layout_forbidden", id="no-time"),
        pytest.param(anchoring(offer("p-0", 0), offer("p-1", 1)), "storage.manifest_slots", id="a-slot-short"),
        pytest.param(anchoring(offer("p-0", 0, 1), offer("p-1", 1, 2)), "storage.manifest_slots", id="a-slot-twice"),
        pytest.param(
            anchoring(offer("p-0", 0), offer("p-0", 1), offer("p-2", 2)), "storage.manifest_slots", id="named-twice"
        ),
        pytest.param(anchoring(offer("p-0", 1, 0), offer("p-1", 2)), "storage.manifest_slots", id="descending"),
        pytest.param(anchoring(offer("p-0", 0, 1), offer("p-1", 2, size=0)), "storage.manifest_slots", id="no-bytes"),
        pytest.param(anchoring(offer("p-0", 0, 1), offer("p-9", 2)), "storage.unknown_provider", id="unknown"),
        pytest.param(
            anchoring(offer("p-0", 0, 1), offer("p-1", 2, size=CAPACITY + 1)), "storage.capacity_exhausted", id="room"
        ),
        pytest.param(anchoring(retention_blocks=BOND + 1), "storage.collateral_exhausted", id="more-than-its-bond"),
        pytest.param(
            anchoring(offer("p-0", 0, 1), offer("p-1", 2, root=bytes(32))), "storage.bad_ack", id="other-root-signed"
        ),
        pytest.param(
            anchoring(offer("p-0", 0, 1), replace(offer("p-1", 2), signature=offer("p-2", 2).signature)),
            "storage.bad_ack",
            id="signed-by-another",
        ),
    ],
)
def test_anchoring_is_refused(command, code):
    chain = make_chain()
    assert chain.refused("alice", "storage.anchor_manifest", command) == code
    check_books(chain)


def test_anchoring_needs_open_providers_money_and_a_new_name():
    chain = make_chain()
    anchor(chain)
    assert chain.refused("bob", "storage.anchor_manifest", anchoring()) == "storage.manifest_exists"
    again = anchoring(manifest_id=b"n" * 32)
    chain.ok("owner", "storage.set_maintenance", r.SetMaintenance("p-1", True))
    assert chain.refused("bob", "storage.anchor_manifest", again) == "storage.provider_closed"
    chain.ok("owner", "storage.set_maintenance", r.SetMaintenance("p-1", False))
    chain.ok("alice", "accounts.transfer", accounts.Transfer(address("poor"), 10**9, 0))
    dear = replace(again, retention_blocks=10**9)
    assert chain.refused("poor", "storage.anchor_manifest", dear, max_fee=10**8) == "storage.escrow_insufficient"


# Challenges and payment.


def test_answer_pays_for_the_blocks_since_the_last_one():
    chain = make_chain(por_deadline_blocks=100)
    contract = anchor(chain)
    start, before = contract.start_height, chain.balance("owner")
    challenge = wait_challenge(chain, "p-0")
    # Fees of the providers are paid from their own accounts, so the owner's balance shows the rent alone.

    told = chain.ok("p-0", "storage.answer_challenge", answer(chain, contract, challenge))

    paid = chain.height - 1 - start
    assert told == [r.ChallengeAnswered(contract.contract_id, "p-0", challenge.epoch, paid)]
    assert chain.balance("owner") - before >= paid > 0
    held = replica(chain, contract, "p-0")
    assert (held.successes, held.misses_in_row, held.paid_until) == (1, 0, chain.height - 1)
    check_books(chain)


def test_every_wrong_answer_is_refused():
    chain = make_chain(por_deadline_blocks=200)
    contract = anchor(chain)
    challenge = wait_challenge(chain, "p-0")
    good = answer(chain, contract, challenge)
    first, rest = good.openings[0], good.openings[1:]
    wrong = {
        "storage.por_root": replace(first, data=b"x" * SIZE),
        "storage.por_path": replace(first, shard_path=first.shard_path[:-1]),
        "storage.por_length": replace(first, shard_bytes=SIZE + 1),
    }
    for code, opening in wrong.items():
        command = replace(good, openings=(opening, *rest))
        assert chain.refused("p-0", "storage.answer_challenge", command) == code
    for command, code in (
        (replace(good, openings=good.openings[:-1]), "storage.por_length"),
        (replace(good, epoch=good.epoch + 1), "storage.por_not_due"),
        (replace(good, contract_id=bytes(32)), "storage.unknown_contract"),
        (replace(good, provider_id="p-3"), "storage.not_owner"),
        (replace(good, provider_id="p-9"), "storage.unknown_provider"),
    ):
        assert chain.refused("p-0", "storage.answer_challenge", command) == code
    assert chain.refused("bob", "storage.answer_challenge", good) == "storage.not_owner"
    chain.ok("p-0", "storage.answer_challenge", good)
    assert chain.refused("p-0", "storage.answer_challenge", good) == "storage.por_not_due"


def test_silence_costs_rent_then_the_slots():
    chain = make_chain(por_deadline_blocks=4, por_misses_max=2)
    contract = anchor(chain)
    before = chain.balance("alice")

    while replica(chain, contract, "p-0").status is not r.ReplicaStatus.LOST:
        chain.run(1)

    missed, lost = chain.events("storage.challenge_missed"), chain.events("storage.shard_lost")
    mine = [event for event in missed if event.provider_id == "p-0"]
    assert [event.misses_in_row for event in mine] == [1, 2]
    assert all(event.slashed > 0 for event in missed)
    slashed = [event.slashed for event in [*missed, *lost]]
    assert chain.balance("alice") - before == sum(amount - amount // 2 for amount in slashed)
    row = provider(chain, "p-0")
    assert row.bond == BOND - sum(event.slashed for event in [*mine, *lost] if event.provider_id == "p-0")
    assert (row.proof_failures, row.reputation) == (2, r.REPUTATION_MAX - 2 - 50)
    check_books(chain)


# Moves.


def move(contract: r.Contract, source: str, target: r.ReplicaOffer, name: bytes = b"n" * 32) -> r.MoveReplica:
    return r.MoveReplica(contract.contract_id, source, name, target)


def leave(chain: Chain, name: str) -> None:
    chain.ok("owner", "storage.set_maintenance", r.SetMaintenance(name, True))


def test_leaving_provider_hands_its_slots_to_another_and_may_then_retire():
    chain = make_chain()
    contract = anchor(chain)
    leave(chain, "p-0")
    assert chain.refused("owner", "storage.retire_provider", r.RetireProvider("p-0")) == "storage.slots_held"

    told = chain.ok("p-0", "storage.move_replica", move(contract, "p-0", offer("p-3", 0)))

    assert told == [r.ReplicaMoved(contract.contract_id, "p-0", "p-3", (0,), b"n" * 32)]
    assert replica(chain, contract, "p-0").status is r.ReplicaStatus.MOVED
    assert chain.query("storage.contract", r.GetContract(b"m" * 32)).contract is None
    assert chain.query("storage.contract", r.GetContract(b"n" * 32)).contract.contract_id == contract.contract_id
    check_books(chain)
    chain.ok("owner", "storage.retire_provider", r.RetireProvider("p-0"))
    before = chain.balance("owner")
    chain.run(9)
    assert chain.balance("owner") - before == BOND
    assert provider(chain, "p-0").bond == 0


def test_slots_may_join_others_of_the_same_object():
    chain = make_chain(por_deadline_blocks=100)
    contract = anchor(chain)
    leave(chain, "p-0")
    since = replica(chain, contract, "p-1").paid_until

    chain.ok("p-0", "storage.move_replica", move(contract, "p-0", offer("p-1", 0)))

    held = replica(chain, contract, "p-1")
    assert (held.slots, held.size, held.price_per_block, held.collateral) == ((0, 1), 2 * SIZE, 2, 2000)
    moved_at, old_blocks = chain.height, chain.height - since
    check_books(chain)
    told = chain.ok("p-1", "storage.answer_challenge", answer(chain, contract, wait_challenge(chain, "p-1")))
    exact = old_blocks + 2 * (chain.height - 1 - moved_at)
    assert exact - 1 <= told[0].paid <= exact
    check_books(chain)


def test_lost_slots_may_be_taken_back_by_who_still_has_them():
    chain = make_chain(por_deadline_blocks=4, por_misses_max=1)
    contract = anchor(chain)
    while replica(chain, contract, "p-0").status is not r.ReplicaStatus.LOST:
        chain.run(1)

    chain.ok("p-0", "storage.move_replica", move(contract, "p-0", offer("p-0", 0), name=b"m" * 32))

    held = replica(chain, contract, "p-0")
    assert (held.status, held.slots, held.misses_in_row) == (r.ReplicaStatus.HELD, (0,), 0)
    assert chain.query("storage.contract", r.GetContract(b"m" * 32)).contract.contract_id == contract.contract_id
    check_books(chain)


@pytest.mark.parametrize(
    ("source", "target", "name", "code"),
    [
        pytest.param("p-1", offer("p-3", 1), b"n", "storage.not_leaving", id="who-stays"),
        pytest.param("p-3", offer("p-1", 0), b"n", "storage.unknown_replica", id="who-holds-nothing"),
        pytest.param("p-0", offer("p-3", 1), b"n", "storage.slots_differ", id="other-slots"),
        pytest.param("p-0", offer("p-3", 0, size=SIZE - 1), b"n", "storage.slots_differ", id="other-size"),
        pytest.param("p-0", offer("p-0", 0), b"n", "storage.already_held", id="to-itself"),
        pytest.param("p-0", offer("p-3", 0), b"x", "storage.manifest_exists", id="name-of-another-object"),
        pytest.param("p-0", offer("p-3", 0, root=bytes(32)), b"n", "storage.bad_ack", id="not-signed-for"),
        pytest.param("p-0", offer("p-9", 0), b"n", "storage.unknown_provider", id="unknown-target"),
    ],
)
def test_move_is_refused(source, target, name, code):
    chain = make_chain()
    contract = anchor(chain)
    anchor(chain, anchoring(manifest_id=b"x" * 32))
    leave(chain, "p-0")
    command = move(contract, source, target, name=name * 32)
    assert chain.refused("p-0", "storage.move_replica", command) == code
    check_books(chain)


# Endings.


def test_releasing_gives_back_what_was_not_paid():
    chain = make_chain(por_deadline_blocks=100)
    contract = anchor(chain)
    chain.ok("p-0", "storage.answer_challenge", answer(chain, contract, wait_challenge(chain, "p-0")))
    paid = chain.query("storage.contract", r.GetContract(contract.contract_id)).contract.paid
    release = r.ReleaseManifest(contract.contract_id)
    assert chain.refused("bob", "storage.release_manifest", release) == "storage.not_owner"

    told = chain.ok("alice", "storage.release_manifest", release)

    assert told == [r.ManifestReleased(contract.contract_id, 3000 - paid)]
    assert chain.refused("alice", "storage.release_manifest", release) == "storage.unknown_contract"
    assert chain.query("storage.challenges", r.ListChallenges("")).challenges == ()
    assert all(provider(chain, name).locked == 0 for name in NAMES)
    chain.run(20)
    assert chain.events("storage.challenge_missed") == []
    check_books(chain)
