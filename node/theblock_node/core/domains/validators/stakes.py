"""Bonds: who owns an identity, what is bonded in which role, what is on its way back, what is taken.

Bonding moves money from the owner's balance into the stake. Unbonding gives it back some epochs later; until then
it can be slashed. What falls due with an epoch is paid from its last block on, so many identities a block.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from theblock_node.core import crypto
from theblock_node.core.domain import Context
from theblock_node.core.domains import accounts, supply
from theblock_node.core.domains.validators import records as r
from theblock_node.core.domains.validators.records import Role, domain
from theblock_node.core.errors import InvalidTx
from theblock_node.core.numeric import U64, Bytes32, Bytes48, Bytes64, Bytes96, add

RELEASES_PER_BLOCK_MAX = 256
REPORTER_SHARE = 512
"""One part in so many of what is slashed goes to the reporter."""


@dataclass(frozen=True, slots=True)
class Register:
    """Name the owner of a validator identity; the identity key agrees by its signature."""

    id: Bytes32
    bls_pubkey: Bytes48
    bls_pop: Bytes96
    id_signature: Bytes64


@dataclass(frozen=True, slots=True)
class Bond:
    id: Bytes32
    role: Role
    amount: U64


@dataclass(frozen=True, slots=True)
class Unbond:
    id: Bytes32
    role: Role
    amount: U64


def register_digest(chain_id: int, owner: str, bls_pubkey: bytes) -> bytes:
    """What the identity key signs to take an owner."""
    text = owner.encode()
    body = struct.pack("<I", 8) + b"register" + struct.pack("<I", len(text)) + text
    return crypto.blake3(b"TBSTAKE" + struct.pack("<I", chain_id) + body + bls_pubkey)


@domain.rule(Register, gas=3500)
def register(ctx: Context, command: Register) -> None:
    if command.bls_pubkey != bytes(48) or command.bls_pop != bytes(96):
        raise InvalidTx("validators.bad_pop", reason="BLS keys are not taken yet: send zeros")
    known = ctx.draft.get(r.STAKES, command.id)
    if known is not None and known.tombstoned:
        raise InvalidTx("validators.tombstoned", id=command.id.hex())
    if known is not None and known.owner != ctx.sender:
        raise InvalidTx("validators.not_owner", id=command.id.hex())
    if known is not None:
        raise InvalidTx("validators.already_registered", id=command.id.hex())
    digest = register_digest(ctx.chain.chain_id, ctx.sender, command.bls_pubkey)
    if not crypto.verify(command.id, digest, command.id_signature):
        raise InvalidTx("validators.bad_signature", id=command.id.hex())
    ctx.draft.put(r.STAKES, command.id, r.Stake(1, command.id, ctx.sender, command.bls_pubkey, 0, False, ()))
    ctx.emit(r.Registered(command.id, ctx.sender))


@domain.rule(Bond, gas=2000)
def bond(ctx: Context, command: Bond) -> None:
    stake = _owned(ctx, command.id)
    if stake.tombstoned:
        raise InvalidTx("validators.tombstoned", id=command.id.hex())
    if command.amount == 0:
        raise InvalidTx("validators.insufficient_bond", amount=0)
    held = stake.role(command.role)
    total = add(held.bonded, command.amount)
    accounts.debit(ctx.draft, ctx.sender, command.amount)
    accounts.change_bond(ctx.draft, ctx.sender, command.role, command.amount)
    ctx.draft.put(r.STAKES, command.id, stake.with_role(replace(held, bonded=total)))
    ctx.emit(r.Bonded(command.id, command.role, command.amount, total))


@domain.rule(Unbond, gas=2000)
def unbond(ctx: Context, command: Unbond) -> None:
    stake = _owned(ctx, command.id)
    held = stake.role(command.role)
    if not 1 <= command.amount <= held.bonded:
        raise InvalidTx("validators.insufficient_bond", bonded=held.bonded, amount=command.amount)
    if len(held.unbonding) >= r.UNBONDINGS_MAX:
        raise InvalidTx("validators.too_many_unbondings", max=r.UNBONDINGS_MAX)
    if command.role is Role.VALIDATOR and command.amount == held.bonded and _is_last(ctx, stake):
        raise InvalidTx("validators.last_validator", id=command.id.hex())
    epoch = ctx.height // ctx.chain.epoch_blocks + ctx.param(r.UNBONDING_EPOCHS)
    _await_release(ctx, stake, epoch)
    ctx.draft.put(
        r.STAKES,
        command.id,
        stake.with_role(
            replace(
                held,
                bonded=held.bonded - command.amount,
                unbonding=_with_unbonding(held.unbonding, r.Unbonding(command.amount, epoch)),
            )
        ),
    )
    ctx.emit(r.Unbonded(command.id, command.role, command.amount, epoch))


@domain.end_block
def pay_releases(ctx: Context) -> None:
    """Pay what has been unbonding long enough."""
    epoch = (ctx.height + 1) // ctx.chain.epoch_blocks
    for due in r.RELEASES.take(ctx.draft, epoch, count_max=RELEASES_PER_BLOCK_MAX):
        _release(ctx, due.validator, epoch)


def slash(ctx: Context, validator: bytes, role: Role, amount: int, reporter: str) -> int:
    """Take up to ``amount`` of a bond, then of what is unbonding: burned but for the reporter's share."""
    stake = ctx.draft.get(r.STAKES, validator)
    assert stake is not None
    held = stake.role(role)
    from_bond = min(amount, held.bonded)
    left = amount - from_bond
    waiting = []
    for part in held.unbonding:
        taken = min(left, part.amount)
        left -= taken
        if part.amount - taken:
            waiting.append(replace(part, amount=part.amount - taken))
    slashed: int = amount - left
    kept = replace(held, bonded=held.bonded - from_bond, unbonding=tuple(waiting))
    ctx.draft.put(r.STAKES, validator, stake.with_role(kept))
    accounts.change_bond(ctx.draft, stake.owner, role, -slashed)
    reward = slashed // REPORTER_SHARE
    accounts.credit(ctx.draft, reporter, reward)
    supply.burn(ctx.draft, slashed - reward)
    ctx.emit(r.Slashed(validator, role, slashed, reporter))
    return slashed


def _release(ctx: Context, validator: bytes, epoch: int) -> None:
    stake = ctx.draft.get(r.STAKES, validator)
    assert stake is not None
    paid = 0
    for held in stake.roles:
        freed = sum(part.amount for part in held.unbonding if part.release_epoch <= epoch)
        if freed:
            waiting = tuple(part for part in held.unbonding if part.release_epoch > epoch)
            stake = stake.with_role(replace(held, unbonding=waiting))
            accounts.change_bond(ctx.draft, stake.owner, held.role, -freed)
            paid += freed
    if paid:
        ctx.draft.put(r.STAKES, validator, stake)
        accounts.credit(ctx.draft, stake.owner, paid)
        ctx.emit(r.Released(validator, stake.owner, paid))


def _with_unbonding(waiting: tuple[r.Unbonding, ...], added: r.Unbonding) -> tuple[r.Unbonding, ...]:
    """What ends with the same epoch is one part."""
    if waiting and waiting[-1].release_epoch == added.release_epoch:
        return (*waiting[:-1], r.Unbonding(waiting[-1].amount + added.amount, added.release_epoch))
    return (*waiting, added)


def _await_release(ctx: Context, stake: r.Stake, epoch: int) -> None:
    """Have the identity looked at when ``epoch`` ends, once."""
    if any(part.release_epoch == epoch for held in stake.roles for part in held.unbonding):
        return
    r.RELEASES.add(ctx.draft, epoch, r.Release(1, stake.validator))


def _owned(ctx: Context, validator: bytes) -> r.Stake:
    stake = ctx.draft.get(r.STAKES, validator)
    if stake is None:
        raise InvalidTx("validators.unknown", id=validator.hex())
    if stake.owner != ctx.sender:
        raise InvalidTx("validators.not_owner", id=validator.hex())
    return stake  # type: ignore[no-any-return]


def _is_last(ctx: Context, leaving: r.Stake) -> bool:
    """Whether nobody else of the running set has a bond."""
    members = r.get_set(ctx.draft, ctx.height // ctx.chain.epoch_blocks).members
    others = [ctx.draft.get(r.STAKES, member.id) for member in members if member.id != leaving.validator]
    return not any(stake and stake.role(Role.VALIDATOR).bonded and not stake.tombstoned for stake in others)
