"""Rules on providers: terms, stake, and the keys of their oracles."""

from __future__ import annotations

from dataclasses import replace

from theblock_node.core import crypto
from theblock_node.core.domain import Context
from theblock_node.core.domains import escrow
from theblock_node.core.domains.energy import attestation, standing
from theblock_node.core.domains.energy import records as r
from theblock_node.core.domains.energy.records import domain
from theblock_node.core.errors import InvalidTx
from theblock_node.core.numeric import add


@domain.rule(r.RegisterProvider, gas=3000)
def register_provider(ctx: Context, command: r.RegisterProvider) -> None:
    standing.require_trade(ctx)
    known = ctx.draft.get(r.PROVIDERS, command.provider_id)
    if known is not None and known.state is not r.ProviderState.EXITED:
        raise InvalidTx("energy.id_taken", provider_id=command.provider_id)
    if ctx.draft.get(r.METERS, command.meter_address) is not None:
        raise InvalidTx("energy.meter_taken", meter_address=command.meter_address)
    _check_terms(command.capacity_wh, command.price_per_kwh)
    if command.stake < ctx.param(r.MIN_STAKE):
        raise InvalidTx("energy.insufficient_stake", stake=command.stake, min=ctx.param(r.MIN_STAKE))
    names = [offer.oracle_id for offer in command.keys]
    if len(set(names)) != len(names):
        raise InvalidTx("energy.duplicate_oracle", provider_id=command.provider_id)
    for offer in command.keys:
        _check_possession(ctx, command.provider_id, offer.oracle_id, 1, offer.public_key, offer.proof)

    if command.stake:
        escrow.hold(ctx, standing.STAKE, command.provider_id.encode(), ctx.sender, command.stake)
    enough = len(names) >= ctx.param(r.MIN_ATTESTERS)
    state = r.ProviderState.ACTIVE if enough else r.ProviderState.PENDING
    provider = r.Provider(
        1,
        command.provider_id,
        ctx.sender,
        command.jurisdiction,
        command.capacity_wh,
        command.price_per_kwh,
        None,
        0,
        0,
        command.meter_address,
        0,
        command.stake,
        0,
        state,
        tuple(sorted(names)),
        command.initial_meter_wh,
        0,
        known.last_nonce if known else 0,  # A nonce is never used twice under one id.
        ctx.height,
        0,
        ctx.height,
        0,
    )
    for offer in command.keys:
        key = r.OracleKey(1, offer.public_key, ctx.height, 0)
        ctx.draft.put(r.KEYS, (command.provider_id, offer.oracle_id), r.OracleKeys(1, (key,)))
    standing.save(ctx, provider)
    ctx.draft.put(r.METERS, command.meter_address, r.ProviderRef(1, command.provider_id))
    ctx.emit(
        r.ProviderRegistered(
            provider.provider_id,
            provider.owner,
            provider.meter_address,
            provider.capacity_wh,
            provider.price_per_kwh,
            provider.staked,
            state,
        )
    )


@domain.rule(r.UpdateProvider)
def update_provider(ctx: Context, command: r.UpdateProvider) -> None:
    provider = standing.get_owned(ctx, command.provider_id)
    if command.price_per_kwh is None and command.capacity_wh is None and command.jurisdiction is None:
        raise InvalidTx("energy.nothing_to_update", provider_id=command.provider_id)
    price = provider.price_per_kwh if command.price_per_kwh is None else command.price_per_kwh
    capacity = provider.capacity_wh if command.capacity_wh is None else command.capacity_wh
    _check_terms(capacity, price)
    window = ctx.param(r.TERMS_WINDOW)
    effective = (ctx.height // window + 1) * window
    terms = r.Terms(price, capacity, command.jurisdiction or provider.jurisdiction, effective)
    standing.save(ctx, replace(provider, pending_terms=terms))
    ctx.emit(r.ProviderUpdated(provider.provider_id, price, capacity, effective))


@domain.rule(r.TopUpStake)
def top_up_stake(ctx: Context, command: r.TopUpStake) -> None:
    provider = standing.get_provider(ctx, command.provider_id)
    if command.amount == 0 or provider.state in (r.ProviderState.UNBONDING, r.ProviderState.EXITED):
        raise InvalidTx("energy.provider_inactive", provider_id=provider.provider_id, state=provider.state.name)
    escrow.hold(ctx, standing.STAKE, provider.provider_id.encode(), ctx.sender, command.amount)
    provider = standing.judge_state(ctx, replace(provider, staked=add(provider.staked, command.amount)))
    standing.save(ctx, provider)
    ctx.emit(r.StakeChanged(provider.provider_id, provider.staked))


@domain.rule(r.DeregisterProvider)
def deregister_provider(ctx: Context, command: r.DeregisterProvider) -> None:
    provider = standing.get_owned(ctx, command.provider_id)
    if provider.state in (r.ProviderState.UNBONDING, r.ProviderState.EXITED):
        raise InvalidTx("energy.already_leaving", provider_id=provider.provider_id)
    if provider.locked:
        raise InvalidTx("energy.open_dispute", provider_id=provider.provider_id)
    if provider.credits:
        raise InvalidTx("energy.unsettled_credit", provider_id=provider.provider_id, credits=provider.credits)
    until = ctx.height + ctx.param(r.UNBOND_BLOCKS)
    standing.save(ctx, replace(provider, state=r.ProviderState.UNBONDING, unbonding_until=until))
    ctx.draft.delete(r.METERS, provider.meter_address)
    standing.DUE.add(ctx.draft, until, r.DueItem(r.DueKind.STAKE, provider.provider_id, standing.ZERO, 0))
    ctx.emit(r.ProviderDeregistered(provider.provider_id, until))


@domain.rule(r.RotateProviderKey, gas=1500)
def rotate_provider_key(ctx: Context, command: r.RotateProviderKey) -> None:
    provider = standing.get_owned(ctx, command.provider_id)
    where = (command.provider_id, command.oracle_id)
    known = ctx.draft.get(r.KEYS, where) or r.OracleKeys(1, ())
    if command.oracle_id not in provider.oracles and len(provider.oracles) >= r.ORACLES_MAX:
        raise InvalidTx("energy.too_many_oracles", max=r.ORACLES_MAX)
    if command.overlap_blocks > r.OVERLAP_MAX:
        raise InvalidTx("energy.overlap_invalid", overlap_blocks=command.overlap_blocks, max=r.OVERLAP_MAX)
    version = known.keys[-1].key_version + 1 if known.keys else 1
    active_from = max(command.active_from_height, ctx.height)
    _check_possession(
        ctx, command.provider_id, command.oracle_id, version, command.new_key, command.proof_of_possession
    )
    retired = [
        replace(key, retire_at=active_from + command.overlap_blocks) if key.retire_at == 0 else key
        for key in known.keys
        if key.retire_at == 0 or key.retire_at > ctx.height
    ]
    keys = (*retired, r.OracleKey(version, command.new_key, active_from, 0))[-r.KEYS_MAX :]
    ctx.draft.put(r.KEYS, where, r.OracleKeys(1, keys))
    oracles = tuple(sorted({*provider.oracles, command.oracle_id}))
    standing.save(ctx, standing.judge_state(ctx, replace(provider, oracles=oracles)))
    ctx.emit(r.KeyRotated(command.provider_id, command.oracle_id, version, command.new_key, active_from))


@domain.rule(r.RetireProviderKey)
def retire_provider_key(ctx: Context, command: r.RetireProviderKey) -> None:
    provider = standing.get_owned(ctx, command.provider_id)
    if command.oracle_id not in provider.oracles:
        raise InvalidTx("energy.key_not_registered", oracle_id=command.oracle_id)
    if len(provider.oracles) - 1 < ctx.param(r.MIN_ATTESTERS):
        raise InvalidTx("energy.below_min_attesters", min=ctx.param(r.MIN_ATTESTERS))
    ctx.draft.delete(r.KEYS, (command.provider_id, command.oracle_id))
    oracles = tuple(name for name in provider.oracles if name != command.oracle_id)
    standing.save(ctx, replace(provider, oracles=oracles))
    ctx.emit(r.KeyRetired(command.provider_id, command.oracle_id))


def release_stake(ctx: Context, provider_id: str) -> None:
    provider = ctx.draft.get(r.PROVIDERS, provider_id)
    if provider is None or provider.state is not r.ProviderState.UNBONDING or provider.unbonding_until != ctx.height:
        return
    if provider.staked:
        escrow.release(ctx, standing.STAKE, provider_id.encode(), provider.owner, provider.staked)
    for oracle in provider.oracles:
        ctx.draft.delete(r.KEYS, (provider_id, oracle))
    for nonce in range(provider.last_nonce + 1, provider.last_nonce + r.NONCE_WINDOW + 1):
        ctx.draft.delete(r.ROUNDS, (provider_id, nonce))
    standing.save(ctx, replace(provider, state=r.ProviderState.EXITED, staked=0, oracles=()))
    ctx.emit(r.ProviderExited(provider_id, provider.staked))


def _check_possession(
    ctx: Context, provider_id: str, oracle_id: str, key_version: int, key: bytes, proof: bytes
) -> None:
    if not crypto.is_valid_key(key):
        raise InvalidTx("energy.invalid_key", oracle_id=oracle_id)
    message = attestation.possession_message(ctx.chain.chain_id, provider_id, oracle_id, key_version, key)
    if not crypto.verify(key, message, proof):
        raise InvalidTx("energy.invalid_signature", oracle_id=oracle_id, reason="possession is not proved")


def _check_terms(capacity_wh: int, price_per_kwh: int) -> None:
    if not 1 <= capacity_wh <= r.CAPACITY_WH_MAX:
        raise InvalidTx("energy.invalid_capacity", capacity_wh=capacity_wh, min=1, max=r.CAPACITY_WH_MAX)
    if price_per_kwh > r.PRICE_MAX:
        raise InvalidTx("energy.invalid_price", price_per_kwh=price_per_kwh, max=r.PRICE_MAX)
