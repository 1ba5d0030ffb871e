"""The history: a row for every slice that ends for a provider, kept for a while; and what being late costs."""

from __future__ import annotations

from typing import Any

import pytest
from support import bundles
from support.bundles import BOUND_HASH, CUBIC_HASH, inputs_of
from support.chain import Chain, address, key_of
from theblock_node.core.domains.compute import history, queries
from theblock_node.core.domains.compute import records as r
from theblock_node.core.domains.compute.rules import slice_context, slice_task
from theblock_node.core.proofs import gpu_hash

FORGE = "forge-0"
BOND = 1000
"""Of a slice."""


def make_chain(**params: int) -> Chain:
    """``forge`` offers units at 10, each with a bond of 1000; time of grace is a minute and more."""
    chain = Chain(funded={"forge": 10**15}, params={"compute_grace_blocks": 100, **params})
    chain.ok("owner", "compute.register_provider", r.RegisterProvider(FORGE, key_of("forge").public_key, 10**6))
    chain.ok("owner", "compute.post_offer", r.PostOffer(FORGE, r.Lane.CONSUMER, 10, 1000, BOND))
    return chain


def post(chain: Chain, *, slices: int = 1, deadline_blocks: int = 1) -> bytes:
    work = r.HashWork(gpu_hash.HashAlgorithm.BLAKE3, b"\5" * 32, slices, 40)
    chain.ok("alice", "compute.post_job", r.PostJob(r.Lane.CONSUMER, work, 20, deadline_blocks))
    found: bytes = chain.events("compute.job_posted")[-1].job_id
    return found


def post_proofs(chain: Chain, count: int) -> bytes:
    chain.ok("bob", "compute.register_circuit", bundles.registration())
    work = r.SnarkWork(BOUND_HASH, (inputs_of(3),) * count)
    chain.ok("alice", "compute.post_job", r.PostJob(r.Lane.CONSUMER, work, 20, 1000))
    found: bytes = chain.events("compute.job_posted")[-1].job_id
    return found


def deliver(chain: Chain, job_id: bytes, index: int = 0) -> list[Any]:
    job = chain.query("compute.job", r.GetJob(job_id)).job
    digests = gpu_hash.compute_digests(slice_task(job, index))
    output = r.HashOutput(*gpu_hash.open_output(slice_context(job_id, index), digests))
    return chain.ok("forge", "compute.submit_slice", r.SubmitSlice(job_id, index, output))


def prove(chain: Chain, job_id: bytes, index: int) -> bundles.ProofBundle:
    bundle = bundles.make(chain.params.chain_id, job_id, index, 3, key_of("forge"))
    chain.ok("forge", "compute.submit_slice", r.SubmitSlice(job_id, index, bundle))
    return bundle


def page(chain: Chain, limit: int = 0, before: int = 0) -> r.SlaHistoryPage:
    found = chain.query("compute.sla_history", r.ListSlaHistory(limit, before))
    assert isinstance(found, r.SlaHistoryPage)
    return found


@pytest.mark.parametrize(("late", "taken"), [(0, 0), (1, 2), (30, 50), (60, 100), (600, 1000), (10**6, 1000)])
def test_being_late_costs_a_tenth_of_the_bond_a_minute(late, taken):
    assert history.compute_late_penalty(1000, late) == taken


def test_late_slice_is_paid_less_what_it_costs():
    chain = make_chain()
    job_id = post(chain)
    deadline = chain.height + 1
    chain.run_to(deadline + 29)
    buyer, owner = chain.balance("alice"), chain.balance("owner")

    told = deliver(chain, job_id)

    late = r.SliceLate(job_id, 0, FORGE, 30, 50)
    assert told[-1] == late
    assert (chain.balance("alice"), chain.balance("owner")) == (buyer + 10 + 25, owner + 10)
    (row,) = chain.query("compute.providers", r.ListProviders("", 0)).providers
    assert (row.bond, row.locked, row.settled, row.violated) == (10**6 - 50, 0, 1, 0)
    (entry,) = page(chain).entries
    assert entry == r.Resolution(
        1, 1, job_id, 0, FORGE, address("alice"), r.Outcome.COMPLETED, r.Reason.LATE, 25, 35, 10, deadline,
        chain.height, None,
    )  # fmt: skip
    assert chain.replay().root == chain.state.root


def test_late_slice_earns_no_reputation():
    chain = make_chain(compute_grace_blocks=1)
    post(chain)
    chain.run(3)  # Missed, so that there is reputation to earn.
    job_id, late_id = post(chain, deadline_blocks=50), post(chain)

    def reputation() -> int:
        (row,) = chain.query("compute.providers", r.ListProviders("", 0)).providers
        return int(row.reputation)

    before = reputation()
    chain.run(1)
    deliver(chain, late_id)
    assert reputation() == before == r.REPUTATION_MAX - r.SLICE_PENALTY
    deliver(chain, job_id)
    assert reputation() == before + 1


def test_missed_slice_costs_the_bond_and_is_told_so():
    chain = make_chain(compute_grace_blocks=0)
    job_id = post(chain)
    chain.run(2)
    (entry,) = page(chain).entries
    assert (entry.job_id, entry.outcome, entry.reason) == (job_id, r.Outcome.VIOLATED, r.Reason.DEADLINE_MISSED)
    assert (entry.burned, entry.refunded, entry.payout) == (BOND // 2, 20 + BOND // 2, 0)


def test_vote_can_turn_slashing_off():
    chain = make_chain(compute_grace_blocks=2, compute_sla_slashing_enabled=0)
    job_id = post(chain, slices=2)
    chain.run(2)
    deliver(chain, job_id)
    chain.run(2)
    entries = page(chain).entries
    assert [(entry.reason, entry.burned) for entry in entries] == [
        (r.Reason.DEADLINE_MISSED, 0),
        (r.Reason.LATE, 0),
    ]
    (row,) = chain.query("compute.providers", r.ListProviders("", 0)).providers
    assert (row.bond, row.locked, row.violated) == (10**6, 0, 1)


def test_open_slices_leave_no_row():
    chain = make_chain()
    chain.ok("owner", "compute.withdraw_offer", r.WithdrawOffer(FORGE))
    chain.ok("alice", "compute.cancel_job", r.CancelJob(post(chain)))
    assert page(chain) == r.SlaHistoryPage((), 0)


def test_pages_go_back_from_the_youngest():
    chain = make_chain()
    job_id = post(chain, slices=5, deadline_blocks=50)
    for index in range(5):
        deliver(chain, job_id, index)

    first = page(chain, limit=2)
    second = page(chain, limit=2, before=first.before)
    last = page(chain, limit=2, before=second.before)

    assert [[entry.index for entry in found.entries] for found in (first, second, last)] == [[4, 3], [2, 1], [0]]
    assert (last.before, page(chain).entries) == (0, (*first.entries, *second.entries, *last.entries))


def test_page_holds_a_bounded_number_of_bytes(monkeypatch):
    chain = make_chain()
    job_id = post_proofs(chain, 3)
    for index in range(3):
        prove(chain, job_id, index)
    monkeypatch.setattr(queries, "HISTORY_BYTES_MAX", 1500)
    sizes, before = [], 0
    while True:
        found = page(chain, before=before)
        sizes.append(len(found.entries))
        before = found.before
        if not before:
            break
    assert sizes == [2, 1]


def test_first_bundles_of_a_job_are_kept():
    chain = make_chain()
    job_id = post_proofs(chain, r.PROOFS_KEPT_MAX + 1)
    made = [prove(chain, job_id, index) for index in range(r.PROOFS_KEPT_MAX + 1)]
    assert [entry.bundle for entry in reversed(page(chain).entries)] == [*made[:-1], None]


def test_rows_are_dropped_when_they_are_old_a_bounded_number_a_block(monkeypatch):
    monkeypatch.setattr(history, "PRUNED_A_BLOCK_MAX", 2)
    chain = make_chain(compute_sla_history_blocks=10, compute_grace_blocks=0)
    post(chain, slices=3)
    chain.run(2)
    resolved = chain.height
    chain.run_to(resolved + 9)
    assert len(page(chain).entries) == 3
    chain.run(1)
    assert [entry.index for entry in page(chain).entries] == [2]
    chain.run(1)
    assert page(chain).entries == ()
    job_id = post(chain, deadline_blocks=50)
    deliver(chain, job_id)
    assert [entry.sequence for entry in page(chain).entries] == [4]
    assert chain.replay().root == chain.state.root


def test_unbound_statements_outlive_the_history():
    chain = make_chain(compute_sla_history_blocks=1)
    chain.ok("bob", "compute.register_circuit", bundles.registration(CUBIC_HASH))
    work = r.SnarkWork(CUBIC_HASH, (inputs_of(3),) * 2)
    chain.ok("alice", "compute.post_job", r.PostJob(r.Lane.CONSUMER, work, 20, 50))
    job_id = chain.events("compute.job_posted")[-1].job_id
    made = [bundles.make(chain.params.chain_id, job_id, index, 3, key_of("forge"), CUBIC_HASH) for index in range(2)]
    chain.ok("forge", "compute.submit_slice", r.SubmitSlice(job_id, 0, made[0]))
    chain.run(3)
    assert page(chain).entries == ()
    again = r.SubmitSlice(job_id, 1, made[1])
    assert chain.refused("forge", "compute.submit_slice", again) == "compute.statement_used"
