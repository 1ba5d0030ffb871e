"""The rules of the storage market: pledging, anchoring, challenges, payment, moving and leaving."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace

from theblock_node.core import crypto
from theblock_node.core.address import address_of
from theblock_node.core.domain import Context
from theblock_node.core.domains import accounts, escrow
from theblock_node.core.domains.storage.records import (
    CHALLENGES,
    CHUNKS_MAX,
    COLLATERAL_BPS,
    CONTRACTS,
    DATA_SHARDS_MIN,
    DEADLINE_BLOCKS,
    DUE,
    GIB,
    MANIFESTS,
    MISSES_MAX,
    PARITY_SHARDS_MIN,
    PERIOD_EPOCHS,
    PLEDGE_PER_BLOCK,
    PROVIDERS,
    REPLICAS,
    REPUTATION_MAX,
    REPUTATION_MIN_FOR_NEW,
    SAMPLES,
    SLASH_BURN_BPS,
    SLOTS_MAX,
    TERMINATION_BPS,
    UNBOND_BLOCKS,
    AnchorManifest,
    AnswerChallenge,
    BondReleased,
    Challenge,
    ChallengeAnswered,
    Challenged,
    ChallengeMissed,
    Contract,
    ContractRef,
    ContractStatus,
    Due,
    DueItem,
    DueKind,
    MaintenanceSet,
    ManifestAnchored,
    ManifestReleased,
    MoveReplica,
    Provider,
    ProviderRegistered,
    ProviderRetired,
    RegisterProvider,
    ReleaseManifest,
    Replica,
    ReplicaMoved,
    ReplicaOffer,
    ReplicaStatus,
    RetireProvider,
    SetMaintenance,
    ShardLost,
    domain,
)
from theblock_node.core.errors import InvalidTx
from theblock_node.core.numeric import BLOCK, add, bps, mul
from theblock_node.core.proofs import retrieval
from theblock_node.core.state import View

BOND = "storage/bond"
DEPOSIT = "storage/deposit"
MISS_PENALTY = 1
LOSS_PENALTY = 50


def ack_message(chain_id: int, core_id: bytes, shards_root: bytes, provider_id: str, slots: Sequence[int]) -> bytes:
    """What a provider signs to say that it holds ``slots`` of an object."""
    name = provider_id.encode()
    body = struct.pack("<I", chain_id) + core_id + shards_root + struct.pack("<I", len(name)) + name
    return retrieval.digest("theblock/storage/ack/v1", body + struct.pack(f"<I{len(slots)}H", len(slots), *slots))


def compute_price(provider: Provider, size: int) -> int:
    """nBLOCK per block for ``size`` bytes, rounded up in the provider's favour."""
    return -(-mul(provider.price_per_block, size) // GIB)


@domain.rule(RegisterProvider)
def register_provider(ctx: Context, command: RegisterProvider) -> None:
    known = ctx.draft.get(PROVIDERS, command.provider_id)
    if known is not None and known.owner != ctx.sender:
        raise InvalidTx("storage.provider_exists", provider_id=command.provider_id)
    if known is not None and known.retired and known.bond > 0:
        raise InvalidTx("storage.unbonding", provider_id=command.provider_id, until=known.unbonding_until)
    if known is not None and not known.retired and known.member_key != command.member_key and known.slots_held:
        raise InvalidTx("storage.key_in_use", provider_id=command.provider_id)
    held = known.bond if known else 0
    if command.bond < held:
        raise InvalidTx("storage.bond_lowered", bond=command.bond, held=held)
    if command.capacity_bytes > command.bond // BLOCK * PLEDGE_PER_BLOCK:
        raise InvalidTx("storage.pledge_above_bond", capacity_bytes=command.capacity_bytes, bond=command.bond)
    if command.capacity_bytes < (known.used_bytes if known else 1):
        raise InvalidTx("storage.capacity_below_use", capacity_bytes=command.capacity_bytes)

    if command.bond > held:
        escrow.hold(ctx, BOND, command.provider_id.encode(), ctx.sender, command.bond - held)
    terms = {
        "member_key": command.member_key,
        "region": command.region,
        "capacity_bytes": command.capacity_bytes,
        "price_per_block": command.price_per_block,
        "bond": command.bond,
        "retired": False,
        "maintenance": False,
        "unbonding_until": 0,
    }
    provider = known or Provider(
        1, command.provider_id, ctx.sender, command.member_key, command.region, 0, 0, 0, 0, 0, 0, 0, False, False, 0,
        REPUTATION_MAX, 0, 0, ctx.height,
    )  # fmt: skip
    provider = replace(provider, terms_version=provider.terms_version + 1, **terms)
    ctx.draft.put(PROVIDERS, provider.provider_id, provider)
    ctx.emit(
        ProviderRegistered(
            provider.provider_id,
            provider.owner,
            provider.capacity_bytes,
            provider.price_per_block,
            provider.bond,
            provider.terms_version,
        )
    )


@domain.rule(SetMaintenance)
def set_maintenance(ctx: Context, command: SetMaintenance) -> None:
    provider = _owned_provider(ctx, command.provider_id)
    if provider.maintenance != command.on:
        ctx.draft.put(PROVIDERS, provider.provider_id, replace(provider, maintenance=command.on))
        ctx.emit(MaintenanceSet(provider.provider_id, command.on))


@domain.rule(RetireProvider)
def retire_provider(ctx: Context, command: RetireProvider) -> None:
    provider = _owned_provider(ctx, command.provider_id)
    if provider.retired:
        raise InvalidTx("storage.already_retired", provider_id=provider.provider_id)
    if provider.slots_held:
        raise InvalidTx("storage.slots_held", provider_id=provider.provider_id, slots=provider.slots_held)
    until = ctx.height + ctx.param(UNBOND_BLOCKS)
    ctx.draft.put(
        PROVIDERS, provider.provider_id, replace(provider, retired=True, maintenance=True, unbonding_until=until)
    )
    _schedule(ctx, until, DueItem(DueKind.BOND, bytes(32), provider.provider_id))
    ctx.emit(ProviderRetired(provider.provider_id, until))


@domain.rule(AnchorManifest, gas=6000)
def anchor_manifest(ctx: Context, command: AnchorManifest) -> None:
    _check_layout(ctx, command)
    if ctx.draft.get(MANIFESTS, command.manifest_id) is not None:
        raise InvalidTx("storage.manifest_exists", manifest_id=command.manifest_id.hex())
    contract_id = retrieval.compute_contract_id(
        ctx.chain.chain_id, command.core_id, ctx.sender, accounts.get_nonce(ctx.draft, ctx.sender)
    )
    replicas = [_accept_offer(ctx, contract_id, command, offer) for offer in command.replicas]
    price = sum(made.price_per_block for made in replicas)
    deposit = mul(price, command.retention_blocks)
    if deposit:
        if accounts.get_balance(ctx.draft, ctx.sender) < deposit:
            raise InvalidTx("storage.escrow_insufficient", deposit=deposit)
        escrow.hold(ctx, DEPOSIT, contract_id, ctx.sender, deposit)

    contract = Contract(
        1,
        contract_id,
        command.core_id,
        command.manifest_id,
        ctx.sender,
        command.shards_root,
        command.chunk_count,
        command.data,
        command.parity,
        command.original_bytes,
        price,
        ctx.height,
        command.retention_blocks,
        deposit,
        0,
        ContractStatus.ACTIVE,
        tuple(made.provider_id for made in replicas),
    )
    ctx.draft.put(CONTRACTS, contract_id, contract)
    ctx.draft.put(MANIFESTS, command.manifest_id, ContractRef(1, contract_id))
    for made in replicas:
        ctx.draft.put(REPLICAS, (contract_id, made.provider_id), made)
        _schedule_challenge(ctx, made)
    ctx.emit(
        ManifestAnchored(
            contract_id,
            command.manifest_id,
            ctx.sender,
            command.original_bytes,
            command.data,
            command.parity,
            tuple(made.provider_id for made in replicas),
        )
    )


@domain.rule(AnswerChallenge, gas=2000)
def answer_challenge(ctx: Context, command: AnswerChallenge) -> None:
    where = (command.contract_id, command.provider_id)
    contract = ctx.draft.get(CONTRACTS, command.contract_id)
    if contract is None:
        raise InvalidTx("storage.unknown_contract", contract_id=command.contract_id.hex())
    provider = _provider(ctx, command.provider_id)
    if ctx.sender not in (provider.owner, address_of(provider.member_key)):
        raise InvalidTx("storage.not_owner", provider_id=provider.provider_id)
    challenge = ctx.draft.get(CHALLENGES, where)
    replica = ctx.draft.get(REPLICAS, where)
    if challenge is None or replica is None or challenge.epoch != command.epoch:
        raise InvalidTx("storage.por_not_due", epoch=command.epoch)
    samples = retrieval.compute_samples(
        challenge.beacon,
        command.contract_id.hex(),
        command.provider_id,
        challenge.epoch,
        chunk_count=contract.chunk_count,
        slots=replica.slots,
        count=ctx.param(SAMPLES),
    )
    if len(command.openings) != len(samples):
        raise InvalidTx("storage.por_length", openings=len(command.openings), expected=len(samples))
    for sample, opening in zip(samples, command.openings, strict=True):
        retrieval.verify_opening(sample, opening, contract.shards_root, chunk_count=contract.chunk_count, n=contract.n)

    paid = _pay(ctx, contract, replica, provider)
    ctx.draft.delete(CHALLENGES, where)
    ctx.draft.put(
        REPLICAS,
        where,
        replace(replica, paid_until=ctx.height - 1, successes=replica.successes + 1, misses_in_row=0),
    )
    ctx.draft.put(
        PROVIDERS,
        provider.provider_id,
        replace(
            provider,
            proof_successes=provider.proof_successes + 1,
            reputation=min(REPUTATION_MAX, provider.reputation + 1),
        ),
    )
    ctx.emit(ChallengeAnswered(command.contract_id, command.provider_id, command.epoch, paid))


@domain.rule(MoveReplica, gas=3000)
def move_replica(ctx: Context, command: MoveReplica) -> None:
    contract = ctx.draft.get(CONTRACTS, command.contract_id)
    if contract is None or contract.status is not ContractStatus.ACTIVE:
        raise InvalidTx("storage.unknown_contract", contract_id=command.contract_id.hex())
    source = ctx.draft.get(REPLICAS, (command.contract_id, command.source))
    if source is None or source.status not in (ReplicaStatus.HELD, ReplicaStatus.LOST):
        raise InvalidTx("storage.unknown_replica", provider_id=command.source)
    leaving = _provider(ctx, command.source)
    if source.status is ReplicaStatus.HELD and not leaving.maintenance:
        raise InvalidTx("storage.not_leaving", provider_id=command.source)
    if tuple(command.target.slots) != source.slots or command.target.size != source.size:
        raise InvalidTx("storage.slots_differ", provider_id=command.target.provider_id)
    if command.target.provider_id == command.source and source.status is ReplicaStatus.HELD:
        raise InvalidTx("storage.already_held", provider_id=command.source)
    taken = ctx.draft.get(MANIFESTS, command.manifest_id)
    if taken is not None and taken.contract_id != command.contract_id:
        raise InvalidTx("storage.manifest_exists", manifest_id=command.manifest_id.hex())

    if source.status is ReplicaStatus.HELD:
        _give_up(ctx, source, ReplicaStatus.MOVED)
    else:
        ctx.draft.put(REPLICAS, (contract.contract_id, command.source), replace(source, status=ReplicaStatus.MOVED))
    holder = ctx.draft.get(REPLICAS, (contract.contract_id, command.target.provider_id))
    made = replace(_make_replica(ctx, contract, command.target), price_per_block=source.price_per_block)
    if holder is not None and holder.status is ReplicaStatus.HELD:
        ctx.draft.put(REPLICAS, (contract.contract_id, made.provider_id), _join(ctx, holder, made))
    else:
        ctx.draft.put(REPLICAS, (contract.contract_id, made.provider_id), made)
        _schedule_challenge(ctx, made)
    ctx.draft.delete(CHALLENGES, (contract.contract_id, command.source))
    ctx.draft.delete(MANIFESTS, contract.manifest_id)
    ctx.draft.put(MANIFESTS, command.manifest_id, ContractRef(1, contract.contract_id))
    providers = (
        contract.providers if made.provider_id in contract.providers else (*contract.providers, made.provider_id)
    )
    ctx.draft.put(
        CONTRACTS, contract.contract_id, replace(contract, manifest_id=command.manifest_id, providers=providers)
    )
    ctx.emit(ReplicaMoved(contract.contract_id, command.source, made.provider_id, made.slots, command.manifest_id))


@domain.rule(ReleaseManifest)
def release_manifest(ctx: Context, command: ReleaseManifest) -> None:
    contract = ctx.draft.get(CONTRACTS, command.contract_id)
    if contract is None or contract.status is not ContractStatus.ACTIVE:
        raise InvalidTx("storage.unknown_contract", contract_id=command.contract_id.hex())
    if contract.owner != ctx.sender:
        raise InvalidTx("storage.not_owner", contract_id=command.contract_id.hex())
    for replica in replicas_of(ctx.draft, contract):
        ctx.draft.delete(CHALLENGES, (contract.contract_id, replica.provider_id))
        if replica.status is ReplicaStatus.HELD:
            _give_up(ctx, replica, ReplicaStatus.RELEASED)
    refunded = contract.deposit - contract.paid
    if refunded:
        escrow.release(ctx, DEPOSIT, contract.contract_id, contract.owner, refunded)
    ctx.draft.delete(MANIFESTS, contract.manifest_id)
    ctx.draft.put(CONTRACTS, contract.contract_id, replace(contract, status=ContractStatus.ENDED))
    ctx.emit(ManifestReleased(contract.contract_id, refunded))


@domain.begin_block
def fall_due(ctx: Context) -> None:
    """Open the challenges, close the overdue ones and pay back the bonds of this height."""
    due = ctx.draft.get(DUE, ctx.height)
    if due is None:
        return
    ctx.draft.delete(DUE, ctx.height)
    acts = {DueKind.CHALLENGE: _open_challenge, DueKind.DEADLINE: _close_challenge, DueKind.BOND: _release_bond}
    for item in due.items:
        acts[item.kind](ctx, item)


def replicas_of(view: View, contract: Contract) -> list[Replica]:
    """Every replica of a contract, whatever its status, in the order in which they came."""
    found = [view.get(REPLICAS, (contract.contract_id, name)) for name in contract.providers]
    return [replica for replica in found if replica is not None]


def _check_layout(ctx: Context, command: AnchorManifest) -> None:
    n = command.data + command.parity
    if not (command.data >= ctx.param(DATA_SHARDS_MIN) and command.parity >= ctx.param(PARITY_SHARDS_MIN)):
        raise InvalidTx("storage.layout_forbidden", data=command.data, parity=command.parity)
    if n > SLOTS_MAX or not 1 <= command.chunk_count <= CHUNKS_MAX:
        raise InvalidTx("storage.layout_forbidden", slots=n, chunk_count=command.chunk_count)
    if command.original_bytes < 1 or command.retention_blocks < 1:
        raise InvalidTx("storage.layout_forbidden", original_bytes=command.original_bytes)
    slots = sorted(slot for offer in command.replicas for slot in offer.slots)
    if slots != list(range(n)):
        raise InvalidTx("storage.manifest_slots", expected=n, given=len(slots))
    names = [offer.provider_id for offer in command.replicas]
    if len(set(names)) != len(names):
        raise InvalidTx("storage.manifest_slots", reason="a provider is named twice")
    if any(list(offer.slots) != sorted(offer.slots) for offer in command.replicas):
        raise InvalidTx("storage.manifest_slots", reason="slots of a provider must ascend")


def _accept_offer(ctx: Context, contract_id: bytes, command: AnchorManifest, offer: ReplicaOffer) -> Replica:
    provider = _provider(ctx, offer.provider_id)
    if provider.reputation < REPUTATION_MIN_FOR_NEW:
        raise InvalidTx("storage.reputation_low", provider_id=offer.provider_id, reputation=provider.reputation)
    draft_contract = Contract(
        1, contract_id, command.core_id, command.manifest_id, ctx.sender, command.shards_root, command.chunk_count,
        command.data, command.parity, command.original_bytes, 0, ctx.height, command.retention_blocks, 0, 0,
        ContractStatus.ACTIVE, (),
    )  # fmt: skip
    return _make_replica(ctx, draft_contract, offer)


def _make_replica(ctx: Context, contract: Contract, offer: ReplicaOffer) -> Replica:
    """Lock a provider's room and collateral for ``offer``; it must have signed that it holds the slots."""
    provider = _provider(ctx, offer.provider_id)
    if provider.retired or provider.maintenance:
        raise InvalidTx("storage.provider_closed", provider_id=provider.provider_id)
    if offer.size < len(offer.slots) or not offer.slots:
        raise InvalidTx("storage.manifest_slots", provider_id=provider.provider_id, reason="no slots or no bytes")
    if add(provider.used_bytes, offer.size) > provider.capacity_bytes:
        raise InvalidTx("storage.capacity_exhausted", provider_id=provider.provider_id)
    price = compute_price(provider, offer.size)
    collateral = bps(mul(price, contract.retention_blocks), ctx.param(COLLATERAL_BPS))
    if add(provider.locked, collateral) > provider.bond:
        raise InvalidTx("storage.collateral_exhausted", provider_id=provider.provider_id, needed=collateral)
    message = ack_message(ctx.chain.chain_id, contract.core_id, contract.shards_root, provider.provider_id, offer.slots)
    if not crypto.verify(provider.member_key, message, offer.signature):
        raise InvalidTx("storage.bad_ack", provider_id=provider.provider_id)

    ctx.draft.put(
        PROVIDERS,
        provider.provider_id,
        replace(
            provider,
            used_bytes=provider.used_bytes + offer.size,
            slots_held=provider.slots_held + len(offer.slots),
            locked=provider.locked + collateral,
        ),
    )
    phase = retrieval.compute_phase(contract.contract_id.hex(), provider.provider_id, ctx.chain.epoch_blocks)
    return Replica(
        1,
        contract.contract_id,
        provider.provider_id,
        tuple(offer.slots),
        offer.size,
        price,
        collateral,
        phase,
        ctx.height,
        0,
        0,
        0,
        ReplicaStatus.HELD,
    )


def _join(ctx: Context, held: Replica, taken: Replica) -> Replica:
    """What a provider holds of an object after taking over further slots of it.

    Rent that it is owed for what it held before stays owed, rounded down to whole blocks of the new price.
    """
    price = held.price_per_block + taken.price_per_block
    owed = max(0, ctx.height - held.paid_until) * held.price_per_block
    return replace(
        held,
        slots=tuple(sorted((*held.slots, *taken.slots))),
        size=held.size + taken.size,
        price_per_block=price,
        collateral=held.collateral + taken.collateral,
        paid_until=ctx.height - owed // price if price else held.paid_until,
    )


def _give_up(ctx: Context, replica: Replica, status: ReplicaStatus) -> None:
    """Free what a replica held of its provider's room and collateral."""
    provider = _provider(ctx, replica.provider_id)
    ctx.draft.put(
        PROVIDERS,
        provider.provider_id,
        replace(
            provider,
            used_bytes=provider.used_bytes - replica.size,
            slots_held=provider.slots_held - len(replica.slots),
            locked=provider.locked - replica.collateral,
        ),
    )
    ctx.draft.put(REPLICAS, (replica.contract_id, replica.provider_id), replace(replica, status=status, collateral=0))


def _pay(ctx: Context, contract: Contract, replica: Replica, provider: Provider) -> int:
    """Pay a replica for the blocks since it was last paid, up to the one before this and within retention."""
    until = min(ctx.height - 1, contract.start_height + contract.retention_blocks)
    due = max(0, until - replica.paid_until) * replica.price_per_block
    amount = min(due, contract.deposit - contract.paid)
    if amount:
        escrow.release(ctx, DEPOSIT, contract.contract_id, provider.owner, amount)
        ctx.draft.put(CONTRACTS, contract.contract_id, replace(contract, paid=contract.paid + amount))
    return amount


def _schedule(ctx: Context, height: int, item: DueItem) -> None:
    due = ctx.draft.get(DUE, height) or Due(1, ())
    ctx.draft.put(DUE, height, replace(due, items=(*due.items, item)))


def _schedule_challenge(ctx: Context, replica: Replica) -> None:
    """At the replica's phase of the next epoch that is its turn."""
    epoch_blocks = ctx.chain.epoch_blocks
    epoch = ctx.height // epoch_blocks + ctx.param(PERIOD_EPOCHS)
    item = DueItem(DueKind.CHALLENGE, replica.contract_id, replica.provider_id)
    _schedule(ctx, epoch * epoch_blocks + replica.phase, item)


def _open_challenge(ctx: Context, item: DueItem) -> None:
    where = (item.contract_id, item.provider_id)
    replica = ctx.draft.get(REPLICAS, where)
    if replica is None or replica.status is not ReplicaStatus.HELD:
        return
    _schedule_challenge(ctx, replica)
    if ctx.draft.get(CHALLENGES, where) is not None:
        return
    deadline = ctx.height + ctx.param(DEADLINE_BLOCKS)
    epoch = ctx.height // ctx.chain.epoch_blocks
    challenge = Challenge(1, item.contract_id, item.provider_id, epoch, ctx.beacon, ctx.height, deadline)
    ctx.draft.put(CHALLENGES, where, challenge)
    _schedule(ctx, deadline, DueItem(DueKind.DEADLINE, item.contract_id, item.provider_id))
    ctx.emit(Challenged(item.contract_id, item.provider_id, epoch, deadline))


def _close_challenge(ctx: Context, item: DueItem) -> None:
    """An unanswered challenge costs the rent since the last success; too many in a row, and the slots are lost."""
    where = (item.contract_id, item.provider_id)
    challenge = ctx.draft.get(CHALLENGES, where)
    replica = ctx.draft.get(REPLICAS, where)
    if challenge is None or replica is None or challenge.deadline_height != ctx.height:
        return
    ctx.draft.delete(CHALLENGES, where)
    penalty = min(replica.collateral, replica.price_per_block * max(0, ctx.height - replica.paid_until))
    _slash(ctx, replica, penalty, MISS_PENALTY)
    replica = replace(
        replica,
        collateral=replica.collateral - penalty,
        paid_until=ctx.height,
        failures=replica.failures + 1,
        misses_in_row=replica.misses_in_row + 1,
    )
    ctx.draft.put(REPLICAS, where, replica)
    ctx.emit(ChallengeMissed(item.contract_id, item.provider_id, challenge.epoch, penalty, replica.misses_in_row))
    if replica.misses_in_row >= ctx.param(MISSES_MAX):
        final = bps(replica.collateral, ctx.param(TERMINATION_BPS))
        _slash(ctx, replica, final, LOSS_PENALTY)
        _give_up(ctx, replace(replica, collateral=replica.collateral - final), ReplicaStatus.LOST)
        ctx.emit(ShardLost(item.contract_id, item.provider_id, replica.slots, final))


def _slash(ctx: Context, replica: Replica, amount: int, reputation: int) -> None:
    """Take ``amount`` from a provider's bond: part is burned, the rest goes to the owner of the object."""
    provider = _provider(ctx, replica.provider_id)
    contract = ctx.draft.get(CONTRACTS, replica.contract_id)
    assert contract is not None
    burned = bps(amount, ctx.param(SLASH_BURN_BPS))
    if burned:
        escrow.burn(ctx, BOND, provider.provider_id.encode(), burned)
    if amount - burned:
        escrow.release(ctx, BOND, provider.provider_id.encode(), contract.owner, amount - burned)
    ctx.draft.put(
        PROVIDERS,
        provider.provider_id,
        replace(
            provider,
            bond=provider.bond - amount,
            locked=provider.locked - amount,
            proof_failures=provider.proof_failures + (reputation == MISS_PENALTY),
            reputation=max(0, provider.reputation - reputation),
        ),
    )


def _release_bond(ctx: Context, item: DueItem) -> None:
    provider = ctx.draft.get(PROVIDERS, item.provider_id)
    if provider is None or not provider.retired or provider.unbonding_until != ctx.height:
        return
    if provider.bond:
        escrow.release(ctx, BOND, provider.provider_id.encode(), provider.owner, provider.bond)
    ctx.draft.put(PROVIDERS, provider.provider_id, replace(provider, bond=0, capacity_bytes=0))
    ctx.emit(BondReleased(provider.provider_id, provider.owner, provider.bond))


def _provider(ctx: Context, provider_id: str) -> Provider:
    provider = ctx.draft.get(PROVIDERS, provider_id)
    if provider is None:
        raise InvalidTx("storage.unknown_provider", provider_id=provider_id)
    return provider  # type: ignore[no-any-return]


def _owned_provider(ctx: Context, provider_id: str) -> Provider:
    provider = _provider(ctx, provider_id)
    if provider.owner != ctx.sender:
        raise InvalidTx("storage.not_owner", provider_id=provider_id)
    return provider
