"""Rules of the compute market: bonds, offers, jobs, assignment, results, violations; money is kept throughout."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import bundles
from support.chain import Chain, key_of
from theblock_node.core.domains import escrow
from theblock_node.core.domains.compute import records as r
from theblock_node.core.domains.compute.rules import BOND as BOND_PURSE
from theblock_node.core.domains.compute.rules import slice_context, slice_task
from theblock_node.core.proofs import gpu_hash
from theblock_node.core.proofs.gpu_hash import HashAlgorithm, HashOpening

BOND = 10**6
SEED = b"\x05" * 32
FORGE = "forge-0"


def make_chain(**options: Any) -> Chain:
    """``owner`` owns the provider of the member ``forge``, which offers units to consumers at 10."""
    chain = Chain(funded={"forge": 10**15, "mallory": 10**15}, **options)
    register(chain)
    offer(chain)
    return chain


def register(chain: Chain, name: str = FORGE, *, bond: int = BOND, member: str = "forge") -> None:
    chain.ok("owner", "compute.register_provider", r.RegisterProvider(name, key_of(member).public_key, bond))


def offer(
    chain: Chain, name: str = FORGE, *, price: int = 10, units: int = 100, bond: int = 0, lane: r.Lane = r.Lane.CONSUMER
) -> None:
    chain.ok("owner", "compute.post_offer", r.PostOffer(name, lane, price, units, bond))


def job_command(**changes: Any) -> r.PostJob:
    """Two slices of 40 digests; ``changes`` are the job's or its work's."""
    work = {"algorithm": HashAlgorithm.BLAKE3, "seed": SEED, "slice_count": 2, "digests_per_slice": 40}
    work |= {name: changes.pop(name) for name in list(changes) if name in work}
    return replace(r.PostJob(r.Lane.CONSUMER, r.HashWork(**work), 20, 5), **changes)


def post(chain: Chain, **changes: Any) -> bytes:
    told = chain.ok("alice", "compute.post_job", job_command(**changes))
    (posted,) = [record for record in told if isinstance(record, r.JobPosted)]
    return posted.job_id


def job_of(chain: Chain, job_id: bytes) -> tuple[r.Job, tuple[r.Slice, ...]]:
    reply = chain.query("compute.job", r.GetJob(job_id))
    return reply.job, reply.slices


def provider(chain: Chain, name: str = FORGE) -> r.Provider:
    rows = chain.query("compute.providers", r.ListProviders("", 0)).providers
    (row,) = [row for row in rows if row.provider_id == name]
    return row


def result(chain: Chain, job_id: bytes, index: int) -> r.SubmitSlice:
    """The right output of a slice."""
    task = slice_task(job_of(chain, job_id)[0], index)
    output = gpu_hash.open_output(slice_context(job_id, index), gpu_hash.compute_digests(task))
    return r.SubmitSlice(job_id, index, r.HashOutput(*output))


def statuses(chain: Chain, job_id: bytes) -> list[str]:
    return [piece.status.name for piece in job_of(chain, job_id)[1]]


def test_job_is_assigned_in_its_own_block_and_paid_slice_by_slice():
    chain = make_chain()
    before = chain.balance("owner")
    job_id = post(chain)

    assert statuses(chain, job_id) == ["ASSIGNED", "ASSIGNED"]
    told = chain.events("compute.job_assigned")
    assert [(one.index, one.provider_id, one.price_per_unit) for one in told] == [(0, FORGE, 10), (1, FORGE, 10)]
    page = chain.query("compute.assignments", r.ListAssignments(FORGE))
    assert [piece.index for piece in page.slices] == [0, 1]
    assert (provider(chain).running, provider(chain).locked) == (2, 4)

    chain.ok("forge", "compute.submit_slice", result(chain, job_id, 1))
    assert statuses(chain, job_id) == ["ASSIGNED", "SETTLED"]
    assert chain.balance("owner") == before + 10
    assert chain.events("compute.job_ended") == []

    chain.ok("forge", "compute.submit_slice", result(chain, job_id, 0))
    assert chain.balance("owner") == before + 20
    row = provider(chain)
    assert (row.running, row.locked, row.settled, row.reputation) == (0, 0, 2, r.REPUTATION_MAX)
    assert [one.job_id for one in chain.events("compute.job_ended")] == [job_id]
    assert chain.query("compute.assignments", r.ListAssignments(FORGE)).slices == ()


def test_buyer_pays_the_ask_and_gets_the_rest_back():
    chain = make_chain()
    before = chain.balance("alice")
    applied = chain.call("alice", "compute.post_job", job_command(slice_count=1))
    (posted,) = chain.events("compute.job_posted")
    fee = before - chain.balance("alice") - 20
    assert applied.receipts[-1].error_code == ""

    chain.ok("forge", "compute.submit_slice", result(chain, posted.job_id, 0))

    assert chain.balance("alice") == before - fee - 10


def test_owner_may_deliver_as_well():
    chain = make_chain()
    job_id = post(chain)
    chain.ok("owner", "compute.submit_slice", result(chain, job_id, 0))
    assert statuses(chain, job_id)[0] == "SETTLED"


def test_undelivered_slices_cost_the_bond_after_deadline_and_grace():
    chain = make_chain()
    offer(chain, bond=1000)
    job_id = post(chain)
    posted_at = chain.height
    chain.ok("forge", "compute.submit_slice", result(chain, job_id, 0))
    after_payment = chain.balance("alice")

    chain.run_to(posted_at + 5 + 2)
    assert statuses(chain, job_id) == ["SETTLED", "ASSIGNED"]
    chain.run(1)

    assert statuses(chain, job_id) == ["SETTLED", "VIOLATED"]
    assert chain.balance("alice") == after_payment + 20 + 500  # the payment, and half of the bond
    row = provider(chain)
    assert (row.bond, row.locked, row.running, row.violated) == (BOND - 1000, 0, 0, 1)
    assert row.reputation == r.REPUTATION_MAX - r.SLICE_PENALTY
    (violated,) = chain.events("compute.slice_violated")
    assert (violated.index, violated.slashed) == (1, 1000)
    assert chain.refused("forge", "compute.submit_slice", result(chain, job_id, 1)) == "compute.slice_unknown"
    assert chain.replay().root == chain.state.root


def test_slice_delivered_in_the_last_block_of_grace_is_paid():
    chain = make_chain()
    job_id = post(chain, slice_count=1)
    chain.run_to(chain.height + 5 + 1)
    chain.ok("forge", "compute.submit_slice", result(chain, job_id, 0))
    chain.run(4)
    assert (statuses(chain, job_id), provider(chain).violated) == (["SETTLED"], 0)


@pytest.mark.parametrize(("waited", "slashed"), [(10, 0), (11, 501)], ids=["soon", "late"])
def test_slice_that_is_given_back_costs_what_its_time_says(waited, slashed):
    chain = make_chain()
    offer(chain, bond=1003)
    job_id = post(chain, slice_count=1, deadline_blocks=50)
    chain.run(waited - 1)
    buyer, before = chain.balance("alice"), provider(chain)

    told = chain.ok("forge", "compute.decline_slice", r.DeclineSlice(job_id, 0))

    assert told[-1] == r.SliceReleased(job_id, 0, FORGE, r.Reason.DECLINED, slashed)
    burned = slashed // 2
    assert chain.balance("alice") == buyer + 20 + slashed - burned
    assert provider(chain) == replace(
        before, bond=before.bond - slashed, locked=0, running=0, reputation=r.REPUTATION_MAX - 1
    )
    (row,) = chain.query("compute.sla_history", r.ListSlaHistory(0, 0)).entries
    assert (row.outcome, row.reason, row.burned) == (r.Outcome.CANCELLED, r.Reason.DECLINED, burned)
    assert (row.refunded, statuses(chain, job_id)) == (20 + slashed - burned, ["CANCELLED"])
    assert chain.refused("forge", "compute.submit_slice", result(chain, job_id, 0)) == "compute.slice_unknown"
    assert chain.refused("forge", "compute.decline_slice", r.DeclineSlice(job_id, 0)) == "compute.slice_unknown"


def test_only_the_assignee_gives_a_slice_back():
    chain = make_chain()
    job_id = post(chain)
    assert chain.refused("mallory", "compute.decline_slice", r.DeclineSlice(job_id, 0)) == "compute.not_assignee"
    assert chain.refused("alice", "compute.decline_slice", r.DeclineSlice(job_id, 9)) == "compute.slice_unknown"
    chain.ok("owner", "compute.decline_slice", r.DeclineSlice(job_id, 0))
    assert statuses(chain, job_id) == ["CANCELLED", "ASSIGNED"]


def test_open_slices_go_back_to_the_buyer():
    chain = make_chain()
    before = chain.balance("alice")
    job_id = post(chain, max_price_per_unit=9)
    fee = before - chain.balance("alice") - 18
    assert statuses(chain, job_id) == ["OPEN", "OPEN"]

    chain.run(9)

    assert statuses(chain, job_id) == ["CANCELLED", "CANCELLED"]
    assert chain.balance("alice") == before - fee


def test_cancelling_takes_back_only_what_is_open():
    chain = make_chain()
    offer(chain, units=1)
    job_id = post(chain)
    assert sorted(statuses(chain, job_id)) == ["ASSIGNED", "OPEN"]

    told = chain.ok("alice", "compute.cancel_job", r.CancelJob(job_id))

    assert [record for record in told if isinstance(record, r.JobCancelled)] == [r.JobCancelled(job_id, 1, 20)]
    assert sorted(statuses(chain, job_id)) == ["ASSIGNED", "CANCELLED"]
    assert chain.refused("alice", "compute.cancel_job", r.CancelJob(job_id)) == "compute.nothing_open"
    index = statuses(chain, job_id).index("ASSIGNED")
    chain.ok("forge", "compute.submit_slice", result(chain, job_id, index))
    assert [one.job_id for one in chain.events("compute.job_ended")] == [job_id]


def test_units_are_refilled_at_every_epoch():
    chain = make_chain()
    chain.run_to(8 * (chain.height // 8 + 1))  # An epoch of the small chain is eight blocks.
    offer(chain, units=1)
    job_id = post(chain, deadline_blocks=50)
    assert statuses(chain, job_id).count("ASSIGNED") == 1
    chain.run_to(8 * (chain.height // 8 + 1))
    assert statuses(chain, job_id) == ["ASSIGNED", "ASSIGNED"]


def test_lanes_are_apart():
    chain = make_chain()
    job_id = post(chain, lane=r.Lane.INDUSTRIAL)
    assert statuses(chain, job_id) == ["OPEN", "OPEN"]
    offer(chain, lane=r.Lane.INDUSTRIAL)
    assert statuses(chain, job_id) == ["ASSIGNED", "ASSIGNED"]


def test_leaving_returns_the_bond_after_the_unbonding_time():
    chain = make_chain()
    job_id = post(chain, slice_count=1)
    leave = r.RetireProvider(FORGE)
    assert chain.refused("owner", "compute.retire_provider", leave) == "compute.slices_running"
    chain.ok("forge", "compute.submit_slice", result(chain, job_id, 0))
    chain.ok("owner", "compute.withdraw_offer", r.WithdrawOffer(FORGE))
    assert statuses(chain, post(chain)) == ["OPEN", "OPEN"]

    chain.ok("owner", "compute.retire_provider", leave)
    assert chain.refused("owner", "compute.retire_provider", leave) == "compute.already_retired"
    terms = r.RegisterProvider(FORGE, key_of("forge").public_key, BOND)
    assert chain.refused("owner", "compute.register_provider", terms) == "compute.unbonding"
    before = chain.balance("owner")
    chain.run_to(provider(chain).unbonding_until)
    assert chain.balance("owner") == before + BOND

    chain.ok("owner", "compute.register_provider", terms)
    assert (provider(chain).retired, provider(chain).bond) == (False, BOND)


def test_raising_the_bond_takes_the_difference():
    chain = make_chain()
    register(chain, bond=BOND + 5)
    assert provider(chain).bond == BOND + 5
    lower = r.RegisterProvider(FORGE, key_of("forge").public_key, BOND)
    assert chain.refused("owner", "compute.register_provider", lower) == "compute.provider_bond_low"


def test_bond_too_small_for_a_slice_gets_none():
    chain = make_chain()
    offer(chain, bond=BOND + 1)
    assert statuses(chain, post(chain)) == ["OPEN", "OPEN"]


KEY = key_of("forge").public_key


@pytest.mark.parametrize(
    ("name", "call", "command", "code"),
    [
        pytest.param("mallory", "compute.register_provider", r.RegisterProvider(FORGE, KEY, BOND),
                     "compute.provider_exists", id="id-of-another"),
        pytest.param("owner", "compute.register_provider", r.RegisterProvider("new", KEY, 0),
                     "compute.provider_bond_low", id="no-bond"),
        pytest.param("mallory", "compute.post_offer", r.PostOffer(FORGE, r.Lane.CONSUMER, 1, 1, 0),
                     "compute.not_owner", id="offer-of-another"),
        pytest.param("owner", "compute.post_offer", r.PostOffer("nobody", r.Lane.CONSUMER, 1, 1, 0),
                     "compute.unknown_provider", id="offer-of-nobody"),
        pytest.param("owner", "compute.post_offer", r.PostOffer(FORGE, r.Lane.CONSUMER, 1, 0, 0),
                     "compute.no_units", id="no-units"),
        pytest.param("mallory", "compute.withdraw_offer", r.WithdrawOffer(FORGE), "compute.not_owner", id="withdraw"),
        pytest.param("mallory", "compute.retire_provider", r.RetireProvider(FORGE), "compute.not_owner", id="retire"),
        pytest.param("alice", "compute.post_job", job_command(slice_count=0), "compute.invalid_workload", id="none"),
        pytest.param("alice", "compute.post_job", job_command(slice_count=65), "compute.invalid_workload", id="many"),
        pytest.param("alice", "compute.post_job", job_command(digests_per_slice=0), "compute.invalid_workload",
                     id="no-digests"),
        pytest.param("alice", "compute.post_job", job_command(digests_per_slice=gpu_hash.COUNT_MAX + 1),
                     "compute.invalid_workload", id="too-many-digests"),
        pytest.param("alice", "compute.post_job", job_command(deadline_blocks=0), "compute.deadline_passed",
                     id="no-time"),
        pytest.param("alice", "compute.post_job", job_command(deadline_blocks=100_001), "compute.deadline_passed",
                     id="too-much-time"),
        pytest.param("alice", "compute.cancel_job", r.CancelJob(bytes(32)), "compute.job_not_found", id="no-job"),
    ],
)  # fmt: skip
def test_command_is_refused(name, call, command, code):
    assert make_chain().refused(name, call, command) == code


def test_results_are_refused():
    chain = make_chain()
    job_id = post(chain, deadline_blocks=50)
    right = result(chain, job_id, 0)
    swapped = replace(result(chain, job_id, 1), index=0)
    root, openings = right.output.root, right.output.openings

    def with_output(*output: Any) -> r.SubmitSlice:
        return replace(right, output=r.HashOutput(*output))

    def refused(name: str, command: r.SubmitSlice) -> str:
        return chain.refused(name, "compute.submit_slice", command)

    assert refused("mallory", right) == "compute.not_assignee"
    assert refused("forge", with_output(bytes(32), openings)) == "compute.proof_invalid"
    assert refused("forge", with_output(root, ())) == "compute.proof_invalid"
    assert refused("forge", swapped) == "compute.proof_invalid"
    assert refused("forge", with_output(root, (HashOpening((bytes(32),)), *openings[1:]))) == "compute.proof_invalid"
    assert refused("forge", replace(right, index=2)) == "compute.slice_unknown"
    assert refused("forge", replace(right, job_id=bytes(32))) == "compute.job_not_found"
    chain.ok("forge", "compute.submit_slice", right)
    assert refused("forge", right) == "compute.slice_paid"


def test_key_stays_while_slices_run():
    chain = make_chain()
    post(chain)
    other = r.RegisterProvider(FORGE, key_of("mallory").public_key, BOND)
    assert chain.refused("owner", "compute.register_provider", other) == "compute.key_in_use"


def test_only_the_buyer_cancels():
    chain = make_chain()
    job_id = post(chain, max_price_per_unit=1)
    assert chain.refused("mallory", "compute.cancel_job", r.CancelJob(job_id)) == "compute.not_buyer"


def test_lane_takes_a_bounded_number_of_waiting_jobs():
    chain = make_chain(params={"compute_lane_cap": 2})
    for _ in range(2):
        post(chain, max_price_per_unit=1)
    assert chain.refused("alice", "compute.post_job", job_command()) == "compute.lane_full"
    post(chain, lane=r.Lane.INDUSTRIAL)


def test_block_assigns_a_bounded_number_of_slices():
    chain = make_chain(params={"compute_matches_per_block": 3})
    job_id = post(chain, slice_count=8, deadline_blocks=50)
    seen = [statuses(chain, job_id).count("ASSIGNED")]
    for _ in range(2):
        chain.run(1)
        seen.append(statuses(chain, job_id).count("ASSIGNED"))
    assert seen == [3, 6, 8]


STEPS = st.lists(st.tuples(st.integers(0, 10), st.integers(0, 3), st.integers(0, 2)), max_size=14)
CIRCUITS = (bundles.BOUND_HASH, bundles.CUBIC_HASH)


def answer(chain: Chain, job: r.Job, index: int, twist: int) -> r.SubmitSlice:
    """The output of a slice of any kind; that of proving is wrong for a ``twist`` of 1."""
    if isinstance(job.work, r.HashWork):
        return result(chain, job.job_id, index)
    circuit_hash = job.work.circuit_hash
    made = bundles.make(chain.params.chain_id, job.job_id, index, 3 + index, key_of("forge"), circuit_hash)
    if twist == 1:
        made = bundles.sign(replace(made, proof=made.proof[:64] + made.proof[:64]), key_of("forge"))
    return r.SubmitSlice(job.job_id, index, made)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_whatever_happens_money_is_kept_and_the_books_agree(steps):
    chain = make_chain()
    for circuit_hash in CIRCUITS:
        chain.ok("bob", "compute.register_circuit", bundles.registration(circuit_hash))
    jobs: list[bytes] = []
    for act, one, two in steps:
        if act == 0:
            jobs.append(post(chain, slice_count=one + 1, max_price_per_unit=(5, 10, 30)[two]))
        elif act == 8:
            inputs = tuple(bundles.inputs_of(3 + index) for index in range(one + 1))
            work = r.SnarkWork(CIRCUITS[two % 2], inputs)
            told = chain.call("alice", "compute.post_job", job_command(work=work)).tx_events[-1]
            jobs += [event.record.job_id for event in told if event.name == "compute.job_posted"]
        elif act == 10 and jobs:
            chain.call("forge", "compute.decline_slice", r.DeclineSlice(jobs[two % len(jobs)], one))
        elif act == 9:
            state = r.SetCircuitState(CIRCUITS[two % 2], r.CircuitState(one % 3))
            chain.call("bob", "compute.set_circuit_state", state)
        elif act == 1:
            chain.call("owner", "compute.post_offer", r.PostOffer(FORGE, r.Lane.CONSUMER, 10 * two, one + 1, one))
        elif act == 2:
            chain.call("owner", "compute.withdraw_offer", r.WithdrawOffer(FORGE))
        elif act == 3:
            chain.call("owner", "compute.retire_provider", r.RetireProvider(FORGE))
        elif act == 4:
            chain.call("owner", "compute.register_provider", r.RegisterProvider(FORGE, KEY, BOND + one))
        elif act in (5, 6) and jobs:
            job_id = jobs[two % len(jobs)]
            job = job_of(chain, job_id)[0]
            if act == 5 and one < job.slice_count:
                chain.call("forge", "compute.submit_slice", answer(chain, job, one, two))
            else:
                chain.call("alice", "compute.cancel_job", r.CancelJob(job_id))
        else:
            chain.run(one + 1)
        row = provider(chain)
        pieces = [piece for job_id in jobs for piece in job_of(chain, job_id)[1]]
        held = [piece for piece in pieces if piece.status is r.SliceStatus.ASSIGNED]
        assert (row.running, row.locked) == (len(held), sum(piece.bond for piece in held))
        assert row.locked <= row.bond
        assert len(chain.query("compute.assignments", r.ListAssignments(FORGE)).slices) == len(held)
        inputs = {key for key, _ in chain.state.items(r.INPUTS)}
        live = {piece.job_id for piece in pieces if piece.status in (r.SliceStatus.OPEN, r.SliceStatus.ASSIGNED)}
        assert {job_id for job_id, _ in inputs} == {
            job_id for job_id in live if isinstance(job_of(chain, job_id)[0].work, r.CircuitWork)
        }
    chain.run(12)
    ended = [piece for job_id in jobs for piece in job_of(chain, job_id)[1] if piece.provider_id]
    assert len(chain.query("compute.sla_history", r.ListSlaHistory(256, 0)).entries) == len(ended)
    assert chain.state.items(r.INPUTS) == []
    assert escrow.get_held(chain.state, BOND_PURSE, FORGE.encode()) == provider(chain).bond
    assert chain.money() == chain.minted()
    assert all(job_of(chain, job_id)[0].live_slices == 0 for job_id in jobs)
