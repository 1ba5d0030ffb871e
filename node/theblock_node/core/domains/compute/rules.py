"""The rules of the compute market: bonds, offers, jobs, assignment, results and violations."""

from __future__ import annotations

import struct
from dataclasses import replace

from theblock_node.core import crypto
from theblock_node.core.address import address_of
from theblock_node.core.domain import Context
from theblock_node.core.domains import accounts, escrow
from theblock_node.core.domains.compute import circuits, history, matching, prices, proving
from theblock_node.core.domains.compute.records import (
    ACCEPT_BLOCKS,
    ASSIGNMENTS,
    BOARDS,
    BOND_BPS,
    DUE,
    GRACE_BLOCKS,
    INPUTS,
    JOBS,
    LANE_CAP,
    MATCHES_PER_BLOCK,
    OFFERS,
    OPEN_JOBS,
    PROVIDERS,
    REPUTATION_MAX,
    SLASH_BURN_BPS,
    SLASHING_ENABLED,
    SLICE_PENALTY,
    SLICES,
    SLICES_MAX,
    STARVATION_BLOCKS,
    UNBOND_BLOCKS,
    Assignment,
    BondReleased,
    CancelJob,
    CircuitState,
    CircuitWork,
    DeclineSlice,
    Due,
    DueItem,
    DueKind,
    HashOutput,
    HashWork,
    Job,
    JobAssigned,
    JobCancelled,
    JobEnded,
    JobPosted,
    Lane,
    Offer,
    OfferPosted,
    OfferWithdrawn,
    OpenJob,
    Outcome,
    PostJob,
    PostOffer,
    PriceBoard,
    Provider,
    ProviderRegistered,
    ProviderRetired,
    Reason,
    RegisterProvider,
    RetireProvider,
    Slice,
    SliceInput,
    SliceLate,
    SliceReleased,
    SliceSettled,
    SliceStatus,
    SliceViolated,
    SnarkWork,
    SubmitSlice,
    WithdrawOffer,
    domain,
)
from theblock_node.core.errors import InvalidTx
from theblock_node.core.numeric import bps, mul
from theblock_node.core.proofs import gpu_hash
from theblock_node.core.proofs.bundle import ProofBundle
from theblock_node.core.state import View

BOND = "compute/bond"
PAYMENT = "compute/payment"
DEADLINE_BLOCKS_MAX = 100_000
ZERO = bytes(32)
DECLINE_BPS = 5000
"""Of the bond, for a slice that is given back late."""


def compute_job_id(chain_id: int, buyer: str, nonce: int) -> bytes:
    name = buyer.encode()
    body = struct.pack("<I", len(name)) + name + struct.pack("<Q", nonce)
    tag = b"theblock/compute/job/v1"
    return crypto.blake3(struct.pack("<I", len(tag)) + tag + struct.pack("<I", chain_id) + body)


def slice_context(job_id: bytes, index: int) -> bytes:
    """What binds the openings of an output to its slice."""
    return job_id + bytes([index])


def slice_task(job: Job, index: int) -> gpu_hash.HashTask:
    """What a slice of a hash job hashes."""
    work = job.work
    assert isinstance(work, HashWork)
    return gpu_hash.HashTask(work.algorithm, work.seed, index * work.digests_per_slice, work.digests_per_slice)


@domain.rule(RegisterProvider)
def register_provider(ctx: Context, command: RegisterProvider) -> None:
    known = ctx.draft.get(PROVIDERS, command.provider_id)
    if known is not None and known.owner != ctx.sender:
        raise InvalidTx("compute.provider_exists", provider_id=command.provider_id)
    if known is not None and known.retired and known.bond > 0:
        raise InvalidTx("compute.unbonding", provider_id=command.provider_id, until=known.unbonding_until)
    held = known.bond if known else 0
    if command.bond < max(held, 1):
        raise InvalidTx("compute.provider_bond_low", bond=command.bond, held=held)
    if known is not None and known.running and known.member_key != command.member_key:
        raise InvalidTx("compute.key_in_use", provider_id=command.provider_id)
    if command.bond > held:
        escrow.hold(ctx, BOND, command.provider_id.encode(), ctx.sender, command.bond - held)
    provider = known or Provider(
        1, command.provider_id, ctx.sender, command.member_key, 0, 0, 0, 0, 0, REPUTATION_MAX, False, 0, ctx.height
    )
    ctx.draft.put(
        PROVIDERS,
        provider.provider_id,
        replace(provider, member_key=command.member_key, bond=command.bond, retired=False, unbonding_until=0),
    )
    ctx.emit(ProviderRegistered(provider.provider_id, provider.owner, command.bond))


@domain.rule(PostOffer)
def post_offer(ctx: Context, command: PostOffer) -> None:
    provider = _owned_provider(ctx, command.provider_id)
    if provider.retired:
        raise InvalidTx("compute.retired", provider_id=provider.provider_id)
    if command.units_per_epoch < 1:
        raise InvalidTx("compute.no_units", provider_id=provider.provider_id)
    offer = Offer(
        1,
        provider.provider_id,
        command.lane,
        command.price_per_unit,
        command.units_per_epoch,
        command.bond_per_unit,
        ctx.height // ctx.chain.epoch_blocks,
        0,
        ctx.height,
    )
    ctx.draft.put(OFFERS, (command.lane, provider.provider_id), offer)
    ctx.emit(OfferPosted(provider.provider_id, command.lane, command.price_per_unit, command.units_per_epoch))


@domain.rule(WithdrawOffer)
def withdraw_offer(ctx: Context, command: WithdrawOffer) -> None:
    provider = _owned_provider(ctx, command.provider_id)
    for lane in Lane:
        ctx.draft.delete(OFFERS, (lane, provider.provider_id))
    ctx.emit(OfferWithdrawn(provider.provider_id))


@domain.rule(RetireProvider)
def retire_provider(ctx: Context, command: RetireProvider) -> None:
    provider = _owned_provider(ctx, command.provider_id)
    if provider.retired:
        raise InvalidTx("compute.already_retired", provider_id=provider.provider_id)
    if provider.running:
        raise InvalidTx("compute.slices_running", provider_id=provider.provider_id, running=provider.running)
    for lane in Lane:
        ctx.draft.delete(OFFERS, (lane, provider.provider_id))
    until = ctx.height + ctx.param(UNBOND_BLOCKS)
    ctx.draft.put(PROVIDERS, provider.provider_id, replace(provider, retired=True, unbonding_until=until))
    _schedule(ctx, until, DueItem(DueKind.BOND, ZERO, provider.provider_id))
    ctx.emit(ProviderRetired(provider.provider_id, until))


@domain.rule(PostJob)
def post_job(ctx: Context, command: PostJob) -> None:
    if not 1 <= command.deadline_blocks <= DEADLINE_BLOCKS_MAX:
        raise InvalidTx("compute.deadline_passed", field="deadline_blocks", min=1, max=DEADLINE_BLOCKS_MAX)
    if sum(1 for (lane, _), _ in ctx.draft.items(OPEN_JOBS) if lane is command.lane) >= ctx.param(LANE_CAP):
        raise InvalidTx("compute.lane_full", lane=command.lane.name)
    slice_count, units = _measure(ctx, command.work)
    escrowed = mul(mul(units, command.max_price_per_unit), slice_count)
    job_id = compute_job_id(ctx.chain.chain_id, ctx.sender, accounts.get_nonce(ctx.draft, ctx.sender))
    if escrowed:
        escrow.hold(ctx, PAYMENT, job_id, ctx.sender, escrowed)
    deadline = ctx.height + command.deadline_blocks
    job = Job(
        1,
        job_id,
        ctx.sender,
        command.lane,
        CircuitWork(command.work.circuit_hash) if isinstance(command.work, SnarkWork) else command.work,
        slice_count,
        units,
        command.max_price_per_unit,
        escrowed,
        ctx.height,
        deadline,
        slice_count,
        slice_count,
        0,
    )
    ctx.draft.put(JOBS, job_id, job)
    ctx.draft.put(OPEN_JOBS, (job.lane, job_id), OpenJob(1, job.max_price_per_unit, ctx.height))
    for index in range(slice_count):
        ctx.draft.put(SLICES, (job_id, index), Slice(1, job_id, index, SliceStatus.OPEN, "", 0, 0, 0, 0, ZERO))
    if isinstance(command.work, SnarkWork):
        shown = command.work.public_inputs or (None,) * slice_count
        for index, (inputs, public) in enumerate(zip(command.work.inputs, shown, strict=True)):
            ctx.draft.put(INPUTS, (job_id, index), SliceInput(1, inputs, public))
    _schedule(ctx, deadline + ctx.param(GRACE_BLOCKS) + 1, DueItem(DueKind.SLICE, job_id, ""))
    ctx.emit(JobPosted(job_id, ctx.sender, job.lane, job.slice_count, units, job.max_price_per_unit, deadline))


@domain.rule(CancelJob)
def cancel_job(ctx: Context, command: CancelJob) -> None:
    job = _job(ctx, command.job_id)
    if job.buyer != ctx.sender:
        raise InvalidTx("compute.not_buyer", job_id=command.job_id.hex())
    if not job.open_slices:
        raise InvalidTx("compute.nothing_open", job_id=command.job_id.hex())
    _end_open_slices(ctx, job)


@domain.rule(SubmitSlice, gas=8000)
def submit_slice(ctx: Context, command: SubmitSlice) -> None:
    job, piece, provider = _own_slice(ctx, command.job_id, command.index)
    match job.work, command.output:
        case HashWork(), HashOutput() as output:
            context = slice_context(job.job_id, command.index)
            if not gpu_hash.verify_output(slice_task(job, command.index), context, output.root, output.openings):
                raise InvalidTx("compute.proof_invalid", job_id=command.job_id.hex(), index=command.index)
            _settle(ctx, job, replace(piece, root=output.root), provider, None)
        case CircuitWork() as work, ProofBundle() as bundle:
            circuit = circuits.get_circuit(ctx, work.circuit_hash)
            proving.check_bundle(ctx, circuit, provider, piece, bundle)
            _settle(ctx, job, piece, provider, bundle)
            proving.settle_bundle(ctx, circuit, piece, bundle)
        case work, output:
            raise InvalidTx("compute.invalid_workload", field="output", work=type(work).__name__)


@domain.rule(DeclineSlice)
def decline_slice(ctx: Context, command: DeclineSlice) -> None:
    """A buyer may ask for what cannot be computed; who finds that out soon loses nothing but the fee."""
    job, piece, _ = _own_slice(ctx, command.job_id, command.index)
    is_soon = ctx.height - piece.assigned_height <= ctx.param(ACCEPT_BLOCKS)
    _give_up(
        ctx, job, piece, Outcome.CANCELLED, Reason.DECLINED, slashed=0 if is_soon else bps(piece.bond, DECLINE_BPS)
    )


@domain.begin_block
def fall_due(ctx: Context) -> None:
    """Settle the slices whose time is over and pay back the bonds of this height."""
    due = ctx.draft.get(DUE, ctx.height)
    if due is None:
        return
    ctx.draft.delete(DUE, ctx.height)
    for item in due.items:
        if item.kind is DueKind.SLICE:
            _expire_job(ctx, item.job_id)
        else:
            _release_bond(ctx, item.provider_id)


@domain.end_block
def assign(ctx: Context) -> None:
    """Match waiting slices with offers, lane by lane; which lane is first changes with the height."""
    waiting = ctx.draft.items(OPEN_JOBS)
    if not waiting:
        return
    lanes = list(Lane)
    budget = ctx.param(MATCHES_PER_BLOCK)
    for turn in range(len(lanes)):
        lane = lanes[(ctx.height + turn) % len(lanes)]
        jobs = [_job(ctx, job_id) for (at, job_id), _ in waiting if at is lane]
        if not jobs or not budget:
            continue
        matches = matching.plan_matches(
            [_bid(ctx, job) for job in jobs],
            _asks(ctx, lane),
            height=ctx.height,
            budget=budget,
            starvation_blocks=ctx.param(STARVATION_BLOCKS),
            bond_bps=ctx.param(BOND_BPS),
            market_price=compute_market_price(ctx.draft, lane),
        )
        budget -= len(matches)
        for match in matches:
            _assign(ctx, lane, match)


def _measure(ctx: Context, work: HashWork | SnarkWork) -> tuple[int, int]:
    """(slices, units of each) of work that may be asked for."""
    if isinstance(work, SnarkWork):
        return len(work.inputs), circuits.compute_units(proving.check_work(ctx, work).domain_size)
    if not 1 <= work.slice_count <= SLICES_MAX:
        raise InvalidTx("compute.invalid_workload", field="slice_count", min=1, max=SLICES_MAX)
    if not 1 <= work.digests_per_slice <= gpu_hash.COUNT_MAX:
        raise InvalidTx("compute.invalid_workload", field="digests_per_slice", min=1, max=gpu_hash.COUNT_MAX)
    return work.slice_count, gpu_hash.compute_units(
        gpu_hash.HashTask(work.algorithm, work.seed, 0, work.digests_per_slice)
    )


def _settle(ctx: Context, job: Job, piece: Slice, provider: Provider, bundle: ProofBundle | None) -> None:
    """Pay for a slice whose output is right; one that is late costs a part of its bond, and earns no reputation."""
    payout = piece.price_per_unit * job.units_per_slice
    rest = job.max_price_per_unit * job.units_per_slice - payout
    if payout:
        escrow.release(ctx, PAYMENT, job.job_id, provider.owner, payout)
    if rest:
        escrow.release(ctx, PAYMENT, job.job_id, job.buyer, rest)
    late = max(0, ctx.height - job.deadline_height)
    slashed = history.compute_late_penalty(piece.bond, late) if ctx.param(SLASHING_ENABLED) else 0
    burned = _slash(ctx, provider, job.buyer, slashed)
    reputation = provider.reputation if late else min(REPUTATION_MAX, provider.reputation + 1)
    _unlock(ctx, replace(provider, settled=provider.settled + 1, reputation=reputation), piece, slashed)
    history.record(
        ctx,
        job,
        piece,
        Outcome.COMPLETED,
        Reason.LATE if late else Reason.NONE,
        burned=burned,
        refunded=rest + slashed - burned,
        payout=payout,
        bundle=bundle,
    )
    _end_slice(ctx, job, replace(piece, status=SliceStatus.SETTLED))
    ctx.emit(SliceSettled(job.job_id, piece.index, provider.provider_id, piece.root, payout))
    if late:
        ctx.emit(SliceLate(job.job_id, piece.index, provider.provider_id, late, slashed))


def _slash(ctx: Context, provider: Provider, buyer: str, slashed: int) -> int:
    """Take ``slashed`` of a bond, a part to be burned and the rest for the buyer; returns what was burned."""
    key = provider.provider_id.encode()
    burned = bps(slashed, ctx.param(SLASH_BURN_BPS))
    if burned:
        escrow.burn(ctx, BOND, key, burned)
    if slashed - burned:
        escrow.release(ctx, BOND, key, buyer, slashed - burned)
    return burned


def _unlock(ctx: Context, provider: Provider, piece: Slice, slashed: int) -> None:
    """Take a slice off its provider, whose row is written with what else changed in it."""
    bond, locked = provider.bond - slashed, provider.locked - piece.bond
    row = replace(provider, bond=bond, locked=locked, running=provider.running - 1)
    ctx.draft.put(PROVIDERS, provider.provider_id, row)


def compute_market_price(view: View, lane: Lane) -> int | None:
    """What a unit of an offer at market costs; None before the lane's first match."""
    board = view.get(BOARDS, lane)
    if board is None:
        return None
    jobs = [view.get(JOBS, job_id) for (at, job_id), _ in view.items(OPEN_JOBS) if at is lane]
    return prices.compute_market_price(board.prices, sum(job.open_slices for job in jobs if job is not None))


def _bid(ctx: Context, job: Job) -> matching.Bid:
    pieces = [ctx.draft.get(SLICES, (job.job_id, index)) for index in range(job.slice_count)]
    waiting = tuple(piece.index for piece in pieces if piece is not None and piece.status is SliceStatus.OPEN)
    return matching.Bid(job.job_id, job.max_price_per_unit, job.units_per_slice, waiting, job.placed_height)


def _asks(ctx: Context, lane: Lane) -> list[matching.Ask]:
    epoch = ctx.height // ctx.chain.epoch_blocks
    asks = []
    for (at, provider_id), offer in ctx.draft.items(OFFERS):
        provider = ctx.draft.get(PROVIDERS, provider_id)
        if at is not lane or provider is None or provider.retired:
            continue
        sold = offer.units_sold if offer.epoch == epoch else 0
        asks.append(
            matching.Ask(
                provider_id,
                offer.price_per_unit,
                offer.units_per_epoch - sold,
                offer.bond_per_unit,
                provider.bond - provider.locked,
                provider.reputation,
                offer.placed_height,
            )
        )
    return asks


def _assign(ctx: Context, lane: Lane, match: matching.Match) -> None:
    job = _job(ctx, match.job_id)
    epoch = ctx.height // ctx.chain.epoch_blocks
    offer = ctx.draft.get(OFFERS, (lane, match.provider_id))
    provider = ctx.draft.get(PROVIDERS, match.provider_id)
    piece = ctx.draft.get(SLICES, (match.job_id, match.index))
    assert offer is not None
    assert provider is not None
    assert piece is not None
    sold = (offer.units_sold if offer.epoch == epoch else 0) + job.units_per_slice
    ctx.draft.put(OFFERS, (lane, match.provider_id), replace(offer, epoch=epoch, units_sold=sold))
    ctx.draft.put(
        PROVIDERS,
        provider.provider_id,
        replace(provider, locked=provider.locked + match.bond, running=provider.running + 1),
    )
    ctx.draft.put(
        SLICES,
        (match.job_id, match.index),
        replace(
            piece,
            status=SliceStatus.ASSIGNED,
            provider_id=match.provider_id,
            price_per_unit=match.price,
            bond=match.bond,
            assigned_height=ctx.height,
        ),
    )
    board = ctx.draft.get(BOARDS, lane) or PriceBoard(1, ())
    price = prices.weigh(match.price, prices.compute_weight(provider.reputation))
    ctx.draft.put(BOARDS, lane, replace(board, prices=prices.remember(board.prices, price)))
    ctx.draft.put(ASSIGNMENTS, (match.provider_id, match.job_id, match.index), Assignment(1, ctx.height))
    _put_job(ctx, replace(job, open_slices=job.open_slices - 1))
    ctx.emit(JobAssigned(match.job_id, match.index, match.provider_id, match.price))


def _end_slice(ctx: Context, job: Job, piece: Slice) -> None:
    """Close one slice of a job, assigned or open."""
    job = _job(ctx, job.job_id)
    was_open = not piece.provider_id
    ctx.draft.put(SLICES, (job.job_id, piece.index), replace(piece, ended_height=ctx.height))
    if isinstance(job.work, CircuitWork):
        ctx.draft.delete(INPUTS, (job.job_id, piece.index))
    if not was_open:
        ctx.draft.delete(ASSIGNMENTS, (piece.provider_id, job.job_id, piece.index))
    job = replace(job, live_slices=job.live_slices - 1, open_slices=job.open_slices - was_open)
    _put_job(ctx, job)
    if not job.live_slices:
        ctx.emit(JobEnded(job.job_id))


def _end_open_slices(ctx: Context, job: Job) -> None:
    """Cancel what nobody was assigned, and return what it would have cost."""
    bid = _bid(ctx, job)
    refunded = len(bid.slices) * job.max_price_per_unit * job.units_per_slice
    if refunded:
        escrow.release(ctx, PAYMENT, job.job_id, job.buyer, refunded)
    for index in bid.slices:
        piece = ctx.draft.get(SLICES, (job.job_id, index))
        assert piece is not None
        _end_slice(ctx, job, replace(piece, status=SliceStatus.CANCELLED))
    ctx.emit(JobCancelled(job.job_id, len(bid.slices), refunded))


def _expire_job(ctx: Context, job_id: bytes) -> None:
    """After deadline and grace: open slices are cancelled, undelivered ones cost their whole bond.

    Unless their circuit was revoked, so that nobody could deliver.
    """
    job = _job(ctx, job_id)
    if job.open_slices:
        _end_open_slices(ctx, job)
    is_revoked = isinstance(job.work, CircuitWork) and (
        circuits.get_circuit(ctx, job.work.circuit_hash).state is CircuitState.REVOKED
    )
    for index in range(job.slice_count):
        piece = ctx.draft.get(SLICES, (job_id, index))
        if piece is None or piece.status is not SliceStatus.ASSIGNED:
            continue
        if is_revoked:
            _give_up(ctx, job, piece, Outcome.CANCELLED, Reason.CIRCUIT_REVOKED, slashed=0)
        else:
            _give_up(ctx, job, piece, Outcome.VIOLATED, Reason.DEADLINE_MISSED, slashed=piece.bond)


def _give_up(ctx: Context, job: Job, piece: Slice, outcome: Outcome, reason: Reason, *, slashed: int) -> None:
    """End a slice that is not delivered: the payment goes back, and a part of what is ``slashed`` goes with it."""
    provider = ctx.draft.get(PROVIDERS, piece.provider_id)
    assert provider is not None
    is_violated = outcome is Outcome.VIOLATED
    reserved = job.max_price_per_unit * job.units_per_slice
    if reserved:
        escrow.release(ctx, PAYMENT, job.job_id, job.buyer, reserved)
    slashed = slashed if ctx.param(SLASHING_ENABLED) else 0
    burned = _slash(ctx, provider, job.buyer, slashed)
    lost = SLICE_PENALTY if is_violated else int(reason is Reason.DECLINED)
    reputation = max(0, provider.reputation - lost)
    _unlock(ctx, replace(provider, violated=provider.violated + is_violated, reputation=reputation), piece, slashed)
    refunded = reserved + slashed - burned
    history.record(ctx, job, piece, outcome, reason, burned=burned, refunded=refunded, payout=0)
    _end_slice(ctx, job, replace(piece, status=SliceStatus.VIOLATED if is_violated else SliceStatus.CANCELLED))
    if is_violated:
        ctx.emit(SliceViolated(job.job_id, piece.index, provider.provider_id, slashed))
    else:
        ctx.emit(SliceReleased(job.job_id, piece.index, provider.provider_id, reason, slashed))


def _release_bond(ctx: Context, provider_id: str) -> None:
    provider = ctx.draft.get(PROVIDERS, provider_id)
    if provider is None or not provider.retired or provider.unbonding_until != ctx.height:
        return
    if provider.bond:
        escrow.release(ctx, BOND, provider_id.encode(), provider.owner, provider.bond)
    ctx.draft.put(PROVIDERS, provider_id, replace(provider, bond=0))
    ctx.emit(BondReleased(provider_id, provider.owner, provider.bond))


def _put_job(ctx: Context, job: Job) -> None:
    ctx.draft.put(JOBS, job.job_id, job)
    if not job.open_slices:
        ctx.draft.delete(OPEN_JOBS, (job.lane, job.job_id))


def _schedule(ctx: Context, height: int, item: DueItem) -> None:
    due = ctx.draft.get(DUE, height) or Due(1, ())
    ctx.draft.put(DUE, height, replace(due, items=(*due.items, item)))


def _own_slice(ctx: Context, job_id: bytes, index: int) -> tuple[Job, Slice, Provider]:
    """A slice that the sender has to deliver."""
    job = _job(ctx, job_id)
    piece = ctx.draft.get(SLICES, (job_id, index))
    if piece is None:
        raise InvalidTx("compute.slice_unknown", job_id=job_id.hex(), index=index)
    if piece.status is SliceStatus.SETTLED:
        raise InvalidTx("compute.slice_paid", job_id=job_id.hex(), index=index)
    if piece.status is not SliceStatus.ASSIGNED:
        raise InvalidTx("compute.slice_unknown", job_id=job_id.hex(), status=piece.status.name)
    provider = ctx.draft.get(PROVIDERS, piece.provider_id)
    assert provider is not None
    if ctx.sender not in (provider.owner, address_of(provider.member_key)):
        raise InvalidTx("compute.not_assignee", provider_id=piece.provider_id)
    return job, piece, provider


def _job(ctx: Context, job_id: bytes) -> Job:
    job = ctx.draft.get(JOBS, job_id)
    if job is None:
        raise InvalidTx("compute.job_not_found", job_id=job_id.hex())
    return job  # type: ignore[no-any-return]


def _owned_provider(ctx: Context, provider_id: str) -> Provider:
    provider = ctx.draft.get(PROVIDERS, provider_id)
    if provider is None:
        raise InvalidTx("compute.unknown_provider", provider_id=provider_id)
    if provider.owner != ctx.sender:
        raise InvalidTx("compute.not_owner", provider_id=provider_id)
    return provider  # type: ignore[no-any-return]
