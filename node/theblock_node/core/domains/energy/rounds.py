"""Rules on readings: what an oracle may say, when a round is decided, what credit comes of it."""

from __future__ import annotations

from dataclasses import replace

from theblock_node.core import crypto
from theblock_node.core.domain import Context
from theblock_node.core.domains.energy import attestation, standing
from theblock_node.core.domains.energy import records as r
from theblock_node.core.domains.energy.records import domain
from theblock_node.core.errors import InvalidTx
from theblock_node.core.numeric import BPS, bps


@domain.rule(r.SubmitReading, gas=1500)
def submit_reading(ctx: Context, command: r.SubmitReading) -> None:
    standing.require_trade(ctx)
    provider = standing.get_provider(ctx, command.provider_id)
    if provider.state is not r.ProviderState.ACTIVE:
        raise InvalidTx("energy.provider_inactive", provider_id=provider.provider_id, state=provider.state.name)
    skew = abs(ctx.timestamp_ms // 1000 - command.timestamp)
    if skew > ctx.param(r.CLOCK_SKEW):
        raise InvalidTx("energy.timestamp_skew", observed=skew, tolerance=ctx.param(r.CLOCK_SKEW))
    where = (command.provider_id, command.nonce)
    if command.nonce <= provider.last_nonce:
        raise InvalidTx("energy.nonce_replay", nonce=command.nonce, last_nonce=provider.last_nonce)
    if command.nonce > provider.last_nonce + r.NONCE_WINDOW:
        raise InvalidTx("energy.nonce_gap", nonce=command.nonce, last_nonce=provider.last_nonce)
    keys = usable_key(ctx.draft.get(r.KEYS, (command.provider_id, command.oracle_id)), ctx.height)
    if not keys:
        raise InvalidTx("energy.key_not_registered", provider_id=command.provider_id, oracle_id=command.oracle_id)
    if command.scheme != r.ED25519:
        raise InvalidTx("energy.unsupported_scheme", scheme=command.scheme)
    if len(command.signature) != 64:
        raise InvalidTx("energy.malformed_signature", size=len(command.signature))
    body = attestation.reading_body(
        ctx.chain.chain_id,
        command.provider_id,
        command.meter_address,
        command.total_wh,
        command.timestamp,
        command.nonce,
    )
    message = attestation.attestation_message(body, command.oracle_id)
    if not any(crypto.verify(key, message, command.signature) for key in keys):
        raise InvalidTx("energy.invalid_signature", provider_id=command.provider_id, oracle_id=command.oracle_id)
    if command.meter_address != provider.meter_address:
        raise InvalidTx("energy.meter_mismatch", meter_address=command.meter_address)
    _check_plausible(ctx, provider, command)
    held = ctx.draft.get(r.ROUNDS, where)
    if held is not None and any(entry.oracle_id == command.oracle_id for entry in held.entries):
        raise InvalidTx("energy.duplicate_attestation", nonce=command.nonce, oracle_id=command.oracle_id)

    if held is None:
        closes = ctx.height + ctx.param(r.ATTEST_WINDOW)
        held = r.Round(1, ctx.height, closes, (), r.RoundState.OPEN)
        standing.DUE.add(
            ctx.draft, closes, r.DueItem(r.DueKind.ROUND, command.provider_id, standing.ZERO, command.nonce)
        )
    entry = r.Entry(command.oracle_id, command.total_wh, command.timestamp)
    ctx.draft.put(r.ROUNDS, where, replace(held, entries=(*held.entries, entry)))
    ctx.emit(
        r.ReadingSubmitted(
            command.provider_id,
            command.oracle_id,
            command.meter_address,
            command.total_wh,
            command.timestamp,
            command.nonce,
        )
    )
    evaluate_rounds(ctx, command.provider_id)


@domain.rule(r.ReportConflict, gas=3000)
def report_conflict(ctx: Context, command: r.ReportConflict) -> None:
    """Slash for a contradiction that everybody can check; what it proves needs no arbiter."""
    provider = standing.get_provider(ctx, command.provider_id)
    where = (command.provider_id, command.oracle_id, command.nonce)
    if ctx.draft.get(r.CONFLICTS, where) is not None:
        raise InvalidTx("energy.already_reported", oracle_id=command.oracle_id, nonce=command.nonce)
    known = ctx.draft.get(r.KEYS, (command.provider_id, command.oracle_id))
    if known is None:
        raise InvalidTx("energy.key_not_registered", provider_id=command.provider_id, oracle_id=command.oracle_id)
    bodies = [
        attestation.reading_body(
            ctx.chain.chain_id,
            command.provider_id,
            said.meter_address,
            said.total_wh,
            said.timestamp,
            command.nonce,
        )
        for said in (command.first, command.second)
    ]
    if bodies[0] == bodies[1]:
        raise InvalidTx("energy.no_conflict", oracle_id=command.oracle_id, nonce=command.nonce)
    messages = [attestation.attestation_message(body, command.oracle_id) for body in bodies]
    signatures = (command.first.signature, command.second.signature)
    if not any(all(map(crypto.verify, (key.public_key,) * 2, messages, signatures)) for key in known.keys):
        raise InvalidTx("energy.invalid_signature", oracle_id=command.oracle_id, reason="not of one key")

    value = abs(command.first.total_wh - command.second.total_wh) * provider.price_per_kwh // 1000
    least = bps(provider.staked, ctx.param(r.OUTLIER_SLASH))
    wanted = max(value * ctx.param(r.SLASHING_RATE) // BPS, least)
    ctx.draft.put(r.CONFLICTS, where, r.Conflict(1, ctx.height))
    credit_id = attestation.compute_credit_id(bodies[0])
    standing.slash(ctx, provider.provider_id, wanted, credit_id, r.SlashReason.CONFLICT)


def usable_key(keys: r.OracleKeys | None, height: int) -> list[bytes]:
    """Keys of an oracle that count at a height: the active one, and a retiring one within its overlap."""
    return [] if keys is None else [key.public_key for key in keys.keys if key.is_usable(height)]


def evaluate_rounds(ctx: Context, provider_id: str) -> None:
    """Finish the provider's rounds in the order of their nonces, as far as they are decided or overdue."""
    while True:
        provider = standing.get_provider(ctx, provider_id)
        nonce = provider.last_nonce + 1
        held = ctx.draft.get(r.ROUNDS, (provider_id, nonce))
        if held is None:
            if not _skip_missing(ctx, provider):
                return
            continue
        verdict = attestation.judge_round(
            held.entries,
            last_wh=provider.last_meter_wh or 0,
            oracle_count=len(provider.oracles),
            deviation_ppm=ctx.param(r.DEVIATION),
            floor_wh=ctx.param(r.DEVIATION_FLOOR),
        )
        enough = len(verdict.agreeing) >= ctx.param(r.MIN_ATTESTERS) and verdict.agree_ppm >= ctx.param(r.QUORUM)
        if enough and provider.state is r.ProviderState.ACTIVE:
            _finish_round(ctx, provider, nonce, held, verdict)
        elif ctx.height >= held.closes_height:
            ctx.draft.delete(r.ROUNDS, (provider_id, nonce))
            standing.save(ctx, replace(provider, last_nonce=nonce))
            ctx.emit(r.QuorumFailed(provider_id, nonce, len(held.entries)))
        else:
            return


def expire_credit(ctx: Context, credit_id: bytes) -> None:
    """Unsold energy lapses; a frozen credit goes on living for as long as the dispute lasts."""
    credit = ctx.draft.get(r.CREDITS, credit_id)
    if credit is None or credit.frozen_by or credit.expires_height >= ctx.height:
        return
    drop_credit(ctx, credit)
    ctx.emit(r.CreditExpired(credit_id, credit.provider_id, credit.amount_wh))


def drop_credit(ctx: Context, credit: r.Credit) -> None:
    ctx.draft.delete(r.CREDITS, credit.credit_id)
    provider = standing.get_provider(ctx, credit.provider_id)
    standing.save(ctx, replace(provider, credits=provider.credits - 1))
    standing.count(ctx, pending_credits_wh=-credit.amount_wh)


def _skip_missing(ctx: Context, provider: r.Provider) -> bool:
    """Go past a nonce that nobody attested once a later round is overdue; False when there is nothing to skip."""
    for nonce in range(provider.last_nonce + 2, provider.last_nonce + r.NONCE_WINDOW + 1):
        later = ctx.draft.get(r.ROUNDS, (provider.provider_id, nonce))
        if later is not None:
            if ctx.height < later.closes_height:
                return False
            standing.save(ctx, replace(provider, last_nonce=nonce - 1))
            return True
    return False


def _finish_round(ctx: Context, provider: r.Provider, nonce: int, held: r.Round, verdict: attestation.Verdict) -> None:
    baseline = provider.last_meter_wh
    delta = 0 if baseline is None else max(0, verdict.median_wh - baseline)
    ctx.draft.delete(r.ROUNDS, (provider.provider_id, nonce))
    provider = replace(
        provider,
        last_meter_wh=max(verdict.median_wh, baseline or 0),
        last_timestamp=verdict.timestamp,
        last_nonce=nonce,
        last_seen_height=ctx.height,
        credits=provider.credits + (delta > 0),
    )
    standing.save(ctx, provider)
    ctx.emit(r.RoundFinalized(provider.provider_id, nonce, verdict.median_wh, delta, len(verdict.agreeing)))
    for entry in verdict.outliers:
        ctx.emit(r.OracleOutlier(provider.provider_id, nonce, entry.oracle_id, entry.total_wh, verdict.median_wh))
    if not delta:
        return
    body = attestation.reading_body(
        ctx.chain.chain_id,
        provider.provider_id,
        provider.meter_address,
        verdict.median_wh,
        verdict.timestamp,
        nonce,
    )
    credit_id = attestation.compute_credit_id(body)
    expires = ctx.height + (ctx.param(r.EXPIRY) or ctx.param(r.ORACLE_TIMEOUT))
    ctx.draft.put(
        r.CREDITS,
        credit_id,
        r.Credit(1, credit_id, provider.provider_id, delta, delta, ctx.height, expires, 0, nonce),
    )
    standing.DUE.add(ctx.draft, expires + 1, r.DueItem(r.DueKind.CREDIT, "", credit_id, 0))
    standing.count(ctx, pending_credits_wh=delta)
    ctx.emit(r.CreditCreated(credit_id, provider.provider_id, delta, expires))


def _check_plausible(ctx: Context, provider: r.Provider, command: r.SubmitReading) -> None:
    if provider.last_meter_wh is None:
        return
    if command.timestamp <= provider.last_timestamp:
        raise InvalidTx("energy.stale_reading", timestamp=command.timestamp, last=provider.last_timestamp)
    if command.total_wh < provider.last_meter_wh:
        raise InvalidTx("energy.meter_regression", total_wh=command.total_wh, last=provider.last_meter_wh)
    most = attestation.compute_delta_max(provider, command.timestamp)
    delta = command.total_wh - provider.last_meter_wh
    if delta > most:
        raise InvalidTx("energy.implausible_delta", delta_wh=delta, max=most)
